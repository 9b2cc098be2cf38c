//! Training on a device by the way that `train` takes: batches from a replay, updates from a captured graph, parameters that live on the device.

use std::sync::Arc;

use dreamer_fast::autodiff::cuda_exec::CudaPlan;
use dreamer_fast::autodiff::{Clock, Plan};
use dreamer_fast::base::Result;
use dreamer_fast::config::{Config, Request, resolve};
use dreamer_fast::device::Pool;
use dreamer_fast::device::cuda::kernels::{Kernels, SOURCES};
use dreamer_fast::device::cuda::{Arg, Buffer, Kernel, Precision, Shape};
use dreamer_fast::dreamer::checks;
use dreamer_fast::dreamer::model::GROUPS;
use dreamer_fast::replay::Replay;
use dreamer_fast::run::agent::{Agent, Learner, Metrics};
use dreamer_fast::run::collect::{Actor, Collector};
use dreamer_fast::run::cuda_update::Optimizer;
use dreamer_fast::run::device::Device;
use dreamer_fast::run::world::World;

use crate::products::kernels_in;
use crate::{Rig, compiler};

/// DreamerV1 with everything tiny.
const DEBUG: &[&str] = &[];

/// What the default preset adds to it: categorical latents, two-hot heads, REINFORCE, a slow value, a range of returns; and decayed weights, an entropy
/// weight that falls from update to update, learning rates that fall from the third of 22.
const GRIDWORLD: &[&str] = &[
    "latent=categorical",
    "latent_classes=4",
    "symbolic_loss=categorical",
    "reward_dist=twohot",
    "value_dist=twohot",
    "twohot_bins=15",
    "actor_grad=reinforce",
    "actor_entropy=0.3",
    "actor_entropy_decay=4",
    "actor_entropy_min=1e-3",
    "pcont=true",
    "slow_value=0.1",
    "slow_value_every=2",
    "return_norm=true",
    "weight_decay=1e-4",
    "lr_anneal=0.9",
];

pub fn config(changes: &[&str]) -> Config {
    let set = changes.iter().map(|change| change.to_string()).collect();
    resolve(&Request { preset: Some("debug".into()), set, ..Request::default() }).unwrap().config
}

/// An untrained agent, and the replay that random play leaves.
pub fn beginner(config: &Config) -> (Agent, Replay) {
    let mut agent = Agent::new(World::new(config).unwrap(), Arc::new(Pool::new(1).unwrap()));
    let mut replay = Replay::in_memory(agent.world.layout.clone(), config.envs, 1 << 30, config.seed);
    let mut collector = Collector::new(&agent).unwrap();
    (0..50).for_each(|_| drop(collector.step(&mut agent, &mut replay, Actor::Random).unwrap()));
    (agent, replay)
}

/// Makes updates and brings the parameters home; returns the metrics of each update.
fn updates(learner: &mut Learner, agent: &mut Agent, replay: &Replay, number: usize) -> Vec<Metrics> {
    let metrics = (1..=number).map(|i| learner.update_amid(agent, replay, i < number).unwrap()).collect();
    learner.fetch(agent, true).unwrap();
    metrics
}

pub fn device(rig: &Rig) -> Device {
    Device::Cuda(rig.kernels.clone())
}

/// A run of this many updates on the device: every metric, then every value and moment, bit by bit.
fn bits(rig: &Rig, changes: &[&str], eager: bool, order: u64, number: usize) -> Vec<u64> {
    rig.context.emulator().unwrap().order(order);
    let (mut agent, replay) = beginner(&config(changes));
    let mut learner = Learner::new(&agent);
    learner.move_to(&agent, &device(rig), eager).unwrap();
    let metrics = updates(&mut learner, &mut agent, &replay, number);
    metrics.iter().flatten().map(|(_, x)| x.to_bits()).chain(parameters(&agent)).collect()
}

fn parameters(agent: &Agent) -> impl Iterator<Item = u64> + '_ {
    let arenas = [&agent.params.value, &agent.params.adam_m, &agent.params.adam_v];
    arenas.into_iter().flat_map(|arena| arena.all()).map(|x| u64::from(x.to_bits()))
}

#[test]
fn twenty_updates_of_a_learner_follow_the_cpu() {
    let Some(rig) = Rig::new() else { return };
    for (name, changes) in [("debug", DEBUG), ("gridworld", GRIDWORLD)] {
        let run = |device: &Device| {
            let (mut agent, replay) = beginner(&config(changes));
            let mut learner = Learner::new(&agent);
            learner.move_to(&agent, device, false).unwrap();
            let metrics = updates(&mut learner, &mut agent, &replay, 20);
            (metrics, learner.entropies().unwrap(), agent)
        };
        let ((got, got_entropies, moved), (want, want_entropies, stayed)) = (run(&device(&rig)), run(&Device::Cpu));
        let entropies = got_entropies.iter().zip(&want_entropies);
        let mut worst = (0.0, "");
        for ((name, got), (_, want)) in got.iter().flatten().zip(want.iter().flatten()).chain(entropies) {
            let apart = (got - want).abs() / want.abs().max(1.0);
            assert!(apart <= 1e-4, "{name}: {got}, not {want}");
            worst = if apart > worst.0 { (apart, *name) } else { worst };
        }
        let loss = |metrics: &Metrics| metrics.iter().find(|(name, _)| *name == "model_loss").unwrap().1;
        println!("{name}: worst {worst:?}, model loss from {} to {}", loss(&want[0]), loss(&want[19]));
        assert!(loss(&want[19]) < loss(&want[0]), "the model learns");
        let values = moved.params.value.all().iter().zip(stayed.params.value.all());
        let apart = values.map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-4, "{name}: a parameter is {apart} off");
    }
}

#[test]
fn a_replayed_run_has_the_bits_of_an_eager_one_in_every_order() {
    let Some(rig) = Rig::new() else { return };
    let eager = bits(&rig, GRIDWORLD, true, 0, 5);
    assert!(eager == bits(&rig, GRIDWORLD, false, 0, 5), "replayed differs from eager");
    for order in [1, 2] {
        assert!(eager == bits(&rig, GRIDWORLD, false, order, 5), "order {order} gives other bits");
    }
    assert!(eager != bits(&rig, GRIDWORLD, true, 0, 4), "an update changes something");
}

/// What a checkpoint keeps is enough: moments, the number of the update and the range of returns go on where they were.
#[test]
fn a_run_that_is_resumed_on_the_device_has_the_bits_of_an_unbroken_one() {
    let Some(rig) = Rig::new() else { return };
    let unbroken = |number| {
        let (mut agent, replay) = beginner(&config(GRIDWORLD));
        let mut learner = Learner::new(&agent);
        learner.move_to(&agent, &device(&rig), false).unwrap();
        updates(&mut learner, &mut agent, &replay, number);
        (agent, replay, learner.state())
    };
    let (whole, ..) = unbroken(9);
    let (mut agent, replay, state) = unbroken(4);
    let mut learner = Learner::new(&agent);
    learner.restore(&state).unwrap();
    learner.move_to(&agent, &device(&rig), false).unwrap();
    updates(&mut learner, &mut agent, &replay, 5);
    assert!(parameters(&agent).eq(parameters(&whole)), "the resumed run ends with other bits");
}

/// The losses of products by tensor cores: finite, apart from f32's, and near them.
#[test]
fn a_learner_trains_in_every_precision() {
    let Some(rig) = Rig::new() else { return };
    let run = |kernels: Arc<Kernels>| {
        let (mut agent, replay) = beginner(&config(&[&format!("precision={}", kernels.precision())]));
        let mut learner = Learner::new(&agent);
        learner.move_to(&agent, &Device::Cuda(kernels), false).unwrap();
        updates(&mut learner, &mut agent, &replay, 10)
    };
    let full = run(rig.kernels.clone());
    for (precision, bound) in [(Precision::Tf32, 1e-2), (Precision::Bf16, 5e-2)] {
        let rounded = run(kernels_in(&rig, precision));
        let mut worst = (0.0, "");
        for ((name, got), (_, want)) in rounded.iter().flatten().zip(full.iter().flatten()) {
            assert!(got.is_finite(), "{precision}: {name} is {got}");
            let apart = (got - want).abs() / want.abs().max(1.0);
            worst = if apart > worst.0 { (apart, *name) } else { worst };
        }
        println!("{precision}: worst {worst:?}");
        assert!(worst.0 > 1e-6, "{precision}: nothing was rounded");
        assert!(worst.0 < bound, "{precision}: {worst:?}");
    }
}

/// Adam for the group `model` as somebody might write it who does not know captures: the number of the update is an argument.
struct ByValue {
    kernel: Kernel,
    /// Scale of the gradient and learning rate; the rest, `adam_update` would read, this kernel computes.
    factors: Buffer<f32>,
    m: Buffer<f32>,
    v: Buffer<f32>,
}

impl ByValue {
    fn new(rig: &Rig, len: usize) -> ByValue {
        let source = SOURCES.iter().find(|source| source.name == "kernels/adam.cu").unwrap();
        let (before, update) = source.text.split_once("adam_update(").unwrap();
        let mut update = update.to_string();
        let powers = "float power1 = 1.0f, power2 = 1.0f;\n    for (int k = 0; k < t; k++) power1 *= b1, power2 *= b2;";
        for (from, to) in [
            ("float eps) {", &format!("float eps, int t) {{\n    {powers}")[..]),
            ("factors[2]", "(1.0f / (1.0f - power1))"),
            ("factors[3]", "(1.0f / (1.0f - power2))"),
        ] {
            assert!(update.contains(from), "{from}");
            update = update.replacen(from, to, 1);
        }
        let compiler = compiler().expect("the rig has one").with_cache(None);
        let text = format!("{before}adam_update({update}");
        let image = compiler.compile("planted.cu", &text, rig.context.target(), &[]).unwrap();
        let kernel = rig.context.load(&image).unwrap().kernel("adam_update").unwrap();
        let mut factors = Buffer::new(&rig.context, 4).unwrap();
        factors.upload(rig.stream(), &[1.0, 1e-2, 0.0, 0.0]).unwrap();
        let [m, v] = [(); 2].map(|()| Buffer::zeroed(rig.stream(), len).unwrap());
        ByValue { kernel, factors, m, v }
    }

    fn launch(&self, rig: &Rig, value: u64, grad: u64, t: i32) -> Result<()> {
        let n = self.m.len();
        let pointers = [value, self.m.address(), self.v.address(), grad, self.factors.address()].map(Arg::Ptr);
        let numbers = [0.9, 0.1, 0.999, 0.001, 1e-5].map(Arg::F32);
        let args = [&pointers[..], &[Arg::I32(n as i32)], &numbers, &[Arg::I32(t)]].concat();
        rig.stream().launch(&self.kernel, Shape::rows(n, 256), &args)
    }
}

/// The parameters after each of four updates, by the optimizer that training has or by the planted one.
fn trained(rig: &Rig, eager: bool, planted: bool) -> Vec<Vec<u32>> {
    let (case, pool) = (&checks::whole_losses()[0], Arc::new(Pool::new(1).unwrap()));
    let mut params = checks::parameters::<f32>(&case.model);
    let step = checks::training_step_by(&case.model, &params, &pool, Plan::for_device);
    let mut device = CudaPlan::new(&step.plan, &params, rig.kernels.clone()).unwrap();
    let groups = GROUPS.map(|name| (name, step.adam(name), step.decays(name)));
    let sound = Optimizer::new(&device, &params, &groups, &rig.kernels).unwrap();
    let range = params.layout.group_range("model");
    let by_value = ByValue::new(rig, range.len());
    let (value, grad) = (device.value_at(range.start).address(), device.grad_at(range.start).address());
    (1..=4)
        .map(|number| {
            device.upload(&step.plan, &params, Clock { seed: 9, step: number }).unwrap();
            let optimizer = |on: &Kernels| match planted {
                true => by_value.launch(rig, value, grad, number as i32),
                false => sound.launch(on),
            };
            device.replay(&step.plan, &params, eager, optimizer).unwrap();
            device.download_values(&mut params).unwrap();
            params.value.all().iter().map(|x| x.to_bits()).collect()
        })
        .collect()
}

/// What `replay` says of its arguments is true: one that changes from step to step is frozen by the capture, and the comparison of a replayed run
/// with an eager one sees it, from the first replay on.
#[test]
fn a_step_passed_by_value_is_caught() {
    let Some(rig) = Rig::new() else { return };
    assert!(trained(&rig, true, false) == trained(&rig, false, false), "training's own optimizer is replayed soundly");
    let (eager, replayed) = (trained(&rig, true, true), trained(&rig, false, true));
    // The first update is launched kernel by kernel, the second captured and run with its own number.
    assert!(eager[..2] == replayed[..2], "before the first replay both are the same");
    assert!(eager[2] != replayed[2] && eager[3] != replayed[3], "the planted fault is not seen");
}
