//! Cells of an observation as (type, colour, state), and the same read from what the model decodes.
//!
//! From logits of symbolic cells the most probable classes are taken. A decoded picture is cut into tiles, and each is read as the known tile that it
//! is nearest to in squared error; known are the tiles of the played episodes, whose symbols the simulator tells. The view from above shows the agent,
//! too: type 10, with its direction as the state.

use std::collections::BTreeMap;

use super::play::{Place, Play, see};
use crate::base::Result;
use crate::config;
use crate::dreamer::Observation;
use crate::env::{self, Env, Options, View};
use crate::run::world::World;

/// A cell: type, colour, state.
pub type Symbol = [u8; 3];

/// Names of the types, by their numbers in MiniGrid.
pub const KINDS: [&str; 11] =
    ["unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent"];
/// The number of the goal among them.
pub const GOAL: u8 = 8;
/// The number of the agent among them.
const AGENT: u8 = 10;

/// Frames that the tiles are collected from.
const FRAMES: usize = 2000;

/// How the symbols of a task's observations are found.
pub struct Symbols {
    /// The same world, seen as symbols.
    twin: Box<dyn Env>,
    /// Columns and rows of cells.
    size: (usize, usize),
    full: bool,
    /// Side of a tile in pixels, and the known tiles; `None` where the model decodes symbols itself.
    tiles: Option<(usize, Vec<(Vec<f32>, Symbol)>)>,
}

impl Symbols {
    /// For a task, with the tiles that these episodes show; `None` for worlds without cells.
    pub fn new(world: &World, plays: &[Play]) -> Result<Option<Self>> {
        let c = world.config();
        if matches!(world.model.observation, Observation::Vector { .. }) {
            return Ok(None);
        }
        let twin = env::make(&c.task, &Options { view: View::Symbolic, ..Options::default() })?;
        let full = c.observation == config::Observation::RgbFull;
        let (height, width) = match (&world.spec.observation, world.spec.tile_size) {
            (env::Observation::Image { height, width, .. }, Some(tile)) => (height / tile, width / tile),
            (env::Observation::Symbolic { height, width, .. }, _) => (*height, *width),
            _ => return Ok(None),
        };
        let mut symbols = Symbols { twin, size: (width, height), full, tiles: None };
        if let (Observation::Image { .. }, Some(side)) = (&world.model.observation, world.spec.tile_size) {
            let mut known: BTreeMap<Vec<u8>, Symbol> = BTreeMap::new();
            let mut envs = world.envs(1)?;
            let env = envs.env_mut(0);
            let mut picture = vec![0.0; world.model.observation.size()];
            let rows: Vec<&[u8]> =
                plays.iter().flat_map(|p| p.rows().map(|(.., row)| row.snapshot.as_slice())).collect();
            for at in super::stats::spread(rows.len(), FRAMES) {
                env.load(rows[at])?;
                see(world, env, &mut picture);
                let bytes = world.decode(&picture);
                let cells = symbols.truth(rows[at])?;
                for (cell, symbol) in cells.into_iter().enumerate() {
                    known.insert(symbols.tile(&bytes, side, cell).collect(), symbol);
                }
            }
            let as_floats = |(tile, symbol): (Vec<u8>, Symbol)| (tile.into_iter().map(f32::from).collect(), symbol);
            symbols.tiles = Some((side, known.into_iter().map(as_floats).collect()));
        }
        Ok(Some(symbols))
    }

    /// The symbols that a state of the simulator shows, column by column.
    pub fn truth(&mut self, snapshot: &[u8]) -> Result<Vec<Symbol>> {
        self.twin.load(snapshot)?;
        let bytes = if self.full {
            self.twin.layout().expect("a gridworld has a layout")
        } else {
            let mut bytes = vec![0; self.twin.spec().observation.size()];
            self.twin.write_bytes(&mut bytes);
            bytes
        };
        let mut cells: Vec<Symbol> = bytes.as_chunks::<3>().0.to_vec();
        if self.full {
            // Behind the cells stand the agent's column, row and direction.
            let [x, y, direction] = cells.pop().expect("the agent's place");
            cells[usize::from(x) * self.size.1 + usize::from(y)] = [AGENT, 0, direction];
        }
        Ok(cells)
    }

    /// The symbols that the model decodes `[size]`.
    pub fn read(&self, world: &World, decoded: &[f32]) -> Vec<Symbol> {
        let bytes = world.decode(decoded);
        let Some((side, known)) = &self.tiles else { return bytes.as_chunks::<3>().0.to_vec() };
        let cells = 0..self.size.0 * self.size.1;
        cells.map(|cell| nearest(known, &self.tile(&bytes, *side, cell).map(f32::from).collect::<Vec<_>>())).collect()
    }

    /// Where symbols say that the agent is; `None` where they show none, or more than one, or where the view moves with the agent.
    pub fn place(&self, cells: &[Symbol]) -> Option<Place> {
        let mut agents = cells.iter().enumerate().filter(|(_, cell)| cell[0] == AGENT);
        let (at, cell) = agents.next()?;
        let (x, y) = ((at / self.size.1) as u8, (at % self.size.1) as u8);
        agents.next().is_none().then_some(Place { x, y, direction: cell[2] })
    }

    /// Whether the observation shows the agent's place.
    pub fn shows_place(&self) -> bool {
        self.full
    }

    /// The bytes of the tile of a cell in a picture [height, width, 3].
    fn tile<'a>(&self, bytes: &'a [u8], side: usize, cell: usize) -> impl Iterator<Item = u8> + use<'a> {
        let (x, y) = (cell / self.size.1, cell % self.size.1);
        let row = 3 * side * self.size.0;
        (0..side).flat_map(move |line| bytes[(y * side + line) * row + 3 * side * x..][..3 * side].iter().copied())
    }
}

/// The symbol of the known tile with the least squared error.
fn nearest(known: &[(Vec<f32>, Symbol)], tile: &[f32]) -> Symbol {
    let mut best = (f32::INFINITY, [0; 3]);
    for (candidate, symbol) in known {
        let error: f32 = candidate.iter().zip(tile).map(|(a, b)| (a - b) * (a - b)).sum();
        if error < best.0 {
            best = (error, *symbol);
        }
    }
    best.1
}
