//! Layouts of equal rooms in rows and columns, with doors between them (`minigrid/core/roomgrid.py`).

use super::cell::{Cell, color, state};
use super::grid::{NOWHERE, Point};
use super::world::World;

/// Sides of a room, as minigrid numbers them: right, bottom, left, top.
pub const SIDES: usize = 4;

/// One room.
#[derive(Clone, Default)]
struct Room {
    /// Where the door on each side is or would be; `None` where no room is beyond.
    door_at: [Option<Point>; SIDES],
    /// Which sides are open: by a door, or because their wall is gone.
    joined: [bool; SIDES],
    /// Whether its one door was locked when it was built.
    locked: bool,
}

/// Rooms under construction, room `(i, j)` in column `i` and row `j`.
pub struct RoomGrid {
    /// Side of a room, walls included; neighbours share a wall.
    side: i32,
    columns: i32,
    rows: i32,
    rooms: Vec<Room>,
}

impl RoomGrid {
    /// Columns and rows of the whole grid.
    pub const fn size(side: usize, columns: usize, rows: usize) -> (usize, usize) {
        ((side - 1) * columns + 1, (side - 1) * rows + 1)
    }

    /// Builds the walls, draws where doors may be, and puts the agent into the middle.
    pub fn build(world: &mut World, side: usize, columns: usize, rows: usize) -> RoomGrid {
        let rooms = vec![Room::default(); columns * rows];
        let (side, columns, rows) = (side as i32, columns as i32, rows as i32);
        let mut layout = RoomGrid { side, columns, rows, rooms };
        for (i, j) in layout.each() {
            let top = layout.top(i, j);
            world.grid.walls(top.x, top.y, side, side);
        }
        for (i, j) in layout.each() {
            let top = layout.top(i, j);
            let (right, bottom) = (top.x + side - 1, top.y + side - 1);
            // A room draws its right and its lower door; the other two are its neighbours'.
            if i + 1 < columns {
                let at = Point::new(right, world.integer(top.y + 1, bottom));
                layout.room(i, j).door_at[0] = Some(at);
                layout.room(i + 1, j).door_at[2] = Some(at);
            }
            if j + 1 < rows {
                let at = Point::new(world.integer(top.x + 1, right), bottom);
                layout.room(i, j).door_at[1] = Some(at);
                layout.room(i, j + 1).door_at[3] = Some(at);
            }
        }
        let middle = |count: i32| count / 2 * (side - 1) + side / 2;
        world.set_agent(Point::new(middle(columns), middle(rows)), 0);
        layout
    }

    fn each(&self) -> impl Iterator<Item = (i32, i32)> + use<> {
        let (columns, rows) = (self.columns, self.rows);
        (0..rows).flat_map(move |j| (0..columns).map(move |i| (i, j)))
    }

    fn top(&self, i: i32, j: i32) -> Point {
        Point::new(i * (self.side - 1), j * (self.side - 1))
    }

    fn room(&mut self, i: i32, j: i32) -> &mut Room {
        &mut self.rooms[(j * self.columns + i) as usize]
    }

    /// The room beyond a side.
    fn beyond(i: i32, j: i32, side: usize) -> (i32, i32) {
        let (di, dj) = [(1, 0), (0, 1), (-1, 0), (0, -1)][side];
        (i + di, j + dj)
    }

    /// Builds a door in a side of a room; a colour that is not given is drawn. Where the door is, and its colour.
    pub fn add_door(
        &mut self,
        world: &mut World,
        (i, j): (i32, i32),
        side: usize,
        color: Option<u8>,
        locked: bool,
    ) -> (Point, u8) {
        let color = color.unwrap_or_else(|| world.element(&color::BY_NAME));
        let room = self.room(i, j);
        room.locked = locked;
        let at = room.door_at[side].expect("a door leads to a room");
        let state = if locked { state::LOCKED } else { state::CLOSED };
        world.grid.set(at, Cell::door(color, state));
        self.join((i, j), side);
        (at, color)
    }

    /// Removes the wall between a room and the one beyond a side.
    pub fn remove_wall(&mut self, world: &mut World, (i, j): (i32, i32), side: usize) {
        let (top, last) = (self.top(i, j), self.side - 1);
        match side {
            0 => world.grid.vertical(top.x + last, top.y + 1, last - 1, Cell::EMPTY),
            1 => world.grid.horizontal(top.x + 1, top.y + last, last - 1, Cell::EMPTY),
            2 => world.grid.vertical(top.x, top.y + 1, last - 1, Cell::EMPTY),
            _ => world.grid.horizontal(top.x + 1, top.y, last - 1, Cell::EMPTY),
        }
        self.join((i, j), side);
    }

    fn join(&mut self, (i, j): (i32, i32), side: usize) {
        self.room(i, j).joined[side] = true;
        let (i, j) = Self::beyond(i, j, side);
        self.room(i, j).joined[(side + 2) % SIDES] = true;
    }

    /// Puts an object at a random empty place of a room that does not touch the agent.
    pub fn add_object(&self, world: &mut World, (i, j): (i32, i32), cell: Cell) -> Point {
        let agent = world.grid.point(world.agent);
        let beside = move |at: Point| (at.x - agent.x).abs() + (at.y - agent.y).abs() < 2;
        world.place_unless(cell, self.top(i, j), (self.side, self.side), beside)
    }

    /// Puts the agent at a random empty place of a room, looking in a random direction, but not at an object.
    pub fn place_agent(&self, world: &mut World, (i, j): (i32, i32)) {
        loop {
            world.place_agent_in(self.top(i, j), (self.side, self.side));
            let ahead = world.grid.at(world.front());
            if ahead == Cell::EMPTY || ahead == Cell::WALL {
                return;
            }
        }
    }

    /// Adds closed doors of random colours at random places until all rooms are connected; a room behind a locked door gets
    /// no other door.
    pub fn connect_all(&mut self, world: &mut World) {
        assert_ne!(world.agent, NOWHERE, "the agent is placed before its rooms are connected");
        let at = world.grid.point(world.agent);
        let start = (at.x / (self.side - 1), at.y / (self.side - 1));
        while self.reachable(start) < self.rooms.len() {
            let i = world.integer(0, self.columns);
            let j = world.integer(0, self.rows);
            let side = world.integer(0, SIDES as i32) as usize;
            let room = self.room(i, j);
            if room.door_at[side].is_none() || room.joined[side] || room.locked {
                continue;
            }
            let (i2, j2) = Self::beyond(i, j, side);
            if self.room(i2, j2).locked {
                continue;
            }
            let color = world.element(&color::BY_NAME);
            self.add_door(world, (i, j), side, Some(color), false);
        }
    }

    /// How many rooms are joined to this one, directly or through others, itself included.
    fn reachable(&mut self, start: (i32, i32)) -> usize {
        let mut reached = vec![start];
        let mut next = 0;
        while next < reached.len() {
            let (i, j) = reached[next];
            for side in (0..SIDES).filter(|&side| self.rooms[(j * self.columns + i) as usize].joined[side]) {
                let other = Self::beyond(i, j, side);
                if !reached.contains(&other) {
                    reached.push(other);
                }
            }
            next += 1;
        }
        reached.len()
    }
}
