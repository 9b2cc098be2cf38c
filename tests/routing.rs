//! Does each loss reach the parameters that it trains, and no others? A frozen parameter's gradient is exactly 0, to the last bit.

use std::sync::Arc;

use dreamer_fast::autodiff::gradcheck::STEP;
use dreamer_fast::autodiff::{Params, Plan};
use dreamer_fast::config::Config;
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::checks::{WholeLoss, parameters, training_step, training_step_by, whole_losses};
use dreamer_fast::dreamer::model::{GROUPS, SLOW};
use dreamer_fast::dreamer::step::TrainStep;
use dreamer_fast::dreamer::{Actions, Model, Observation};

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(1).unwrap())
}

fn groups(model: &Model) -> Vec<&'static str> {
    GROUPS.into_iter().chain((model.config.slow_value > 0.0).then_some(SLOW)).collect()
}

/// The gradients of one run, with only the given sweeps compiled (0: world, 1: actor, 2: value).
fn gradients(model: &Model, sweeps: &[usize]) -> Params<f64> {
    let mut params = parameters::<f64>(model);
    let mut step = training_step_by(model, &params, &pool(), |graph, all, pool| {
        let chosen: Vec<_> = sweeps.iter().map(|&i| all[i].clone()).collect();
        Plan::new(graph, &chosen, pool)
    });
    step.gradients(&mut params, 9);
    params
}

fn bits(params: &Params<f64>, group: &str) -> Vec<u64> {
    params.grad.all()[params.layout.group_range(group)].iter().map(|g| g.to_bits()).collect()
}

#[test]
fn a_sweep_leaves_every_other_group_at_exactly_zero() {
    for WholeLoss { name, model } in whole_losses() {
        for (sweep, trained) in GROUPS.into_iter().enumerate() {
            let params = gradients(&model, &[sweep]);
            for group in groups(&model) {
                let touched = bits(&params, group).iter().any(|&b| b != 0);
                assert_eq!(touched, group == trained, "{name}: the {trained} sweep and the gradients of {group}");
            }
        }
    }
}

#[test]
fn sweeps_do_not_leak_into_each_other() {
    for WholeLoss { name, model } in whole_losses() {
        let together = gradients(&model, &[0, 1, 2]);
        for (sweep, trained) in GROUPS.into_iter().enumerate() {
            let alone = gradients(&model, &[sweep]);
            assert!(bits(&together, trained) == bits(&alone, trained), "{name}: the gradients of {trained}");
        }
        if model.config.slow_value > 0.0 {
            assert!(bits(&together, SLOW).iter().all(|&b| b == 0), "{name}: the slow value has a gradient");
        }
    }
}

/// Every parameter of a trained group is reached: one that is not would never learn.
#[test]
fn every_parameter_is_reached() {
    for WholeLoss { name, model } in whole_losses() {
        let params = gradients(&model, &[0, 1, 2]);
        for entry in GROUPS.iter().flat_map(|group| params.layout.group_entries(group)) {
            let reached = params.grad(&entry.name).iter().any(|&g| g != 0.0);
            // The prior learns from the divergence alone, so below the free nats it learns nothing.
            let prior = ["rssm.img2", "rssm.img3"].iter().any(|layer| entry.name.starts_with(layer));
            assert_eq!(reached, !(prior && model.config.free_nats > 10.0), "{name}: {}", entry.name);
        }
    }
}

/// Below the free nats of the mean the divergence has no gradient, exactly: the prior head, which nothing else trains in the world loss, stays
/// where it is.
#[test]
fn no_gradient_passes_below_the_free_nats() {
    let (mut below, mut above) = (0, 0);
    for WholeLoss { name, model } in whole_losses().into_iter().filter(|case| !case.model.config.free_nats_each) {
        let params = gradients(&model, &[0]);
        let prior = ["rssm.img2.w", "rssm.img2.b", "rssm.img3.w", "rssm.img3.b"];
        let zero = prior.iter().all(|name| params.grad(name).iter().all(|g| g.to_bits() == 0));
        assert_eq!(zero, name.contains("below free nats"), "{name}");
        if zero { below += 1 } else { above += 1 }
    }
    assert!(below > 0 && above > 0, "{below} models below, {above} above");
}

fn vector_model(actions: Actions, change: fn(Config) -> Config) -> Model {
    let tiny = &whole_losses().into_iter().find(|case| case.name == "vector, continuous").expect("a tiny model").model;
    Model::new(&change(tiny.config.clone()), Observation::Vector { size: 5 }, actions).unwrap()
}

/// Gradient of a loss by sweep, and its slope when parameters really move and nothing is held still, for one parameter element.
fn gradient_and_slope(model: &Model, name: &str, i: usize, loss: fn(&TrainStep<f64>) -> f64) -> (f64, f64) {
    let mut params = parameters::<f64>(model);
    let mut step = training_step(model, &params, &pool());
    step.gradients(&mut params, 9);
    let gradient = params.grad(name)[i];
    let x = params.value(name)[i];
    let mut at = |x: f64| {
        params.value_mut(name)[i] = x;
        step.gradients(&mut params, 9);
        loss(&step)
    };
    (gradient, (at(x + STEP) - at(x - STEP)) / (2.0 * STEP))
}

/// The largest gap between gradient and real slope over the elements of a tensor, relative to the largest gradient.
fn gap(model: &Model, name: &str, loss: fn(&TrainStep<f64>) -> f64) -> f64 {
    let count = model.layout().entry(name).expect("a parameter").len().min(12);
    let pairs: Vec<(f64, f64)> = (0..count).map(|i| gradient_and_slope(model, name, i, loss)).collect();
    let largest = pairs.iter().fold(0.0_f64, |a, (g, _)| a.max(g.abs()));
    pairs.iter().fold(0.0_f64, |a, (g, s)| a.max((g - s).abs())) / largest
}

fn actor_loss(step: &TrainStep<f64>) -> f64 {
    step.plan.scalar(step.behavior.actor_loss)
}

fn value_loss(step: &TrainStep<f64>) -> f64 {
    step.plan.scalar(step.behavior.value_loss)
}

/// The actor sees stopped features: with one action there is no later feature for a gradient to come through, and the gradient is the slope;
/// with several it is not.
#[test]
fn the_actor_gets_no_gradient_through_its_features() {
    // With H = 2 the first return is of state 1, made by the first action, and bootstraps from state 2, made by the second: lambda and
    // discount 0 leave the reward of state 1 alone.
    let one = vector_model(Actions::Continuous(2), |c| Config { horizon: 2, discount: 0.0, ..c });
    assert!(gap(&one, "actor.out.w", actor_loss) < 1e-7, "{}", gap(&one, "actor.out.w", actor_loss));
    let many = vector_model(Actions::Continuous(2), |c| Config { horizon: 5, ..c });
    assert!(gap(&many, "actor.out.w", actor_loss) > 1e-4, "{}", gap(&many, "actor.out.w", actor_loss));
}

/// The value learns towards returns that count as constants: without bootstrapping (discount 0) they are, and otherwise its gradient is not the
/// slope of its loss.
#[test]
fn the_value_gets_no_gradient_through_its_target() {
    let constant = vector_model(Actions::Continuous(2), |c| Config { discount: 0.0, ..c });
    assert!(gap(&constant, "value.out.w", value_loss) < 1e-7, "{}", gap(&constant, "value.out.w", value_loss));
    let bootstrapped = vector_model(Actions::Continuous(2), |c| c);
    assert!(gap(&bootstrapped, "value.out.w", value_loss) > 1e-2, "{}", gap(&bootstrapped, "value.out.w", value_loss));
}
