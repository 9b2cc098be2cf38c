//! MiniGrid, exact by seed: Farama's minigrid 3.2.0 rebuilt, one file per family of tasks.
//!
//! | file | what it holds |
//! |---|---|
//! | [`cell`], [`grid`] | what stands in a cell, and the cells |
//! | [`world`] | the state of an episode and the rules that every task shares |
//! | [`sight`] | what the agent sees |
//! | [`task`] | what a family must say about itself |
//! | [`room_grid`] | layouts of equal rooms with doors between them |
//! | [`expert`] | shortest plans |
//! | [`snapshot`] | exact states as bytes |
//! | one file per family | its layout, and its rules where they differ |
//!
//! A layout is a sequence of draws from the generator, so each `generate` makes the draws of its Python counterpart in the
//! same order, even where a draw has no effect.

pub mod cell;
pub mod expert;
pub mod grid;
pub mod gridworld;
pub mod sight;
pub mod snapshot;
pub mod task;
pub mod world;

mod door_key;
mod empty;

use crate::base::{Error, Result};
use crate::env::{Env, Options};
use gridworld::Gridworld;
use task::Task;

/// The ids of all gridworlds.
pub const IDS: &[&str] = &[
    "MiniGrid-Empty-5x5-v0",
    "MiniGrid-Empty-6x6-v0",
    "MiniGrid-Empty-8x8-v0",
    "MiniGrid-Empty-16x16-v0",
    "MiniGrid-Empty-Random-5x5-v0",
    "MiniGrid-Empty-Random-6x6-v0",
    "MiniGrid-DoorKey-5x5-v0",
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-DoorKey-16x16-v0",
];

/// The gridworld with this id; `None` if there is none.
pub fn make(id: &str, options: &Options) -> Option<Result<Box<dyn Env>>> {
    use door_key::DoorKey;
    use empty::Empty;

    let empty = |size, random| boxed(id, Empty { size, random }, options);
    Some(match id.strip_prefix("MiniGrid-").unwrap_or(id) {
        "Empty-5x5-v0" => empty(5, false),
        "Empty-6x6-v0" => empty(6, false),
        "Empty-8x8-v0" => empty(8, false),
        "Empty-16x16-v0" => empty(16, false),
        "Empty-Random-5x5-v0" => empty(5, true),
        "Empty-Random-6x6-v0" => empty(6, true),
        rest => match square_side(rest.strip_prefix("DoorKey-")?.strip_suffix("-v0")?)? {
            size @ 5..=MOST_SIDE => boxed(id, DoorKey { size }, options),
            size => Err(Error::new(format!(
                "{id}: DoorKey has sizes from 5x5 to {MOST_SIDE}x{MOST_SIDE}, not {size}x{size}"
            ))),
        },
    })
}

/// The largest grid whose cells, margin included, can be numbered in 16 bits.
const MOST_SIDE: usize = 240;

/// N of a text `NxN`.
fn square_side(text: &str) -> Option<usize> {
    let (width, height) = text.split_once('x')?;
    (width == height && !width.starts_with(['0', '+'])).then(|| width.parse().ok()).flatten()
}

fn boxed<T: Task>(id: &str, task: T, options: &Options) -> Result<Box<dyn Env>> {
    Ok(Box::new(Gridworld::new(id, task, options)?))
}
