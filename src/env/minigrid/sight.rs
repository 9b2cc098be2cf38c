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
        assert_eq!(out.len(), SYMBOLIC_BYTES, "a symbolic observation has {SYMBOLIC_BYTES} bytes");
        for i in 0..VIEW {
            for j in 0..VIEW {
                let at = i * VIEW + j;
                let seen = 0_u8.wrapping_sub(self.sees(i, j) as u8);
                let [kind, color, state] = self.cells[at].encode();
                out[3 * at..3 * at + 3].copy_from_slice(&[kind & seen, color & seen, state & seen]);
            }
        }
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
        let mut cells = [Cell::UNSEEN; VIEW * VIEW];
        let mut opaque = 0_u64;
        for i in 0..VIEW {
            for j in 0..VIEW {
                let cell = self.grid.at(self.view_index(i, j));
                cells[i * VIEW + j] = cell;
                opaque |= cell.opaque() << (8 * j + i);
            }
        }
        cells[CENTER * VIEW + VIEW - 1] = self.carrying.unwrap_or(Cell::EMPTY);
        let seen = if self.see_through { u64::MAX } else { spread(!opaque) };
        Sight { cells, seen }
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
