//! Divergence and entropies of the latent state, and the actor's entropy, over the rows of played episodes.

use serde_json::{Value, json};

use super::play::{Play, Row};
use super::stats::{Ratio, json_list};
use crate::config::Config;

/// Steps of an episode that are told apart; what lies beyond counts only in the means.
const STEPS: usize = 100;

/// The measurements of one play.
#[derive(Debug, Clone, Default)]
pub struct Latent {
    /// KL(post || prior) in nats.
    pub kl: Ratio,
    /// Rows whose KL is below the free nats, of all.
    pub below_free: Ratio,
    /// Entropy of the prior in nats.
    pub prior_entropy: Ratio,
    /// Entropy of the posterior in nats.
    pub post_entropy: Ratio,
    /// Entropy of the actor in nats; without counts for continuous actions.
    pub action_entropy: Ratio,
    /// The KL by step of the episode.
    pub kl_by_step: Vec<Ratio>,
    /// The actor's entropy by step of the episode.
    pub action_entropy_by_step: Vec<Ratio>,
}

/// Measures a play. The first row of an episode counts like any other: there the prior knows nothing of the layout.
pub fn measure(config: &Config, play: &Play) -> Latent {
    let mut measured = Latent::default();
    for (episode, t, row) in play.rows() {
        let Row { kl, entropies: [prior, post], action_entropy, .. } = *row;
        measured.kl.add(episode, kl, 1.0);
        measured.below_free.count(episode, kl < config.free_nats);
        measured.prior_entropy.add(episode, prior, 1.0);
        measured.post_entropy.add(episode, post, 1.0);
        let at = |by_step: &mut Vec<Ratio>, x: f64| {
            if t < STEPS {
                by_step.resize_with(by_step.len().max(t + 1), Ratio::default);
                by_step[t].add(episode, x, 1.0);
            }
        };
        at(&mut measured.kl_by_step, kl);
        if let Some(entropy) = action_entropy {
            measured.action_entropy.add(episode, entropy, 1.0);
            at(&mut measured.action_entropy_by_step, entropy);
        }
    }
    measured
}

impl Latent {
    /// Everything, with the free nats that the loss grants.
    pub fn json(&self, config: &Config) -> Value {
        json!({
            "kl": self.kl.json(),
            "free_nats": config.free_nats,
            "free_nats_each": config.free_nats_each,
            "below_free_nats": self.below_free.json(),
            "prior_entropy": self.prior_entropy.json(),
            "posterior_entropy": self.post_entropy.json(),
            "action_entropy": self.action_entropy.json(),
            "kl_by_step": json_list(&self.kl_by_step),
            "action_entropy_by_step": json_list(&self.action_entropy_by_step),
        })
    }
}
