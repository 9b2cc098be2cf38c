//! Episodes in memory and on disk, and how chunks are drawn from them.
//!
//! # Rows
//!
//! Row `t` of an episode is `(o_t, a_{t-1}, r_t, discount_t, is_first_t)`: an observation stands with the action that led to it and
//! the reward that came with it (danijar/dreamer, `wrappers.py`, `Collect`). Row 0 is the reset: zero action, zero reward,
//! discount 1. The last observation, terminal or not, is a row like any other. `discount` is 0 only where the world truly ended;
//! a time limit keeps it at 1, so that a continue head never learns to foresee a clock that it cannot see.
//!
//! # Parts
//!
//! | module | what it holds |
//! |---|---|
//! | [`episode`] | [`Layout`], [`Row`], [`Episode`]: rows as flat arrays |
//! | [`memory`] | [`Replay`]: one stream of episodes per environment, a bound in bytes, the manifest of a checkpoint |
//! | [`sample`] | [`Sampling`]: which rows a batch holds, a pure function of the contents, the seed and the update's number |
//! | [`npy`], [`npz`] | numpy's formats, written and read with bounded memory |
//! | [`store`] | the directory of episode files |

pub mod episode;
pub mod memory;
pub mod npy;
pub mod npz;
pub mod sample;
pub mod store;

pub use episode::{ActionKind, Episode, Layout, Obs, ObsKind, ObsMut, Row};
pub use memory::{Finished, Manifest, Replay};
pub use sample::{Address, BatchMut, BatchStats, Sampling, Source, Weighting, Windows};
