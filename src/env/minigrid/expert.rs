//! Shortest plans, by breadth-first search over everything that an action can change.
//!
//! A state of the search is where the agent stands and looks, where up to two portable objects lie (or that one is carried),
//! and which doors are open: 64 bits. Walls, lava and goals do not change. Actions that cannot shorten a plan are left out:
//!
//! - An open door is never closed: every plan through a closed door is one through the same door open.
//! - Nothing is dropped unless another object is left to pick up, for a carried object is in nobody's way.
//! - A key is not dropped before every door of its colour is unlocked. Carrying it is no worse as long as the object that the
//!   free hand is for lies behind such a door, which is so in KeyCorridor, the one task with two objects.
//!
//! The tests compare the lengths with a search that leaves out nothing.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::cell::{Cell, Kind, state};
use super::grid::{Grid, Index};
use super::world::{World, action};

/// What an expert must bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The agent steps on a goal.
    Goal,
    /// The agent steps on one cell without stepping on another; objects cannot be picked up.
    Reach {
        /// Where to go.
        at: Index,
        /// What ends the episode in failure.
        avoid: Index,
    },
    /// A door is opened.
    Open(Index),
    /// An object of this kind is picked up.
    Hold(Kind),
}

/// States after which a search gives up.
const MOST_STATES: usize = 8_000_000;
const MOST_OBJECTS: usize = 2;
const MOST_DOORS: usize = 14;

/// A state of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    agent: u16,
    direction: u8,
    /// Where each portable object lies, [`CARRIED`] or [`ABSENT`].
    objects: [u16; MOST_OBJECTS],
    /// One bit a door.
    open: u16,
}

const CARRIED: u16 = u16::MAX;
const ABSENT: u16 = u16::MAX - 1;

impl State {
    fn key(self) -> u64 {
        let [a, b] = self.objects.map(u64::from);
        u64::from(self.agent) | a << 16 | b << 32 | u64::from(self.open) << 48 | u64::from(self.direction) << 62
    }
}

/// What does not change during a search.
struct Problem<'a> {
    grid: &'a Grid,
    target: Target,
    actions: &'static [usize],
    objects: Vec<Cell>,
    doors: Vec<Index>,
}

/// The actions of a shortest plan from here to the target; `None` if there is none, or if the search is too large.
pub fn plan(world: &World, target: Target, actions: usize) -> Option<Vec<u8>> {
    let (problem, start) = Problem::new(world, target, actions)?;
    let mut seen: HashSet<u64, BuildHasherDefault<MixHasher>> = HashSet::default();
    seen.insert(start.key());
    // The queue keeps every state with the one before it and the action between them, so that the plan can be read backwards.
    let mut queue = vec![(start, 0_u32, 0_u8)];
    let mut head = 0;
    while head < queue.len() {
        let (state, ..) = queue[head];
        for &action in problem.actions {
            match problem.next(state, action) {
                Next::Success => {
                    let mut plan = vec![action as u8];
                    while head > 0 {
                        plan.push(queue[head].2);
                        head = queue[head].1 as usize;
                    }
                    plan.reverse();
                    return Some(plan);
                }
                Next::State(next) => {
                    if seen.insert(next.key()) {
                        queue.push((next, head as u32, action as u8));
                    }
                }
                Next::Useless => {}
            }
        }
        if queue.len() > MOST_STATES {
            return None;
        }
        head += 1;
    }
    None
}

enum Next {
    Success,
    State(State),
    Useless,
}

impl<'a> Problem<'a> {
    fn new(world: &'a World, target: Target, actions: usize) -> Option<(Self, State)> {
        const MOVES: &[usize] = &[action::LEFT, action::RIGHT, action::FORWARD];
        const ALL: &[usize] =
            &[action::LEFT, action::RIGHT, action::FORWARD, action::PICKUP, action::DROP, action::TOGGLE];
        let grid = &world.grid;
        let mut state = State {
            agent: u16::try_from(world.agent).ok()?,
            direction: world.direction,
            objects: [ABSENT; MOST_OBJECTS],
            open: 0,
        };
        let mut objects = Vec::new();
        let mut doors = Vec::new();
        let fixed = matches!(target, Target::Reach { .. });
        let carried = world.carrying.map(|cell| (cell, CARRIED));
        let lying = grid.points().map(|at| (grid.get(at), grid.index(at) as u16));
        for (cell, at) in carried.into_iter().chain(lying) {
            if cell.portable() && !fixed {
                *state.objects.get_mut(objects.len())? = at;
                objects.push(cell);
            } else if cell.kind() == Kind::Door {
                state.open |= u16::from(cell.state() == state::OPEN) << doors.len();
                doors.push(Index::from(at));
            }
        }
        if doors.len() > MOST_DOORS {
            return None;
        }
        let actions = if actions < action::COUNT { MOVES } else { ALL };
        Some((Problem { grid, target, actions, objects, doors }, state))
    }

    fn next(&self, state: State, action: usize) -> Next {
        let front = self.grid.neighbor(Index::from(state.agent), state.direction);
        match action {
            action::LEFT => Next::State(State { direction: (state.direction + 3) & 3, ..state }),
            action::RIGHT => Next::State(State { direction: (state.direction + 1) & 3, ..state }),
            action::FORWARD => self.forward(state, front),
            action::PICKUP => self.pickup(state, front),
            action::DROP => self.drop(state, front),
            action::TOGGLE => self.toggle(state, front),
            _ => unreachable!("action {action} is no part of a plan"),
        }
    }

    /// The object that lies at an index.
    fn object_at(&self, state: State, at: Index) -> Option<usize> {
        state.objects.iter().position(|&object| Index::from(object) == at)
    }

    fn carried(state: State) -> Option<usize> {
        state.objects.iter().position(|&object| object == CARRIED)
    }

    fn door_at(&self, at: Index) -> Option<usize> {
        (self.grid.at(at).kind() == Kind::Door).then(|| self.doors.iter().position(|&door| door == at)).flatten()
    }

    fn forward(&self, state: State, front: Index) -> Next {
        let cell = self.grid.at(front);
        let passable = match self.door_at(front) {
            Some(door) => state.open >> door & 1 == 1,
            // Where an object lay, there is room once it is picked up.
            None => cell.passable() || cell.portable() && !self.objects.is_empty(),
        };
        if !passable || self.object_at(state, front).is_some() || cell == Cell::LAVA {
            return Next::Useless;
        }
        match self.target {
            Target::Goal if cell == Cell::GOAL => Next::Success,
            Target::Reach { at, .. } if at == front => Next::Success,
            Target::Reach { avoid, .. } if avoid == front => Next::Useless,
            // Any other goal ends the episode before its time.
            _ if cell == Cell::GOAL => Next::Useless,
            _ => Next::State(State { agent: front as u16, ..state }),
        }
    }

    fn pickup(&self, mut state: State, front: Index) -> Next {
        match self.object_at(state, front) {
            Some(object) if Self::carried(state).is_none() => {
                if self.target == Target::Hold(self.objects[object].kind()) {
                    return Next::Success;
                }
                state.objects[object] = CARRIED;
                Next::State(state)
            }
            _ => Next::Useless,
        }
    }

    fn drop(&self, mut state: State, front: Index) -> Next {
        let Some(object) = Self::carried(state) else { return Next::Useless };
        let cell = self.grid.at(front);
        let empty = (cell == Cell::EMPTY || cell.portable()) && self.object_at(state, front).is_none();
        let still_needed = (0..self.doors.len()).any(|door| {
            let locked = self.grid.at(self.doors[door]);
            locked.state() == state::LOCKED
                && state.open >> door & 1 == 0
                && self.objects[object] == Cell::key(locked.color())
        });
        if !empty || still_needed || self.objects.len() == 1 {
            return Next::Useless;
        }
        state.objects[object] = front as u16;
        Next::State(state)
    }

    fn toggle(&self, mut state: State, front: Index) -> Next {
        let Some(door) = self.door_at(front).filter(|door| state.open >> door & 1 == 0) else { return Next::Useless };
        let cell = self.grid.at(front);
        let key = Self::carried(state).is_some_and(|object| self.objects[object] == Cell::key(cell.color()));
        if cell.state() == state::LOCKED && !key {
            return Next::Useless;
        }
        if self.target == Target::Open(front) {
            return Next::Success;
        }
        state.open |= 1 << door;
        Next::State(state)
    }
}

/// Hashes the one word of a [`State`]: a multiplication, folded.
#[derive(Default)]
struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 ^ u64::from(byte)));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xd1b5_4a32_d192_ed03;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}
