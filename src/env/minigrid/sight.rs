//! What the agent sees: the 7 x 7 cells in front of it, turned so that it looks up, without what walls and closed doors hide
//! (`gen_obs_grid` and `process_vis` of minigrid).
//!
//! The view has column `i` (0 left, 6 right) and row `j` (0 far, 6 near); the agent stands at (3, 6). Since the grid has a
//! margin, view cell `(i, j)` lies at `agent + forward * (6 - j) + right * (i - 3)` in memory, whatever the direction.
//!
//! Visibility is spread as minigrid does, row by row from the agent outwards. Within a row, light runs to the right through
//! transparent cells, then to the left; a lit transparent cell lights its neighbour in the direction of the run, and in the
//! row beyond itself and that neighbour. A row is seven bits of a byte, so a run is three shifts (a Kogge-Stone fill) instead
//! of a loop with branches. The loop is kept as the oracle in the tests.

use super::cell::Cell;
use super::grid::{Index, MARGIN};
use super::world::World;

/// Width and height of the view.
pub const VIEW: usize = 7;
/// Column of the agent in its view.
const CENTER: usize = VIEW / 2;
/// Bytes of a symbolic observation.
pub const SYMBOLIC_BYTES: usize = VIEW * VIEW * 3;

const _: () = assert!(MARGIN == VIEW - 1);

/// The agent's view.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Cell `(i, j)` is at `i * 7 + j`, seen or not; at the agent's place, what it carries.
    pub cells: [Cell; VIEW * VIEW],
    /// Bit `8 * j + i` says whether the agent sees cell `(i, j)`.
    pub seen: u64,
}

impl Sight {
    /// Whether the agent sees view cell `(i, j)`.
    #[inline(always)]
    pub fn sees(&self, i: usize, j: usize) -> bool {
        self.seen >> (8 * j + i) & 1 == 1
    }

    /// Writes the observation: minigrid's `image` of shape `[7, 7, 3]`, flattened; what is not seen is 0.
    #[inline]
    pub fn write(&self, out: &mut [u8]) {
        let bytes = out.len();
        let out: &mut [u8; SYMBOLIC_BYTES] =
            out.try_into().unwrap_or_else(|_| panic!("a symbolic observation has {SYMBOLIC_BYTES} bytes, not {bytes}"));
        // Each cell is written as four bytes, of which the next cell takes back the fourth; there is no next one for the last.
        const LAST: usize = VIEW * VIEW - 1;
        for i in 0..VIEW {
            for j in 0..VIEW {
                let at = i * VIEW + j;
                let seen = 0_u32.wrapping_sub((self.seen >> (8 * j + i)) as u32 & 1);
                let word = (self.cells[at].word() & seen).to_le_bytes();
                let width = if at == LAST { 3 } else { 4 };
                out[3 * at..3 * at + width].copy_from_slice(&word[..width]);
            }
        }
    }
}

/// View cell `(i, j)` of the `k`th cell in memory of a line of the view: a column for an agent that looks right or left, a row
/// for one that looks down or up.
#[inline(always)]
const fn on_line<const DIRECTION: u8>(line: usize, k: usize) -> (usize, usize) {
    match DIRECTION {
        0 => (line, VIEW - 1 - k),
        1 => (VIEW - 1 - k, line),
        2 => (line, k),
        _ => (k, line),
    }
}

impl World {
    /// The memory index of view cell `(i, j)`; outside the grid it lies in the margin.
    #[inline(always)]
    pub fn view_index(&self, i: usize, j: usize) -> Index {
        let (forward, right) = (self.grid.offset(self.direction), self.grid.offset(self.direction + 1));
        let steps = forward * (VIEW as isize - 1 - j as isize) + right * (i as isize - CENTER as isize);
        self.agent.wrapping_add_signed(steps)
    }

    /// What the agent sees now.
    #[inline]
    pub fn look(&self) -> Sight {
        let mut cells = match self.direction {
            0 => self.gather::<0>(),
            1 => self.gather::<1>(),
            2 => self.gather::<2>(),
            _ => self.gather::<3>(),
        };
        let mut seen = u64::MAX;
        if !self.see_through {
            let mut opaque = 0;
            for i in 0..VIEW {
                for j in 0..VIEW {
                    opaque |= cells[i * VIEW + j].opaque() << (8 * j + i);
                }
            }
            seen = spread(!opaque);
        }
        cells[CENTER * VIEW + VIEW - 1] = self.carrying.unwrap_or(Cell::EMPTY);
        Sight { cells, seen }
    }

    /// The cells of the view, as they lie in the grid: seven lines of seven neighbours in memory.
    #[inline(always)]
    fn gather<const DIRECTION: u8>(&self) -> [Cell; VIEW * VIEW] {
        let mut cells = [Cell::UNSEEN; VIEW * VIEW];
        for line in 0..VIEW {
            let (i, j) = on_line::<DIRECTION>(line, 0);
            let run: &[Cell; VIEW] = self.grid.run(self.view_index(i, j));
            for (k, &cell) in run.iter().enumerate() {
                let (i, j) = on_line::<DIRECTION>(line, k);
                cells[i * VIEW + j] = cell;
            }
        }
        cells
    }
}

/// The lit cells, of which `transparent` let light through; both one byte a row, row 0 lowest.
#[inline]
fn spread(transparent: u64) -> u64 {
    let mut seen = 0_u64;
    let mut lit = 1_u64 << CENTER;
    for j in (0..VIEW).rev() {
        // The last cell of a run passes nothing on: minigrid's loops stop one short.
        let clear = transparent >> (8 * j) & 0x7f;
        lit = fill_up(lit, clear);
        let passing = lit & clear & 0x3f;
        let mut beyond = passing | passing << 1;
        lit = fill_down(lit, clear);
        let passing = lit & clear & 0x7e;
        beyond |= passing | passing >> 1;
        seen |= lit << (8 * j);
        lit = beyond;
    }
    seen
}

/// Every bit that a set bit reaches by climbing through `clear` bits.
#[inline(always)]
fn fill_up(lit: u64, clear: u64) -> u64 {
    let mut path = clear << 1 & 0x7f;
    let mut lit = lit | path & lit << 1;
    path &= path << 1;
    lit |= path & lit << 2;
    path &= path << 2;
    lit | path & lit << 4
}

/// Every bit that a set bit reaches by descending through `clear` bits.
#[inline(always)]
fn fill_down(lit: u64, clear: u64) -> u64 {
    let mut path = clear >> 1;
    let mut lit = lit | path & lit >> 1;
    path &= path >> 1;
    lit |= path & lit >> 2;
    path &= path >> 2;
    lit | path & lit >> 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Philox, philox::stream};

    /// The definition: two loops a row, cell by cell.
    fn spread_by_loops(transparent: u64) -> u64 {
        let clear = |i: usize, j: usize| transparent >> (8 * j + i) & 1 == 1;
        let mut mask = [[false; VIEW]; VIEW];
        mask[CENTER][VIEW - 1] = true;
        for j in (0..VIEW).rev() {
            for i in 0..VIEW - 1 {
                if mask[i][j] && clear(i, j) {
                    mask[i + 1][j] = true;
                    if j > 0 {
                        mask[i + 1][j - 1] = true;
                        mask[i][j - 1] = true;
                    }
                }
            }
            for i in (1..VIEW).rev() {
                if mask[i][j] && clear(i, j) {
                    mask[i - 1][j] = true;
                    if j > 0 {
                        mask[i - 1][j - 1] = true;
                        mask[i][j - 1] = true;
                    }
                }
            }
        }
        (0..VIEW * VIEW).fold(0, |bits, k| bits | u64::from(mask[k / VIEW][k % VIEW]) << (8 * (k % VIEW) + k / VIEW))
    }

    #[test]
    fn lines_gather_what_the_view_holds() {
        use crate::env::NumpyRng;
        use crate::env::minigrid::cell::Kind;
        use crate::env::minigrid::grid::{Grid, Point};
        let mut rng = NumpyRng::new(1);
        let mut grid = Grid::new(5, 9);
        for at in grid.points() {
            grid.set(at, Cell::new(Kind::Floor, rng.integers(0, 6) as u8, rng.integers(0, 256) as u8));
        }
        let (carrying, steps, max_steps, places) = (None, 0, 1, Vec::new());
        let mut world =
            World { grid, agent: 0, direction: 0, carrying, steps, max_steps, see_through: true, places, rng };
        for at in world.grid.points() {
            for direction in 0..4 {
                world.set_agent(at, direction);
                let sight = world.look();
                for (i, j) in (0..VIEW).flat_map(|i| (0..VIEW).map(move |j| (i, j))).filter(|&cell| cell != (3, 6)) {
                    let (right, ahead) = (i as i32 - 3, 6 - j as i32);
                    let (dx, dy) =
                        [(ahead, right), (-right, ahead), (-ahead, -right), (right, -ahead)][direction as usize];
                    let there = Point::new(at.x + dx, at.y + dy);
                    let expected = if world.grid.contains(there) { world.grid.get(there) } else { Cell::WALL };
                    assert_eq!(sight.cells[i * VIEW + j], expected, "{at:?} looking {direction}, ({i}, {j})");
                }
            }
        }
    }

    #[test]
    fn shifts_see_what_loops_see() {
        let mut rng = Philox::new(1, stream::TEST, 0);
        for trial in 0..100_000 {
            // From nearly all walls to nearly none.
            let density = (trial % 10) as f64 / 10.0 + 0.05;
            let transparent = (0..64).fold(0, |bits, k| bits | u64::from(rng.uniform() < density) << k);
            assert_eq!(spread(transparent), spread_by_loops(transparent), "transparent {transparent:#x}");
        }
    }
}
