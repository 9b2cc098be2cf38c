//! `Gridworld`: a task and its world as an [`Env`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::cell::{self, Kind, color};
use super::expert;
use super::grid::{Grid, Index, NOWHERE, Point};
use super::sight::{Sight, VIEW};
use super::snapshot;
use super::task::Task;
use super::world::{World, action};
use crate::base::{Error, Result};
use crate::env::render::{self, TileCache};
use crate::env::{Action, Actions, Env, NumpyRng, Observation, Options, Outcome, Picture, Spec, View};

/// Pixels of a tile's side in a picture for people.
const PICTURE_TILE: usize = 16;
/// The largest tile that an observation may have.
const MOST_TILE: usize = 64;

/// A task in its world.
pub struct Gridworld<T> {
    spec: Spec,
    task: T,
    world: World,
    view: View,
    actions: usize,
    /// What is left of the expert's plan, last action first; empty if none is known.
    plan: Vec<u8>,
    tiles: Option<Arc<TileCache>>,
}

impl<T: Task> Gridworld<T> {
    /// The world of this id, reset with seed 0.
    pub fn new(id: &str, task: T, options: &Options) -> Result<Self> {
        let (width, height) = task.size();
        let actions = options.actions.unwrap_or(task.actions());
        if actions != action::FORWARD + 1 && actions != action::COUNT {
            return Err(Error::new(format!("{id} has 3 or {} actions, not {actions}", action::COUNT)));
        }
        let max_steps = options.max_steps.unwrap_or(task.max_steps());
        if max_steps == 0 {
            return Err(Error::new(format!("{id} needs max_steps of at least 1")));
        }
        let tile = options.tile_size;
        if options.view != View::Symbolic && !(1..=MOST_TILE).contains(&tile) {
            return Err(Error::new(format!("{id}: tile_size is {tile}, but must be from 1 to {MOST_TILE}")));
        }
        let observation = match options.view {
            View::Symbolic => Observation::Symbolic {
                height: VIEW,
                width: VIEW,
                classes: [Kind::COUNT, color::COUNT, cell::state::COUNT],
            },
            View::RgbPartial => Observation::Image { height: VIEW * tile, width: VIEW * tile, channels: 3 },
            View::RgbFull => Observation::Image { height: height * tile, width: width * tile, channels: 3 },
        };
        let rgb = options.view != View::Symbolic;
        let spec = Spec {
            id: id.to_string(),
            summary: task.summary().to_string(),
            observation,
            actions: Actions::Discrete { n: actions },
            max_steps,
            tile_size: rgb.then_some(tile),
            action_scale: 1.0,
        };
        let world = World {
            grid: Grid::new(width, height),
            agent: NOWHERE,
            direction: 0,
            carrying: None,
            steps: 0,
            max_steps,
            see_through: task.see_through(),
            places: Vec::with_capacity(task.places()),
            rng: NumpyRng::new(0),
        };
        let tiles = rgb.then(|| shared_tiles(tile));
        let mut env = Gridworld { spec, task, world, view: options.view, actions, plan: Vec::new(), tiles };
        env.reset(Some(0));
        Ok(env)
    }

    /// The agent's view in tiles: what it does not see is black, what it sees is highlighted.
    fn draw_partial(&self, tiles: &TileCache, out: &mut [u8]) {
        let sight = self.world.look();
        let cell = |i: usize, j: usize| {
            let cell = sight.cells[i * VIEW + j];
            if sight.sees(i, j) { drawable(cell) } else { render::Cell::EMPTY }
        };
        let agent = Some((VIEW / 2, VIEW - 1, 3));
        tiles.render_grid(VIEW, VIEW, cell, agent, |i, j| sight.sees(i, j), out);
    }

    /// The whole grid in tiles: the cells that the agent sees are highlighted.
    fn draw_full(&self, tiles: &TileCache, out: &mut [u8]) {
        let (world, grid) = (&self.world, &self.world.grid);
        let sight = world.look();
        let agent = grid.point(world.agent);
        tiles.render_grid(
            grid.width() as usize,
            grid.height() as usize,
            |x, y| drawable(grid.get(Point::new(x as i32, y as i32))),
            Some((agent.x as usize, agent.y as usize, world.direction)),
            |x, y| highlighted(world, &sight, grid.index(Point::new(x as i32, y as i32))),
            out,
        );
    }
}

/// Whether the agent sees the cell at an index.
fn highlighted(world: &World, sight: &Sight, at: Index) -> bool {
    let (here, agent) = (world.grid.point(at), world.grid.point(world.agent));
    let (dx, dy) = (here.x - agent.x, here.y - agent.y);
    // How far ahead of the agent, and how far to its right.
    let (ahead, right) = match world.direction {
        0 => (dx, dy),
        1 => (dy, -dx),
        2 => (-dx, -dy),
        _ => (-dy, dx),
    };
    let (i, j) = (right + VIEW as i32 / 2, VIEW as i32 - 1 - ahead);
    let inside = |v: i32| (0..VIEW as i32).contains(&v);
    inside(i) && inside(j) && sight.sees(i as usize, j as usize)
}

fn drawable(cell: cell::Cell) -> render::Cell {
    let [object, color, state] = cell.encode();
    render::Cell { object, color, state }
}

/// The tiles of a size, drawn once for all worlds of the program.
fn shared_tiles(tile_size: usize) -> Arc<TileCache> {
    static CACHES: Mutex<Option<HashMap<usize, Arc<TileCache>>>> = Mutex::new(None);
    let mut caches = CACHES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let caches = caches.get_or_insert_with(HashMap::new);
    caches.entry(tile_size).or_insert_with(|| Arc::new(TileCache::new(tile_size))).clone()
}

impl<T: Task> Env for Gridworld<T> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) {
        if let Some(seed) = seed {
            self.world.rng = NumpyRng::new(seed);
        }
        self.world.clear();
        self.task.generate(&mut self.world);
        self.plan.clear();
    }

    fn step(&mut self, action: Action) -> Outcome {
        let Action::Discrete(action) = action else { panic!("{} has discrete actions, not {action:?}", self.spec.id) };
        assert!(action < self.actions, "{}: action is {action} but there are {}", self.spec.id, self.actions);
        // A plan stays a plan as long as it is followed.
        if self.plan.pop().is_some_and(|planned| usize::from(planned) != action) {
            self.plan.clear();
        }
        self.task.step(&mut self.world, action)
    }

    fn write_bytes(&self, out: &mut [u8]) {
        match (self.view, &self.tiles) {
            (View::RgbPartial, Some(tiles)) => self.draw_partial(tiles, out),
            (View::RgbFull, Some(tiles)) => self.draw_full(tiles, out),
            _ => self.world.look().write(out),
        }
    }

    fn write_floats(&self, _out: &mut [f32]) {
        panic!("{} has no vector observation: its bytes are written by write_bytes", self.spec.id);
    }

    fn direction(&self) -> Option<u8> {
        Some(self.world.direction)
    }

    fn layout(&self) -> Option<Vec<u8>> {
        let grid = &self.world.grid;
        let columns = (0..grid.width()).flat_map(|x| (0..grid.height()).map(move |y| Point::new(x, y)));
        let mut bytes: Vec<u8> = columns.flat_map(|at| grid.get(at).encode()).collect();
        let agent = grid.point(self.world.agent);
        bytes.extend([agent.x as u8, agent.y as u8, self.world.direction]);
        Some(bytes)
    }

    fn picture(&self) -> Picture {
        let (width, height) = self.task.size();
        let (width, height) = (width * PICTURE_TILE, height * PICTURE_TILE);
        let mut rgb = vec![0; width * height * 3];
        self.draw_full(&shared_tiles(PICTURE_TILE), &mut rgb);
        Picture { height, width, rgb }
    }

    fn expert(&mut self) -> Option<usize> {
        if self.plan.is_empty() {
            let target = self.task.target(&self.world)?;
            self.plan = expert::plan(&self.world, target, self.actions)?;
            self.plan.reverse();
        }
        self.plan.last().map(|&action| usize::from(action))
    }

    fn save(&self) -> Vec<u8> {
        snapshot::save(&self.spec.id, &self.world)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.world = snapshot::load(&self.spec.id, &self.world, self.task.places(), state)?;
        self.plan.clear();
        Ok(())
    }
}
