//! The order in which tiles are visited: which part of A and B is read again from which cache.
#![allow(unsafe_code)]

use super::lanes::Lanes;
use super::tile::{self, Mode, Tile};

/// Steps of the inner dimension in one visit of a tile. Constant, because with `accumulate` it decides where sums are added up.
pub const BLOCK: usize = 512;

/// Bytes of packed B that stay in the second-level cache while all rows of A pass by.
const CACHE: usize = 512 << 10;

/// `C (+)= A B` with B packed; pointers to the first elements.
pub(super) struct Product<E> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const E,
    pub lda: usize,
    /// The first panel.
    pub b: *const E,
    pub c: *mut E,
    pub ldc: usize,
    pub accumulate: bool,
}

/// `C += X^T dY`; pointers to the first elements.
pub(super) struct Transposed<E> {
    /// Columns of X, rows of C.
    pub k: usize,
    /// Columns of dY and of C.
    pub n: usize,
    /// Rows of X and of dY.
    pub m: usize,
    pub x: *const E,
    pub ldx: usize,
    pub dy: *const E,
    pub ldy: usize,
    pub c: *mut E,
    pub ldc: usize,
}

/// Cuts `rows` into the fewest tiles of at most `most` rows, as equal as can be.
fn row_tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let tiles = rows.div_ceil(most);
    (0..tiles).map(move |t| (t * rows / tiles, (t + 1) * rows / tiles))
}

/// For each block of the inner dimension, for as many panels of B as the second-level cache holds, for each tile of rows (its A
/// stays in the first-level cache), all those panels.
///
/// # Safety
/// The processor has the instruction set of `L`; the pointers are valid for the matrices that `p` names, C for writing and by
/// nobody else.
pub(super) unsafe fn product<L: Lanes>(p: &Product<L::Element>) {
    let width = 2 * L::LEN;
    let panel = p.k * width;
    let mut start = 0;
    loop {
        let depth = (p.k - start).min(BLOCK);
        let mode = match (p.accumulate, start) {
            (true, _) => Mode::Add,
            (false, 0) => Mode::Set,
            (false, _) => Mode::Continue,
        };
        let group = (CACHE / (depth.max(1) * width * size_of::<L::Element>())).max(1) * width;
        for first in (0..p.n).step_by(group) {
            let end = (first + group).min(p.n);
            for (top, bottom) in row_tiles(p.m, L::ROWS) {
                let mut column = first;
                while column < end {
                    let vectors = tile::widest(bottom - top, (end - column).div_ceil(L::LEN));
                    let columns = (end - column).min(vectors * L::LEN);
                    // SAFETY: rows top..bottom of A and C, columns column..column + columns of C, and the panels that hold them,
                    // in steps start..start + depth, are within the caller's matrices. `column` begins a panel, because only the
                    // last tile of a group has an odd number of vectors and groups are whole panels.
                    unsafe {
                        tile::run::<L, false>(
                            bottom - top,
                            vectors,
                            &Tile {
                                depth,
                                a: p.a.add(top * p.lda + start),
                                lda: p.lda,
                                b: p.b.add(column / width * panel + start * width),
                                panel,
                                c: p.c.add(top * p.ldc + column),
                                ldc: p.ldc,
                                columns,
                                mode,
                            },
                        );
                    }
                    column += columns;
                }
            }
        }
        start += depth;
        if start >= p.k {
            return;
        }
    }
}

/// Rows of X and dY in one visit of a tile of the weight gradient: a panel of dY of that height is copied into one piece, which
/// the first-level cache holds while all rows of the tile range pass by.
pub const HEIGHT: usize = 256;

/// A panel of dY: `HEIGHT` rows of two of the longest vectors (64 bytes).
#[repr(align(64))]
struct Panel([u8; HEIGHT * 128]);

/// For each block of rows of X and dY in order, for each panel of dY, for each tile of C.
///
/// # Safety
/// As for [`product`].
pub(super) unsafe fn transposed<L: Lanes>(p: &Transposed<L::Element>) {
    let width = 2 * L::LEN;
    let mut space = Panel([0; HEIGHT * 128]);
    let panel: *mut L::Element = space.0.as_mut_ptr().cast();
    assert!(width * size_of::<L::Element>() <= 128, "a panel of {width} numbers is wider than 128 bytes");
    for start in (0..p.m).step_by(HEIGHT) {
        let depth = (p.m - start).min(HEIGHT);
        for column in (0..p.n).step_by(width) {
            let columns = (p.n - column).min(width);
            // SAFETY: rows start..start + depth, columns column..column + columns of dY are within the caller's matrix; `space`
            // holds `depth` rows of `width` numbers, aligned for them.
            unsafe {
                L::enter(|| copy_panel::<L>(p.dy.add(start * p.ldy + column), p.ldy, depth, columns, panel));
            }
            for (top, bottom) in row_tiles(p.k, L::ROWS) {
                // SAFETY: columns top..bottom of X in those rows, and rows top..bottom of C in those columns, are within the
                // caller's matrices.
                unsafe {
                    tile::run::<L, true>(
                        bottom - top,
                        columns.div_ceil(L::LEN),
                        &Tile {
                            depth,
                            a: p.x.add(start * p.ldx + top),
                            lda: p.ldx,
                            b: panel,
                            panel: 0,
                            c: p.c.add(top * p.ldc + column),
                            ldc: p.ldc,
                            columns,
                            mode: Mode::Add,
                        },
                    );
                }
            }
        }
    }
}

/// Copies `columns` columns of `rows` rows into rows of two vectors, with zeros to their ends.
#[inline(always)]
unsafe fn copy_panel<L: Lanes>(from: *const L::Element, ld: usize, rows: usize, columns: usize, to: *mut L::Element) {
    // SAFETY: the caller vouches for `from[i * ld..][..columns]` and `to[..rows * 2 LEN]`.
    unsafe {
        for i in 0..rows {
            for v in 0..2 {
                let left = columns.saturating_sub(v * L::LEN);
                let x = from.wrapping_add(i * ld + v * L::LEN);
                let x = if left >= L::LEN { L::load(x) } else { L::load_first(x, left) };
                x.store(to.add((2 * i + v) * L::LEN));
            }
        }
    }
}
