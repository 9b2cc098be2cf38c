//! Bug 7: each of the three optimizers moves its own parameters by its own gradient.

use dreamer_fast::autodiff::{Clock, Graph, Params, Plan, Sweep};
use dreamer_fast::dreamer::heads;

use super::trial::{Trial, trial};
use super::{close, pool};

fn trials() -> Vec<Trial> {
    vec![
        trial(true, &["actor_entropy=0.1"]),
        trial(true, &["actor_grad=reinforce", "actor_entropy=0.1", "slow_value=0.3"]),
        trial(false, &["pcont=true"]),
    ]
}

/// The gradient of the value loss where states, targets and weights are nothing but numbers.
fn value_gradient(trial: &mut Trial) -> Params<f64> {
    let (model, behavior) = (trial.model.clone(), trial.step.behavior);
    let returns = trial.value(behavior.returns).to_vec();
    let (all, n) = (trial.imagination(), model.starts());
    let first = usize::from(!trial.reinforce());
    let widths = [model.stoch(), model.deter()];
    let rows = returns.len();
    let feat = [0, 1].map(|part| &all[part][first * n * widths[part]..][..rows * widths[part]]);
    let weights: Vec<f64> = if model.config.pcont {
        let logits = trial.layer("pcont", model.config.pcont_layers, &feat.map(<[f64]>::to_vec));
        let p: Vec<f64> = logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect();
        (0..rows).map(|at| (0..at / n).map(|t| p[t * n + at % n]).product()).collect()
    } else {
        (0..rows).map(|at| model.config.discount.powi((at / n) as i32)).collect()
    };
    let mut g = Graph::new(trial.params.layout.clone());
    let inputs = [g.input("stoch", &[rows, widths[0]]), g.input("deter", &[rows, widths[1]])];
    let (target, weight) = (g.input("target", &[rows]), g.input("weight", &[rows]));
    let nll = heads::value(&mut g, &model, "value", &inputs).nll(&mut g, &model, target);
    let loss = g.weighted_mean(nll, weight);
    let mut plan = Plan::new(g, &[Sweep::new(loss, "value")], pool());
    (0..2).for_each(|part| plan.input_mut(inputs[part]).copy_from_slice(feat[part]));
    plan.input_mut(target).copy_from_slice(&returns);
    plan.input_mut(weight).copy_from_slice(&weights);
    let mut params = Params::new(trial.params.layout.clone());
    params.value.all_mut().copy_from_slice(trial.params.value.all());
    plan.run(&mut params, Clock { seed: 0, step: 0 });
    params
}

/// Fails when the sweep that ends at the value head begins at the sum of both losses.
#[test]
fn bug_07_the_critic_has_no_gradient_but_that_of_its_own_loss() {
    for mut trial in trials() {
        trial.run();
        let alone = value_gradient(&mut trial);
        for entry in trial.params.layout.clone().group_entries("value") {
            let (got, want) = (trial.params.grad(&entry.name), alone.grad(&entry.name));
            assert!(got.iter().zip(want).all(|(a, b)| close(*a, *b)), "{}: {got:?}, not {want:?}", entry.name);
            assert!(want.iter().any(|&g| g != 0.0), "{} has a gradient", entry.name);
        }
    }
}

/// Fails when `TrainStep::update` gives a group another group's range or learning rate, or Adam a number of the update that
/// stands still.
#[test]
fn bug_07_each_optimizer_moves_its_own_parameters_once() {
    for mut trial in trials() {
        let c = trial.model.config.clone();
        let layout = trial.params.layout.clone();
        let (mut m, mut v) = (vec![0.0; layout.len()], vec![0.0; layout.len()]);
        for t in 1..=3 {
            trial.run();
            let before = trial.params.value.all().to_vec();
            let grad = trial.params.grad.all().to_vec();
            trial.step.update(&mut trial.params);
            for (group, lr) in [("model", c.model_lr), ("actor", c.actor_lr), ("value", c.value_lr)] {
                let norm = layout.group_range(group).map(|i| grad[i] * grad[i]).sum::<f64>().sqrt();
                assert!(norm > 0.0, "{group} has no gradient");
                for i in layout.group_range(group) {
                    let g = grad[i] * (c.grad_clip / norm.max(c.grad_clip));
                    m[i] = 0.9 * m[i] + 0.1 * g;
                    v[i] = 0.999 * v[i] + 0.001 * g * g;
                    let corrected = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                    let want = before[i] - lr * corrected.0 / (corrected.1.sqrt() + c.adam_eps);
                    let got = trial.params.value.all()[i];
                    assert!(close(got, want), "{group}, update {t}: {got}, not {want}");
                }
            }
        }
    }
}
