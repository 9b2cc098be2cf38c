//! KeyCorridor: three columns of rooms, the middle one a corridor; a ball lies behind a locked door on the right, the key in a
//! room on the left (`minigrid/envs/keycorridor.py`).

use super::cell::{Cell, Kind, color};
use super::expert::Target;
use super::room_grid::RoomGrid;
use super::task::Task;
use super::world::{World, action};
use crate::env::Outcome;

/// Rows of three rooms.
pub struct KeyCorridor {
    /// Side of a room, walls included.
    pub side: usize,
    /// How many rows.
    pub rows: usize,
}

const COLUMNS: usize = 3;

impl Task for KeyCorridor {
    fn size(&self) -> (usize, usize) {
        RoomGrid::size(self.side, COLUMNS, self.rows)
    }

    fn max_steps(&self) -> u32 {
        30 * (self.side as u32).pow(2)
    }

    fn summary(&self) -> &'static str {
        "find the key, unlock the door and pick up the ball"
    }

    fn generate(&self, world: &mut World) {
        let rows = self.rows as i32;
        let mut rooms = RoomGrid::build(world, self.side, COLUMNS, self.rows);
        for j in 1..rows {
            rooms.remove_wall(world, (1, j), 3);
        }
        let locked = (2, world.integer(0, rows));
        let (_, door_color) = rooms.add_door(world, locked, 2, None, true);
        let ball = Cell::ball(world.element(&color::BY_NAME));
        rooms.add_object(world, locked, ball);
        let left = (0, world.integer(0, rows));
        rooms.add_object(world, left, Cell::key(door_color));
        rooms.place_agent(world, (1, rows / 2));
        rooms.connect_all(world);
    }

    fn step(&self, world: &mut World, action: usize) -> Outcome {
        let outcome = world.act(action);
        // There is but one ball.
        let holds = world.carrying.is_some_and(|cell| cell.kind() == Kind::Ball);
        if action == action::PICKUP && holds { world.succeed() } else { outcome }
    }

    fn target(&self, _world: &World) -> Option<Target> {
        Some(Target::Hold(Kind::Ball))
    }
}
