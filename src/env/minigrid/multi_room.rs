//! MultiRoom: a chain of rooms, closed doors between them, the goal in the last one (`minigrid/envs/multiroom.py`).

use super::cell::{Cell, color, state};
use super::grid::Point;
use super::task::Task;
use super::world::World;

/// Rooms in a grid of 25 x 25.
pub struct MultiRoom {
    /// How many rooms.
    pub rooms: usize,
    /// The longest side of a room, walls included, at least 4.
    pub most_side: i32,
}

const SIZE: i32 = 25;
const LEAST_SIDE: i32 = 4;
/// Exits that a room tries before the chain ends with it.
const EXITS: usize = 8;

struct Room {
    top: Point,
    width: i32,
    height: i32,
    /// Where the door to the room before it is; for the first room, its corner.
    entry: Point,
}

impl Task for MultiRoom {
    fn size(&self) -> (usize, usize) {
        (SIZE as usize, SIZE as usize)
    }

    fn max_steps(&self) -> u32 {
        20 * self.rooms as u32
    }

    fn summary(&self) -> &'static str {
        "traverse the rooms to get to the goal"
    }

    fn generate(&self, world: &mut World) {
        let mut rooms = Vec::new();
        while rooms.len() < self.rooms {
            rooms.clear();
            let x = world.integer(0, SIZE - 2);
            let corner = Point::new(x, world.integer(0, SIZE - 2));
            self.extend(world, &mut rooms, 2, corner);
        }

        let mut previous = None;
        for (i, room) in rooms.iter().enumerate() {
            world.grid.walls(room.top.x, room.top.y, room.width, room.height);
            if i > 0 {
                let colors: Vec<u8> = color::BY_NAME.into_iter().filter(|&color| Some(color) != previous).collect();
                let color = world.element(&colors);
                world.grid.set(room.entry, Cell::door(color, state::CLOSED));
                previous = Some(color);
            }
        }
        let (first, last) = (&rooms[0], &rooms[rooms.len() - 1]);
        world.place_agent_in(first.top, (first.width, first.height));
        world.place_in(Cell::GOAL, last.top, (last.width, last.height));
    }
}

impl MultiRoom {
    /// Adds a room whose `entry` lies on its wall `side` (0 right, 1 bottom, 2 left, 3 top), and the rooms after it, as far as
    /// they fit. Whether the room itself fits.
    fn extend(&self, world: &mut World, rooms: &mut Vec<Room>, side: usize, entry: Point) -> bool {
        let width = world.integer(LEAST_SIDE, self.most_side + 1);
        let height = world.integer(LEAST_SIDE, self.most_side + 1);
        let top = if rooms.is_empty() {
            entry
        } else {
            match side {
                0 => Point::new(entry.x - width + 1, world.integer(entry.y - height + 2, entry.y)),
                1 => Point::new(world.integer(entry.x - width + 2, entry.x), entry.y - height + 1),
                2 => Point::new(entry.x, world.integer(entry.y - height + 2, entry.y)),
                _ => Point::new(world.integer(entry.x - width + 2, entry.x), entry.y),
            }
        };
        // The lowest row stays free, the rightmost column need not: minigrid's own bounds.
        if top.x < 0 || top.y < 0 || top.x + width > SIZE || top.y + height >= SIZE {
            return false;
        }
        // Rooms may share a wall with the room before them, which is not looked at, and on two sides with others.
        let apart = |room: &Room| {
            top.x + width < room.top.x
                || room.top.x + room.width <= top.x
                || top.y + height < room.top.y
                || room.top.y + room.height <= top.y
        };
        let earlier = rooms.len().saturating_sub(1);
        if !rooms[..earlier].iter().all(apart) {
            return false;
        }
        rooms.push(Room { top, width, height, entry });
        if rooms.len() == self.rooms {
            return true;
        }
        for _ in 0..EXITS {
            let sides: Vec<usize> = (0..4).filter(|&other| other != side).collect();
            let exit = match world.element(&sides) {
                0 => (2, Point::new(top.x + width - 1, top.y + world.integer(1, height - 1))),
                1 => (3, Point::new(top.x + world.integer(1, width - 1), top.y + height - 1)),
                2 => (0, Point::new(top.x, top.y + world.integer(1, height - 1))),
                _ => (1, Point::new(top.x + world.integer(1, width - 1), top.y)),
            };
            if self.extend(world, rooms, exit.0, exit.1) {
                break;
            }
        }
        true
    }
}
