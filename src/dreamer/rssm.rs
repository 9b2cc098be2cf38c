//! The recurrent state-space model: a deterministic path through a GRU and a stochastic state, predicted (prior) or inferred from what
//! was seen (posterior). Source: PlaNet, eq. (4); Dreamer eq. (9); danijar/dreamer `models.py`, `RSSM`.
//!
//! ```text
//! (S1) x     = elu(img1 [stoch, action])
//! (S2) deter = gru(x, deter)                          reset applied after the projection; with `gru_norm`
//!              norm_gru(norm(W [x, deter]), deter)    as in DreamerV2
//! (S3) prior = img3 elu(img2 deter)                   p(s_t | deter)
//! (S4) post  = obs2 elu(obs1 [deter, embed])          q(s_t | deter, o_t)
//! (S5) stoch ~ post in observe, ~ prior in imagine; with `imag_prior = mean` the mean of the prior
//! ```
//! With `action_product` (S1) reads the outer product of action and stoch in place of stoch, and (S2) that of action and deter: each action has weights of its
//! own for what it does to the state.
//! With a map (`map_size`) other layers stand in their place, `cells.rs`.
//!
//! The prior and the half of obs1 that reads the embedding do not take part in the recurrence: `observe` computes them for all time steps at
//! once.

use super::cells;
use super::layer::{dense, finished, hidden, normalised};
use super::model::{Model, Table};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::config::{ImagPrior, Latent, Norm};
use crate::ops::Activation;
use crate::ops::gaussian::Gaussian;
use crate::ops::normal_nll::HALF_LN_TAU;

/// A state of the world model; the feature is [stoch, deter].
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Stochastic part [.., S].
    pub stoch: Var,
    /// Deterministic part [.., D].
    pub deter: Var,
}

impl State {
    /// The parts of the feature, in order.
    pub fn feat(&self) -> [Var; 2] {
        [self.stoch, self.deter]
    }

    /// The same state, through which no gradient flows.
    pub fn stop<R: Real>(&self, g: &mut Graph<R>) -> State {
        State { stoch: g.stop(self.stoch), deter: g.stop(self.deter) }
    }

    /// The first-axis rows `from..to`.
    pub fn rows<R: Real>(&self, g: &mut Graph<R>, from: usize, to: usize) -> State {
        State { stoch: g.rows(self.stoch, from, to), deter: g.rows(self.deter, from, to) }
    }

    /// As [n, S] and [n, D].
    pub fn flat<R: Real>(&self, g: &mut Graph<R>) -> State {
        let n = g.height(self.stoch);
        let (s, d) = (g.width(self.stoch), g.width(self.deter));
        State { stoch: g.reshape(self.stoch, &[n, s]), deter: g.reshape(self.deter, &[n, d]) }
    }
}

/// A distribution over the stochastic state.
#[derive(Debug, Clone, Copy)]
pub enum Dist {
    /// Diagonal normal.
    Gaussian(Gaussian),
    /// Categorical variables, by their logits.
    Categorical(Var),
}

impl Dist {
    /// What its entropy follows from: standard deviations, or logits.
    pub fn spread(&self) -> Var {
        match *self {
            Dist::Gaussian(Gaussian { std, .. }) => std,
            Dist::Categorical(logits) => logits,
        }
    }

    /// The sum of the entropies in nats of all states whose spread this is; computed by the host, for the log only.
    pub fn entropy<R: Real>(&self, spread: &[R], classes: usize, unimix: f64) -> f64 {
        match self {
            Dist::Gaussian(_) => {
                let half_ln_tau_e = HALF_LN_TAU + 0.5;
                spread.iter().map(|std| std.f64().ln() + half_ln_tau_e).sum()
            }
            Dist::Categorical(_) => spread
                .chunks_exact(classes)
                .map(|logits| {
                    let highest = logits.iter().fold(f64::NEG_INFINITY, |a, x| a.max(x.f64()));
                    let sum: f64 = logits.iter().map(|x| (x.f64() - highest).exp()).sum();
                    let p = |x: &R| (1.0 - unimix) * (x.f64() - highest).exp() / sum + unimix / classes as f64;
                    -logits.iter().map(p).filter(|&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>()
                })
                .sum(),
        }
    }

    /// The same distribution, through which no gradient flows.
    pub fn stop<R: Real>(&self, g: &mut Graph<R>) -> Dist {
        match *self {
            Dist::Gaussian(Gaussian { mean, std }) => Dist::Gaussian(Gaussian { mean: g.stop(mean), std: g.stop(std) }),
            Dist::Categorical(logits) => Dist::Categorical(g.stop(logits)),
        }
    }
}

/// KL(q || p), one number for each state: `[rows]`.
pub fn kl<R: Real>(g: &mut Graph<R>, model: &Model, q: Dist, p: Dist) -> Var {
    match (q, p) {
        (Dist::Gaussian(q), Dist::Gaussian(p)) => g.kl_gaussian(q, p),
        (Dist::Categorical(q), Dist::Categorical(p)) => {
            g.kl_categorical(q, p, model.config.latent_classes, model.config.unimix)
        }
        _ => panic!("a divergence between distributions of different kind"),
    }
}

/// Parameters of (S1) to (S4), or of the layers that stand in their place.
pub(super) fn params(model: &Model, table: &mut Table) {
    if let Some(map) = model.map {
        return cells::rssm_params(model, map, table);
    }
    let c = &model.config;
    let (s, d, hidden, a, e) = (model.stoch(), model.deter(), c.hidden_size, model.actions.size(), model.embed());
    let (stoch, before) = if c.action_product { (a * s, a * d) } else { (s, d) };
    table.hidden(model, "rssm.img1", stoch + a, hidden);
    if c.gru_norm == Norm::None {
        table.push("rssm.gru.wx", &[hidden, 3 * d]);
        table.push("rssm.gru.wh", &[before, 3 * d]);
        table.push("rssm.gru.bx", &[3 * d]);
        table.push("rssm.gru.bh", &[3 * d]);
    } else {
        table.dense("rssm.gru", hidden + before, 3 * d);
        table.norm(c.gru_norm, "rssm.gru", 3 * d);
    }
    table.hidden(model, "rssm.img2", d, hidden);
    table.dense("rssm.img3", hidden, model.stoch_params());
    table.hidden(model, "rssm.obs1", d + e, hidden);
    table.dense("rssm.obs2", hidden, model.stoch_params());
}

/// (S1) (S2): the next deterministic state [n, D].
pub fn deter_step<R: Real>(g: &mut Graph<R>, model: &Model, prev: State, action: Var) -> Var {
    if let Some(map) = model.map {
        return cells::step(g, model, map, prev, action);
    }
    let (stoch, deter) = match model.config.action_product {
        true => (g.outer(action, prev.stoch), g.outer(action, prev.deter)),
        false => (prev.stoch, prev.deter),
    };
    let x = hidden(g, model, "rssm.img1", &[stoch, action]);
    if model.config.gru_norm != Norm::None {
        let a = dense(g, "rssm.gru", &[x, deter]);
        let a = normalised(g, model.config.gru_norm, "rssm.gru", a);
        return g.norm_gru_cell(a, prev.deter);
    }
    let (wx, wh) = (g.param("rssm.gru.wx"), g.param("rssm.gru.wh"));
    let (bx, bh) = (g.param("rssm.gru.bx"), g.param("rssm.gru.bh"));
    let xp = g.linear(&[x], wx, Some(bx), Activation::Identity);
    let hp = g.linear(&[deter], wh, Some(bh), Activation::Identity);
    g.gru_cell(xp, hp, prev.deter)
}

/// (S3): the layer that the prior is made of [.., 2 S] or [.., S].
fn prior_layer<R: Real>(g: &mut Graph<R>, model: &Model, deter: Var) -> Var {
    if let Some(map) = model.map {
        return cells::prior(g, model, map, deter);
    }
    let x = hidden(g, model, "rssm.img2", &[deter]);
    dist_layer(g, model, "rssm.img3", x)
}

/// The layer of this name that a distribution is made of [.., 2 S] or [.., S]. Logits are in full precision: with noise they decide between
/// classes, and a rounding decides otherwise.
fn dist_layer<R: Real>(g: &mut Graph<R>, model: &Model, name: &str, x: Var) -> Var {
    match model.config.latent {
        Latent::Gaussian => dense(g, name, &[x]),
        Latent::Categorical => g.in_full(|g| dense(g, name, &[x])),
    }
}

/// The distribution that a layer describes.
fn dist<R: Real>(g: &mut Graph<R>, model: &Model, layer: Var) -> Dist {
    match model.config.latent {
        Latent::Gaussian => Dist::Gaussian(g.gaussian(layer, model.config.min_std)),
        Latent::Categorical => Dist::Categorical(layer),
    }
}

/// (S3): the prior given the deterministic state [.., D].
pub fn prior<R: Real>(g: &mut Graph<R>, model: &Model, deter: Var) -> Dist {
    let layer = prior_layer(g, model, deter);
    dist(g, model, layer)
}

/// The distribution that a layer describes, and a sample of it moved by noise (normal or Gumbel, as wide as the sample).
fn sample<R: Real>(g: &mut Graph<R>, model: &Model, layer: Var, noise: Var) -> (Dist, Var) {
    match model.config.latent {
        Latent::Gaussian => {
            let (dist, sample) = g.sample_gaussian(layer, noise, model.config.min_std);
            (Dist::Gaussian(dist), sample)
        }
        Latent::Categorical => {
            let (sample, _) = g.sample_onehot(layer, noise, model.config.latent_classes, model.config.unimix);
            (Dist::Categorical(layer), sample)
        }
    }
}

/// The mean of the distribution that a layer describes: of one-hot variables, their probabilities. It does not depend on the noise.
fn mean<R: Real>(g: &mut Graph<R>, model: &Model, layer: Var, noise: Var) -> Var {
    match model.config.latent {
        Latent::Gaussian => g.gaussian(layer, model.config.min_std).mean,
        Latent::Categorical => g.sample_onehot(layer, noise, model.config.latent_classes, model.config.unimix).1,
    }
}

/// (S1) to (S3), (S5): one step of imagination.
pub fn img_step<R: Real>(g: &mut Graph<R>, model: &Model, prev: State, action: Var, noise: Var) -> State {
    let deter = deter_step(g, model, prev, action);
    let layer = prior_layer(g, model, deter);
    let stoch = match model.config.imag_prior {
        ImagPrior::Sample => sample(g, model, layer, noise).1,
        ImagPrior::Mean => mean(g, model, layer, noise),
    };
    State { stoch, deter }
}

/// The half of obs1 that reads embeddings [n, E], bias included: [n, hidden]. With a map the embedding is the posterior already.
pub fn embed_half<R: Real>(g: &mut Graph<R>, model: &Model, embed: Var) -> Var {
    if model.map.is_some() {
        return embed;
    }
    let (w, b) = (g.param("rssm.obs1.w"), g.param("rssm.obs1.b"));
    let w = g.rows(w, model.deter(), model.deter() + model.embed());
    g.linear(&[embed], w, Some(b), Activation::Identity)
}

/// (S1) (S2) (S4) (S5): one step with an observation, given by its half of obs1. Where `keep` `[n]` is 0 an episode begins: the previous
/// state and the action that led here count as zeros.
pub fn obs_step<R: Real>(
    g: &mut Graph<R>,
    model: &Model,
    prev: State,
    action: Var,
    keep: Var,
    embed: Var,
    noise: Var,
) -> (State, Dist) {
    let prev = State { stoch: g.mask(prev.stoch, keep), deter: g.mask(prev.deter, keep) };
    let action = g.mask(action, keep);
    let deter = deter_step(g, model, prev, action);
    if model.map.is_some() {
        let (post, stoch) = sample(g, model, embed, noise);
        return (State { stoch, deter }, post);
    }
    let w = g.param("rssm.obs1.w");
    let w = g.rows(w, 0, model.deter());
    let x = finished(g, "rssm.obs1", model.config.norm, model.config.dense_act, |g, f| {
        g.linear_add(&[deter], w, None, Some(embed), f)
    });
    let layer = dist_layer(g, model, "rssm.obs2", x);
    let (post, stoch) = sample(g, model, layer, noise);
    (State { stoch, deter }, post)
}

/// What `observe` infers of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// Posterior states [T, B, ..].
    pub state: State,
    /// Posterior distributions.
    pub post: Dist,
    /// Prior distributions: what was expected before each observation.
    pub prior: Dist,
}

/// A batch of sequences whose states are to be inferred.
#[derive(Debug, Clone, Copy)]
pub struct Sequences {
    /// Embeddings of the observations [T B, E].
    pub embed: Var,
    /// Actions [T, B, A]; action t is the one that led to observation t.
    pub action: Var,
    /// [T, B], 0 at the first row of an episode.
    pub keep: Var,
    /// Noise of the samples [T, B, S].
    pub noise: Var,
}

impl Sequences {
    /// The zero state [B, ..].
    pub fn zero<R: Real>(&self, g: &mut Graph<R>, model: &Model) -> State {
        let b = g.shape(self.action)[1];
        // Inputs are zero until the host fills them, and nobody fills these.
        State {
            stoch: g.input("observe.initial_stoch", &[b, model.stoch()]),
            deter: g.input("observe.initial_deter", &[b, model.deter()]),
        }
    }

    /// From a state [B, ..] on, the posterior state and its distribution of every row.
    fn scan<R: Real>(&self, g: &mut Graph<R>, model: &Model, mut state: State) -> (Vec<State>, Vec<Dist>) {
        let (t_len, b) = (g.shape(self.action)[0], g.shape(self.action)[1]);
        let pre = embed_half(g, model, self.embed);
        let width = g.width(pre);
        let pre = g.reshape(pre, &[t_len, b, width]);
        (0..t_len)
            .map(|t| {
                let at = [self.action, self.keep, pre, self.noise].map(|x| g.window(x, t));
                let post;
                (state, post) = obs_step(g, model, state, at[0], at[1], at[2], at[3]);
                (state, post)
            })
            .unzip()
    }
}

/// The state [B, ..] that these sequences lead to from the zero state, through which no gradient flows.
pub fn lead<R: Real>(g: &mut Graph<R>, model: &Model, rows: Sequences) -> State {
    g.scope("context");
    let zero = rows.zero(g, model);
    let (states, _) = rows.scan(g, model, zero);
    states.last().expect("a sequence has rows").stop(g)
}

/// Infers the states of a batch of sequences that begin in the state `initial` [B, ..].
pub fn observe<R: Real>(g: &mut Graph<R>, model: &Model, initial: State, rows: Sequences) -> Observed {
    g.scope("observe");
    let (states, posts) = rows.scan(g, model, initial);
    let stochs: Vec<Var> = states.iter().map(|s| s.stoch).collect();
    let deters: Vec<Var> = states.iter().map(|s| s.deter).collect();
    let state = State { stoch: g.stack(&stochs), deter: g.stack(&deters) };
    let post = match model.map {
        // It does not depend on the state, and was computed for all time steps at once.
        Some(_) => Dist::Categorical(rows.embed),
        None => stack(g, &posts),
    };
    g.scope("prior");
    let flat = state.flat(g);
    let prior = prior(g, model, flat.deter);
    Observed { state, post, prior }
}

/// Distributions of single steps as one over [T B, ..].
fn stack<R: Real>(g: &mut Graph<R>, steps: &[Dist]) -> Dist {
    let flat = |g: &mut Graph<R>, vars: Vec<Var>| {
        let (n, width) = (vars.len() * g.height(vars[0]), g.width(vars[0]));
        let stacked = g.stack(&vars);
        g.reshape(stacked, &[n, width])
    };
    match steps[0] {
        Dist::Gaussian(_) => {
            let parts: Vec<Gaussian> = steps
                .iter()
                .map(|d| match d {
                    Dist::Gaussian(d) => *d,
                    Dist::Categorical(_) => panic!("distributions of one sequence are of one kind"),
                })
                .collect();
            let mean = flat(g, parts.iter().map(|d| d.mean).collect());
            Dist::Gaussian(Gaussian { mean, std: flat(g, parts.iter().map(|d| d.std).collect()) })
        }
        Dist::Categorical(_) => {
            let parts = steps
                .iter()
                .map(|d| match d {
                    Dist::Categorical(d) => *d,
                    Dist::Gaussian(_) => panic!("distributions of one sequence are of one kind"),
                })
                .collect();
            Dist::Categorical(flat(g, parts))
        }
    }
}
