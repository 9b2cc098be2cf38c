//! Instruments' view of the model: one step of n sequences, and what every head says in the states that it leads to.
//!
//! The step is one of three ([`Step`]); the heads are those of training. Nothing is learned here.

use std::sync::Arc;

use super::actor::{ActDist, act};
use super::decoder::decode;
use super::encoder::encode;
use super::heads;
use super::model::Model;
use super::policy::{self, Choice};
use super::rssm::{self, Dist, State, embed_half, img_step, obs_step};
use crate::autodiff::{Clock, Params, Plan, Var};
use crate::base::Real;
use crate::device::Pool;
use crate::ops::Activation;

/// How the states come about that heads are asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// They are the given ones.
    Stay,
    /// An action, then a sample of the prior: imagination.
    Prior,
    /// An action and an observation, then a sample of the posterior.
    Posterior,
}

/// Inputs and outputs of what only a posterior step has.
#[derive(Debug, Clone, Copy)]
struct Inference {
    obs: Var,
    keep: Var,
    prior: Dist,
    post: Dist,
    kl: Var,
}

/// The compiled step. Between two steps it remembers the states.
pub struct Readout<R: Real> {
    model: Model,
    plan: Plan<R>,
    state: State,
    action: Var,
    next: State,
    inference: Option<Inference>,
    decoded: Var,
    reward: Var,
    pcont: Option<Var>,
    value: Var,
    dist: ActDist,
    sample: Var,
}

impl<R: Real> Readout<R> {
    /// For `n` sequences, which all begin in the zero state.
    pub fn new(model: &Model, params: &Params<R>, n: usize, step: Step, pool: &Arc<Pool>) -> Self {
        let mut g = model.graph(&params.layout);
        let action = g.input("action", &[n, model.actions.size()]);
        let state =
            State { stoch: g.input("stoch", &[n, model.stoch()]), deter: g.input("deter", &[n, model.deter()]) };
        let (latent_noise, action_noise) = policy::noise(&mut g, model, n);
        let mut inference = None;
        let next = match step {
            Step::Stay => state,
            Step::Prior => img_step(&mut g, model, state, action, latent_noise),
            Step::Posterior => {
                let mut shape = vec![n];
                shape.extend(model.observation.shape());
                let (obs, keep) = (g.input("obs", &shape), g.input("keep", &[n]));
                let embed = encode(&mut g, model, obs);
                let embed = embed_half(&mut g, model, embed);
                let (next, post) = obs_step(&mut g, model, state, action, keep, embed, latent_noise);
                let prior = rssm::prior(&mut g, model, next.deter);
                let kl = rssm::kl(&mut g, model, post, prior);
                inference = Some(Inference { obs, keep, prior, post, kl });
                next
            }
        };
        let feat = next.feat();
        let decoded = decode(&mut g, model, &feat);
        let reward = heads::reward(&mut g, model, &feat).mean(&mut g, model);
        let pcont = model.config.pcont.then(|| {
            let logit = heads::pcont(&mut g, model, &feat);
            g.activation(logit, Activation::Sigmoid)
        });
        let value = heads::value(&mut g, model, "value", &feat).mean(&mut g, model);
        let chosen = act(&mut g, model, &feat, action_noise);
        let mut kept = vec![decoded, reward, value, chosen.action];
        kept.extend(pcont);
        if step != Step::Stay {
            kept.extend(feat);
        }
        if let Some(Inference { prior, post, kl, .. }) = inference {
            kept.extend([prior.spread(), post.spread(), kl]);
        }
        match chosen.dist {
            ActDist::OneHot(logits) => kept.push(logits),
            ActDist::TanhNormal { mean, std } => kept.extend([mean, std]),
        }
        kept.into_iter().for_each(|v| {
            g.keep(v);
        });
        let plan = Plan::new(g, &[], pool.clone());
        let (dist, sample) = (chosen.dist, chosen.action);
        let model = model.clone();
        Readout { model, plan, state, action, next, inference, decoded, reward, pcont, value, dist, sample }
    }

    /// Goes on from these states [n, S], [n, D].
    pub fn begin(&mut self, stoch: &[R], deter: &[R]) {
        self.plan.input_mut(self.state.stoch).copy_from_slice(stoch);
        self.plan.input_mut(self.state.deter).copy_from_slice(deter);
    }

    /// Observations [n, ...], to fill before a posterior step.
    pub fn obs_mut(&mut self) -> &mut [R] {
        let inference = self.inference.expect("only a posterior step sees observations");
        self.plan.input_mut(inference.obs)
    }

    /// One step under actions [n, A]. A posterior step takes the previous state and action of sequence i as zeros where `first[i]`; the
    /// other steps do not look at `first`.
    pub fn step(&mut self, params: &mut Params<R>, actions: &[f32], first: &[bool], clock: Clock) {
        let input = self.plan.input_mut(self.action);
        input.iter_mut().zip(actions).for_each(|(i, a)| *i = R::of(f64::from(*a)));
        if let Some(inference) = self.inference {
            let keep = self.plan.input_mut(inference.keep);
            keep.iter_mut().zip(first).for_each(|(k, &f)| *k = if f { R::ZERO } else { R::ONE });
        }
        self.plan.run(params, clock);
        for (from, to) in [(self.next.stoch, self.state.stoch), (self.next.deter, self.state.deter)] {
            let value = self.plan.value(from).to_vec();
            self.plan.input_mut(to).copy_from_slice(&value);
        }
    }

    /// The states [n, S], [n, D] that heads were asked in.
    pub fn state(&self) -> (&[R], &[R]) {
        (self.plan.value(self.state.stoch), self.plan.value(self.state.deter))
    }

    /// Decoded observations [n, ...]: means, or logits.
    pub fn decoded(&self) -> &[R] {
        self.plan.value(self.decoded)
    }

    /// Expected rewards `[n]`.
    pub fn reward(&self) -> &[R] {
        self.plan.value(self.reward)
    }

    /// Predicted discounts `[n]`: the probability that the episode goes on, times the discount. `None` without a continue head.
    pub fn pcont(&self) -> Option<&[R]> {
        self.pcont.map(|p| self.plan.value(p))
    }

    /// Values `[n]`, which contain the reward of the state itself.
    pub fn value(&self) -> &[R] {
        self.plan.value(self.value)
    }

    /// KL(post || prior) in nats `[n]` of a posterior step.
    pub fn kl(&self) -> &[R] {
        self.plan.value(self.inference.expect("only a posterior step has a divergence").kl)
    }

    /// Entropies in nats of prior and posterior of sequence `i` after a posterior step.
    pub fn entropies(&self, i: usize) -> [f64; 2] {
        let Inference { prior, post, .. } = self.inference.expect("only a posterior step has a posterior");
        let c = &self.model.config;
        let row = i * self.model.stoch()..(i + 1) * self.model.stoch();
        [prior, post].map(|d| d.entropy(&self.plan.value(d.spread())[row.clone()], c.latent_classes, c.unimix))
    }

    /// Entropy in nats of the actor's distribution for sequence `i`, for discrete actions.
    pub fn action_entropy(&self, i: usize) -> Option<f64> {
        let ActDist::OneHot(logits) = self.dist else { return None };
        let width = self.model.actions.size();
        let row = &self.plan.value(logits)[i * width..(i + 1) * width];
        Some(Dist::Categorical(logits).entropy(row, width, 0.0))
    }

    /// The probability of each action `[A]` for sequence `i`, for discrete actions.
    pub fn action_chances(&self, i: usize) -> Option<Vec<f64>> {
        let ActDist::OneHot(logits) = self.dist else { return None };
        let width = self.model.actions.size();
        let logits = self.plan.value(logits)[i * width..(i + 1) * width].iter().map(|l| l.f64());
        let highest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logits.map(|l| (l - highest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        Some(weights.into_iter().map(|w| w / sum).collect())
    }

    /// The actions [n, A] that the actor chooses in these states.
    pub fn choose(&self, choice: Choice, clock: Clock, actions: &mut [f32]) {
        match choice {
            Choice::Sample => {
                actions.iter_mut().zip(self.plan.value(self.sample)).for_each(|(a, s)| *a = s.f64() as f32);
            }
            Choice::Mode => policy::mode(&self.plan, self.dist, self.model.actions.size(), clock, actions),
        }
    }
}
