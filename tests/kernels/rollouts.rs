//! Is a scan in one launch the scan? Training steps with rollouts have the bits of those that launch every op of every step.

use std::sync::Arc;

use dreamer_fast::autodiff::cuda_exec::CudaPlan;
use dreamer_fast::autodiff::{Clock, Graph, Layout, Params, Plan, Sweep};
use dreamer_fast::config::{self, Config, Latent, Norm};
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::checks::{self, WholeLoss};
use dreamer_fast::dreamer::{Actions, Model, Observation};
use dreamer_fast::ops::Activation;

use crate::Rig;

/// Models beyond the tiny ones: columns of several warps, sums of several pieces, more than 4 rows to a block and a block that is not full, classes
/// beyond a warp.
fn wider() -> Vec<WholeLoss> {
    let sizes = Config {
        batch_size: 9,
        batch_length: 60,
        horizon: 2,
        deter_size: 40,
        hidden_size: 35,
        num_units: 37,
        encoder_units: vec![8],
        decoder_units: vec![8],
        ..Config::default()
    };
    let gaussian = Config { stoch_size: 18, ..sizes.clone() };
    let categorical =
        Config { latent: Latent::Categorical, stoch_size: 2, latent_classes: 34, batch_length: 4, ..sizes };
    let model = |name, config: &Config, actions| {
        let model = Model::new(config, Observation::Vector { size: 5 }, actions).unwrap();
        WholeLoss { name, model }
    };
    let normed =
        Config { norm: Norm::Layer, gru_norm: Norm::Rms, dense_act: config::Activation::Silu, ..gaussian.clone() };
    vec![
        model("wider, normal", &gaussian, Actions::Continuous(3)),
        model("wider, norms and silu", &normed, Actions::Continuous(3)),
        model("wider, categorical", &categorical, Actions::Discrete(5)),
    ]
}

/// Of a training step: losses and gradients by their bits, how many rollouts it launches, and what it says of scans without one.
struct Outcome {
    bits: Vec<u64>,
    rollouts: usize,
    notes: Vec<String>,
}

fn run(rig: &Rig, case: &WholeLoss, rolled: bool, order: u64) -> Outcome {
    rig.context.emulator().unwrap().order(order);
    let pool = Arc::new(Pool::new(1).unwrap());
    let mut params = checks::parameters::<f32>(&case.model);
    let mut step = checks::training_step_by(&case.model, &params, &pool, Plan::for_device);
    let make = if rolled { CudaPlan::new } else { CudaPlan::step_by_step };
    let mut device = make(&step.plan, &params, rig.kernels.clone()).unwrap();
    device.run(&mut step.plan, &mut params, Clock { seed: 9, step: 1 }, true).unwrap();
    let losses = step.scalars.iter().map(|&(_, var)| step.plan.scalar(var).to_bits());
    let bits = losses.chain(params.grad.all().iter().map(|x| x.to_bits().into())).collect();
    let rollouts = device.account(&step.plan).filter(|&(_, kernel)| kernel == "rollout").count();
    Outcome { bits, rollouts, notes: device.notes().to_vec() }
}

#[test]
fn a_rollout_has_the_bits_of_its_steps() {
    let Some(rig) = Rig::new() else { return };
    let mut without = Vec::new();
    for case in checks::whole_losses().into_iter().chain(wider()) {
        let each = run(&rig, &case, false, 0);
        assert!(each.rollouts == 0 && each.notes.is_empty() && each.bits.len() > 1000, "{}", case.name);
        for order in 0..2 {
            let rolled = run(&rig, &case, true, order);
            let differ = rolled.bits.iter().zip(&each.bits).filter(|(a, b)| a != b).count();
            println!("{:64} {} rollouts, {differ} of {} numbers differ", case.name, rolled.rollouts, each.bits.len());
            assert!(rolled.bits == each.bits, "{}: {differ} numbers differ", case.name);
            if order == 0 && case.model.map.is_some() {
                // A map has no place in a rollout, nor has what a layer reads of a state that holds one, which comes first.
                let first = if case.model.config.map_dense { "ego_map_forward" } else { "columns_forward" };
                assert!(rolled.notes.iter().any(|note| note.contains(first)), "{:?}", rolled.notes);
            } else if order == 0 && rolled.rollouts < 4 {
                without.push((case.name, rolled.notes));
            }
        }
    }
    // Forward and backward, `observe` and `imagine`.
    assert!(without.is_empty(), "fewer than four scans in one launch: {without:?}");
}

/// A scan with an op that has a kernel, but no place in a rollout, is launched as it is, and this is said.
#[test]
fn a_scan_with_an_op_that_rollouts_do_not_know_goes_step_by_step() {
    let Some(rig) = Rig::new() else { return };
    let mut layout = Layout::new();
    layout.group("all", [("x".to_string(), vec![6, 5]), ("w".to_string(), vec![5, 5])]);
    let layout = Arc::new(layout);
    let params = Params::<f32>::new(layout.clone());
    let mut graph = Graph::new(layout);
    let (mut x, w) = (graph.param("x"), graph.param("w"));
    for _ in 0..3 {
        x = graph.linear(&[x], w, None, Activation::Elu);
        x = graph.floor(x, -0.5);
    }
    let loss = graph.mean(x);
    let plan = Plan::for_device(graph, &[Sweep::new(loss, "all")], Arc::new(Pool::new(1).unwrap()));
    let device = CudaPlan::new(&plan, &params, rig.kernels.clone()).unwrap();
    assert!(device.account(&plan).all(|(_, kernel)| !kernel.starts_with("rollout")));
    let note = |kernel| format!("a scan over 6 rows is launched step by step: no rollout takes its {kernel}.");
    assert_eq!(device.notes(), [note("floor_forward"), note("floor_backward")]);
}
