//! Worlds: MiniGrid by seed, the random-obstacle room, Pendulum, and probes with known answers.
//!
//! Every world is an [`Env`] made by [`make`] from its id. The gridworlds are Farama's minigrid 3.2.0, exact by seed: the same
//! reset seeds and actions give the same layouts, observations, rewards (to the bit) and flags as the Python package.

pub mod minigrid;
pub mod numpy_rng;
pub mod pendulum;
pub mod probe;
pub mod render;
pub mod rollout;
pub mod vec_env;

pub use numpy_rng::NumpyRng;
pub use pendulum::Pendulum;
pub use probe::Probe;
pub use rollout::{Policy, rollout};
pub use vec_env::VecEnv;

use crate::base::{Error, Result};

/// The form of an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// `height x width` cells of three whole numbers, each below its count in `classes`: u8, for one-hot planes.
    Symbolic {
        /// First dimension.
        height: usize,
        /// Second dimension.
        width: usize,
        /// How many values each of the three channels can take.
        classes: [usize; 3],
    },
    /// An image `[height, width, channels]` of u8.
    Image {
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
        /// 3 for RGB.
        channels: usize,
    },
    /// A vector of f32.
    Vector {
        /// Its length.
        size: usize,
    },
}

impl Observation {
    /// How many numbers an observation has.
    pub fn size(&self) -> usize {
        match *self {
            Observation::Symbolic { height, width, .. } => height * width * 3,
            Observation::Image { height, width, channels } => height * width * channels,
            Observation::Vector { size } => size,
        }
    }
}

/// The form of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actions {
    /// One of `n`.
    Discrete {
        /// How many actions there are.
        n: usize,
    },
    /// A vector of numbers in [-1, 1], which the world scales to its own units.
    Continuous {
        /// Its length.
        size: usize,
    },
}

/// What a world is.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Its name for [`make`].
    pub id: String,
    /// What there is to do, in one sentence.
    pub summary: String,
    /// The form of its observations.
    pub observation: Observation,
    /// The form of its actions.
    pub actions: Actions,
    /// The step at which an episode is truncated.
    pub max_steps: u32,
    /// Pixels of a tile's side, where the observation is made of tiles.
    pub tile_size: Option<usize>,
    /// What a continuous action of 1 is in the environment's own unit, such as newton metres of torque; 1 for discrete actions.
    pub action_scale: f32,
}

/// An action.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action<'a> {
    /// One of `n`.
    Discrete(usize),
    /// Numbers in [-1, 1].
    Continuous(&'a [f32]),
}

/// What a step led to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// The reward.
    pub reward: f64,
    /// The episode ended for a reason of the task: nothing comes after it.
    pub terminated: bool,
    /// The episode was cut off at `max_steps`.
    pub truncated: bool,
    /// The task was solved at this step.
    pub success: bool,
}

impl Outcome {
    /// Whether the episode is over.
    pub fn ended(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// What of a gridworld is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The agent's view, 7 x 7 cells of (type, colour, state).
    Symbolic,
    /// The agent's view in RGB, as minigrid's `RGBImgPartialObsWrapper` draws it.
    RgbPartial,
    /// The whole grid in RGB, as minigrid's `RGBImgObsWrapper` draws it.
    RgbFull,
}

/// Choices that [`make`] leaves to its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What of a gridworld is observed.
    pub view: View,
    /// Pixels of a tile's side in the RGB views.
    pub tile_size: usize,
    /// Discrete actions: 3 (left, right, forward) or 7 (also pickup, drop, toggle, done); `None` for the world's own.
    pub actions: Option<usize>,
    /// The step at which an episode is truncated; `None` for the world's own.
    pub max_steps: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options { view: View::Symbolic, tile_size: 8, actions: None, max_steps: None }
    }
}

/// A picture for people: RGB, `[height, width, 3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Bytes, three a pixel, row by row.
    pub rgb: Vec<u8>,
}

/// A world.
///
/// A new world is reset with seed 0. A mistake of the caller (an action that does not exist, a buffer of the wrong size)
/// panics with numbers.
pub trait Env: Send + Sync {
    /// What the world is.
    fn spec(&self) -> &Spec;
    /// Begins an episode: with a seed, the generator starts from it; without, it goes on, as in Gymnasium.
    fn reset(&mut self, seed: Option<u64>);
    /// One step. Once an episode has ended, the caller resets.
    fn step(&mut self, action: Action) -> Outcome;
    /// Writes a symbolic or image observation: `spec().observation.size()` bytes, flattened as NumPy would.
    fn write_bytes(&self, out: &mut [u8]);
    /// Writes a vector observation: `spec().observation.size()` numbers.
    fn write_floats(&self, out: &mut [f32]);
    /// Where a gridworld's agent looks: 0 right, 1 down, 2 left, 3 up.
    fn direction(&self) -> Option<u8>;
    /// A gridworld's whole grid, encoded as minigrid's `grid.encode()` and flattened as NumPy would, then the agent's column,
    /// row and direction; two episodes with the same bytes after a reset have the same layout. `None` for other worlds.
    fn layout(&self) -> Option<Vec<u8>> {
        None
    }
    /// The whole scene.
    fn picture(&self) -> Picture;
    /// The next action of a shortest plan to success; `None` where there is no expert or no plan.
    fn expert(&mut self) -> Option<usize>;
    /// The exact state, generator included.
    fn save(&self) -> Vec<u8>;
    /// Returns to a state that [`Env::save`] wrote in a world of the same id. Damage is an error and changes nothing.
    fn load(&mut self, state: &[u8]) -> Result<()>;
}

/// The world with this id. An unknown id, or an option that the world does not have, is an error that says what there is.
pub fn make(id: &str, options: &Options) -> Result<Box<dyn Env>> {
    if let Some(env) = minigrid::make(id, options) {
        return env;
    }
    if id == pendulum::ID {
        return Ok(Box::new(Pendulum::new(options)?));
    }
    if let Some(env) = probe::make(id, options) {
        return env;
    }
    let nearest = ids().into_iter().min_by_key(|known| edit_distance(id, known)).expect("there are worlds");
    Err(Error::new(format!(
        "there is no world {id}: did you mean {nearest}? (`dreamer-fast envs list` shows them all)"
    )))
}

/// The ids of all worlds. `MiniGrid-DoorKey-NxN-v0` exists for other sizes, too.
pub fn ids() -> Vec<&'static str> {
    minigrid::IDS.iter().copied().chain([pendulum::ID]).chain(probe::PROBES.iter().map(|probe| probe.0)).collect()
}

/// Letters to insert, delete or replace to turn one word into the other; capitals count as small letters.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    *row.last().expect("a row has at least one entry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_id_names_the_nearest() {
        let error = |id| make(id, &Options::default()).err().expect("unknown").to_string();
        assert!(error("MiniGrid-Doorkey-5x5").contains("did you mean MiniGrid-DoorKey-5x5-v0?"));
        assert!(error("simple").contains("did you mean Simple-10x10?"));
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn every_id_makes_a_world_of_that_id() {
        for id in ids() {
            let env = make(id, &Options::default()).unwrap();
            assert_eq!(env.spec().id, id);
        }
    }
}
