//! Heads: multi-layer perceptrons on features that predict the reward, the value, and whether an episode goes on. Source:
//! danijar/dreamer `models.py`, `DenseDecoder`.

use super::cells;
use super::layer::{dense, hidden};
use super::lookahead::lookahead;
use super::model::Model;
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::config::ScalarDist;

/// The last layer [n, out] of the head of this name, from the parts of features [n, ..].
pub fn mlp<R: Real>(g: &mut Graph<R>, model: &Model, name: &str, layers: usize, feat: &[Var]) -> Var {
    let planned = lookahead(g, model, name, feat);
    g.scope(name);
    let mut x = vec![feat[0], cells::read(g, model, feat[1])];
    x.extend(planned);
    for i in 0..layers {
        x = vec![hidden(g, model, &format!("{name}.h{i}"), &x)];
        if i + 1 == layers {
            x.extend(planned);
        }
    }
    // Few operations, and what they give is not rounded again: full precision costs nothing here.
    g.in_full(|g| dense(g, &format!("{name}.out"), &x))
}

/// A predicted number for each of n states, as a distribution.
#[derive(Debug, Clone, Copy)]
pub struct Scalar {
    layer: Var,
    dist: ScalarDist,
}

impl Scalar {
    /// The expected number `[n]`.
    pub fn mean<R: Real>(&self, g: &mut Graph<R>, model: &Model) -> Var {
        let n = g.height(self.layer);
        match self.dist {
            ScalarDist::Normal => g.reshape(self.layer, &[n]),
            ScalarDist::SymlogNormal => {
                let mean = g.symexp(self.layer);
                g.reshape(mean, &[n])
            }
            ScalarDist::Twohot => g.twohot_mean(self.layer, &model.bins),
        }
    }

    /// -ln p(target) `[n]` of targets `[n]`.
    pub fn nll<R: Real>(&self, g: &mut Graph<R>, model: &Model, target: Var) -> Var {
        let n = g.height(self.layer);
        match self.dist {
            ScalarDist::Normal => g.normal_nll(self.layer, target, n),
            ScalarDist::SymlogNormal => {
                let target = g.stop(target);
                let target = g.symlog(target);
                g.normal_nll(self.layer, target, n)
            }
            ScalarDist::Twohot => g.twohot_nll(self.layer, target, &model.bins),
        }
    }

    /// The predictions of the states `from..to`.
    pub fn rows<R: Real>(&self, g: &mut Graph<R>, from: usize, to: usize) -> Scalar {
        Scalar { layer: g.rows(self.layer, from, to), ..*self }
    }
}

/// The reward of states with these features.
pub fn reward<R: Real>(g: &mut Graph<R>, model: &Model, feat: &[Var]) -> Scalar {
    let layer = mlp(g, model, "reward", model.config.reward_layers, feat);
    Scalar { layer, dist: model.config.reward_dist }
}

/// The value of states with these features, by the head `value` or its copy `slow`.
pub fn value<R: Real>(g: &mut Graph<R>, model: &Model, name: &str, feat: &[Var]) -> Scalar {
    let layer = mlp(g, model, name, model.config.value_layers, feat);
    Scalar { layer, dist: model.config.value_dist }
}

/// The logit `[n]` of the discount of states with these features.
pub fn pcont<R: Real>(g: &mut Graph<R>, model: &Model, feat: &[Var]) -> Var {
    let layer = mlp(g, model, "pcont", model.config.pcont_layers, feat);
    let n = g.height(layer);
    g.reshape(layer, &[n])
}
