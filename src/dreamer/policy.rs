//! Acting: infer the state from what was seen, then ask the actor. Source: danijar/dreamer `dreamer.py`, `policy`.
//!
//! One step for n environments at once: the posterior of (previous state, previous action, observation) is sampled, and the actor sampled in it. Where
//! `keep` is 0 an episode begins, and the previous state and action count as zeros.

use std::sync::Arc;

use super::actor::{ActDist, act};
use super::decoder::decode;
use super::encoder::encode;
use super::model::{Actions, Model};
use super::rssm::{State, embed_half, img_step, obs_step};
use crate::autodiff::{Clock, Graph, Params, Plan, Var};
use crate::base::{Philox, Real, philox::stream};
use crate::config::Latent;
use crate::device::Pool;
use crate::ops::noise::Noise;

/// Samples of which the most probable counts as the mode of a squashed normal distribution.
const MODE_SAMPLES: usize = 100;

/// How an action is chosen from the actor's distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Drawn.
    Sample,
    /// The most probable.
    Mode,
}

/// The compiled acting step of n environments, and the state between two steps.
pub struct Policy<R: Real> {
    model: Model,
    plan: Plan<R>,
    obs: Var,
    action: Var,
    keep: Var,
    state: State,
    next: State,
    dist: ActDist,
    sample: Var,
    decoded: Option<Var>,
    n: usize,
}

impl<R: Real> Policy<R> {
    /// A policy for `n` environments; with `decode` it also gives the reconstruction of each observation. Its products are in full
    /// precision: it has few rows, and what an agent does should not hang on a rounding that training alone gains by.
    pub fn new(model: &Model, params: &Params<R>, n: usize, with_decoder: bool, pool: &Arc<Pool>) -> Self {
        let mut g = Graph::new(params.layout.clone());
        let mut shape = vec![n];
        shape.extend(model.observation.shape());
        let obs = g.input("obs", &shape);
        let action = g.input("action", &[n, model.actions.size()]);
        let keep = g.input("keep", &[n]);
        let state =
            State { stoch: g.input("stoch", &[n, model.stoch()]), deter: g.input("deter", &[n, model.deter()]) };
        let (latent_noise, action_noise) = noise(&mut g, model, n);
        let embed = encode(&mut g, model, obs);
        let embed = embed_half(&mut g, model, embed);
        let (next, _) = obs_step(&mut g, model, state, action, keep, embed, latent_noise);
        let chosen = act(&mut g, model, &next.feat(), action_noise);
        let decoded = with_decoder.then(|| decode(&mut g, model, &next.feat()));
        let mut kept = vec![next.stoch, next.deter, chosen.action];
        kept.extend(decoded);
        match chosen.dist {
            ActDist::OneHot(logits) => kept.push(logits),
            ActDist::TanhNormal { mean, std } => kept.extend([mean, std]),
        }
        kept.into_iter().for_each(|v| {
            g.keep(v);
        });
        let plan = Plan::new(g, &[], pool.clone());
        let (dist, sample) = (chosen.dist, chosen.action);
        Policy { model: model.clone(), plan, obs, action, keep, state, next, dist, sample, decoded, n }
    }

    /// Number of environments.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there is no environment; never true.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Observations [n, ...], to fill before a step.
    pub fn obs_mut(&mut self) -> &mut [R] {
        self.plan.input_mut(self.obs)
    }

    /// The actions [n, A] that led here, to fill before a step if another action was taken than the policy said.
    pub fn action_mut(&mut self) -> &mut [R] {
        self.plan.input_mut(self.action)
    }

    /// One step: takes the observations, writes n actions to `actions` [n, A]. `first[i]` says that environment i begins an episode. The
    /// actions are remembered as those that lead to the next observation.
    pub fn act(&mut self, params: &mut Params<R>, first: &[bool], choice: Choice, clock: Clock, actions: &mut [f32]) {
        let keep = self.plan.input_mut(self.keep);
        keep.iter_mut().zip(first).for_each(|(k, &f)| *k = if f { R::ZERO } else { R::ONE });
        self.plan.run(params, clock);
        for (from, to) in [(self.next.stoch, self.state.stoch), (self.next.deter, self.state.deter)] {
            let value = self.plan.value(from).to_vec();
            self.plan.input_mut(to).copy_from_slice(&value);
        }
        match choice {
            Choice::Sample => {
                let sample = self.plan.value(self.sample);
                actions.iter_mut().zip(sample).for_each(|(a, s)| *a = s.f64() as f32);
            }
            Choice::Mode => mode(&self.plan, self.dist, self.model.actions.size(), clock, actions),
        }
        let input = self.plan.input_mut(self.action);
        input.iter_mut().zip(actions).for_each(|(i, a)| *i = R::of(f64::from(*a)));
    }

    /// Reconstructions [n, ...] of the observations of the last step: means, or logits.
    pub fn reconstruction(&self) -> &[R] {
        self.plan.value(self.decoded.expect("this policy was made with a decoder"))
    }

    /// The latent state (stoch [n, S], deter [n, D]) after the last step.
    pub fn state(&self) -> (&[R], &[R]) {
        (self.plan.value(self.state.stoch), self.plan.value(self.state.deter))
    }

    /// The last action [n, A].
    pub fn last_action(&self) -> &[R] {
        self.plan.value(self.action)
    }

    /// Continues from another latent state and last action.
    pub fn set_state(&mut self, stoch: &[R], deter: &[R], action: &[R]) {
        self.plan.input_mut(self.state.stoch).copy_from_slice(stoch);
        self.plan.input_mut(self.state.deter).copy_from_slice(deter);
        self.plan.input_mut(self.action).copy_from_slice(action);
    }
}

/// The most probable action [n, width] of every environment. The mode of a squashed normal distribution has no closed form: of 100 samples, the
/// one with the highest density counts, each environment's own (danijar/dreamer takes the first environment's index for all).
pub(super) fn mode<R: Real>(plan: &Plan<R>, dist: ActDist, width: usize, clock: Clock, actions: &mut [f32]) {
    match dist {
        ActDist::OneHot(logits) => {
            let logits = plan.value(logits);
            for (logits, action) in logits.chunks_exact(width).zip(actions.chunks_exact_mut(width)) {
                let mut best = 0;
                (1..width).for_each(|i| best = if logits[i] > logits[best] { i } else { best });
                action.fill(0.0);
                action[best] = 1.0;
            }
        }
        ActDist::TanhNormal { mean, std } => {
            let (mean, std) = (plan.value(mean), plan.value(std));
            for (row, action) in actions.chunks_exact_mut(width).enumerate() {
                let at = row * width..(row + 1) * width;
                let mut rng = Philox::new(clock.seed ^ row as u64, stream::ACT_ACTION + 1000, clock.step);
                most_probable(&mean[at.clone()], &std[at], &mut rng, action);
            }
        }
    }
}

/// Of samples of tanh(N(mean, std)), the one of the highest density.
fn most_probable<R: Real>(mean: &[R], std: &[R], rng: &mut Philox, action: &mut [f32]) {
    let mut best = f64::NEG_INFINITY;
    for _ in 0..MODE_SAMPLES {
        let eps: Vec<f64> = mean.iter().map(|_| rng.normal()).collect();
        let raw: Vec<f64> = (0..mean.len()).map(|i| mean[i].f64() + std[i].f64() * eps[i]).collect();
        // ln N(x) - sum 2 (ln 2 - x - softplus(-2x)), up to a constant.
        let log_prob: f64 = (0..raw.len())
            .map(|i| -0.5 * eps[i] * eps[i] - 2.0 * (2.0_f64.ln() - raw[i] - Real::softplus(-2.0 * raw[i])))
            .sum();
        if log_prob > best {
            best = log_prob;
            action.iter_mut().zip(&raw).for_each(|(a, x)| *a = x.tanh() as f32);
        }
    }
}

/// Noise of one acting step: for the latent [n, S] and the action [n, A].
pub(super) fn noise<R: Real>(g: &mut Graph<R>, model: &Model, n: usize) -> (Var, Var) {
    let latent = if model.config.latent == Latent::Gaussian { Noise::Normal } else { Noise::Gumbel };
    let action = if matches!(model.actions, Actions::Discrete(_)) { Noise::Gumbel } else { Noise::Normal };
    let latent = g.noise(latent, stream::ACT_LATENT, &[n, model.stoch()]);
    (latent, g.noise(action, stream::ACT_ACTION, &[n, model.actions.size()]))
}

/// The compiled step of open-loop prediction for n sequences: the next state by the prior, and its reconstruction.
pub struct Dreamer<R: Real> {
    plan: Plan<R>,
    action: Var,
    state: State,
    next: State,
    decoded: Var,
}

impl<R: Real> Dreamer<R> {
    /// For `n` sequences.
    pub fn new(model: &Model, params: &Params<R>, n: usize, pool: &Arc<Pool>) -> Self {
        let mut g = model.graph(&params.layout);
        let action = g.input("action", &[n, model.actions.size()]);
        let state =
            State { stoch: g.input("stoch", &[n, model.stoch()]), deter: g.input("deter", &[n, model.deter()]) };
        let (latent_noise, _) = noise(&mut g, model, n);
        let next = img_step(&mut g, model, state, action, latent_noise);
        let decoded = decode(&mut g, model, &next.feat());
        [next.stoch, next.deter, decoded].into_iter().for_each(|v| {
            g.keep(v);
        });
        Dreamer { plan: Plan::new(g, &[], pool.clone()), action, state, next, decoded }
    }

    /// Begins from these states [n, S], [n, D].
    pub fn begin(&mut self, stoch: &[R], deter: &[R]) {
        self.plan.input_mut(self.state.stoch).copy_from_slice(stoch);
        self.plan.input_mut(self.state.deter).copy_from_slice(deter);
    }

    /// Imagines one step under actions [n, A]; returns the reconstruction [n, ...].
    pub fn step(&mut self, params: &mut Params<R>, actions: &[f32], clock: Clock) -> &[R] {
        let input = self.plan.input_mut(self.action);
        input.iter_mut().zip(actions).for_each(|(i, a)| *i = R::of(f64::from(*a)));
        self.plan.run(params, clock);
        for (from, to) in [(self.next.stoch, self.state.stoch), (self.next.deter, self.state.deter)] {
            let value = self.plan.value(from).to_vec();
            self.plan.input_mut(to).copy_from_slice(&value);
        }
        self.plan.value(self.decoded)
    }
}
