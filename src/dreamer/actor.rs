//! The actor: a distribution over actions for each feature, and a sample of it. Source: Dreamer section 3; danijar/dreamer
//! `models.py`, `ActionDecoder`.

use super::heads::mlp;
use super::model::{Actions, Model};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::ops::sample_tanh_normal::TanhNormal;

/// An action and the distribution that it was drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Act {
    /// The sample [n, A]: in -1 .. 1, or one-hot with the straight-through gradient.
    pub action: Var,
    /// What describes the distribution.
    pub dist: ActDist,
}

/// What describes a distribution over actions.
#[derive(Debug, Clone, Copy)]
pub enum ActDist {
    /// Logits [n, A].
    OneHot(Var),
    /// Mean and standard deviation [n, A], before the tanh.
    TanhNormal {
        /// Mean.
        mean: Var,
        /// Standard deviation.
        std: Var,
    },
}

/// The actor's action in states with these features; `noise` [n, A] is Gumbel for discrete actions and normal for continuous ones.
pub fn act<R: Real>(g: &mut Graph<R>, model: &Model, feat: &[Var], noise: Var) -> Act {
    let layer = mlp(g, model, "actor", model.config.actor_layers, feat);
    match model.actions {
        Actions::Discrete(n) => {
            let unimix = model.config.actor_unimix;
            let logits = if unimix > 0.0 { g.unimix(layer, n, unimix) } else { layer };
            let (action, _) = g.sample_onehot(logits, noise, n, 0.0);
            Act { action, dist: ActDist::OneHot(logits) }
        }
        Actions::Continuous(_) => {
            let constants = TanhNormal {
                mean_scale: model.config.action_mean_scale,
                init_std: model.config.action_init_std,
                min_std: model.config.action_min_std,
            };
            let (mean, std, action) = g.sample_tanh_normal(layer, noise, constants);
            Act { action, dist: ActDist::TanhNormal { mean, std } }
        }
    }
}
