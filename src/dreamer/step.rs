//! One training step: three losses, three backward sweeps, three updates.
//!
//! All gradients are taken before any parameter moves. The sweeps go from the world loss to the world model, from the actor loss to the actor
//! through the frozen world model and value, and from the value loss to the value head; whatever else a loss depends on gets no gradient at
//! all. With `value_actor_grad` the value head minimises a share of the actor's loss besides its own.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::behavior::{Behavior, behavior, write_constants};
use super::init::follow_value;
use super::model::{GROUPS, Model};
use super::rssm::Dist;
use super::world_loss::{WorldLoss, world_loss};
use crate::autodiff::{Clock, Graph, Layout, Params, Plan, Sweep, Var};
use crate::base::{Real, Result, philox::stream};
use crate::config::Latent;
use crate::device::Pool;
use crate::ops::adam::{Adam, adam_update, global_norm};
use crate::ops::noise::Noise;

/// Inputs of a training step, time-major. Row t of a sequence is what was seen after action t, and the reward for it. T is
/// `context_length + batch_length`.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Observations [T B, ...].
    pub obs: Var,
    /// Actions [T, B, A].
    pub action: Var,
    /// Rewards [T B].
    pub reward: Var,
    /// Targets of the continue head [T B]: the discount, 0 after a true end.
    pub pcont_target: Var,
    /// [T, B]: 0 where an episode begins, otherwise 1.
    pub keep: Var,
    /// Weights of the cells of symbolic observations [T B, cells], or of the pixels of images [T B, pixels].
    pub weight: Option<Var>,
}

impl Batch {
    fn inputs<R: Real>(g: &mut Graph<R>, model: &Model) -> Self {
        let (t, b) = (model.config.chunk_length(), model.config.batch_size);
        let mut shape = vec![t * b];
        shape.extend(model.observation.shape());
        let weight = match model.observation {
            super::Observation::Symbolic { cells, .. } if model.categorical_observation() => {
                Some(g.input("batch.weight", &[t * b, cells]))
            }
            super::Observation::Image { height, width, .. } if model.config.object_weight != 1.0 => {
                Some(g.input("batch.weight", &[t * b, height * width]))
            }
            _ => None,
        };
        Batch {
            obs: g.input("batch.obs", &shape),
            action: g.input("batch.action", &[t, b, model.actions.size()]),
            reward: g.input("batch.reward", &[t * b]),
            pcont_target: g.input("batch.pcont_target", &[t * b]),
            keep: g.input("batch.keep", &[t, b]),
            weight,
        }
    }
}

/// Where the noise of a training step comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseSource {
    /// Drawn by Philox at the step of the clock.
    Drawn,
    /// Given by the host: inputs `noise.post` [T, B, S] (as many rows as the batch has), `noise.prior` [H, N, S], `noise.action` [H, N, A].
    Given,
}

/// Everything that one training step computes.
pub struct TrainStep<R: Real> {
    /// The model.
    pub model: Model,
    /// The compiled trace.
    pub plan: Plan<R>,
    /// Inputs.
    pub batch: Batch,
    /// The world model's loss.
    pub world: WorldLoss,
    /// Actor and value.
    pub behavior: Behavior,
    /// Scalars by danijar's names, in the order in which they are logged.
    pub scalars: Vec<(&'static str, Var)>,
    /// Updates done so far: Adam's t.
    pub updates: u64,
    /// Moving average of the range of returns, 5th to 95th percentile.
    pub return_range: Option<f64>,
    /// Norm of each group's gradient in the last step, before clipping, in the order of [`GROUPS`].
    pub norms: [f64; 3],
    decays: HashMap<&'static str, Vec<Range<usize>>>,
    pool: Arc<Pool>,
}

/// The trace of one training step, before anything has a place in memory.
pub(super) struct Trace<R: Real> {
    pub graph: Graph<R>,
    pub batch: Batch,
    pub world: WorldLoss,
    pub behavior: Behavior,
    pub scalars: Vec<(&'static str, Var)>,
    /// From each loss to its group.
    pub sweeps: [Sweep; 3],
}

/// Traces one training step over parameters of this layout.
pub(super) fn trace<R: Real>(model: &Model, layout: &Arc<Layout>, noise: NoiseSource) -> Trace<R> {
    let c = &model.config;
    let (t, b, s, a) = (c.batch_length, c.batch_size, model.stoch(), model.actions.size());
    let (h, n) = (c.horizon, model.starts());
    let mut g = model.graph(layout);
    let batch = Batch::inputs(&mut g, model);
    let latent_noise = if c.latent == Latent::Gaussian { Noise::Normal } else { Noise::Gumbel };
    let action_noise = if model.actions.discrete() { Noise::Gumbel } else { Noise::Normal };
    g.scope("noise");
    let mut draw = |name: &str, kind: Noise, stream: u32, shape: &[usize]| match noise {
        NoiseSource::Given => g.input(name, shape),
        NoiseSource::Drawn => g.noise(kind, stream, shape),
    };
    let post_noise = draw("noise.post", latent_noise, stream::POSTERIOR, &[c.chunk_length(), b, s]);
    let prior_noise = draw("noise.prior", latent_noise, stream::PRIOR, &[h, n, s]);
    let action_noise = draw("noise.action", action_noise, stream::ACTION, &[h, n, a]);

    let world = world_loss(&mut g, model, &batch, post_noise);
    let states = world.observed.state.flat(&mut g);
    let start = match c.imag_starts {
        0 => states.rows(&mut g, 0, n),
        _ => states.rows(&mut g, t * b - n, t * b),
    };
    let behavior = behavior(&mut g, model, start, prior_noise, action_noise);

    let mut scalars = vec![("image_loss", world.image), ("reward_loss", world.reward)];
    scalars.extend(world.pcont.map(|p| ("pcont_loss", p)));
    scalars.extend(world.barrier.map(|b| ("barrier", b)));
    scalars.extend([("kl", world.kl), ("div", world.div), ("model_loss", world.loss)]);
    scalars.extend([("value_loss", behavior.value_loss), ("actor_loss", behavior.actor_loss)]);
    scalars.extend(behavior.action_entropy.map(|e| ("action_ent", e)));
    let dists = [world.observed.prior, world.observed.post].map(|d| d.spread());
    let made_of = [behavior.returns, behavior.values, behavior.value_objective];
    let kept = scalars.iter().map(|s| s.1).chain(made_of).chain(behavior.open).chain(dists);
    kept.collect::<Vec<_>>().into_iter().for_each(|v| {
        g.keep(v);
    });
    if noise == NoiseSource::Given {
        let state = world.observed.state;
        [state.stoch, state.deter, behavior.imagined.stoch, behavior.imagined.deter].into_iter().for_each(|v| {
            g.keep(v);
        });
    }
    let sweeps = [
        Sweep::new(world.loss, "model"),
        Sweep::new(behavior.actor_loss, "actor"),
        Sweep::new(behavior.value_objective, "value"),
    ];
    Trace { graph: g, batch, world, behavior, scalars, sweeps }
}

impl<R: Real> TrainStep<R> {
    /// Traces and places the step.
    pub fn new(model: &Model, params: &Params<R>, noise: NoiseSource, pool: &Arc<Pool>) -> Self {
        Self::compiled(model, params, noise, pool, Plan::new)
    }

    /// The same, with the trace compiled by `compile`: from the graph and the sweeps to the model, the actor and the value.
    pub fn compiled(
        model: &Model,
        params: &Params<R>,
        noise: NoiseSource,
        pool: &Arc<Pool>,
        compile: impl FnOnce(Graph<R>, &[Sweep], Arc<Pool>) -> Plan<R>,
    ) -> Self {
        let c = &model.config;
        let Trace { graph, batch, world, behavior, scalars, sweeps } = trace(model, &params.layout, noise);
        let mut plan = compile(graph, &sweeps, pool.clone());
        write_constants(&mut plan, model);
        let decays = GROUPS
            .iter()
            .map(|&group| {
                let entries = params.layout.group_entries(group).filter(|e| c.decays(&e.name));
                (group, entries.map(|e| e.range()).collect())
            })
            .collect();
        TrainStep {
            model: model.clone(),
            plan,
            batch,
            world,
            behavior,
            scalars,
            updates: 0,
            return_range: None,
            norms: [0.0; 3],
            decays,
            pool: pool.clone(),
        }
    }

    /// Forward and backward: losses and gradients, no update. Inputs must have been filled.
    pub fn gradients(&mut self, params: &mut Params<R>, seed: u64) {
        let run = |plan: &mut Plan<R>, params: &mut Params<R>, clock| {
            plan.run(params, clock);
            Ok(())
        };
        self.gradients_by(params, seed, run).expect("the CPU executor has no errors");
    }

    /// The same, with the plan run by `run`.
    ///
    /// # Errors
    /// Those of `run`.
    pub fn gradients_by(
        &mut self,
        params: &mut Params<R>,
        seed: u64,
        run: impl FnOnce(&mut Plan<R>, &mut Params<R>, Clock) -> Result<()>,
    ) -> Result<()> {
        let clock = self.prepare(seed);
        run(&mut self.plan, params, clock)?;
        self.norms = GROUPS.map(|group| global_norm(params, params.layout.group_range(group), &self.pool));
        Ok(())
    }

    /// Fills the inputs that follow from earlier steps, and says where the noise of this step stands.
    pub fn prepare(&mut self, seed: u64) -> Clock {
        if let Some(range) = self.behavior.range {
            let floor = self.model.config.return_norm_floor;
            let range_now =
                if self.model.config.return_norm { self.return_range.unwrap_or(0.0).max(floor) } else { 1.0 };
            self.plan.input_mut(range)[0] = R::of(1.0 / range_now);
        }
        if let Some(weight) = self.behavior.entropy_weight {
            self.plan.input_mut(weight)[0] = R::of(self.model.config.actor_entropy_at(self.updates));
        }
        if let Some(weight) = self.world.barrier_weight {
            self.plan.input_mut(weight)[0] = R::of(self.model.config.latent_barrier_at(self.updates));
        }
        Clock { seed, step: self.updates }
    }

    /// Moves the parameters along the gradients.
    pub fn update(&mut self, params: &mut Params<R>) {
        for (group, norm) in GROUPS.into_iter().zip(self.norms) {
            let range = params.layout.group_range(group);
            adam_update(params, range, norm, &self.adam(group), &self.decays[group], &self.pool);
        }
        if let Some(rate) = self.follows() {
            follow_value(params, rate);
        }
        self.advance();
    }

    /// The constants of a group's next update.
    pub fn adam(&self, group: &str) -> Adam {
        let c = &self.model.config;
        let lr = match group {
            "actor" => c.actor_lr,
            "value" => c.value_lr,
            _ => c.model_lr,
        };
        Adam {
            beta1: c.adam_beta1,
            beta2: c.adam_beta2,
            decay: c.weight_decay,
            ..Adam::new(lr * c.lr_share_at(self.updates), c.adam_eps, c.grad_clip, self.updates + 1)
        }
    }

    /// The parameters of a group that the weight decay applies to: ranges of the arenas.
    pub fn decays(&self, group: &str) -> &[Range<usize>] {
        &self.decays[group]
    }

    /// The share by which the slow copy of the value head follows it in the next update; `None` where it stays.
    pub fn follows(&self) -> Option<f64> {
        let c = &self.model.config;
        // The first update moves the copy, too (danijar/dreamerv2 `agent.py`, `update_slow_target`).
        (c.slow_value > 0.0 && self.updates.is_multiple_of(c.slow_value_every)).then_some(c.slow_value)
    }

    /// Counts an update, and moves the range of returns by what the plan computed in it.
    pub fn advance(&mut self) {
        let c = &self.model.config;
        self.updates += 1;
        if c.return_norm {
            let weights = self.behavior.open.map(|w| self.plan.value(w));
            let range = percentile_range(self.plan.value(self.behavior.returns), weights);
            let rate = c.return_norm_rate;
            self.return_range = Some(self.return_range.map_or(range, |old| old + rate * (range - old)));
        }
    }

    /// The scalars and gradient norms of the last step.
    pub fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        let norms = ["model_grad_norm", "actor_grad_norm", "value_grad_norm"].into_iter().zip(self.norms);
        self.scalars.iter().map(|&(name, var)| (name, self.plan.scalar(var))).chain(norms)
    }

    /// Mean entropy in nats of the prior and of the posterior of the last step, `prior_ent` and `post_ent`.
    pub fn entropies(&self) -> [(&'static str, f64); 2] {
        let observed = &self.world.observed;
        let mean = |d: Dist| {
            let spread = self.plan.value(d.spread());
            let rows = spread.len() / self.model.stoch();
            d.entropy(spread, self.model.config.latent_classes, self.model.config.unimix) / rows as f64
        };
        [("prior_ent", mean(observed.prior)), ("post_ent", mean(observed.post))]
    }

    /// The first loss or gradient norm that is not finite, by name.
    pub fn not_finite(&self) -> Option<&'static str> {
        self.metrics().find(|(_, x)| !x.is_finite()).map(|(name, _)| name)
    }
}

/// Distance between the 5th and the 95th percentile: nearest rank, or by the weights of the values.
fn percentile_range<R: Real>(values: &[R], weights: Option<&[R]>) -> f64 {
    let Some(weights) = weights else {
        let mut sorted: Vec<f64> = values.iter().map(|v| v.f64()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |q: f64| sorted[((sorted.len() - 1) as f64 * q).round() as usize];
        return at(0.95) - at(0.05);
    };
    let mut sorted: Vec<(f64, f64)> = values.iter().zip(weights).map(|(v, w)| (v.f64(), w.f64())).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = sorted.iter().map(|(_, weight)| weight).sum();
    let at = |q: f64| {
        let mut below = 0.0;
        let reached = sorted.iter().find(|(_, weight)| {
            below += weight;
            below >= q * total
        });
        reached.or(sorted.last()).map_or(0.0, |(value, _)| *value)
    };
    at(0.95) - at(0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_leave_out_what_weighs_nothing() {
        let values: Vec<f64> = (0..=100).map(|i| f64::from(i * 37 % 101)).collect();
        assert_eq!(percentile_range(&values, None), 90.0);
        // As many numbers far away, of no weight; and the same number twice at half the weight.
        let far: Vec<f64> = values.iter().copied().chain([-1e6; 60]).chain([1e6; 60]).collect();
        let weights: Vec<f64> = [vec![1.0; 101], vec![0.0; 120]].concat();
        assert_eq!(percentile_range(&far, Some(&weights)), 90.0);
        let twice: Vec<f64> = values.iter().flat_map(|&x| [x; 2]).collect();
        assert_eq!(percentile_range(&twice, Some(&[0.5; 202])), 90.0);
        assert_eq!(percentile_range(&[1.0, 2.0], Some(&[0.0, 0.0])), 0.0);
    }
}
