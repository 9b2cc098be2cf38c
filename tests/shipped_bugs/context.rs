//! Rows that only lead to the state a chunk begins in: is that state the one that they lead to, and does nothing else reach the losses?

use dreamer_fast::dreamer::model::GROUPS;

use super::trial::{Trial, trial};

/// Chunks of a trial, and rows of context.
const B: usize = 3;
const CONTEXT: usize = 3;

/// Writes the rows from time step `from` on of an input of `source` into the same input of `target`.
fn copy(source: &Trial, target: &mut Trial, name: &str, from: usize) {
    let [there, here] = [&source.step.plan, &target.step.plan].map(|plan| plan.input(name).expect("an input"));
    let values = source.value(there);
    let target = target.step.plan.input_mut(here);
    let first = if from == 0 { 0 } else { values.len() - target.len() };
    target.copy_from_slice(&values[first..]);
}

/// A step with context computes what a step does, to the bit, that is given the state which the context leads to.
#[test]
fn context_leads_to_the_first_state_and_to_nothing_else() {
    for changes in [&[][..], &["latent=categorical", "latent_classes=3"]] {
        let mut led = trial(true, &[&["context_length=3"], changes].concat());
        led.run();
        // All rows learned: what is inferred behind the context.
        let mut whole = trial(true, &[&["batch_length=7"], changes].concat());
        let rows = ["batch.obs", "batch.action", "batch.reward", "batch.pcont_target", "batch.keep", "noise.post"];
        rows.into_iter().for_each(|name| copy(&led, &mut whole, name, 0));
        whole.run();
        let widths = [led.model.stoch(), led.model.deter()];
        let all = whole.inferred();
        for ((all, led), width) in all.iter().zip(led.inferred()).zip(widths) {
            assert_eq!(all[CONTEXT * B * width..], led);
        }
        // The same chunks without context, begun in that state.
        let mut given = trial(true, changes);
        rows.into_iter().for_each(|name| copy(&led, &mut given, name, CONTEXT));
        ["noise.prior", "noise.action"].into_iter().for_each(|name| copy(&led, &mut given, name, 0));
        for ((name, all), width) in ["observe.initial_stoch", "observe.initial_deter"].into_iter().zip(all).zip(widths)
        {
            let initial = given.step.plan.input(name).expect("an input");
            let state = &all[(CONTEXT - 1) * B * width..CONTEXT * B * width];
            given.step.plan.input_mut(initial).copy_from_slice(state);
        }
        given.run();
        let scalars = |trial: &Trial| trial.step.metrics().collect::<Vec<_>>();
        assert_eq!(scalars(&led), scalars(&given));
        for group in GROUPS {
            let range = led.params.layout.group_range(group);
            let gradients = [&led, &given].map(|trial| trial.params.grad.all()[range.clone()].to_vec());
            assert!(gradients[0].iter().any(|&x| x != 0.0), "{group}");
            assert_eq!(gradients[0], gradients[1], "{group}");
        }
        // It is the context that made the difference.
        let mut without = trial(true, changes);
        rows.into_iter().for_each(|name| copy(&led, &mut without, name, CONTEXT));
        ["noise.prior", "noise.action"].into_iter().for_each(|name| copy(&led, &mut without, name, 0));
        without.run();
        assert_ne!(scalars(&led), scalars(&without));
    }
}
