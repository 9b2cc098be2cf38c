//! Bugs 9 and 10, as far as coefficients go: what changes from step to step is not frozen in the plan, and weight decay decays.

use dreamer_fast::dreamer::init::init;
use dreamer_fast::dreamer::step::{NoiseSource, TrainStep};
use dreamer_fast::run::agent::Learner;
use dreamer_fast::run::collect::{Actor, Collector};

use super::trial::{OBS, trial};
use super::{beginner, close, config, pool};

/// The weights that lost a tenth in an update without gradients, by name; all others must not have moved.
fn decayed(pattern: &str) -> Vec<String> {
    let pattern = format!("weight_decay_pattern={pattern}");
    let mut trial = trial(true, &["weight_decay=0.1", &pattern, "slow_value=0.5"]);
    trial.run();
    trial.params.grad.all_mut().fill(0.0);
    let layout = trial.params.layout.clone();
    let before = trial.params.value.all().to_vec();
    trial.step.update(&mut trial.params);
    let shrank = |entry: &&dreamer_fast::autodiff::params::Entry| {
        let (old, new) = (&before[entry.range()], trial.params.value(&entry.name));
        let all = |factor: f64| old.iter().zip(new).all(|(a, b)| close(a * factor, *b));
        assert!(all(0.9) || all(1.0), "{}: {old:?} became {new:?}", entry.name);
        all(0.9)
    };
    let groups = ["model", "actor", "value"];
    groups.iter().flat_map(|g| layout.group_entries(g)).filter(shrank).map(|e| e.name.clone()).collect()
}

/// Fails when `adam_update` computes the decayed weights without storing them, or when a pattern is not asked.
#[test]
fn bug_10_weight_decay_changes_the_weights_that_it_names() {
    let all: Vec<String> = {
        let trial = trial(true, &[]);
        trial.params.layout.entries().iter().map(|e| e.name.clone()).collect()
    };
    let those = |which: &dyn Fn(&str) -> bool| all.iter().filter(|n| which(n)).cloned().collect::<Vec<_>>();
    assert_eq!(decayed("*"), all);
    assert_eq!(decayed("rssm.*"), those(&|n| n.starts_with("rssm.")));
    assert_eq!(decayed("*.w"), those(&|n| n.ends_with(".w")));
    assert_eq!(decayed("value.out.w"), ["value.out.w"]);
}

/// Fails when `TrainStep::gradients` runs with a clock that stands still.
#[test]
fn bug_09_noise_is_drawn_anew_in_every_run_of_the_plan() {
    let model = trial(true, &["actor_grad=reinforce"]).model;
    let mut params = dreamer_fast::autodiff::Params::<f64>::new(model.layout().into());
    init(&model, &mut params, 1);
    let mut step = TrainStep::new(&model, &params, NoiseSource::Drawn, &pool());
    let obs = step.batch.obs;
    step.plan.input_mut(obs).iter_mut().enumerate().for_each(|(i, x)| *x = (i % OBS) as f64);
    let mut losses = |step: &mut TrainStep<f64>, updates: u64| {
        step.updates = updates;
        step.gradients(&mut params, 7);
        // The posterior's noise moves the image loss, the prior's and the actions' the other two.
        [step.world.image, step.behavior.value_loss, step.behavior.actor_loss].map(|v| step.plan.scalar(v))
    };
    let (first, second, again) = (losses(&mut step, 0), losses(&mut step, 1), losses(&mut step, 0));
    assert!(first.iter().zip(&second).all(|(a, b)| a != b), "{first:?} and {second:?}");
    assert_eq!(first, again, "the same step has the same noise");
}

/// Fails when `TrainStep::gradients` writes the range of returns only once, or when `update` does not move it.
#[test]
fn bug_09_the_range_of_returns_is_not_frozen() {
    let mut trial = trial(true, &["actor_grad=reinforce", "return_norm=true", "return_norm_floor=0.01"]);
    let mut loss = |range: f64| {
        trial.step.return_range = Some(range);
        trial.run();
        trial.step.plan.scalar(trial.step.behavior.actor_loss)
    };
    let (one, eight, two) = (loss(1.0), loss(8.0), loss(2.0));
    assert!(one != 0.0 && close(eight, one / 8.0) && close(two, one / 2.0), "{one}, {eight}, {two}");

    trial.step.return_range = None;
    let mut want: Option<f64> = None;
    for _ in 0..3 {
        trial.run();
        let mut returns = trial.value(trial.step.behavior.returns).to_vec();
        returns.sort_by(f64::total_cmp);
        let at = |q: f64| returns[(q * (returns.len() - 1) as f64).round() as usize];
        let range = at(0.95) - at(0.05);
        want = Some(want.map_or(range, |old| old + 0.01 * (range - old)));
        trial.step.update(&mut trial.params);
        assert!(close(trial.step.return_range.unwrap(), want.unwrap()));
    }
}

/// Fails when `adam_update` moves parameters without counting their version up, so that the plan keeps its packed copies of them.
#[test]
fn bug_09_the_plan_sees_the_updated_weights() {
    let changes = ["observation=vector", "actor_lr=0.01", "value_lr=0.01", "weight_decay=0.01"];
    let (mut agent, mut replay) = beginner(&config("Pendulum-v1", &[&changes[..], &["time_limit=20"]].concat()));
    let mut collector = Collector::new(&agent).unwrap();
    (0..25).for_each(|_| drop(collector.step(&mut agent, &mut replay, Actor::Random).unwrap()));
    let mut learner = Learner::new(&agent);
    for _ in 0..4 {
        // One learner lives on, one is compiled for this update alone.
        let mut fresh = Learner::new(&agent);
        fresh.restore(&learner.state()).unwrap();
        let mut copy = dreamer_fast::run::agent::Agent::new(agent.world.clone(), pool());
        for (from, to) in [
            (&agent.params.value, &mut copy.params.value),
            (&agent.params.adam_m, &mut copy.params.adam_m),
            (&agent.params.adam_v, &mut copy.params.adam_v),
        ] {
            to.all_mut().copy_from_slice(from.all());
        }
        let (lived, compiled) =
            (learner.update(&mut agent, &replay).unwrap(), fresh.update(&mut copy, &replay).unwrap());
        assert_eq!(lived, compiled);
        assert_eq!(agent.checksum(), copy.checksum());
    }
}

/// Fails when `TrainStep::update` lets the slow copy of the value head follow only once.
#[test]
fn bug_09_the_slow_value_follows_in_every_update() {
    let mut trial = trial(true, &["slow_value=0.25", "value_lr=0.01"]);
    let mut slow = trial.params.value("slow.out.w").to_vec();
    for _ in 0..3 {
        trial.run();
        trial.step.update(&mut trial.params);
        let fast = trial.params.value("value.out.w");
        slow.iter_mut().zip(fast).for_each(|(s, f)| *s += 0.25 * (f - *s));
        assert!(slow.iter().zip(trial.params.value("slow.out.w")).all(|(a, b)| close(*a, *b)));
        assert!(slow.iter().zip(fast).any(|(s, f)| s != f));
    }
}
