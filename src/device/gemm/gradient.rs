//! `C += X^T dY`, the weight gradient: the order in which tiles are visited.
//!
//! X and dY are long (every time step of every chunk is a row) and are read a few columns at a time. So a few hundred columns of
//! each are walked together, a block of rows after the other: the part of C that belongs to them stays in the second-level
//! cache, the block's panel of dY is copied into one piece for the first-level cache, and the lines of the next block are asked
//! for while this one is worked on, because no processor foresees an access of a few columns of each row. They are asked for one
//! at a time: a burst of them fills what a core has for lines under way, and it waits.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use super::ahead::{Columns, LINE};
use super::lanes::Lanes;
use super::product::pieces;
use super::tile::{self, Mode, Tile};

/// Rows of X and dY in a block, an even number. Constant, because it decides where sums are added up.
pub const HEIGHT: usize = 128;

/// Bytes of a block of X, and of dY: two of each (this one and the next) and their part of C fit a second-level cache of 1 MiB.
const CACHE: usize = 208 << 10;

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
    let mut pairs = Pairs(MaybeUninit::uninit());
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
                    pairs.0.as_mut_ptr().cast(),
                );
            }
        }
    }
}

/// Two vectors of each row of a block, aligned. Nothing is written into it before it is used.
#[repr(align(64))]
pub(super) struct Panel(pub MaybeUninit<[u8; HEIGHT * 2 * LINE]>);

/// A block of X in pairs of rows, aligned.
#[repr(align(64))]
struct Pairs(MaybeUninit<[u8; CACHE / 2]>);

/// A part of C that the second-level cache holds: for each block of rows, for each panel of dY, for each tile.
///
/// # Safety
/// As for [`run`]; `panel` can hold `HEIGHT` rows of two vectors and `pairs` half a block of X.
unsafe fn part<L: Lanes>(p: &Gradient<L::Element>, panel: *mut L::Element, pairs: *mut L::Element) {
    let width = 2 * L::LEN;
    assert!(width * size_of::<L::Element>() <= 2 * LINE, "a panel of {width} numbers is wider than two lines");
    let most = tile::tallest::<L>(p.n);
    let tiles = p.n.div_ceil(width) * p.k.div_ceil(most);
    for start in (0..p.m).step_by(HEIGHT) {
        let height = (p.m - start).min(HEIGHT);
        let depth = height.div_ceil(L::STEPS);
        let next = start + height;
        let rows = (p.m - next).min(HEIGHT);
        let block = [(p.x.wrapping_add(next * p.ldx), p.ldx, p.k), (p.dy.wrapping_add(next * p.ldy), p.ldy, p.n)];
        let mut ahead = Columns::new(block, rows, tiles);
        let x = p.x.wrapping_add(start * p.ldx);
        let (x, ldx) = match L::STEPS {
            1 => (x, p.ldx),
            steps => {
                let to = p.k.next_multiple_of(L::LEN);
                assert!(depth * to * size_of::<L::Element>() <= CACHE / steps, "{depth} rows of {to} pairs");
                // SAFETY: rows start..start + height of X are within the caller's matrix; `pairs` is large enough.
                unsafe { copy::<L>(x, p.ldx, height, p.k, pairs, to) };
                (pairs.cast_const(), to)
            }
        };
        for column in (0..p.n).step_by(width) {
            let columns = (p.n - column).min(width);
            // SAFETY: rows start..start + height, columns column..column + columns of dY are within the caller's matrix.
            unsafe {
                let dy = p.dy.add(start * p.ldy + column);
                copy::<L>(dy, p.ldy, height, columns, panel, width);
            }
            for (top, bottom) in pieces(p.k, most, 1) {
                let trail = ahead.next::<L>(panel);
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
                            a: x.add(top),
                            lda: ldx,
                            b: panel,
                            panel: 0,
                            c: p.c.add(top * p.ldc + column),
                            ldc: p.ldc,
                            columns,
                            mode: Mode::Add,
                            trail,
                        },
                    );
                }
            }
        }
    }
}

/// Copies `columns` columns of `rows` rows into rows of operands that begin `width` apart, with zeros to the end of the last vector.
///
/// # Safety
/// The processor has the instruction set of `L`; `from[i * ld..][..columns]` can be read and `width`, a multiple of `LEN`,
/// elements written for each step.
pub(super) unsafe fn copy<L: Lanes>(
    from: *const L::Element,
    ld: usize,
    rows: usize,
    columns: usize,
    to: *mut L::Element,
    width: usize,
) {
    // SAFETY: the caller's promises; a vector is cut to the columns and rows that are left.
    unsafe {
        L::enter(
            #[inline(always)]
            || {
                for i in 0..rows.div_ceil(L::STEPS) {
                    let row = from.wrapping_add(i * L::STEPS * ld);
                    for at in (0..columns).step_by(L::LEN) {
                        let left = (columns - at).min(L::LEN);
                        let x = L::load_down(row.wrapping_add(at), ld, rows - i * L::STEPS, left);
                        x.store(to.add(i * width + at));
                    }
                }
            },
        );
    }
}
