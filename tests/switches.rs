//! Does each switch do what its key says? Ops against their formulas written out, losses against the terms that they are made of, and what a run
//! stores and shows against the worlds that it came from.

use std::f64::consts::PI;
use std::sync::Arc;

use dreamer_fast::autodiff::{Clock, Graph, Layout, Params, Plan, Var};
use dreamer_fast::base::Philox;
use dreamer_fast::base::philox::stream;
use dreamer_fast::config::resolve::{Request, resolve};
use dreamer_fast::config::{ActorGrad, Config, ImagPrior, Latent, Norm, ScalarDist};
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::checks::{parameters, training_step, whole_losses};
use dreamer_fast::dreamer::policy::Dreamer;
use dreamer_fast::dreamer::step::TrainStep;
use dreamer_fast::dreamer::{Actions, Model, Observation};
use dreamer_fast::ops::Activation;
use dreamer_fast::replay::{Obs, Replay};
use dreamer_fast::run::agent::Agent;
use dreamer_fast::run::collect::{Actor, Collector};
use dreamer_fast::run::world::World;

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(1).unwrap())
}

fn normals(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = Philox::new(seed, stream::TEST, 5);
    (0..n).map(|_| rng.normal()).collect()
}

/// What `build` computes from tensors of these shapes and values.
fn eval(tensors: &[(&[usize], &[f64])], build: impl Fn(&mut Graph<f64>, &[Var]) -> Vec<Var>) -> Vec<Vec<f64>> {
    let mut layout = Layout::new();
    layout.group("given", tensors.iter().enumerate().map(|(i, (shape, _))| (format!("t{i}"), shape.to_vec())));
    let mut params = Params::new(Arc::new(layout));
    for (i, (_, values)) in tensors.iter().enumerate() {
        params.value_mut(&format!("t{i}")).copy_from_slice(values);
    }
    let mut graph = Graph::new(params.layout.clone());
    let vars: Vec<Var> = (0..tensors.len()).map(|i| graph.param(&format!("t{i}"))).collect();
    let results = build(&mut graph, &vars);
    results.iter().for_each(|&v| {
        graph.keep(v);
    });
    let mut plan = Plan::new(graph, &[], pool());
    plan.run(&mut params, Clock::default());
    results.iter().map(|&v| plan.value(v).to_vec()).collect()
}

#[track_caller]
fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1.0_f64, |a, w| a.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() / largest <= 1e-12, "element {i}: {g} but {w} is wanted");
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn norms_by_their_formulas() {
    let (rows, n) = (3, 5);
    let (x, scale, offset) = (normals(rows * n, 1), normals(n, 2), normals(n, 3));
    let got = eval(&[(&[rows, n], &x), (&[n], &scale), (&[n], &offset)], |g, t| {
        vec![g.layer_norm(t[0], t[1], t[2]), g.rms_norm(t[0], t[1])]
    });
    let mean = |row: usize, f: &dyn Fn(f64) -> f64| x[row * n..][..n].iter().map(|&x| f(x)).sum::<f64>() / n as f64;
    let layer = |at: usize| {
        let middle = mean(at / n, &|x| x);
        let variance = mean(at / n, &|x| (x - middle).powi(2));
        (x[at] - middle) / (variance + 1e-3).sqrt() * scale[at % n] + offset[at % n]
    };
    let rms = |at: usize| x[at] / (mean(at / n, &|x| x * x) + 1e-4).sqrt() * scale[at % n];
    close(&got[0], &(0..rows * n).map(layer).collect::<Vec<_>>());
    close(&got[1], &(0..rows * n).map(rms).collect::<Vec<_>>());
}

/// danijar/dreamerv2 `nets.py`, GRUCell: reset, cand, update; the update gate's bias is -1.
#[test]
fn the_gru_of_version_2_by_its_formulas() {
    let (rows, d) = (3, 4);
    let (a, h) = (normals(rows * 3 * d, 1), normals(rows * d, 2));
    let got = eval(&[(&[rows, 3 * d], &a), (&[rows, d], &h)], |g, t| vec![g.norm_gru_cell(t[0], t[1])]);
    let next = |at: usize| {
        let gate = |k: usize| a[at / d * 3 * d + k * d + at % d];
        let (reset, update) = (sigmoid(gate(0)), sigmoid(gate(2) - 1.0));
        update * (reset * gate(1)).tanh() + (1.0 - update) * h[at]
    };
    close(&got[0], &(0..rows * d).map(next).collect::<Vec<_>>());
}

/// Behind the outer product with a one-hot action a linear layer has the weights that belong to that action.
#[test]
fn an_action_that_multiplies_picks_its_weights() {
    let (rows, actions, d, n) = (4, 3, 5, 2);
    let chosen = [2, 0, 1, 2];
    let mut a = vec![0.0; rows * actions];
    chosen.iter().enumerate().for_each(|(row, k)| a[row * actions + k] = 1.0);
    let (x, w) = (normals(rows * d, 1), normals(actions * d * n, 2));
    let got = eval(&[(&[rows, actions], &a), (&[rows, d], &x), (&[actions * d, n], &w)], |g, t| {
        let product = g.outer(t[0], t[1]);
        vec![g.linear(&[product], t[2], None, Activation::Identity)]
    });
    let own = |row: usize, j: usize| (0..d).map(|i| x[row * d + i] * w[(chosen[row] * d + i) * n + j]).sum::<f64>();
    close(&got[0], &(0..rows * n).map(|at| own(at / n, at % n)).collect::<Vec<_>>());
}

/// With `action_product` the recurrence has weights for every action, and no other layer changes.
#[test]
fn actions_multiply_only_in_the_recurrence() {
    let shapes = |on: bool| {
        let layout = model(|c| c.action_product = on).layout();
        layout.entries().iter().map(|e| (e.name.clone(), e.shape.clone())).collect::<Vec<_>>()
    };
    let (plain, product) = (shapes(false), shapes(true));
    let changed: Vec<_> =
        plain.iter().zip(&product).filter(|(a, b)| a != b).map(|(a, b)| (&a.0[..], &a.1, &b.1)).collect();
    let (s, d, hidden) = (3, 7, 6);
    assert_eq!(
        changed,
        [
            ("rssm.img1.w", &vec![s + 4, hidden], &vec![4 * s + 4, hidden]),
            ("rssm.gru.wh", &vec![d, 3 * d], &vec![4 * d, 3 * d]),
        ]
    );
}

/// With a map the heads read it, and there is neither GRU nor a layer between view and posterior. Without `map_dense` prior and plan alone read it.
#[test]
fn a_map_stands_in_place_of_the_gru() {
    for (name, dense) in [("a map that erases apart", true), ("no other layer reads", false)] {
        let tiny = whole_losses().into_iter().find(|case| case.name.contains(name)).expect("a whole loss").model;
        let (s, d, a) = (tiny.stoch(), tiny.deter(), tiny.actions.size());
        let own = tiny.config.deter_size;
        assert_eq!((s, d), (9 * 2, own + 5 * 5 * 2));
        let layout = tiny.layout();
        let shape = |name: &str| layout.entries().iter().find(|e| e.name == name).map(|e| e.shape.clone());
        let (read, expected) = if dense { (d, d) } else { (own, own + s) };
        assert_eq!(shape("rssm.img1.w"), Some(vec![s + a + read, own]));
        assert_eq!(shape("rssm.img2.w"), Some(vec![expected, tiny.config.hidden_size]));
        let gates = if tiny.config.map_erase { 2 * 2 } else { 2 };
        assert_eq!(shape("rssm.move.w"), Some(vec![s + a, 4 + gates]));
        assert_eq!(shape("reward.h0.w"), Some(vec![s + read, tiny.config.num_units]));
        assert!(layout.entries().iter().all(|e| !e.name.contains("gru") && !e.name.contains("obs")));
    }
}

#[test]
fn silu_symlog_and_weighted_squares_by_their_formulas() {
    let (rows, pixels, channels) = (2, 3, 2);
    let n = rows * pixels * channels;
    let (mu, x, w) = (normals(n, 1), normals(n, 2), normals(rows * pixels, 3));
    let got = eval(&[(&[rows, n / rows], &mu), (&[rows, n / rows], &x), (&[rows, pixels], &w)], |g, t| {
        let log = g.symlog(t[0]);
        vec![g.silu(t[0]), log, g.symexp(log), g.weighted_normal_nll(t[0], t[1], t[2], rows), g.symexp(t[0])]
    });
    close(&got[0], &mu.iter().map(|x| x * sigmoid(*x)).collect::<Vec<_>>());
    close(&got[1], &mu.iter().map(|x| x.signum() * (1.0 + x.abs()).ln()).collect::<Vec<_>>());
    close(&got[2], &mu);
    let nll = |row: usize| {
        let at = row * pixels * channels..(row + 1) * pixels * channels;
        at.map(|i| w[i / channels] * (mu[i] - x[i]).powi(2) / 2.0 + (2.0 * PI).ln() / 2.0).sum()
    };
    close(&got[3], &(0..rows).map(nll).collect::<Vec<_>>());
    close(&got[4], &mu.iter().map(|x| x.signum() * (x.abs().exp() - 1.0)).collect::<Vec<_>>());
}

/// The tiny model of the gradient checks with discrete actions, changed.
fn model(change: impl Fn(&mut Config)) -> Model {
    let tiny = whole_losses().into_iter().find(|case| case.name == "vector, discrete").expect("a tiny model").model;
    let mut config = tiny.config;
    change(&mut config);
    Model::new(&config, Observation::Vector { size: 5 }, Actions::Discrete(4)).unwrap()
}

/// A training step that has run once, and its parameters.
fn ran(change: impl Fn(&mut Config)) -> (TrainStep<f64>, Params<f64>) {
    let model = model(change);
    let mut params = parameters::<f64>(&model);
    let mut step = training_step(&model, &params, &pool());
    step.gradients(&mut params, 9);
    (step, params)
}

fn group<'a>(params: &'a Params<f64>, name: &str) -> &'a [f64] {
    &params.grad.all()[params.layout.group_range(name)]
}

/// DreamerV2, eq. (6) with both gradients: the loss and its gradient lie between those of the two, by the share.
#[test]
fn the_mixed_gradient_is_the_weighted_sum_of_the_two() {
    let of = |share: Option<f64>| {
        ran(|c| {
            c.actor_grad = share.map_or(ActorGrad::Reinforce, |_| ActorGrad::Mixed);
            c.actor_grad_mix = share.unwrap_or(0.1);
        })
    };
    let [(_, reinforce), (_, none), (dynamics, all), (_, some)] = [None, Some(0.0), Some(1.0), Some(0.3)].map(of);
    close(group(&none, "actor"), group(&reinforce, "actor"));
    let between = group(&all, "actor").iter().zip(group(&reinforce, "actor")).map(|(d, r)| 0.3 * d + 0.7 * r);
    close(group(&some, "actor"), &between.collect::<Vec<_>>());
    // All of it through the dynamics: minus the weighed mean of the returns of the states 0 .. H-1.
    let (returns, n) = (dynamics.plan.value(dynamics.behavior.returns), dynamics.model.starts());
    let gain = returns.iter().enumerate().map(|(at, r)| 0.99_f64.powi((at / n) as i32) * r).sum::<f64>();
    close(&[dynamics.plan.scalar(dynamics.behavior.actor_loss)], &[-gain / returns.len() as f64]);
    assert!(group(&all, "actor").iter().zip(group(&reinforce, "actor")).any(|(d, r)| (d - r).abs() > 1e-6));
}

/// After so many updates the loss and its gradient are those of a constant weight of the entropy that has been halved as often, down to the least.
#[test]
fn the_weight_of_the_entropy_halves() {
    for actor_grad in [ActorGrad::Reinforce, ActorGrad::Dynamics] {
        let at = |updates: u64, change: &dyn Fn(&mut Config)| {
            let model = model(|c| {
                (c.actor_grad, c.actor_entropy) = (actor_grad, 0.4);
                change(c);
            });
            let mut params = parameters::<f64>(&model);
            let mut step = training_step(&model, &params, &pool());
            step.updates = updates;
            step.gradients(&mut params, 9);
            (step.plan.scalar(step.behavior.actor_loss), group(&params, "actor").to_vec())
        };
        let falling = |c: &mut Config| (c.actor_entropy_decay, c.actor_entropy_min) = (10.0, 0.05);
        for (updates, weight) in [(0, 0.4), (5, 0.4 * 0.5_f64.sqrt()), (20, 0.1), (1000, 0.05)] {
            let (loss, gradient) = at(updates, &falling);
            let (constant, same) = at(updates, &|c| c.actor_entropy = weight);
            close(&[loss], &[constant]);
            close(&gradient, &same);
        }
        assert!(at(20, &falling).0 > at(20, &|_| {}).0, "a bonus of less weight leaves a larger loss");
    }
}

/// (I8): a uniform actor, whose last layer is 0, pays ln A in every state for the log barrier.
#[test]
fn a_log_barrier_by_formula() {
    let mut met = 0;
    for case in whole_losses().into_iter().filter(|case| case.model.config.actor_log_barrier > 0.0) {
        let mut params = parameters::<f64>(&case.model);
        for name in ["actor.out.w", "actor.out.b"] {
            let range = params.layout.entry(name).expect("the actor's last layer").range();
            params.value.all_mut()[range].fill(0.0);
        }
        params.changed();
        let [with, without] = [case.model.config.actor_log_barrier, 0.0].map(|weight| {
            let mut model = case.model.clone();
            model.config.actor_log_barrier = weight;
            let mut step = training_step(&model, &params, &pool());
            step.gradients(&mut params, 9);
            step.metrics().find(|(name, _)| *name == "actor_loss").expect("the actor's loss").1
        });
        let c = &case.model.config;
        assert!(c.discount_weights && !c.pcont, "{}: steps count by powers of the discount", case.name);
        let weights = (0..c.horizon).map(|t| c.discount.powi(t as i32)).sum::<f64>() / c.horizon as f64;
        close(&[with - without], &[c.actor_log_barrier * weights * (case.model.actions.size() as f64).ln()]);
        met += 1;
    }
    assert!(met > 0, "a case has a log barrier");
}

/// A posterior of the same classes everywhere pays the same in each variable for the barrier, -ln K - mean ln p; with `latent_barrier_decay` its weight halves,
/// down to the least.
#[test]
fn a_barrier_of_the_latent_by_formula() {
    let mut met = 0;
    for case in whole_losses().into_iter().filter(|case| case.model.config.latent_barrier > 0.0) {
        let whole = (0.3_f64.exp() + (-0.5_f64).exp()).ln();
        let each = -(2.0_f64.ln()) - ((0.3 - whole) + (-0.5 - whole)) / 2.0;
        let weight = case.model.config.latent_barrier;
        let falling = |c: &mut Config| (c.latent_barrier_decay, c.latent_barrier_min) = (10.0, 0.1 * weight);
        let steady = |_: &mut Config| ();
        let changes: [(&dyn Fn(&mut Config), u64, f64); 4] =
            [(&steady, 20, 1.0), (&falling, 0, 1.0), (&falling, 20, 0.25), (&falling, 1000, 0.1)];
        for (change, updates, share) in changes {
            let mut params = parameters::<f64>(&case.model);
            params.value_mut("enc.code.w").fill(0.0);
            params.value_mut("enc.code.b").copy_from_slice(&[0.3, -0.5]);
            params.changed();
            let mut model = case.model.clone();
            change(&mut model.config);
            let mut step = training_step(&model, &params, &pool());
            step.updates = updates;
            step.gradients(&mut params, 9);
            let of = |name: &str| step.metrics().find(|(n, _)| *n == name).expect("a term of the model's loss").1;
            close(&[of("barrier")], &[9.0 * each]);
            let c = &model.config;
            assert!(!c.pcont, "{}: a term is missing", case.name);
            let others =
                c.kl_scale * of("div") + c.image_scale * of("image_loss") + c.reward_loss_scale * of("reward_loss");
            close(&[of("model_loss") - others], &[share * weight * 9.0 * each]);
        }
        met += 1;
    }
    assert!(met > 0, "a case has a barrier");
}

/// An update moves the parameters as one of constant learning rates, as many times smaller as updates are left; the last one moves them still.
#[test]
fn the_learning_rates_fall_at_the_end_of_a_run() {
    let update = |updates: u64, change: &dyn Fn(&mut Config)| {
        let model = model(|c| {
            (c.prefill, c.pretrain, c.train_every, c.train_steps) = (100, 6, 10, 2);
            // 6 updates, and 2 for each 10 of 225 steps.
            c.steps = 325;
            change(c);
        });
        assert_eq!(model.config.updates(), 50);
        let mut params = parameters::<f64>(&model);
        let mut step = training_step(&model, &params, &pool());
        step.updates = updates;
        step.gradients(&mut params, 9);
        step.update(&mut params);
        params.value.all().to_vec()
    };
    let annealed = |c: &mut Config| c.lr_anneal = 0.4;
    for (updates, share) in [(0, 1.0), (30, 1.0), (35, 0.75), (49, 0.05), (50, 0.0)] {
        let scaled = |c: &mut Config| {
            [&mut c.model_lr, &mut c.value_lr, &mut c.actor_lr].into_iter().for_each(|lr| *lr *= share)
        };
        close(&update(updates, &annealed), &update(updates, &scaled));
    }
    assert!(update(49, &annealed) != update(50, &annealed), "the last update moves the parameters");
}

/// The critic's optimizer sees a share of the actor's gradient, and nobody else sees a difference.
#[test]
fn the_actors_gradient_reaches_the_value_by_its_share() {
    let [(_, without), (_, half), (step, whole)] = [0.0, 0.5, 1.0].map(|share| ran(|c| c.value_actor_grad = share));
    for name in ["model", "actor"] {
        assert!(group(&without, name) == group(&whole, name), "the gradients of {name}");
    }
    let (none, all) = (group(&without, "value"), group(&whole, "value"));
    let middle: Vec<f64> = none.iter().zip(all).map(|(a, b)| 0.5 * (a + b)).collect();
    close(group(&half, "value"), &middle);
    // A larger bias of the value makes every return larger, so that the actor's loss falls: its gradient pulls the value up.
    let bias = |params: &Params<f64>| params.grad("value.out.b")[0];
    assert!(bias(&whole) < bias(&without), "{} {}", bias(&whole), bias(&without));
    let scalar = |v| step.plan.scalar(v);
    let behavior = &step.behavior;
    close(&[scalar(behavior.value_objective)], &[scalar(behavior.value_loss) + scalar(behavior.actor_loss)]);
}

#[test]
fn without_discount_weights_every_step_counts_alike() {
    let (step, _) = ran(|c| c.discount_weights = false);
    let (returns, values) = (step.plan.value(step.behavior.returns), step.plan.value(step.behavior.values));
    let n = returns.len() as f64;
    let square = |(r, v): (&f64, &f64)| (r - v).powi(2) / 2.0 + (2.0 * PI).ln() / 2.0;
    close(&[step.plan.scalar(step.behavior.value_loss)], &[returns.iter().zip(values).map(square).sum::<f64>() / n]);
    close(&[step.plan.scalar(step.behavior.actor_loss)], &[-returns.iter().sum::<f64>() / n]);
}

/// Open-loop predictions after one step under several draws of the noise: the stochastic state is what reconstructions differ by.
#[test]
fn the_mean_of_the_prior_has_no_chance_in_it() {
    for latent in [Latent::Gaussian, Latent::Categorical] {
        for (imag_prior, alike) in [(ImagPrior::Sample, false), (ImagPrior::Mean, true)] {
            let model = model(|c| {
                (c.latent, c.latent_classes, c.imag_prior) = (latent, 4, imag_prior);
            });
            let mut params = parameters::<f64>(&model);
            let mut dreamer = Dreamer::new(&model, &params, 1, &pool());
            let (stoch, deter) = (vec![0.3; model.stoch()], vec![0.2; model.deter()]);
            let mut seen = Vec::new();
            for step in 0..8 {
                dreamer.begin(&stoch, &deter);
                let clock = Clock { seed: 1, step };
                seen.push(dreamer.step(&mut params, &[0.0, 1.0, 0.0, 0.0], clock).to_vec());
            }
            assert_eq!(seen.iter().all(|decoded| *decoded == seen[0]), alike, "{latent} {imag_prior}");
        }
    }
}

/// A head that learns the symlog of a number predicts its symexp.
#[test]
fn symlog_heads_predict_in_the_units_of_the_reward() {
    let (step, mut params) = ran(|c| {
        (c.reward_dist, c.value_dist) = (ScalarDist::SymlogNormal, ScalarDist::SymlogNormal);
    });
    // Biases alone speak: a reward and a value of 2 in symlog, which is e^2 - 1 in units of the reward.
    for head in ["reward", "value"] {
        params.value_mut(&format!("{head}.out.w")).fill(0.0);
        params.value_mut(&format!("{head}.out.b")).fill(2.0);
    }
    let mut step = training_step(&step.model, &params, &pool());
    step.gradients(&mut params, 9);
    let values = step.plan.value(step.behavior.values);
    close(values, &vec![2.0_f64.exp() - 1.0; values.len()]);
    let nll = |x: &f64| (2.0 - x.signum() * (1.0 + x.abs()).ln()).powi(2) / 2.0 + (2.0 * PI).ln() / 2.0;
    let target = step.plan.value(step.batch.reward);
    let (name, reward_loss) = step.scalars[1];
    assert_eq!(name, "reward_loss");
    close(&[step.plan.scalar(reward_loss)], &[target.iter().map(nll).sum::<f64>() / target.len() as f64]);
}

/// Norms have parameters of their own, which begin as the identity; without them a model has those of DreamerV1.
#[test]
fn norms_add_scales_and_offsets() {
    let names = |norm, gru_norm| {
        let model = model(|c| (c.norm, c.gru_norm) = (norm, gru_norm));
        let mut params = Params::<f64>::new(Arc::new(model.layout()));
        dreamer_fast::dreamer::init::init(&model, &mut params, 0);
        for entry in model.layout().entries() {
            let values = params.value(&entry.name);
            assert!(!entry.name.ends_with(".scale") || values.iter().all(|&x| x == 1.0), "{}", entry.name);
            assert!(!entry.name.ends_with(".offset") || values.iter().all(|&x| x == 0.0), "{}", entry.name);
        }
        let names: Vec<String> = model.layout().entries().iter().map(|e| e.name.clone()).collect();
        names
    };
    let plain = names(Norm::None, Norm::None);
    assert!(!plain.iter().any(|name| name.ends_with(".scale") || name.ends_with(".offset")));
    assert!(plain.contains(&"rssm.gru.wx".to_string()) && !plain.contains(&"rssm.gru.w".to_string()));
    let gru = names(Norm::None, Norm::Layer);
    let added: Vec<&String> = gru.iter().filter(|name| !plain.contains(name)).collect();
    assert_eq!(added, ["rssm.gru.w", "rssm.gru.b", "rssm.gru.scale", "rssm.gru.offset"]);
    let all = names(Norm::Rms, Norm::None);
    let added: Vec<&String> = all.iter().filter(|name| !plain.contains(name)).collect();
    assert!(added.iter().all(|name| name.ends_with(".scale") && !name.contains(".out")), "{added:?}");
    for name in ["enc.h0", "rssm.img1", "rssm.img2", "rssm.obs1", "dec.h0", "reward.h0", "actor.h1", "value.h0"] {
        assert!(added.contains(&&format!("{name}.scale")), "{name}");
    }
}

/// `norm` leaves convolutions alone and `cnn_norm` dense layers; the convolution that draws the image has none.
#[test]
fn convolutions_have_norms_of_their_own() {
    let scales = |norm, cnn_norm| {
        let config = Config { norm, cnn_norm, ..model(|_| {}).config };
        let image = Observation::Image { height: 28, width: 28, channels: 3 };
        let layout = Model::new(&config, image, Actions::Discrete(4)).unwrap().layout();
        let names = layout.entries().iter().filter_map(|e| e.name.strip_suffix(".scale").map(String::from));
        names.collect::<Vec<String>>()
    };
    let convolutions = ["enc.conv1", "enc.conv2", "enc.conv3", "dec.deconv1", "dec.deconv2"];
    assert_eq!(scales(Norm::None, Norm::Rms), convolutions);
    let dense = scales(Norm::Rms, Norm::None);
    assert!(dense.contains(&"rssm.img1".into()) && dense.iter().all(|name| !name.contains("conv")), "{dense:?}");
}

/// The preset `debug` for a task, with changes `key=value`.
fn debug(task: &str, changes: &[&str]) -> Config {
    let set = changes.iter().map(|change| change.to_string()).collect();
    let flags = vec![("task", task.into())];
    resolve(&Request { preset: Some("debug".into()), flags, set, ..Request::default() }).unwrap().config
}

/// An untrained agent, its environments, and its empty replay.
fn beginner(config: &Config) -> (Agent, Collector, Replay) {
    let agent = Agent::new(World::new(config).unwrap(), pool());
    let collector = Collector::new(&agent).unwrap();
    let replay = Replay::in_memory(agent.world.layout.clone(), config.envs, 1 << 30, config.seed);
    (agent, collector, replay)
}

/// The first episodes are won, in as few steps as there can be, and those after them are not planned.
#[test]
fn the_first_episodes_follow_the_shortest_plan() {
    for actor in [Actor::Random, Actor::Policy { noise: 1.0 }] {
        let config = debug("Simple-10x10", &["envs=3", "expert_episodes=7", "time_limit=60"]);
        let (mut agent, mut collector, mut replay) = beginner(&config);
        let mut ends = Vec::new();
        while ends.len() < 25 {
            ends.extend(collector.step(&mut agent, &mut replay, actor).unwrap());
        }
        let won: Vec<_> = ends.iter().filter(|end| end.success && end.total_reward == 1.0).collect();
        assert!(won.len() >= 7 && won.len() < 20, "{} of {} episodes", won.len(), ends.len());
        assert!(ends[..7].iter().filter(|end| end.success && end.length <= 30).count() >= 5, "{ends:?}");
        assert!(replay.episodes().filter(|(_, _, episode)| episode.total_reward() > 0.0).count() >= 7);
    }
    let (agent, ..) = beginner(&debug("MiniGrid-Dynamic-Obstacles-5x5-v0", &[]));
    let mut config = agent.world.config().clone();
    config.expert_episodes = 1;
    let refusal = World::new(&config).expect_err("there are no plans").to_string();
    assert!(refusal.contains("expert_episodes = 1") && refusal.contains("Dynamic-Obstacles"), "{refusal}");
}

/// An untrained policy that is asked for its most probable action takes the action that `Choice::Mode` gives; a sample differs soon.
#[test]
fn collecting_can_be_greedy() {
    let actions = |greedy: &str| {
        let config = debug("Simple-10x10", &["envs=4", greedy]);
        let (mut agent, mut collector, mut replay) = beginner(&config);
        // The last layer decides by its bias alone: action 1 is the most probable, but not by much.
        agent.params.value_mut("actor.out.w").fill(0.0);
        agent.params.value_mut("actor.out.b").copy_from_slice(&[0.0, 0.1, 0.05]);
        (0..30).for_each(|_| {
            collector.step(&mut agent, &mut replay, Actor::Policy { noise: 0.0 }).unwrap();
        });
        let mut counts = [0; 3];
        for env in 0..4 {
            let episode = replay.open_episode(env);
            for row in 1..episode.rows() {
                let mut action = [0.0; 3];
                episode.copy_action(row, &mut action);
                (0..3).filter(|&i| action[i] == 1.0).for_each(|i| counts[i] += 1);
            }
        }
        counts
    };
    assert_eq!(actions("collect_greedy=true"), [0, 120, 0]);
    assert!(actions("collect_greedy=false").iter().all(|&n| n > 10));
}

/// What a vector looks like to the network.
#[test]
fn vectors_can_be_seen_through_symlog() {
    let worlds =
        ["symlog_obs=false", "symlog_obs=true"].map(|change| World::new(&debug("Pendulum-v1", &[change])).unwrap());
    let floats = [0.5_f32, -0.25, -7.0];
    let [plain, symlog] = worlds.map(|world| {
        let mut out = [0.0; 3];
        world.encode(Obs::Floats(&floats), &mut out);
        out
    });
    assert_eq!(plain, floats);
    for (x, y) in floats.iter().zip(symlog) {
        assert!((f64::from(y) - f64::from(x.signum()) * f64::from(1.0 + x.abs()).ln()).abs() < 1e-6, "{x} {y}");
    }
}

/// The slow copy stands still between two of its steps, and the first update makes one.
#[test]
fn the_slow_value_can_follow_seldom() {
    let (mut step, mut params) = ran(|c| (c.slow_value, c.slow_value_every, c.value_lr) = (1.0, 3, 0.01));
    let copies = |params: &Params<f64>| params.value("slow.out.w") == params.value("value.out.w");
    let mut seen = Vec::new();
    for _ in 0..7 {
        step.gradients(&mut params, 9);
        step.update(&mut params);
        seen.push(copies(&params));
    }
    assert_eq!(seen, [true, false, false, true, false, false, true]);
}

/// Weights of the world model's terms scale their gradients: a head that only one term trains has a gradient in proportion.
#[test]
fn terms_of_the_world_loss_have_weights() {
    let of = |image_scale, reward_loss_scale| {
        ran(|c| (c.image_scale, c.reward_loss_scale) = (image_scale, reward_loss_scale)).1
    };
    let (plain, weighed) = (of(1.0, 1.0), of(0.5, 3.0));
    let times = |name: &str, factor: f64| plain.grad(name).iter().map(|g| g * factor).collect::<Vec<_>>();
    close(weighed.grad("dec.out.w"), &times("dec.out.w", 0.5));
    close(weighed.grad("reward.out.w"), &times("reward.out.w", 3.0));
}
