//! Empty: a room with the goal in the far corner (`minigrid/envs/empty.py`).

use super::cell::Cell;
use super::grid::Point;
use super::task::Task;
use super::world::World;

/// A square room; the agent starts in the near corner or anywhere.
pub struct Empty {
    /// Side of the grid, walls included.
    pub size: usize,
    /// Whether the agent starts anywhere.
    pub random: bool,
}

impl Task for Empty {
    fn size(&self) -> (usize, usize) {
        (self.size, self.size)
    }

    fn max_steps(&self) -> u32 {
        4 * (self.size as u32).pow(2)
    }

    fn summary(&self) -> &'static str {
        "get to the green goal square"
    }

    fn see_through(&self) -> bool {
        true
    }

    fn generate(&self, world: &mut World) {
        let size = self.size as i32;
        world.grid.border();
        world.grid.set(Point::new(size - 2, size - 2), Cell::GOAL);
        if self.random {
            world.place_agent();
        } else {
            world.set_agent(Point::new(1, 1), 0);
        }
    }
}
