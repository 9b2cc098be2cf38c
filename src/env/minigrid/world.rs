//! The world of one episode: grid, agent, generator, and the rules that every task shares (`minigrid/minigrid_env.py`).

use super::cell::{Cell, Kind, state};
use super::grid::{Grid, Index, NOWHERE, Point};
use crate::env::{NumpyRng, Outcome};

/// The actions of minigrid, in its order.
pub mod action {
    /// Turn left.
    pub const LEFT: usize = 0;
    /// Turn right.
    pub const RIGHT: usize = 1;
    /// Step forward.
    pub const FORWARD: usize = 2;
    /// Pick up the object in front.
    pub const PICKUP: usize = 3;
    /// Drop the carried object in front.
    pub const DROP: usize = 4;
    /// Open, close or unlock the door in front.
    pub const TOGGLE: usize = 5;
    /// Declare the task done; changes nothing.
    pub const DONE: usize = 6;
    /// How many actions there are.
    pub const COUNT: usize = 7;
}

/// Everything that changes during an episode.
#[derive(Debug, Clone)]
pub struct World {
    /// The cells.
    pub grid: Grid,
    /// Where the agent stands.
    pub agent: Index,
    /// Where the agent looks: 0 right, 1 down, 2 left, 3 up.
    pub direction: u8,
    /// What the agent carries.
    pub carrying: Option<Cell>,
    /// Steps taken in this episode.
    pub steps: u32,
    /// The step at which an episode is truncated.
    pub max_steps: u32,
    /// Whether walls hide nothing.
    pub see_through: bool,
    /// Cells that the task keeps in mind, in an order of its own: a door, the ends of a corridor, moving obstacles.
    pub places: Vec<Index>,
    /// The generator that Gymnasium would give this environment.
    pub rng: NumpyRng,
}

impl World {
    /// A whole number in `low..high`, drawn from the world's generator.
    #[inline]
    pub fn integer(&mut self, low: i32, high: i32) -> i32 {
        self.rng.integers(i64::from(low), i64::from(high)) as i32
    }

    /// One element of a list, drawn from the world's generator.
    pub fn element<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.integer(0, items.len() as i32) as usize]
    }

    /// Clears the grid for a new layout: nothing in it, the agent nowhere.
    pub fn clear(&mut self) {
        self.grid.clear();
        self.agent = NOWHERE;
        self.direction = 0;
        self.carrying = None;
        self.steps = 0;
        self.places.clear();
    }

    /// Puts the agent at a position.
    pub fn set_agent(&mut self, at: Point, direction: u8) {
        self.agent = self.grid.index(at);
        self.direction = direction;
    }

    /// Draws positions (column first) in the rectangle of `size` at `top`, clipped to the grid, until one is empty, is not the
    /// agent's and is not rejected; `None` after `tries` positions.
    pub fn find_empty(
        &mut self,
        top: Point,
        size: (i32, i32),
        tries: u32,
        reject: impl Fn(Point) -> bool,
    ) -> Option<Point> {
        let (left, upper) = (top.x.max(0), top.y.max(0));
        let (right, lower) = ((left + size.0).min(self.grid.width()), (upper + size.1).min(self.grid.height()));
        for _ in 0..tries {
            let x = self.integer(left, right);
            let at = Point::new(x, self.integer(upper, lower));
            let index = self.grid.index(at);
            if self.grid.at(index) == Cell::EMPTY && index != self.agent && !reject(at) {
                return Some(at);
            }
        }
        None
    }

    /// The same for the nine cells around one that does not lie on the grid's border, that one included: as nothing is clipped, indices
    /// will do.
    #[inline]
    pub fn find_empty_around(&mut self, center: Index, tries: u32) -> Option<Index> {
        let down = self.grid.offset(1) as usize;
        let corner = center - down - 1;
        for _ in 0..tries {
            let right = self.integer(0, 3) as usize;
            let index = corner + right + down * self.integer(0, 3) as usize;
            if self.grid.at(index) == Cell::EMPTY && index != self.agent {
                return Some(index);
            }
        }
        None
    }

    /// Puts an object at a random empty position of a rectangle, see [`World::find_empty`].
    ///
    /// minigrid gives up after some 1000 tries in some places; here the search goes on, which no layout has been seen to need.
    pub fn place_in(&mut self, cell: Cell, top: Point, size: (i32, i32)) -> Point {
        self.place_unless(cell, top, size, |_| false)
    }

    /// The same, without the rejected positions.
    pub fn place_unless(
        &mut self,
        cell: Cell,
        top: Point,
        size: (i32, i32),
        reject: impl Fn(Point) -> bool + Copy,
    ) -> Point {
        loop {
            if let Some(at) = self.find_empty(top, size, u32::MAX, reject) {
                self.grid.set(at, cell);
                return at;
            }
        }
    }

    /// Puts an object at a random empty position of the grid.
    pub fn place(&mut self, cell: Cell) -> Point {
        self.place_in(cell, Point::new(0, 0), (self.grid.width(), self.grid.height()))
    }

    /// Puts the agent at a random empty position of a rectangle, looking in a random direction.
    pub fn place_agent_in(&mut self, top: Point, size: (i32, i32)) {
        self.agent = NOWHERE;
        let at = self.place_in(Cell::EMPTY, top, size);
        self.agent = self.grid.index(at);
        self.direction = self.integer(0, 4) as u8;
    }

    /// Puts the agent at a random empty position of the grid, looking in a random direction.
    pub fn place_agent(&mut self) {
        self.place_agent_in(Point::new(0, 0), (self.grid.width(), self.grid.height()));
    }

    /// The cell that the agent faces.
    #[inline(always)]
    pub fn front(&self) -> Index {
        self.grid.neighbor(self.agent, self.direction)
    }

    /// The reward of success at this step: 1 at once, 0.1 at the last moment.
    #[inline]
    pub fn success_reward(&self) -> f64 {
        1.0 - 0.9 * (f64::from(self.steps) / f64::from(self.max_steps))
    }

    /// One step of the rules that every task shares.
    #[inline]
    pub fn act(&mut self, action: usize) -> Outcome {
        self.steps += 1;
        let mut outcome = Outcome::default();
        let front = self.front();
        let cell = self.grid.at(front);
        match action {
            action::LEFT => self.direction = (self.direction + 3) & 3,
            action::RIGHT => self.direction = (self.direction + 1) & 3,
            action::FORWARD => {
                if cell.passable() {
                    self.agent = front;
                    if cell == Cell::GOAL {
                        outcome = self.succeed();
                    } else if cell == Cell::LAVA {
                        outcome.terminated = true;
                    }
                }
            }
            action::PICKUP => {
                if cell.portable() && self.carrying.is_none() {
                    self.carrying = Some(cell);
                    self.grid.set_at(front, Cell::EMPTY);
                }
            }
            action::DROP => {
                if cell == Cell::EMPTY
                    && let Some(carried) = self.carrying.take()
                {
                    self.grid.set_at(front, carried);
                }
            }
            action::TOGGLE => {
                if let Some(door) = toggled(cell, self.carrying) {
                    self.grid.set_at(front, door);
                }
            }
            action::DONE => {}
            _ => panic!("action is {action} but there are only {} actions", action::COUNT),
        }
        outcome.truncated = self.steps >= self.max_steps;
        outcome
    }

    /// The task is solved at this step.
    #[inline]
    pub fn succeed(&self) -> Outcome {
        Outcome {
            reward: self.success_reward(),
            terminated: true,
            truncated: self.steps >= self.max_steps,
            success: true,
        }
    }
}

/// What `toggle` makes of a cell; `None` if it changes nothing.
#[inline]
pub fn toggled(cell: Cell, carrying: Option<Cell>) -> Option<Cell> {
    if cell.kind() != Kind::Door {
        return None;
    }
    match cell.state() {
        state::OPEN => Some(Cell::door(cell.color(), state::CLOSED)),
        state::CLOSED => Some(Cell::door(cell.color(), state::OPEN)),
        _ => (carrying == Some(Cell::key(cell.color()))).then(|| Cell::door(cell.color(), state::OPEN)),
    }
}
