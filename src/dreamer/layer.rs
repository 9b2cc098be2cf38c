//! Layers that all networks are made of: a linear map, then for hidden layers a norm and an activation.
//!
//! ```text
//! dense:  x W + b
//! hidden: f(norm(x W + b))
//! ```
//! Without a norm, and with an activation whose derivative can be told from its value, norm and activation are the epilogue of the linear
//! map; otherwise they are ops of their own. Sources: danijar/dreamer `models.py`; danijar/dreamerv2 `nets.py`, `NormLayer`; danijar/dreamerv3
//! `nets.py`, `Norm`.

use super::model::{Model, Table};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::config::{self, Norm};
use crate::ops::Activation;

/// The layer of this name without activation: `name.w`, `name.b`.
pub(super) fn dense<R: Real>(g: &mut Graph<R>, name: &str, xs: &[Var]) -> Var {
    let (w, b) = (g.param(&format!("{name}.w")), g.param(&format!("{name}.b")));
    g.linear(xs, w, Some(b), Activation::Identity)
}

/// The hidden dense layer of this name: `name.w`, `name.b`, and what its norm has learned.
pub(super) fn hidden<R: Real>(g: &mut Graph<R>, model: &Model, name: &str, xs: &[Var]) -> Var {
    let (w, b) = (g.param(&format!("{name}.w")), g.param(&format!("{name}.b")));
    finished(g, name, model.config.norm, model.config.dense_act, |g, f| g.linear(xs, w, Some(b), f))
}

/// The hidden layer whose linear map is `linear`, which takes the activation that it shall apply itself.
pub(super) fn finished<R: Real>(
    g: &mut Graph<R>,
    name: &str,
    norm: Norm,
    act: config::Activation,
    linear: impl FnOnce(&mut Graph<R>, Activation) -> Var,
) -> Var {
    let f = match act {
        config::Activation::Elu => Some(Activation::Elu),
        config::Activation::Relu => Some(Activation::Relu),
        config::Activation::Tanh => Some(Activation::Tanh),
        config::Activation::Silu => None,
    };
    if let (Norm::None, Some(f)) = (norm, f) {
        return linear(g, f);
    }
    let a = linear(g, Activation::Identity);
    let a = normalised(g, norm, name, a);
    match f {
        Some(f) => g.activation(a, f),
        None => g.silu(a),
    }
}

/// `a` under the norm of this name: `name.scale`, and for layer norm `name.offset`.
pub(super) fn normalised<R: Real>(g: &mut Graph<R>, norm: Norm, name: &str, a: Var) -> Var {
    match norm {
        Norm::None => a,
        Norm::Layer => {
            let (scale, offset) = (g.param(&format!("{name}.scale")), g.param(&format!("{name}.offset")));
            g.layer_norm(a, scale, offset)
        }
        Norm::Rms => {
            let scale = g.param(&format!("{name}.scale"));
            g.rms_norm(a, scale)
        }
    }
}

impl Table {
    /// `name.w` [i, o] and `name.b` [o].
    pub fn dense(&mut self, name: &str, i: usize, o: usize) {
        self.push(&format!("{name}.w"), &[i, o]);
        self.push(&format!("{name}.b"), &[o]);
    }

    /// A hidden dense layer.
    pub fn hidden(&mut self, model: &Model, name: &str, i: usize, o: usize) {
        self.dense(name, i, o);
        self.norm(model.config.norm, name, o);
    }

    /// `name.scale` [n] and `name.offset` [n], as the norm has them.
    pub fn norm(&mut self, norm: Norm, name: &str, n: usize) {
        if norm != Norm::None {
            self.push(&format!("{name}.scale"), &[n]);
        }
        if norm == Norm::Layer {
            self.push(&format!("{name}.offset"), &[n]);
        }
    }
}
