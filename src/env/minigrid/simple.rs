//! Simple-10x10: a room with obstacles at random, the goal and the agent anywhere (after Sid00867/Dreamer-World-Model).
//!
//! The draws of a layout, all from the world's generator: the goal's position, the positions of 15 walls one after the other,
//! the agent's position, its direction. A position is a column, then a row, each drawn from `0..10`, until the cell is empty.
//! If no path leads to the goal, all of it is drawn again, up to 100 times; after that, once more without the walls. The
//! reward is 1 at the goal, whenever it is reached.

use super::cell::Cell;
use super::task::Task;
use super::world::{World, action};
use crate::env::Outcome;

/// The room.
pub struct Simple;

const SIZE: usize = 10;
const OBSTACLES: usize = 15;
const TRIES: usize = 100;

impl Task for Simple {
    fn size(&self) -> (usize, usize) {
        (SIZE, SIZE)
    }

    fn max_steps(&self) -> u32 {
        400
    }

    fn summary(&self) -> &'static str {
        "find the way around the obstacles to the green goal square"
    }

    fn see_through(&self) -> bool {
        true
    }

    fn actions(&self) -> usize {
        action::FORWARD + 1
    }

    fn generate(&self, world: &mut World) {
        for _ in 0..TRIES {
            lay_out(world, OBSTACLES);
            if goal_is_reachable(world) {
                return;
            }
        }
        lay_out(world, 0);
    }

    fn step(&self, world: &mut World, action: usize) -> Outcome {
        let outcome = world.act(action);
        Outcome { reward: f64::from(u8::from(outcome.success)), ..outcome }
    }
}

fn lay_out(world: &mut World, obstacles: usize) {
    world.clear();
    world.grid.border();
    world.place(Cell::GOAL);
    for _ in 0..obstacles {
        world.place(Cell::WALL);
    }
    world.place_agent();
}

/// Breadth-first search over cells; turning costs nothing here.
fn goal_is_reachable(world: &World) -> bool {
    let mut reached = vec![world.agent];
    let mut next = 0;
    while next < reached.len() {
        for direction in 0..4 {
            let at = world.grid.neighbor(reached[next], direction);
            if world.grid.at(at) == Cell::GOAL {
                return true;
            }
            if world.grid.at(at).passable() && !reached.contains(&at) {
                reached.push(at);
            }
        }
        next += 1;
    }
    false
}
