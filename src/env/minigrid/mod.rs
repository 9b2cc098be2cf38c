//! MiniGrid, exact by seed: Farama's minigrid 3.2.0 rebuilt, one file per family of tasks.
//!
//! | file | what it holds |
//! |---|---|
//! | [`cell`], [`grid`] | what stands in a cell, and the cells |
//! | [`gridworld`] | a task in its world, as an [`Env`] |
//! | [`world`] | the state of an episode and the rules that every task shares |
//! | [`sight`] | what the agent sees |
//! | [`task`] | what a family must say about itself |
//! | [`room_grid`] | layouts of equal rooms with doors between them |
//! | [`expert`] | shortest plans |
//! | [`searcher`] | what can be reached without seeing everything |
//! | [`snapshot`] | exact states as bytes |
//! | one file per family | its layout, and its rules where they differ |
//!
//! A layout is a sequence of draws from the generator, so each `generate` makes the draws of its Python counterpart in the
//! same order, even where a draw has no effect.

pub mod cell;
pub mod expert;
pub mod grid;
pub mod gridworld;
pub mod room_grid;
pub mod searcher;
pub mod sight;
pub mod snapshot;
pub mod task;
pub mod world;

mod crossing;
mod door_key;
mod dynamic_obstacles;
mod empty;
mod four_rooms;
mod key_corridor;
mod lava_gap;
mod memory;
mod multi_room;
mod simple;
mod unlock;

use crate::base::{Error, Result};
use crate::env::{Env, Options};
use cell::Cell;
use crossing::Crossing;
use door_key::DoorKey;
use dynamic_obstacles::DynamicObstacles;
use empty::Empty;
use four_rooms::FourRooms;
use gridworld::Gridworld;
use key_corridor::KeyCorridor;
use lava_gap::LavaGap;
use memory::Memory;
use multi_room::MultiRoom;
use simple::Simple;
use task::Task;
use unlock::Unlock;

/// The ids of all gridworlds.
pub const IDS: &[&str] = &[
    "MiniGrid-Empty-5x5-v0",
    "MiniGrid-Empty-6x6-v0",
    "MiniGrid-Empty-8x8-v0",
    "MiniGrid-Empty-16x16-v0",
    "MiniGrid-Empty-Random-5x5-v0",
    "MiniGrid-Empty-Random-6x6-v0",
    "MiniGrid-FourRooms-v0",
    "MiniGrid-DoorKey-5x5-v0",
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-DoorKey-16x16-v0",
    "MiniGrid-KeyCorridorS3R1-v0",
    "MiniGrid-KeyCorridorS3R2-v0",
    "MiniGrid-KeyCorridorS3R3-v0",
    "MiniGrid-KeyCorridorS4R3-v0",
    "MiniGrid-KeyCorridorS5R3-v0",
    "MiniGrid-KeyCorridorS6R3-v0",
    "MiniGrid-Unlock-v0",
    "MiniGrid-MultiRoom-N2-S4-v0",
    "MiniGrid-MultiRoom-N4-S5-v0",
    "MiniGrid-MultiRoom-N4-S5-v1",
    "MiniGrid-MultiRoom-N6-v0",
    "MiniGrid-LavaGapS5-v0",
    "MiniGrid-LavaGapS6-v0",
    "MiniGrid-LavaGapS7-v0",
    "MiniGrid-SimpleCrossingS9N1-v0",
    "MiniGrid-SimpleCrossingS9N2-v0",
    "MiniGrid-SimpleCrossingS9N3-v0",
    "MiniGrid-SimpleCrossingS11N5-v0",
    "MiniGrid-LavaCrossingS9N1-v0",
    "MiniGrid-LavaCrossingS9N2-v0",
    "MiniGrid-LavaCrossingS9N3-v0",
    "MiniGrid-LavaCrossingS11N5-v0",
    "MiniGrid-MemoryS7-v0",
    "MiniGrid-MemoryS9-v0",
    "MiniGrid-MemoryS11-v0",
    "MiniGrid-MemoryS13-v0",
    "MiniGrid-MemoryS13Random-v0",
    "MiniGrid-MemoryS17Random-v0",
    "MiniGrid-Dynamic-Obstacles-5x5-v0",
    "MiniGrid-Dynamic-Obstacles-Random-5x5-v0",
    "MiniGrid-Dynamic-Obstacles-6x6-v0",
    "MiniGrid-Dynamic-Obstacles-Random-6x6-v0",
    "MiniGrid-Dynamic-Obstacles-8x8-v0",
    "MiniGrid-Dynamic-Obstacles-16x16-v0",
    "Simple-10x10",
];

/// The gridworld with this id; `None` if there is none.
pub fn make(id: &str, options: &Options) -> Option<Result<Box<dyn Env>>> {
    let empty = |size, random| boxed(id, Empty { size, random }, options);
    let corridor = |side, rows| boxed(id, KeyCorridor { side, rows }, options);
    let rooms = |rooms, most_side| boxed(id, MultiRoom { rooms, most_side }, options);
    let crossing = |size, crossings, obstacle| boxed(id, Crossing { size, crossings, obstacle }, options);
    let memory = |size, random_length| boxed(id, Memory { size, random_length }, options);
    let balls = |size, obstacles, random| boxed(id, DynamicObstacles { size, obstacles, random }, options);
    if id == "Simple-10x10" {
        return Some(boxed(id, Simple, options));
    }
    Some(match id.strip_prefix("MiniGrid-")? {
        "Empty-5x5-v0" => empty(5, false),
        "Empty-6x6-v0" => empty(6, false),
        "Empty-8x8-v0" => empty(8, false),
        "Empty-16x16-v0" => empty(16, false),
        "Empty-Random-5x5-v0" => empty(5, true),
        "Empty-Random-6x6-v0" => empty(6, true),
        "FourRooms-v0" => boxed(id, FourRooms, options),
        "KeyCorridorS3R1-v0" => corridor(3, 1),
        "KeyCorridorS3R2-v0" => corridor(3, 2),
        "KeyCorridorS3R3-v0" => corridor(3, 3),
        "KeyCorridorS4R3-v0" => corridor(4, 3),
        "KeyCorridorS5R3-v0" => corridor(5, 3),
        "KeyCorridorS6R3-v0" => corridor(6, 3),
        "Unlock-v0" => boxed(id, Unlock, options),
        "MultiRoom-N2-S4-v0" => rooms(2, 4),
        // Six rooms under the name of four, as Farama registers it; v1 has four.
        "MultiRoom-N4-S5-v0" => rooms(6, 5),
        "MultiRoom-N4-S5-v1" => rooms(4, 5),
        "MultiRoom-N6-v0" => rooms(6, 10),
        "LavaGapS5-v0" => boxed(id, LavaGap { size: 5 }, options),
        "LavaGapS6-v0" => boxed(id, LavaGap { size: 6 }, options),
        "LavaGapS7-v0" => boxed(id, LavaGap { size: 7 }, options),
        "SimpleCrossingS9N1-v0" => crossing(9, 1, Cell::WALL),
        "SimpleCrossingS9N2-v0" => crossing(9, 2, Cell::WALL),
        "SimpleCrossingS9N3-v0" => crossing(9, 3, Cell::WALL),
        "SimpleCrossingS11N5-v0" => crossing(11, 5, Cell::WALL),
        "LavaCrossingS9N1-v0" => crossing(9, 1, Cell::LAVA),
        "LavaCrossingS9N2-v0" => crossing(9, 2, Cell::LAVA),
        "LavaCrossingS9N3-v0" => crossing(9, 3, Cell::LAVA),
        "LavaCrossingS11N5-v0" => crossing(11, 5, Cell::LAVA),
        "MemoryS7-v0" => memory(7, false),
        "MemoryS9-v0" => memory(9, false),
        "MemoryS11-v0" => memory(11, false),
        "MemoryS13-v0" => memory(13, false),
        "MemoryS13Random-v0" => memory(13, true),
        "MemoryS17Random-v0" => memory(17, true),
        "Dynamic-Obstacles-5x5-v0" => balls(5, 2, false),
        "Dynamic-Obstacles-Random-5x5-v0" => balls(5, 2, true),
        "Dynamic-Obstacles-6x6-v0" => balls(6, 3, false),
        "Dynamic-Obstacles-Random-6x6-v0" => balls(6, 3, true),
        "Dynamic-Obstacles-8x8-v0" => balls(8, 4, false),
        "Dynamic-Obstacles-16x16-v0" => balls(16, 8, false),
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
