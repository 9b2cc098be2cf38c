//! Learning the world model: Dreamer eq. (10), with the choices that later versions made.
//!
//! ```text
//! loss = kl_scale div + image_scale image + reward_loss_scale reward (+ pcont_scale pcont) (+ latent_barrier barrier)
//! div  = max(mean KL(post || prior), free_nats)
//! barrier = mean KL(uniform || post), a sum over the variables of a categorical latent
//! ```
//! The free nats are granted to the **mean** over the batch, so that no gradient of the divergence passes while the mean is below; with
//! `free_nats_each` to each state. With `kl_balance` >= 0 the divergence is `kl_balance KL(sg(post) || prior) + kl_rep_scale KL(post || sg(prior))`
//! (DreamerV2, "KL balancing"; DreamerV3, "dynamics loss" and "representation loss").
//!
//! The barrier keeps what is rare from being lost: a posterior that shows one class for certain has no gradient to any other, not even where another would say
//! more. That of the barrier is p - 1/K in the logits and does not vanish, so that only what the other losses gain by it holds a class. With `latent_barrier_decay` its weight halves every so many
//! updates, as a temperature falls in deterministic annealing (Rose, 1998).

use super::decoder::decode;
use super::encoder::encode;
use super::heads;
use super::model::Model;
use super::rssm::{self, Dist, Observed, Sequences, State};
use super::step::Batch;
use crate::autodiff::{Graph, Var};
use crate::base::Real;

/// The loss of the world model and its terms, each a scalar.
#[derive(Debug, Clone, Copy)]
pub struct WorldLoss {
    /// The sum that is minimised.
    pub loss: Var,
    /// -ln p(o_t | s_t), the mean over the batch.
    pub image: Var,
    /// -ln p(r_t | s_t), the mean over the batch.
    pub reward: Var,
    /// -ln p(discount_t | s_t), the mean over the batch, before its scale.
    pub pcont: Option<Var>,
    /// The mean divergence KL(post || prior), before free nats.
    pub kl: Var,
    /// The divergence as it enters the loss, before its scale.
    pub div: Var,
    /// The mean KL(uniform || post), before its weight.
    pub barrier: Option<Var>,
    /// The input that the weight of the barrier is written to, if it falls.
    pub barrier_weight: Option<Var>,
    /// What was inferred of the batch.
    pub observed: Observed,
    /// The decoder's output [T B, ...]: means, or logits.
    pub decoded: Var,
}

/// Traces the world model's loss over a batch; `noise` [T, B, S]. Of its T rows the first `context_length` are not learned: they lead to the state
/// that the others begin in.
pub fn world_loss<R: Real>(g: &mut Graph<R>, model: &Model, batch: &Batch, noise: Var) -> WorldLoss {
    let c = &model.config;
    let (initial, batch, noise) = led(g, model, batch, noise);
    let (t, b) = (g.shape(batch.action)[0], g.shape(batch.action)[1]);
    let embed = encode(g, model, batch.obs);
    let rows = Sequences { embed, action: batch.action, keep: batch.keep, noise };
    let initial = initial.unwrap_or_else(|| rows.zero(g, model));
    let observed = rssm::observe(g, model, initial, rows);
    let feat = observed.state.flat(g).feat();

    let decoded = decode(g, model, &feat);
    g.scope("world_loss");
    let image = match &model.observation {
        super::Observation::Symbolic { classes, .. } if model.categorical_observation() => {
            g.categorical_nll(decoded, batch.obs, batch.weight, classes)
        }
        _ => match batch.weight {
            Some(weight) => g.weighted_normal_nll(decoded, batch.obs, weight, t * b),
            None => g.normal_nll(decoded, batch.obs, t * b),
        },
    };
    let image = g.mean(image);

    let reward = heads::reward(g, model, &feat);
    let reward = reward.nll(g, model, batch.reward);
    let reward = g.mean(reward);

    let pcont = c.pcont.then(|| {
        let logit = heads::pcont(g, model, &feat);
        let nll = g.bernoulli_nll(logit, batch.pcont_target);
        g.mean(nll)
    });

    g.scope("kl");
    let each = rssm::kl(g, model, observed.post, observed.prior);
    let kl = g.mean(each);
    let free = |g: &mut Graph<R>, each: Var| {
        if c.free_nats_each {
            let floored = g.floor(each, c.free_nats);
            g.mean(floored)
        } else {
            let mean = g.mean(each);
            g.floor(mean, c.free_nats)
        }
    };
    let div = if c.kl_balance < 0.0 {
        free(g, each)
    } else {
        let (post, prior) = (observed.post.stop(g), observed.prior.stop(g));
        let dynamics = rssm::kl(g, model, post, observed.prior);
        let representation = rssm::kl(g, model, observed.post, prior);
        let (dynamics, representation) = (free(g, dynamics), free(g, representation));
        g.sum(&[(dynamics, c.kl_balance), (representation, c.kl_rep_scale)])
    };

    g.scope("world_loss");
    let mut terms = vec![(div, c.kl_scale), (image, c.image_scale), (reward, c.reward_loss_scale)];
    terms.extend(pcont.map(|p| (p, c.pcont_scale)));
    let barrier = (c.latent_barrier > 0.0).then(|| barrier(g, model, observed.post));
    let barrier_weight =
        barrier.filter(|_| c.latent_barrier_decay > 0.0).map(|_| g.input("world_loss.barrier_weight", &[1]));
    terms.extend(barrier.map(|barrier| match barrier_weight {
        Some(weight) => (g.mul(barrier, weight), 1.0),
        None => (barrier, c.latent_barrier),
    }));
    let loss = g.sum(&terms);
    WorldLoss { loss, image, reward, pcont, kl, div, barrier, barrier_weight, observed, decoded }
}

/// The mean KL(uniform || post).
fn barrier<R: Real>(g: &mut Graph<R>, model: &Model, post: Dist) -> Var {
    let Dist::Categorical(logits) = post else { panic!("latent_barrier without classes") };
    let shape = g.shape(logits).to_vec();
    // Inputs are zero until the host fills them, and nobody fills this one: the logits of classes that are all alike.
    let uniform = g.input("world_loss.uniform", &shape);
    let each = g.kl_categorical(uniform, logits, model.config.latent_classes, 0.0);
    g.mean(each)
}

/// The state that the first `context_length` rows of a batch lead to, if there are any; the rows behind them, and their noise.
fn led<R: Real>(g: &mut Graph<R>, model: &Model, batch: &Batch, noise: Var) -> (Option<State>, Batch, Var) {
    let (context, b) = (model.config.context_length, g.shape(batch.action)[1]);
    if context == 0 {
        return (None, *batch, noise);
    }
    let rows = g.shape(batch.action)[0];
    let obs = g.rows(batch.obs, 0, context * b);
    let embed = encode(g, model, obs);
    let [action, keep, before] = [batch.action, batch.keep, noise].map(|x| g.rows(x, 0, context));
    let initial = rssm::lead(g, model, Sequences { embed, action, keep, noise: before });
    let mut flat = |x: Var| g.rows(x, context * b, rows * b);
    let (obs, reward, pcont_target) = (flat(batch.obs), flat(batch.reward), flat(batch.pcont_target));
    let weight = batch.weight.map(flat);
    let [action, keep, noise] = [batch.action, batch.keep, noise].map(|x| g.rows(x, context, rows));
    (Some(initial), Batch { obs, action, reward, pcont_target, keep, weight }, noise)
}
