//! DoorKey: a wall with a locked door stands between the agent and the goal, the key lies on the agent's side
//! (`minigrid/envs/doorkey.py`).

use super::cell::{Cell, color, state};
use super::grid::Point;
use super::task::{ORIGIN, Task};
use super::world::World;

/// A square grid of this side, at least 5.
pub struct DoorKey {
    /// Side of the grid, walls included.
    pub size: usize,
}

impl Task for DoorKey {
    fn size(&self) -> (usize, usize) {
        (self.size, self.size)
    }

    fn max_steps(&self) -> u32 {
        10 * (self.size as u32).pow(2)
    }

    fn summary(&self) -> &'static str {
        "use the key to open the door and then get to the goal"
    }

    fn generate(&self, world: &mut World) {
        let size = self.size as i32;
        world.grid.border();
        world.grid.set(Point::new(size - 2, size - 2), Cell::GOAL);
        let split = world.integer(2, size - 2);
        world.grid.vertical(split, 0, size, Cell::WALL);
        world.place_agent_in(ORIGIN, (split, size));
        let door = world.integer(1, size - 2);
        world.grid.set(Point::new(split, door), Cell::door(color::YELLOW, state::LOCKED));
        world.place_in(Cell::key(color::YELLOW), ORIGIN, (split, size));
    }
}
