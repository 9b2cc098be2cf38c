//! `C (+)= A B` with B packed: the order in which tiles are visited, and so which part of A and B is read from which cache.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use super::ahead::Trail;
use super::lanes::Lanes;
use super::tile::{self, Mode, Tile};

/// Steps of the inner dimension in one visit of a tile, an even number. Constant, because with `accumulate` it decides where
/// sums are added up.
pub const BLOCK: usize = 512;

/// Bytes of packed B that stay in the second-level cache while all rows of A pass by.
pub(super) const CACHE: usize = 512 << 10;

/// Elements of the tallest tile of A in pairs, with room between the rows so that they do not all fall into the same lines of the
/// first-level cache.
const PAIRS: usize = 18 * (BLOCK / 2 + GAP);

/// Elements between the rows of such a tile: a vector.
const GAP: usize = 16;

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

/// Cuts `0..len` into the fewest pieces of at most `most`, as equal as can be in multiples of `unit`.
pub(super) fn pieces(len: usize, most: usize, unit: usize) -> impl Iterator<Item = (usize, usize)> {
    let units = len.div_ceil(unit);
    let count = units.div_ceil(most / unit);
    (0..count).map(move |i| (i * units / count * unit, ((i + 1) * units / count * unit).min(len)))
}

/// For each block of the inner dimension, for as many panels of B as the second-level cache holds, for each tile of rows (its A
/// stays in the first-level cache), all those panels.
///
/// # Safety
/// The processor has the instruction set of `L`; the pointers are valid for the matrices that `p` names, C for writing and by
/// nobody else.
pub(super) unsafe fn run<L: Lanes>(p: &Product<L::Element>) {
    let width = 2 * L::LEN;
    let panel = p.k.div_ceil(L::STEPS) * width;
    let most = tile::tallest::<L>(p.n);
    let mut pairs = MaybeUninit::<[f32; PAIRS]>::uninit();
    for start in (0..p.k).step_by(BLOCK) {
        let numbers = (p.k - start).min(BLOCK);
        let depth = numbers.div_ceil(L::STEPS);
        let mode = match (p.accumulate, start) {
            (true, _) => Mode::Add,
            (false, 0) => Mode::Set,
            (false, _) => Mode::Continue,
        };
        let group = (CACHE / (depth * width * size_of::<L::Element>())).max(1) * width;
        for first in (0..p.n).step_by(group) {
            let end = (first + group).min(p.n);
            for (top, bottom) in pieces(p.m, most, 1) {
                let a = p.a.wrapping_add(top * p.lda + start);
                let (a, lda) = match L::STEPS {
                    1 => (a, p.lda),
                    // SAFETY: rows top..bottom of A, numbers start..start + numbers, are within the caller's matrix.
                    _ => unsafe { along::<L>(a, p.lda, bottom - top, numbers, pairs.as_mut_ptr().cast()) },
                };
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
                                runs: 1,
                                jump: 0,
                                a,
                                lda,
                                b: p.b.add(column / width * panel + start / L::STEPS * width),
                                panel,
                                c: p.c.add(top * p.ldc + column),
                                ldc: p.ldc,
                                columns,
                                mode,
                                trail: Trail::nowhere(p.b),
                            },
                        );
                    }
                    column += columns;
                }
            }
        }
    }
}

/// A of a tile, `rows` rows of `count` numbers, as rows of operands in `to`; returns these and their leading dimension.
///
/// # Safety
/// `from[i * ld..][..count]` can be read, and `to` can hold [`PAIRS`] elements.
#[inline(always)]
unsafe fn along<L: Lanes>(
    from: *const L::Element,
    ld: usize,
    rows: usize,
    count: usize,
    to: *mut L::Element,
) -> (*const L::Element, usize) {
    let length = count.div_ceil(L::STEPS).next_multiple_of(L::LEN);
    let apart = length + GAP;
    assert!(rows * apart <= PAIRS, "a tile of {rows} rows of {length} pairs");
    // SAFETY: the caller's promises and the assertion; a vector is cut to the numbers that are left.
    unsafe {
        L::enter(
            #[inline(always)]
            || {
                for i in 0..rows {
                    for at in (0..length).step_by(L::LEN) {
                        let left = count - at * L::STEPS;
                        let x = from.wrapping_add(i * ld + at * L::STEPS);
                        L::load_along(x, left.min(L::LEN * L::STEPS)).store(to.add(i * apart + at));
                    }
                }
            },
        );
    }
    (to, apart)
}
