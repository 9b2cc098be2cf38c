//! What a model is made of: its sizes, and the table of its parameters.

use std::sync::Arc;

use crate::autodiff::{Graph, Layout};
use crate::base::{Error, Real, Result};
use crate::config::{ActorGrad, Config, Latent, Precision, ScalarDist, SymbolicLoss};
use crate::device::gemm;
use crate::ops::ego_map::MapShape;
use crate::ops::twohot::symexp_bins;

use super::{cells, decoder, encoder, lookahead, rssm};

/// What the agent sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// An image [h, w, c], in -0.5 .. 0.5.
    Image {
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
        /// Channels.
        channels: usize,
    },
    /// A vector.
    Vector {
        /// Number of elements.
        size: usize,
    },
    /// Cells, each with several categorical variables, as one-hot planes.
    Symbolic {
        /// Number of cells.
        cells: usize,
        /// Classes of each variable of a cell.
        classes: Vec<usize>,
    },
}

impl Observation {
    /// Elements of one observation as the network sees it.
    pub fn size(&self) -> usize {
        match self {
            Observation::Image { height, width, channels } => height * width * channels,
            Observation::Vector { size } => *size,
            Observation::Symbolic { cells, classes } => cells * classes.iter().sum::<usize>(),
        }
    }

    /// Shape of one observation as the network sees it.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Observation::Image { height, width, channels } => vec![*height, *width, *channels],
            _ => vec![self.size()],
        }
    }
}

/// What the agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actions {
    /// One of n, as a one-hot vector.
    Discrete(usize),
    /// n numbers in -1 .. 1.
    Continuous(usize),
}

impl Actions {
    /// A: elements of one action as the network sees it.
    pub fn size(&self) -> usize {
        match *self {
            Actions::Discrete(n) | Actions::Continuous(n) => n,
        }
    }

    /// Whether actions are one-hot.
    pub fn discrete(&self) -> bool {
        matches!(self, Actions::Discrete(_))
    }
}

/// Sizes and settings of a model; builds nothing by itself.
#[derive(Debug, Clone)]
pub struct Model {
    /// All settings.
    pub config: Config,
    /// What the agent sees.
    pub observation: Observation,
    /// What the agent does.
    pub actions: Actions,
    /// Bins of two-hot heads.
    pub bins: Arc<[f64]>,
    /// The map, if the world model has one.
    pub map: Option<MapShape>,
}

/// Names of the groups of parameters, one optimizer each.
pub const GROUPS: [&str; 3] = ["model", "actor", "value"];

/// The group of the slow copy of the value head, which no optimizer updates.
pub const SLOW: &str = "slow";

impl Model {
    /// A model for these spaces; an error if they do not go together with the settings.
    pub fn new(config: &Config, observation: Observation, actions: Actions) -> Result<Self> {
        let refuse = |text: String| Err(Error::new(text));
        if let Observation::Image { height, width, .. } = observation
            && (height != width || height < 4)
        {
            return refuse(format!(
                "the image encoder takes square images of at least 4 pixels a side, not {height}x{width}; choose another \
                 tile_size or observation=symbolic"
            ));
        }
        if config.actor_grad != ActorGrad::Dynamics && !actions.discrete() {
            return refuse(format!(
                "actor_grad={} is for discrete actions; a task with continuous actions takes actor_grad=dynamics (see --preset \
                 pendulum)",
                config.actor_grad
            ));
        }
        if config.actor_entropy > 0.0 && !actions.discrete() {
            return refuse(
                "actor_entropy is for discrete actions: a squashed normal distribution has no entropy in closed form; set it to 0"
                    .into(),
            );
        }
        if config.actor_unimix > 0.0 && !actions.discrete() {
            return refuse("actor_unimix is for discrete actions: it mixes their probabilities; set it to 0".into());
        }
        if config.latent_barrier > 0.0 && config.latent != Latent::Categorical {
            return refuse("latent_barrier is for the classes of latent=categorical; set it to 0".into());
        }
        if config.actor_log_barrier > 0.0 && config.actor_grad == ActorGrad::Dynamics {
            return refuse(
                "actor_log_barrier is a part of the loss of actor_grad=reinforce or mixed; set it to 0".into(),
            );
        }
        if config.actor_log_barrier > 0.0 && config.actor_unimix > 0.0 {
            return refuse(
                "actor_log_barrier does nothing beside actor_unimix, which keeps every action possible and takes the barrier's gradient away \
                 from those that are rare; set one of them to 0"
                    .into(),
            );
        }
        if config.imag_starts > 0 && !config.imag_starts.is_multiple_of(config.batch_size) {
            return refuse(format!(
                "imag_starts={} is not a multiple of batch_size={}: imagination starts from the last time steps of all chunks",
                config.imag_starts, config.batch_size
            ));
        }
        let bins = if config.twohot_bins % 2 == 1 {
            symexp_bins(config.twohot_bins, config.twohot_limit)
        } else {
            return refuse(format!(
                "twohot_bins={} is even; an odd number puts one of the bins at 0",
                config.twohot_bins
            ));
        };
        let map = cells::shape(config, &observation)?;
        Ok(Model { config: config.clone(), observation, actions, bins, map })
    }

    /// An empty trace over parameters of this layout, in the configured precision. Products of tf32 are the kernels' business: on the CPU, where
    /// such a run acts, they are f32.
    pub fn graph<R: Real>(&self, layout: &Arc<Layout>) -> Graph<R> {
        let mut g = Graph::new(layout.clone());
        g.set_precision(match self.config.precision {
            Precision::F32 | Precision::Tf32 => gemm::Precision::Full,
            Precision::Bf16 => gemm::Precision::Bf16,
        });
        g
    }

    /// Whether the loss of an observation is categorical rather than normal.
    pub fn categorical_observation(&self) -> bool {
        matches!(self.observation, Observation::Symbolic { .. })
            && self.config.symbolic_loss == SymbolicLoss::Categorical
    }

    /// S: width of the stochastic state.
    pub fn stoch(&self) -> usize {
        match self.config.latent {
            Latent::Gaussian => self.config.stoch_size,
            Latent::Categorical => self.config.stoch_size * self.config.latent_classes,
        }
    }

    /// Width of the layer that a distribution over the stochastic state is made of.
    pub fn stoch_params(&self) -> usize {
        match self.config.latent {
            Latent::Gaussian => 2 * self.stoch(),
            Latent::Categorical => self.stoch(),
        }
    }

    /// D: width of the deterministic state, with its map.
    pub fn deter(&self) -> usize {
        self.config.deter_size + self.map.map_or(0, |map| map.map())
    }

    /// Width of what layers read of the deterministic state: all of it, or with `map_dense = false` what does not lie on the map.
    pub fn read(&self) -> usize {
        if self.config.map_dense { self.deter() } else { self.config.deter_size }
    }

    /// F: width of the feature that heads read, stochastic part first.
    pub fn feat(&self) -> usize {
        self.stoch() + self.read()
    }

    /// E: width of an embedded observation.
    pub fn embed(&self) -> usize {
        if let Some(map) = self.map {
            return map.seen();
        }
        match self.observation {
            Observation::Image { height, .. } => {
                let layers = encoder::convolutions(height, self.config.cnn_depth);
                let last = layers.last().expect("an image is at least 4 pixels wide");
                last.size_out * last.size_out * last.channels_out
            }
            _ => *self.config.encoder_units.last().unwrap_or(&self.observation.size()),
        }
    }

    /// Width of the actor's last layer.
    pub fn actor_out(&self) -> usize {
        match self.actions {
            Actions::Discrete(n) => n,
            Actions::Continuous(n) => 2 * n,
        }
    }

    /// Width of the last layer of a head that predicts one number.
    pub fn scalar_out(&self, dist: ScalarDist) -> usize {
        match dist {
            ScalarDist::Normal | ScalarDist::SymlogNormal => 1,
            ScalarDist::Twohot => self.config.twohot_bins,
        }
    }

    /// H times as many states as this are imagined: N.
    pub fn starts(&self) -> usize {
        let (b, t) = (self.config.batch_size, self.config.batch_length);
        match self.config.imag_starts {
            // With a continue head the last state of each chunk is left out (danijar/dreamer `dreamer.py`, `_train`).
            0 if self.config.pcont => b * (t - 1),
            0 => b * t,
            n => n.min(b * t),
        }
    }

    /// Every parameter with its shape, by group.
    pub fn layout(&self) -> Layout {
        let c = &self.config;
        let mut table = Table::default();
        encoder::params(self, &mut table);
        rssm::params(self, &mut table);
        decoder::params(self, &mut table);
        table.mlp(self, "reward", c.reward_layers, self.scalar_out(c.reward_dist));
        if c.pcont {
            table.mlp(self, "pcont", c.pcont_layers, 1);
        }
        let mut layout = Layout::new();
        layout.group("model", table.take());
        table.mlp(self, "actor", c.actor_layers, self.actor_out());
        layout.group("actor", table.take());
        table.mlp(self, "value", c.value_layers, self.scalar_out(c.value_dist));
        layout.group("value", table.take());
        if c.slow_value > 0.0 {
            table.mlp(self, SLOW, c.value_layers, self.scalar_out(c.value_dist));
            layout.group(SLOW, table.take());
        }
        layout
    }
}

/// Names and shapes under construction.
#[derive(Default)]
pub(super) struct Table(Vec<(String, Vec<usize>)>);

impl Table {
    pub fn push(&mut self, name: &str, shape: &[usize]) {
        self.0.push((name.to_string(), shape.to_vec()));
    }

    /// A head on features: `name.h0` .. and `name.out`.
    fn mlp(&mut self, model: &Model, name: &str, layers: usize, out: usize) {
        let planned = lookahead::params(model, name, self);
        let mut i = model.feat();
        for layer in 0..layers {
            self.hidden(
                model,
                &format!("{name}.h{layer}"),
                i + planned * usize::from(layer == 0),
                model.config.num_units,
            );
            i = model.config.num_units;
        }
        self.dense(&format!("{name}.out"), i + planned, out);
    }

    fn take(&mut self) -> Vec<(String, Vec<usize>)> {
        std::mem::take(&mut self.0)
    }
}
