//! Memory: an object is shown in the first room; at the end of the hallway, the turn towards the same object is right, the
//! other one wrong (`minigrid/envs/memory.py`).

use super::cell::{Cell, color};
use super::expert::Target;
use super::grid::Point;
use super::task::Task;
use super::world::{World, action};
use crate::env::Outcome;

/// A square grid of this side.
pub struct Memory {
    /// Side of the grid, walls included; odd.
    pub size: usize,
    /// Whether the hallway has a random length.
    pub random_length: bool,
}

/// Where [`World::places`] keeps the cell of success and the cell of failure.
const SUCCESS: usize = 0;
const FAILURE: usize = 1;

impl Task for Memory {
    fn size(&self) -> (usize, usize) {
        (self.size, self.size)
    }

    fn max_steps(&self) -> u32 {
        5 * (self.size as u32).pow(2)
    }

    fn summary(&self) -> &'static str {
        "go to the matching object at the end of the hallway"
    }

    fn places(&self) -> usize {
        2
    }

    fn generate(&self, world: &mut World) {
        let size = self.size as i32;
        let middle = size / 2;
        world.grid.border();
        let end = if self.random_length { world.integer(4, size - 2) } else { size - 3 };

        // The first room is open towards the hallway.
        for y in [middle - 2, middle + 2] {
            world.grid.horizontal(1, y, 4, Cell::WALL);
        }
        for y in [middle - 1, middle + 1] {
            world.grid.set(Point::new(4, y), Cell::WALL);
            world.grid.horizontal(5, y, end - 5, Cell::WALL);
        }
        // The hallway ends in a crossing hallway of one column.
        for y in (0..size).filter(|&y| y != middle) {
            world.grid.set(Point::new(end, y), Cell::WALL);
        }
        world.grid.vertical(end + 2, 0, size, Cell::WALL);

        let x = world.integer(1, end + 1);
        world.set_agent(Point::new(x, middle), 0);

        let (key, ball) = (Cell::key(color::GREEN), Cell::ball(color::GREEN));
        let shown = world.element(&[key, ball]);
        world.grid.set(Point::new(1, middle - 1), shown);
        let [upper, lower] = world.element(&[[ball, key], [key, ball]]);
        world.grid.set(Point::new(end + 1, middle - 2), upper);
        world.grid.set(Point::new(end + 1, middle + 2), lower);

        let [above, below] = [middle - 1, middle + 1].map(|y| world.grid.index(Point::new(end + 1, y)));
        world.places.extend(if shown == upper { [above, below] } else { [below, above] });
    }

    fn step(&self, world: &mut World, action: usize) -> Outcome {
        // Nothing can be picked up: the action acts as `toggle`.
        let outcome = world.act(if action == action::PICKUP { action::TOGGLE } else { action });
        if world.agent == world.places[SUCCESS] {
            world.succeed()
        } else if world.agent == world.places[FAILURE] {
            Outcome { reward: 0.0, terminated: true, ..outcome }
        } else {
            outcome
        }
    }

    fn target(&self, world: &World) -> Option<Target> {
        Some(Target::Reach { at: world.places[SUCCESS], avoid: world.places[FAILURE] })
    }
}
