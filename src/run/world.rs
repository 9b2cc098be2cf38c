//! The task of a run, as the network and the replay see it: where an environment's observations become numbers.

use std::sync::Arc;

use super::objects::{OBJECTS, ObjectTiles};
use crate::base::{Error, Result, files};
use crate::config::{ClipRewards, Config, EvalLayouts, Observation as View};
use crate::dreamer::{self, Model};
use crate::env::{self, Env, VecEnv};
use crate::ops::symlog::symlog;
use crate::replay::{ActionKind, Layout, Obs, ObsKind};

/// Resets after which a layout of the wrong side is played all the same: some tasks have a single layout.
const PATIENCE: usize = 100;

/// Which layouts an environment may play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Those that training may see.
    Train,
    /// Those that are kept for evaluation.
    Test,
    /// Both, as the task itself deals them.
    Any,
}

impl Split {
    /// The layouts that evaluations play.
    pub fn of(layouts: EvalLayouts) -> Split {
        match layouts {
            EvalLayouts::Unseen => Split::Test,
            EvalLayouts::All => Split::Any,
        }
    }
}

/// The task of a run.
#[derive(Debug, Clone)]
pub struct World {
    /// The model for the task's spaces.
    pub model: Model,
    /// What the replay stores.
    pub layout: Layout,
    /// What an environment says of itself.
    pub spec: env::Spec,
    options: env::Options,
    /// Where pixels have weights.
    object_tiles: Option<Arc<ObjectTiles>>,
}

impl World {
    /// The task that the settings name; an error if it does not exist, if the model does not fit it, or if
    /// `expert_episodes` asks for plans that it does not have.
    pub fn new(config: &Config) -> Result<Self> {
        let options = env::Options {
            view: match config.observation {
                View::Symbolic | View::Vector => env::View::Symbolic,
                View::RgbPartial => env::View::RgbPartial,
                View::RgbFull => env::View::RgbFull,
            },
            tile_size: config.tile_size,
            actions: (config.action_set > 0).then_some(config.action_set),
            max_steps: (config.time_limit > 0).then_some(config.time_limit),
        };
        let mut env = env::make(&config.task, &options)?;
        if config.expert_episodes > 0 && env.expert().is_none() {
            return Err(Error::new(format!(
                "expert_episodes = {}: no shortest plan is known for {}; set expert_episodes = 0",
                config.expert_episodes, config.task
            )));
        }
        let spec = env.spec().clone();
        let (observation, key, kind, shape) = match spec.observation {
            env::Observation::Symbolic { height, width, classes } => (
                dreamer::Observation::Symbolic { cells: height * width, classes: classes.to_vec() },
                "symbolic",
                ObsKind::Bytes,
                vec![height, width, 3],
            ),
            env::Observation::Image { height, width, channels } => (
                dreamer::Observation::Image { height, width, channels },
                "image",
                ObsKind::Bytes,
                vec![height, width, channels],
            ),
            env::Observation::Vector { size } => {
                (dreamer::Observation::Vector { size }, "vector", ObsKind::Floats, vec![size])
            }
        };
        let (actions, action) = match spec.actions {
            env::Actions::Discrete { n } => (dreamer::Actions::Discrete(n), ActionKind::Discrete(n)),
            env::Actions::Continuous { size } => (dreamer::Actions::Continuous(size), ActionKind::Continuous(size)),
        };
        let model = Model::new(config, observation, actions)?;
        let layout = Layout { key: key.to_string(), shape, observation: kind, action };
        let object_tiles =
            spec.tile_size.filter(|_| config.object_weight != 1.0).map(|size| Arc::new(ObjectTiles::new(size)));
        Ok(World { model, layout, spec, options, object_tiles })
    }

    /// All settings.
    pub fn config(&self) -> &Config {
        &self.model.config
    }

    /// `n` environments of the task.
    pub fn envs(&self, n: usize) -> Result<VecEnv> {
        VecEnv::new(&self.config().task, &self.options, n)
    }

    /// The side that an environment's present layout belongs to; `None` for worlds without layouts.
    fn side(&self, env: &dyn Env) -> Option<Split> {
        let layout = env.layout()?;
        let share = f64::from(files::crc32(&layout)) / f64::from(u32::MAX);
        Some(if share < self.config().holdout { Split::Test } else { Split::Train })
    }

    /// The layouts that evaluations play by the settings.
    pub fn judged_by(&self) -> Split {
        Split::of(self.config().eval_layouts)
    }

    /// Begins an episode on a layout of this side: resets, with the seed if one is given, until one comes up. Worlds with few layouts may have
    /// none on a side; after a hundred tries any will do. Whether the layout is surely of one side: false then, and for [`Split::Any`]; true for
    /// worlds without layouts.
    pub fn reset(&self, env: &mut dyn Env, seed: Option<u64>, split: Split) -> bool {
        env.reset(seed);
        if self.config().holdout == 0.0 || split == Split::Any {
            return env.layout().is_none();
        }
        for _ in 0..PATIENCE {
            if self.side(env).is_none_or(|side| side == split) {
                return true;
            }
            env.reset(None);
        }
        false
    }

    /// Observations [n, ...] as the network sees them [n, size]: pixels in -0.5 .. 0.5, one-hot planes of symbolic cells, or
    /// numbers, plain or through symlog.
    pub fn encode(&self, obs: Obs<'_>, out: &mut [f32]) {
        match (obs, &self.model.observation) {
            (Obs::Floats(floats), _) if self.config().symlog_obs => {
                out.iter_mut().zip(floats).for_each(|(out, &x)| *out = symlog(x));
            }
            (Obs::Floats(floats), _) => out.copy_from_slice(floats),
            (Obs::Bytes(bytes), dreamer::Observation::Symbolic { classes, .. }) => {
                out.fill(0.0);
                let mut at = 0;
                for cell in bytes.chunks_exact(classes.len()) {
                    for (&value, &classes) in cell.iter().zip(classes) {
                        out[at + usize::from(value)] = 1.0;
                        at += classes;
                    }
                }
            }
            (Obs::Bytes(bytes), _) => {
                out.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = f32::from(byte) / 255.0 - 0.5);
            }
        }
    }

    /// Weights of the cells of symbolic observations, or of the pixels of pictures: `object_weight` where there is an object, otherwise 1.
    pub fn weights(&self, bytes: &[u8], out: &mut [f32]) {
        let weight = self.config().object_weight as f32;
        match (&self.object_tiles, &self.model.observation) {
            (Some(tiles), &dreamer::Observation::Image { height, width, .. }) => {
                tiles.weights(bytes, height, width, weight, out);
            }
            // Pictures that are not made of tiles.
            (None, dreamer::Observation::Image { .. }) => out.fill(1.0),
            _ => {
                for (cell, out) in bytes.chunks_exact(3).zip(out) {
                    *out = if OBJECTS.contains(&cell[0]) { weight } else { 1.0 };
                }
            }
        }
    }

    /// The tiles that pixels have their weights by; `None` where they have none, or pictures are not made of tiles.
    pub fn object_tiles(&self) -> Option<&ObjectTiles> {
        self.object_tiles.as_deref()
    }

    /// The observation that a decoder's output `[size]` describes, in the environment's own terms: bytes, most probable classes for symbolic cells.
    pub fn decode(&self, decoded: &[f32]) -> Vec<u8> {
        match &self.model.observation {
            dreamer::Observation::Symbolic { cells, classes } => {
                let mut out = Vec::with_capacity(cells * classes.len());
                let mut at = 0;
                for _ in 0..*cells {
                    for &k in classes {
                        let logits = &decoded[at..at + k];
                        let mut best = 0;
                        (1..k).for_each(|i| best = if logits[i] > logits[best] { i } else { best });
                        out.push(best as u8);
                        at += k;
                    }
                }
                out
            }
            _ => decoded.iter().map(|x| ((x + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8).collect(),
        }
    }

    /// What is learned of a reward.
    pub fn reward(&self, reward: f32) -> f32 {
        let reward = reward * self.config().reward_scale as f32;
        match self.config().clip_rewards {
            ClipRewards::None => reward,
            ClipRewards::Tanh => reward.tanh(),
        }
    }
}
