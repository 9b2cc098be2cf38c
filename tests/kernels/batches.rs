//! Batches on their way from the replay to the inputs of a training step on a device: the same bits as by the host, in an order that events make.

use dreamer_fast::autodiff::Plan;
use dreamer_fast::autodiff::cuda_exec::CudaPlan;
use dreamer_fast::base::Result;
use dreamer_fast::device::cuda::Buffer;
use dreamer_fast::device::cuda::kernels::{Entry, Follow, In, Out};
use dreamer_fast::dreamer::step::{NoiseSource, TrainStep};
use dreamer_fast::replay::Obs;
use dreamer_fast::run::agent::Learner;
use dreamer_fast::run::cuda_batch::Encoder;
use dreamer_fast::run::cuda_update::CudaUpdate;

use crate::Rig;
use crate::training::{beginner, config, device};

/// The observations that a device encodes: cells and pixels, both with weights, and numbers.
const ENCODED: &[(&str, &[&str])] = &[
    ("cells", &["symbolic_loss=categorical", "object_weight=5"]),
    ("weighted pixels", &["observation=rgb_partial", "cnn_depth=2", "object_weight=5"]),
    ("numbers", &["task=Pendulum-v1", "observation=vector", "symlog_obs=true"]),
];

/// Batches that travel ahead as bytes and become floats on the device give the losses, bit by bit, of updates that each wait for floats of the host.
#[test]
fn a_batch_encoded_on_the_device_has_the_bits_of_the_host() {
    let Some(rig) = Rig::new() else { return };
    for &(name, changes) in ENCODED {
        let config = config(&[&["batch_size=2", "batch_length=3", "horizon=2"], changes].concat());
        let (mut agent, replay) = beginner(&config);
        let (model, pool) = (agent.world.model.clone(), agent.pool.clone());
        let mut step = TrainStep::compiled(&model, &agent.params, NoiseSource::Drawn, &pool, Plan::for_device);
        let mut update = CudaUpdate::new(&mut step, &agent.params, rig.kernels.clone(), false).unwrap();
        let mut filler = Learner::new(&agent);
        let mut learner = Learner::new(&agent);
        learner.move_to(&agent, &device(&rig), false).unwrap();
        for number in 0..3 {
            filler.step.updates = number;
            filler.fill(&agent.world, &replay).unwrap();
            let batch = step.batch;
            let inputs = [batch.obs, batch.action, batch.reward, batch.pcont_target, batch.keep];
            for var in inputs.into_iter().chain(batch.weight) {
                step.plan.input_mut(var).copy_from_slice(filler.step.plan.value(var));
            }
            update.update(&mut step, &agent.params, config.seed).unwrap();
            let metrics = learner.update_amid(&mut agent, &replay, number < 2).unwrap();
            for ((metric, want), (_, got)) in step.metrics().zip(metrics) {
                assert!(got.to_bits() == want.to_bits(), "{name}, update {number}, {metric}: {got}, not {want}");
            }
        }
    }
}

/// Which wait is left out.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// An encoding does not wait for the copy to its slot.
    Copy,
    /// A copy does not wait for the last reading of its slot.
    Reading,
}

/// What the observations of a training step are after each of some batches, which are sent and encoded in turn, the host waiting for none of them: as
/// they should be, and as the device has them.
fn in_turn(rig: &Rig, fault: Fault, batches: usize) -> Result<[Vec<f32>; 2]> {
    let (agent, _) = beginner(&config(&[]));
    let (model, pool) = (&agent.world.model, &agent.pool);
    let step = TrainStep::compiled(model, &agent.params, NoiseSource::Drawn, pool, Plan::for_device);
    let mut plan = CudaPlan::new(&step.plan, &agent.params, rig.kernels.clone())?;
    let encoder = Encoder::new(&agent.world, &step.batch, &mut plan, rig.stream())?;
    let (obs, n) = (plan.feed(step.batch.obs).read(), step.plan.value(step.batch.obs).len());
    let copies = rig.context.stream()?;
    let mut slots = [encoder.slot(&rig.context)?, encoder.slot(&rig.context)?];
    let (mut read, mut want) = ([None, None], vec![0.0; batches * n]);
    let got = Buffer::<f32>::new(&rig.context, batches * n)?;
    for (number, want) in want.chunks_exact_mut(n).enumerate() {
        let at = number % 2;
        let bytes = encoder.staging(&mut slots[at])?.bytes;
        bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = ((i / 5 + number) % 3) as u8);
        agent.world.encode(Obs::Bytes(bytes), want);
        let before = copies.record()?;
        let copied = slots[at].copy(&copies, read[at].as_ref().filter(|_| fault != Fault::Reading))?;
        let after = if fault == Fault::Copy { &before } else { &copied };
        read[at] = Some(encoder.encode(&slots[at], &mut plan, &rig.kernels, after)?);
        // A rate of 1 is a copy.
        let (slow, fast) = (Out::at(got.at(number * n)), In::at(obs.address()));
        Follow { slow, fast, n, rate: 1.0 }.threads(&rig.kernels, n)?;
    }
    Ok([want, got.to_vec(rig.stream())?])
}

#[test]
fn batches_in_turn_arrive_in_order() {
    for order in 0..3 {
        let Some(rig) = Rig::new() else { return };
        rig.context.emulator().unwrap().order(order);
        let [want, got] = in_turn(&rig, Fault::None, 6).unwrap();
        assert!(want == got, "order {order}");
    }
}

/// The emulated driver runs nothing before it has to, so the kernels come before the copy that they forgot: they read what nobody wrote, or later the
/// batch before the last.
#[test]
fn an_encoding_that_does_not_wait_for_its_copy_is_caught() {
    let Some(rig) = Rig::new() else { return };
    let [want, got] = in_turn(&rig, Fault::Copy, 6).unwrap();
    assert!(want != got, "the planted fault is not seen");
    let error = in_turn(&rig, Fault::Copy, 1).unwrap_err().to_string();
    println!("{error}");
    for part in ["planes_from_symbols", "kernels/observation.cu", "reads"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// A copy that overtakes the kernels which read its slot gives them the batch after the next.
#[test]
fn a_copy_that_does_not_wait_for_the_reading_is_caught() {
    let Some(rig) = Rig::new() else { return };
    let [want, got] = in_turn(&rig, Fault::Reading, 6).unwrap();
    assert!(want != got, "the planted fault is not seen");
}
