//! Unlock: open a locked door with the key that lies in the same room (`minigrid/envs/unlock.py`).

use super::cell::{Cell, Kind, state};
use super::expert::Target;
use super::room_grid::RoomGrid;
use super::task::Task;
use super::world::{World, action};
use crate::env::Outcome;

/// Two rooms of side 6.
pub struct Unlock;

const SIDE: usize = 6;
const COLUMNS: usize = 2;
const ROWS: usize = 1;

impl Task for Unlock {
    fn size(&self) -> (usize, usize) {
        RoomGrid::size(SIDE, COLUMNS, ROWS)
    }

    fn max_steps(&self) -> u32 {
        8 * (SIDE as u32).pow(2)
    }

    fn summary(&self) -> &'static str {
        "open the door"
    }

    /// The door.
    fn places(&self) -> usize {
        1
    }

    fn generate(&self, world: &mut World) {
        let mut rooms = RoomGrid::build(world, SIDE, COLUMNS, ROWS);
        let (door, color) = rooms.add_door(world, (0, 0), 0, None, true);
        rooms.add_object(world, (0, 0), Cell::key(color));
        rooms.place_agent(world, (0, 0));
        world.places.push(world.grid.index(door));
    }

    fn step(&self, world: &mut World, action: usize) -> Outcome {
        let outcome = world.act(action);
        let door = world.grid.at(world.places[0]);
        let open = door.kind() == Kind::Door && door.state() == state::OPEN;
        if action == action::TOGGLE && open { world.succeed() } else { outcome }
    }

    fn target(&self, world: &World) -> Option<Target> {
        Some(Target::Open(world.places[0]))
    }
}
