//! `C += X^T dY`, the weight gradient: the order in which tiles are visited.
//!
//! X and dY are long (every time step of every chunk is a row) and are read a few columns at a time. So a few hundred columns of
//! each are walked together, a block of rows after the other: the part of C that belongs to them stays in the second-level
//! cache, the block's panel of dY is copied into one piece for the first-level cache, and the lines of the next block are asked
//! for while this one is worked on, because no processor foresees an access of a few columns of each row.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use super::lanes::Lanes;
use super::product::pieces;
use super::tile::{self, Mode, Tile};

/// Rows of X and dY in a block. Constant, because it decides where sums are added up.
pub const HEIGHT: usize = 128;

/// Bytes of a block of X, and of dY: two of each (this one and the next) and their part of C fit a second-level cache of 1 MiB.
const CACHE: usize = 208 << 10;

/// Bytes of a cache line, and of the longest vector.
const LINE: usize = 64;

/// The job; pointers to the first elements.
pub(super) struct Gradient<E> {
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

/// Runs the job.
///
/// # Safety
/// The processor has the instruction set of `L`; the pointers are valid for the matrices that `p` names, C for writing and by
/// nobody else.
pub(super) unsafe fn run<L: Lanes>(p: &Gradient<L::Element>) {
    let mut panel = Panel(MaybeUninit::uninit());
    let most = CACHE / (HEIGHT * size_of::<L::Element>());
    for (left, right) in pieces(p.n, most, 2 * L::LEN) {
        for (top, bottom) in pieces(p.k, most, 1) {
            // SAFETY: columns top..bottom of X, left..right of dY, and that part of C, are within the caller's matrices.
            unsafe {
                part::<L>(
                    &Gradient {
                        k: bottom - top,
                        n: right - left,
                        x: p.x.add(top),
                        dy: p.dy.add(left),
                        c: p.c.add(top * p.ldc + left),
                        ..*p
                    },
                    panel.0.as_mut_ptr().cast(),
                );
            }
        }
    }
}

/// Two vectors of each row of a block, aligned. Nothing is written into it before it is used.
#[repr(align(64))]
pub(super) struct Panel(pub MaybeUninit<[u8; HEIGHT * 2 * LINE]>);

/// A part of C that the second-level cache holds: for each block of rows, for each panel of dY, for each tile.
///
/// # Safety
/// As for [`run`]; `panel` can hold `HEIGHT` rows of two vectors.
unsafe fn part<L: Lanes>(p: &Gradient<L::Element>, panel: *mut L::Element) {
    let width = 2 * L::LEN;
    assert!(width * size_of::<L::Element>() <= 2 * LINE, "a panel of {width} numbers is wider than two lines");
    let tiles = p.n.div_ceil(width) * p.k.div_ceil(L::ROWS);
    for start in (0..p.m).step_by(HEIGHT) {
        let depth = (p.m - start).min(HEIGHT);
        let next = start + depth;
        let rows = (p.m - next).min(HEIGHT);
        let mut ahead = [
            Ahead::new(p.x.wrapping_add(next * p.ldx), p.ldx, rows, p.k, tiles),
            Ahead::new(p.dy.wrapping_add(next * p.ldy), p.ldy, rows, p.n, tiles),
        ];
        for column in (0..p.n).step_by(width) {
            let columns = (p.n - column).min(width);
            // SAFETY: rows start..start + depth, columns column..column + columns of dY are within the caller's matrix.
            unsafe {
                let dy = p.dy.add(start * p.ldy + column);
                L::enter(
                    #[inline(always)]
                    || copy::<L>(dy, p.ldy, depth, columns, panel),
                );
            }
            for (top, bottom) in pieces(p.k, L::ROWS, 1) {
                ahead.iter_mut().for_each(Ahead::ask::<L>);
                // SAFETY: columns top..bottom of X in those rows, and rows top..bottom of C in those columns, are within the
                // caller's matrices.
                unsafe {
                    tile::run::<L, true>(
                        bottom - top,
                        columns.div_ceil(L::LEN),
                        &Tile {
                            depth,
                            runs: 1,
                            jump: 0,
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
///
/// # Safety
/// Runs in [`Lanes::enter`]; `from[i * ld..][..columns]` can be read and `to[..rows * 2 LEN]` written.
#[inline(always)]
pub(super) unsafe fn copy<L: Lanes>(
    from: *const L::Element,
    ld: usize,
    rows: usize,
    columns: usize,
    to: *mut L::Element,
) {
    for i in 0..rows {
        for v in 0..2 {
            let left = columns.saturating_sub(v * L::LEN);
            let x = from.wrapping_add(i * ld + v * L::LEN);
            // SAFETY: the caller's promises; a vector is cut to the columns that are left.
            unsafe {
                let x = if left >= L::LEN { L::load(x) } else { L::load_first(x, left) };
                x.store(to.add((2 * i + v) * L::LEN));
            }
        }
    }
}

/// The lines of the next block of a matrix, asked for in equal portions.
struct Ahead<E> {
    row: *const E,
    ld: usize,
    rows: usize,
    /// Bytes of a row, and how many of them are asked for already.
    width: usize,
    done: usize,
    portion: usize,
}

impl<E> Ahead<E> {
    fn new(row: *const E, ld: usize, rows: usize, columns: usize, portions: usize) -> Self {
        let width = columns * size_of::<E>();
        Ahead { row, ld, rows, width, done: 0, portion: (rows * width.div_ceil(LINE)).div_ceil(portions) }
    }

    fn ask<L: Lanes<Element = E>>(&mut self) {
        for _ in 0..self.portion {
            if self.rows == 0 {
                return;
            }
            // SAFETY: asking for a line reads nothing.
            unsafe { L::prefetch(self.row.wrapping_byte_add(self.done)) };
            self.done += LINE;
            if self.done >= self.width {
                self.done = 0;
                self.row = self.row.wrapping_add(self.ld);
                self.rows -= 1;
            }
        }
    }
}
