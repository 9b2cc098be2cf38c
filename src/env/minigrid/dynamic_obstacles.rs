//! Dynamic-Obstacles: balls move about the room at random; running into anything but the goal costs 1 and ends the episode
//! (`minigrid/envs/dynamicobstacles.py`).

use super::cell::{Cell, color};
use super::expert::Target;
use super::grid::Point;
use super::task::Task;
use super::world::{World, action};
use crate::env::Outcome;

/// A square room with moving balls.
pub struct DynamicObstacles {
    /// Side of the grid, walls included.
    pub size: usize,
    /// How many balls.
    pub obstacles: usize,
    /// Whether the agent starts anywhere.
    pub random: bool,
}

/// Positions that a moving ball tries before it stays where it is.
const TRIES: u32 = 101;

impl Task for DynamicObstacles {
    fn size(&self) -> (usize, usize) {
        (self.size, self.size)
    }

    fn max_steps(&self) -> u32 {
        4 * (self.size as u32).pow(2)
    }

    fn summary(&self) -> &'static str {
        "get to the green goal square without running into a moving ball"
    }

    fn see_through(&self) -> bool {
        true
    }

    fn actions(&self) -> usize {
        action::FORWARD + 1
    }

    fn places(&self) -> usize {
        self.obstacles
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
        for _ in 0..self.obstacles {
            let at = world.place(Cell::ball(color::BLUE));
            world.places.push(world.grid.index(at));
        }
    }

    fn step(&self, world: &mut World, action: usize) -> Outcome {
        // Further actions turn left, as in minigrid.
        let action = if action > action::FORWARD { action::LEFT } else { action };
        let ahead = world.grid.at(world.front());
        let blocked = ahead != Cell::EMPTY && ahead != Cell::GOAL;

        // Each ball moves to one of the eight cells around it, and never stands on the border, which is wall; the agent moves after them.
        for i in 0..world.places.len() {
            let old = world.places[i];
            if let Some(new) = world.find_empty_around(old, TRIES) {
                world.grid.set_at(old, Cell::EMPTY);
                world.grid.set_at(new, Cell::ball(color::BLUE));
                world.places[i] = new;
            }
        }
        let outcome = world.act(action);
        if action == action::FORWARD && blocked {
            return Outcome { reward: -1.0, terminated: true, success: false, ..outcome };
        }
        outcome
    }

    /// Nobody knows where the balls will be.
    fn target(&self, _world: &World) -> Option<Target> {
        None
    }
}
