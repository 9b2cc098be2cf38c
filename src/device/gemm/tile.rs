//! The micro-kernel: a small tile of C whose sums stay in registers while the inner dimension goes by.
//!
//! A tile is `M` rows by `V` vectors. At each step of the inner dimension it loads `V` vectors of B, broadcasts `M` numbers of
//! A, and adds `M * V` products. A second-level cache delivers the B of a tile of 14 rows fast enough, and the processor looks
//! far enough ahead to hide its latency; only a C that is added to is asked for at the start, because it is met at the end.
#![allow(unsafe_code)]

use super::ahead::Trail;
use super::lanes::Lanes;

/// What a tile does with C. Sums run in ascending order of the inner dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `C = sum`, the sum starting from 0.
    Set,
    /// `C = sum`, the sum starting from C: a longer chain goes on.
    Continue,
    /// `C = C + sum`, the sum starting from 0.
    Add,
}

/// One tile's work. Pointers are to the tile's own first elements.
#[derive(Clone, Copy)]
pub(super) struct Tile<E> {
    /// Length of the inner dimension: `runs` times `depth` steps. After each run A skips `jump` elements.
    pub depth: usize,
    pub runs: usize,
    pub jump: usize,
    /// A: row i, step p at `a[i * lda + p]`, or at `a[p * lda + i]` in a tile with `DOWN`, in the first run.
    pub a: *const E,
    pub lda: usize,
    /// B: vector v, step p at `b[v / 2 * panel + p * 2 LEN + v % 2 * LEN]`.
    pub b: *const E,
    /// Elements in a panel of B.
    pub panel: usize,
    /// C: row i at `c[i * ldc..]`.
    pub c: *mut E,
    pub ldc: usize,
    /// Columns of C, in (V - 1) * LEN + 1 ..= V * LEN.
    pub columns: usize,
    pub mode: Mode,
    /// What is asked for on the way, a line for each row of A in a tile with `DOWN`.
    pub trail: Trail<E>,
}

/// Runs a tile of `rows` rows and `vectors` vectors.
///
/// # Safety
/// The processor has the instruction set of `L`; `tile`'s pointers are valid for the elements that its comments name, C for
/// writing and by nobody else; B is readable to the end of its last vector.
///
/// # Panics
/// If there is no kernel of that size: see [`widest`].
pub(super) unsafe fn run<L: Lanes, const DOWN: bool>(rows: usize, vectors: usize, tile: &Tile<L::Element>) {
    macro_rules! sizes {
        ($($m:literal $v:literal)*) => {
            match (rows, vectors) {
                // SAFETY: the caller's promises, passed on.
                $(($m, $v) if $m <= most::<L>($v) => unsafe { L::enter(#[inline(always)] || multiply::<L, $m, $v, DOWN>(tile)) },)*
                _ => unreachable!("no kernel for {rows} rows of {vectors} vectors"),
            }
        };
    }
    sizes!(1 1  2 1  3 1  4 1  5 1  6 1  7 1  8 1  9 1  10 1  11 1  12 1  13 1  14 1  15 1  16 1  17 1  18 1
           1 2  2 2  3 2  4 2  5 2  6 2  7 2  8 2  9 2  10 2  11 2  12 2  13 2  14 2
           1 4  2 4  3 4  1 8)
}

/// The most rows of a tile of so many vectors. One vector takes more rows than two, because sums that are under way at the same
/// time must be enough to hide how long each of them takes.
const fn most<L: Lanes>(vectors: usize) -> usize {
    if vectors == 1 { L::TALL } else { L::ROWS }
}

/// The most rows of the tiles that a C of `n` columns is cut into.
pub(super) fn tallest<L: Lanes>(n: usize) -> usize {
    most::<L>(n.div_ceil(L::LEN))
}

/// The most vectors, up to `left`, of a tile of so many rows: few rows take several panels at once, because a processor has
/// eight or more additions under way at a time and each of them needs a sum of its own.
pub(super) fn widest(rows: usize, left: usize) -> usize {
    match (rows, left) {
        (1, 8..) => 8,
        (1..=3, 4..) => 4,
        (_, 2..) => 2,
        _ => 1,
    }
}

#[inline(always)]
unsafe fn multiply<L: Lanes, const M: usize, const V: usize, const DOWN: bool>(t: &Tile<L::Element>) {
    let last = t.columns - (V - 1) * L::LEN;
    // SAFETY: every element touched is one that `run`'s caller vouches for: rows below M, vectors below V with the last one cut
    // to `last` columns in C, steps below `depth`.
    unsafe {
        let mut sums = [[L::zero(); V]; M];
        if t.mode == Mode::Continue {
            each::<L, M, V>(t, last, |i, v, whole, c| {
                sums[i][v] = if whole { L::load(c) } else { L::load_first(c, last) };
            });
        }
        if t.mode == Mode::Add {
            each::<L, M, V>(t, last, |_, _, _, c| L::prefetch(c));
        }
        let (mut a, mut b, mut trail) = (t.a, t.b, t.trail);
        for _ in 0..t.runs {
            for _ in 0..t.depth {
                if DOWN {
                    (0..L::STEPS).for_each(|_| trail.ask::<L>());
                }
                let mut y = [L::zero(); V];
                for v in 0..V {
                    y[v] = L::load(b.add(v / 2 * t.panel + v % 2 * L::LEN));
                }
                for i in 0..M {
                    let x = L::splat(if DOWN { a.add(i) } else { a.add(i * t.lda) });
                    for v in 0..V {
                        sums[i][v] = sums[i][v].add_product(x, y[v]);
                    }
                }
                a = a.wrapping_add(if DOWN { t.lda } else { 1 });
                b = b.wrapping_add(2 * L::LEN);
            }
            a = a.wrapping_add(t.jump);
        }
        if t.mode == Mode::Add {
            each::<L, M, V>(t, last, |i, v, whole, c| {
                let old = if whole { L::load(c) } else { L::load_first(c, last) };
                sums[i][v] = old.add(sums[i][v]);
            });
        }
        each::<L, M, V>(
            t,
            last,
            |i, v, whole, c| {
                if whole { sums[i][v].store(c) } else { sums[i][v].store_first(c, last) }
            },
        );
    }
}

/// Visits the vectors of C: row, vector, whether all lanes are columns of C, address.
#[inline(always)]
unsafe fn each<L: Lanes, const M: usize, const V: usize>(
    t: &Tile<L::Element>,
    last: usize,
    mut visit: impl FnMut(usize, usize, bool, *mut L::Element),
) {
    for i in 0..M {
        for v in 0..V {
            // SAFETY: column v * LEN of row i is within C.
            visit(i, v, v + 1 < V || last == L::LEN, unsafe { t.c.add(i * t.ldc + v * L::LEN) });
        }
    }
}
