//! Exact states as bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `GRD1` |
//! | 1, n | length of the world's id, the id |
//! | 2, 2 | width, height |
//! | 2, 2, 1 | the agent's column, row and direction |
//! | 3 | what it carries; three zeros for nothing |
//! | 4 | steps taken |
//! | 1, 4 each | how many places, then column and row of each |
//! | 3 each | cells, row by row |
//! | 37 | the generator, see [`NumpyRng::save`] |
//! | 8 | FNV-1a hash of everything before it |
//!
//! Whole numbers are little endian.

use super::cell::{Cell, Kind};
use super::grid::{Index, Point};
use super::world::World;
use crate::base::{Error, Result};
use crate::env::NumpyRng;

const MAGIC: &[u8] = b"GRD1";

/// The state of a world of this id.
pub fn save(id: &str, world: &World) -> Vec<u8> {
    let grid = &world.grid;
    let mut out = Vec::with_capacity(96 + 3 * (grid.width() * grid.height()) as usize);
    out.extend_from_slice(MAGIC);
    out.push(id.len() as u8);
    out.extend_from_slice(id.as_bytes());
    let point = |out: &mut Vec<u8>, at: Point| [at.x, at.y].iter().for_each(|&v| out.extend((v as u16).to_le_bytes()));
    point(&mut out, Point::new(grid.width(), grid.height()));
    point(&mut out, grid.point(world.agent));
    out.push(world.direction);
    out.extend(world.carrying.unwrap_or(Cell::UNSEEN).encode());
    out.extend(world.steps.to_le_bytes());
    out.push(world.places.len() as u8);
    world.places.iter().for_each(|&place| point(&mut out, grid.point(place)));
    grid.points().for_each(|at| out.extend(grid.get(at).encode()));
    out.extend(world.rng.save());
    let hash = fnv1a(&out);
    out.extend(hash.to_le_bytes());
    out
}

/// The world that [`save`] wrote, with everything that a state does not hold (sizes, `max_steps`) taken from `like`.
pub fn load(id: &str, like: &World, places: usize, state: &[u8]) -> Result<World> {
    let damaged = |what: &str| {
        Error::new(format!(
            "a saved state of {id} {what}: it is damaged or of another world, go back to an older checkpoint"
        ))
    };
    let short = || damaged("ends early");
    let (body, hash) = state.split_last_chunk::<8>().ok_or_else(short)?;
    if fnv1a(body) != u64::from_le_bytes(*hash) {
        return Err(damaged("does not have the hash that it states"));
    }
    let mut reader = Reader { rest: body };
    if reader.take(MAGIC.len()).ok_or_else(short)? != MAGIC {
        return Err(damaged("does not begin as one"));
    }
    let length = reader.byte().ok_or_else(short)?;
    let name = reader.take(usize::from(length)).ok_or_else(short)?;
    if name != id.as_bytes() {
        return Err(damaged(&format!("names {}", String::from_utf8_lossy(name))));
    }

    let mut world = like.clone();
    if reader.point().ok_or_else(short)? != Point::new(world.grid.width(), world.grid.height()) {
        return Err(damaged("has a grid of another size"));
    }
    let inside = |at: Point| like.grid.contains(at).then(|| like.grid.index(at));
    let outside = || damaged("has something outside its grid");
    world.agent = inside(reader.point().ok_or_else(short)?).ok_or_else(outside)?;
    world.direction = reader.byte().ok_or_else(short)?;
    let carried = reader.cell().ok_or_else(short)?.ok_or_else(|| damaged("carries no object that exists"))?;
    world.carrying = (carried.kind() != Kind::Unseen).then_some(carried);
    if world.direction > 3 || world.carrying.is_some_and(|cell| !cell.portable()) {
        return Err(damaged("has an impossible agent"));
    }
    world.steps = u32::from_le_bytes(reader.array().ok_or_else(short)?);
    let count = usize::from(reader.byte().ok_or_else(short)?);
    if count != places {
        return Err(damaged(&format!("keeps {count} places in mind instead of {places}")));
    }
    world.places.clear();
    for _ in 0..count {
        let place: Index = inside(reader.point().ok_or_else(short)?).ok_or_else(outside)?;
        world.places.push(place);
    }
    for at in like.grid.points() {
        let cell =
            reader.cell().ok_or_else(short)?.ok_or_else(|| damaged("has a cell that no object is encoded as"))?;
        world.grid.set(at, cell);
    }
    world.rng = NumpyRng::load(reader.take(NumpyRng::SAVED_BYTES).ok_or_else(short)?)?;
    if !reader.rest.is_empty() {
        return Err(damaged("goes on after its end"));
    }
    Ok(world)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Reads a state from its front; `None` where it ends early.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn point(&mut self) -> Option<Point> {
        let mut coordinate = || self.array().map(|bytes| i32::from(u16::from_le_bytes(bytes)));
        Some(Point::new(coordinate()?, coordinate()?))
    }

    /// The outer `None` is an early end, the inner one an encoding of nothing.
    fn cell(&mut self) -> Option<Option<Cell>> {
        self.array().map(Cell::decode)
    }
}
