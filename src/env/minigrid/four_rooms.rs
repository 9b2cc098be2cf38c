//! FourRooms: four rooms joined by four gaps, agent and goal anywhere (`minigrid/envs/fourrooms.py`).

use super::cell::Cell;
use super::grid::Point;
use super::task::Task;
use super::world::World;

/// The 19 x 19 grid.
pub struct FourRooms;

const SIZE: i32 = 19;

impl Task for FourRooms {
    fn size(&self) -> (usize, usize) {
        (SIZE as usize, SIZE as usize)
    }

    fn max_steps(&self) -> u32 {
        100
    }

    fn summary(&self) -> &'static str {
        "reach the goal"
    }

    fn generate(&self, world: &mut World) {
        world.grid.border();
        let room = SIZE / 2;
        for top in [0, room] {
            for left in [0, room] {
                let (right, bottom) = (left + room, top + room);
                // The rooms on the left have a wall on their right side, the upper ones a wall below, each with one gap.
                if left == 0 {
                    world.grid.vertical(right, top, room, Cell::WALL);
                    let gap = world.integer(top + 1, bottom);
                    world.grid.set(Point::new(right, gap), Cell::EMPTY);
                }
                if top == 0 {
                    world.grid.horizontal(left, bottom, room, Cell::WALL);
                    let gap = world.integer(left + 1, right);
                    world.grid.set(Point::new(gap, bottom), Cell::EMPTY);
                }
            }
        }
        world.place_agent();
        world.place(Cell::GOAL);
    }
}
