//! A whole training step in f64 on made-up numbers, all noise given: what the step computes can be computed again by hand.

use dreamer_fast::autodiff::{Clock, Graph, Params, Plan, Var};
use dreamer_fast::base::{Philox, philox::gumbel, philox::stream};
use dreamer_fast::config::{ActorGrad, Latent};
use dreamer_fast::dreamer::init::init;
use dreamer_fast::dreamer::step::{NoiseSource, TrainStep};
use dreamer_fast::dreamer::{Actions, Model, Observation, heads};
use rand::Rng;

use super::{config, pool};

/// Entries of an observation.
pub const OBS: usize = 3;

/// A training step whose inputs are filled.
pub struct Trial {
    pub step: TrainStep<f64>,
    pub params: Params<f64>,
    pub model: Model,
    /// Gumbel or normal noise of the imagined actions [H, N, A].
    pub action_noise: Vec<f64>,
}

/// A trial with three discrete actions or one continuous, B = 3 and T = 4, from a world whose observations differ in size,
/// so that some are far more surprising than others. Chunks begin at row 0; chunk 0 has a second episode from row 2 on.
/// Nothing has run yet.
pub fn trial(discrete: bool, changes: &[&str]) -> Trial {
    let task = if discrete { "MiniGrid-Empty-5x5-v0" } else { "Pendulum-v1" };
    let sizes = ["batch_size=3", "batch_length=4", "horizon=5", "deter_size=7", "stoch_size=4"];
    let config = config(task, &[&sizes, changes].concat());
    let actions = if discrete { Actions::Discrete(3) } else { Actions::Continuous(1) };
    let model = Model::new(&config, Observation::Vector { size: OBS }, actions).unwrap();
    let mut params = Params::new(model.layout().into());
    init(&model, &mut params, 3);
    // Biases begin at 0, where some mistakes cannot be seen.
    let mut rng = Philox::new(5, stream::TEST, 0);
    for entry in params.layout.clone().entries().iter().filter(|e| e.shape.len() == 1) {
        params.value_mut(&entry.name).iter_mut().for_each(|b| *b = 0.3 * rng.normal());
    }
    let mut step = TrainStep::new(&model, &params, NoiseSource::Given, &pool());
    let batch = step.batch;
    for (row, obs) in step.plan.input_mut(batch.obs).chunks_exact_mut(OBS).enumerate() {
        let size = [0.1, 1.0, 4.0][row % 3];
        obs.iter_mut().for_each(|x| *x = size * rng.normal());
    }
    for action in step.plan.input_mut(batch.action).chunks_exact_mut(actions.size()) {
        match actions {
            Actions::Discrete(n) => action[rng.below(n)] = 1.0,
            Actions::Continuous(_) => action.iter_mut().for_each(|x| *x = rng.uniform() * 2.0 - 1.0),
        }
    }
    step.plan.input_mut(batch.reward).iter_mut().for_each(|x| *x = rng.normal());
    let ends = [5, 10];
    let target = step.plan.input_mut(batch.pcont_target).iter_mut().enumerate();
    target.for_each(|(row, x)| *x = if ends.contains(&row) { 0.0 } else { config.discount });
    let keep = step.plan.input_mut(batch.keep).iter_mut().enumerate();
    keep.for_each(|(row, x)| *x = if row < 3 || row == 6 { 0.0 } else { 1.0 });

    let gaussian = config.latent == Latent::Gaussian;
    for (name, normal) in [("noise.post", gaussian), ("noise.prior", gaussian), ("noise.action", !discrete)] {
        let var = step.plan.input(name).unwrap();
        let draw = |x: &mut f64| *x = if normal { rng.normal() } else { gumbel(rng.next_u32()) };
        step.plan.input_mut(var).iter_mut().for_each(draw);
    }
    let action_noise = step.plan.value(step.plan.input("noise.action").unwrap()).to_vec();
    Trial { step, params, model, action_noise }
}

impl Trial {
    /// Losses and gradients.
    pub fn run(&mut self) -> &mut Self {
        self.step.gradients(&mut self.params, 0);
        self
    }

    pub fn value(&self, var: Var) -> &[f64] {
        self.step.plan.value(var)
    }

    pub fn reinforce(&self) -> bool {
        self.model.config.actor_grad == ActorGrad::Reinforce
    }

    /// Features of the inferred states [T B, ..]: stochastic and deterministic part.
    pub fn inferred(&self) -> [Vec<f64>; 2] {
        self.step.world.observed.state.feat().map(|part| self.value(part).to_vec())
    }

    /// Features of the states of imagination 0 .. H: [H + 1, N, ..].
    pub fn imagination(&self) -> [Vec<f64>; 2] {
        let n = self.model.starts();
        let rows = self.model.config.batch_length * self.model.config.batch_size;
        let from = if self.model.config.imag_starts == 0 { 0 } else { rows - n };
        let widths = [self.model.stoch(), self.model.deter()];
        let (inferred, later) = (self.inferred(), self.step.behavior.imagined.feat());
        [0, 1].map(|part| {
            let start = &inferred[part][from * widths[part]..(from + n) * widths[part]];
            [start, self.value(later[part])].concat()
        })
    }

    /// The last layer of a multi-layer perceptron for states with these features.
    pub fn layer(&mut self, name: &str, layers: usize, feat: &[Vec<f64>; 2]) -> Vec<f64> {
        let mut g = Graph::new(self.params.layout.clone());
        let widths = [self.model.stoch(), self.model.deter()];
        let n = feat[0].len() / widths[0];
        let inputs = [g.input("stoch", &[n, widths[0]]), g.input("deter", &[n, widths[1]])];
        let layer = heads::mlp(&mut g, &self.model, name, layers, &inputs);
        g.keep(layer);
        let mut plan = Plan::new(g, &[], pool());
        (0..2).for_each(|part| plan.input_mut(inputs[part]).copy_from_slice(&feat[part]));
        plan.run(&mut self.params, Clock { seed: 0, step: 0 });
        plan.value(layer).to_vec()
    }
}
