//! LavaGap: a column of lava with one gap between the agent and the goal (`minigrid/envs/lavagap.py`).

use super::cell::Cell;
use super::grid::Point;
use super::task::Task;
use super::world::World;

/// A square grid of this side.
pub struct LavaGap {
    /// Side of the grid, walls included.
    pub size: usize,
}

impl Task for LavaGap {
    fn size(&self) -> (usize, usize) {
        (self.size, self.size)
    }

    fn max_steps(&self) -> u32 {
        4 * (self.size as u32).pow(2)
    }

    fn summary(&self) -> &'static str {
        "avoid the lava and get to the green goal square"
    }

    fn generate(&self, world: &mut World) {
        let size = self.size as i32;
        world.grid.border();
        world.set_agent(Point::new(1, 1), 0);
        world.grid.set(Point::new(size - 2, size - 2), Cell::GOAL);
        let x = world.integer(2, size - 2);
        let gap = Point::new(x, world.integer(1, size - 1));
        world.grid.vertical(gap.x, 1, size - 2, Cell::LAVA);
        world.grid.set(gap, Cell::EMPTY);
    }
}
