//! The micro-kernel of AMX: up to 32 by 32, 64 by 16 or 16 by 64 sums in four tile registers.
//!
//! `tdpbf16ps` multiplies a tile of A, 16 rows of 16 pairs, with a tile of B, 16 pairs of 16 columns, and adds the product to a tile
//! of C. Compared with its description in Intel's manual (volume 2, TDPBF16PS) on random operands, an element of C is, to the bit:
//!
//! ```text
//! (A1) e = round(e + a[2p] b[2p]),  o = round(o + a[2p + 1] b[2p + 1]),  from 0, for the pairs p in ascending order
//! (A2) c = round(c + round(e + o))
//! ```
//!
//! Numbers below the smallest normal one count as zeros, in operands and in sums, as in [`bf16`](super::super::bf16). The bits are not those
//! of `vdpbf16ps`, which adds both numbers of a pair to one sum.
//!
//! The instructions are written in assembly, because the compiler does not offer them yet. It uses no tile register itself.

use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::super::TILE;
use super::super::lanes::Lanes;
use super::super::x86::Avx512Bf16;
use crate::device::simd::with_avx512_bf16;

/// Pairs in a row of a tile of A, pairs down a tile of B, rows and columns of a tile of C.
pub const PAIRS: usize = TILE;

/// Rows, or columns, of a C of the given columns, or rows, that [`Tiles::run`] takes at a time: all four registers are in use where C is
/// large enough, because a sum has to wait longer for the one before it than for three others.
pub fn most(other: usize) -> usize {
    if other <= PAIRS { 4 * PAIRS } else { 2 * PAIRS }
}

/// One tile's work. Pointers are to the tile's own first elements.
#[derive(Clone, Copy)]
pub struct Tile {
    /// Rows and columns, at least 1 and up to what [`most`] says.
    pub rows: usize,
    pub columns: usize,
    /// Pairs of the inner dimension.
    pub depth: usize,
    /// A: row i, pair p at `a[i * lda + p]`. Rows can be read to the next multiple of 16, or to the 64th beyond 32; pairs to the next
    /// multiple of 16, and are zeros there.
    pub a: *const f32,
    pub lda: usize,
    /// B: pair p, column j at `b[j / 32 * panel + p * 32 + j % 32]`. Columns can be read as rows of A.
    pub b: *const f32,
    /// Elements in a panel of B.
    pub panel: usize,
    /// Whether B can be read to the next multiple of 16 pairs, and is zeros there.
    pub padded: bool,
    /// C: row i at `c[i * ldc..]`.
    pub c: *mut f32,
    pub ldc: usize,
    /// Whether sums begin with what C holds, or with 0.
    pub keep: bool,
}

/// The shape of all eight tile registers: 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Shape {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPE: Shape = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut i = 0;
    while i < 8 {
        (row_bytes[i], rows[i]) = (64, PAIRS as u8);
        i += 1;
    }
    Shape { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// This thread's tile registers, in use until it is dropped: they make switching threads dearer.
pub struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// Configures the registers.
    ///
    /// # Safety
    /// The processor has AMX and the system lets this process use it.
    pub unsafe fn new() -> Self {
        // SAFETY: the caller's processor; the shape is one that palette 1 allows.
        unsafe {
            asm!("ldtilecfg [{shape}]", shape = in(reg) &raw const SHAPE, options(nostack, preserves_flags, readonly))
        };
        Tiles(PhantomData)
    }

    /// Runs a tile.
    ///
    /// # Safety
    /// The pointers are valid for what [`Tile`] says of them, C for writing and by nobody else.
    pub unsafe fn run(&self, tile: &Tile) {
        // SAFETY: the caller's promises.
        unsafe {
            match (tile.rows.div_ceil(PAIRS), tile.columns.div_ceil(PAIRS)) {
                (1, 1) => multiply::<1, 1>(tile),
                (1, 2) => multiply::<1, 2>(tile),
                (1, 3 | 4) => multiply::<1, 4>(tile),
                (2, 1) => multiply::<2, 1>(tile),
                (2, 2) => multiply::<2, 2>(tile),
                (3 | 4, 1) => multiply::<4, 1>(tile),
                _ => unreachable!("amx: a tile of {} by {}", tile.rows, tile.columns),
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: they were configured.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

/// Loads register `$to` from rows at `$at`, `$apart` elements apart.
macro_rules! load {
    ($to:literal, $at:expr, $apart:expr) => {
        asm!(
            concat!("tileloadd tmm", $to, ", [{at} + {apart} * 1]"),
            at = in(reg) $at,
            apart = in(reg) 4 * $apart,
            options(nostack, preserves_flags, readonly)
        )
    };
}

/// Stores register `$from` to rows at `$at`, `$apart` elements apart.
macro_rules! store {
    ($from:literal, $at:expr, $apart:expr) => {
        asm!(
            concat!("tilestored [{at} + {apart} * 1], tmm", $from),
            at = in(reg) $at,
            apart = in(reg) 4 * $apart,
            options(nostack, preserves_flags)
        )
    };
}

/// Adds the product of `$a` and `$b` to register `$c`.
macro_rules! multiply {
    ($c:literal, $a:literal, $b:literal) => {
        asm!(concat!("tdpbf16ps tmm", $c, ", tmm", $a, ", tmm", $b), options(nostack, preserves_flags, nomem))
    };
}

/// A tile of `M` by `V` registers. Those of C are 0 to 3, row by row.
unsafe fn multiply<const M: usize, const V: usize>(t: &Tile) {
    const EDGE: usize = 4 * PAIRS * PAIRS;
    let whole = t.rows == M * PAIRS && t.columns == V * PAIRS;
    let mut edge = Aligned(MaybeUninit::<[f32; EDGE]>::uninit());
    let edge: *mut f32 = edge.0.as_mut_ptr().cast();
    let (c, ldc) = if whole { (t.c, t.ldc) } else { (edge, V * PAIRS) };
    // SAFETY: registers are used between the configuration and the release; memory is read and written where the caller allows, and in
    // `edge` and `rest`, which hold M * 16 and 16 rows of V * 16 elements.
    unsafe {
        // What register i holds.
        let part = |i: usize| c.add(i / V * PAIRS * ldc + i % V * PAIRS);
        if t.keep {
            if !whole {
                copy(t.rows, t.columns, t.c, t.ldc, edge, ldc);
            }
            load!("0", part(0), ldc);
            if M * V > 1 {
                load!("1", part(1), ldc);
            }
            if M * V > 2 {
                load!("2", part(2), ldc);
                load!("3", part(3), ldc);
            }
        } else {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, preserves_flags, nomem)
            );
        }
        let full = if t.padded { t.depth.next_multiple_of(PAIRS) } else { t.depth / PAIRS * PAIRS };
        for p in (0..full).step_by(PAIRS) {
            let b = |v: usize| t.b.add(v / 2 * t.panel + p * 2 * PAIRS + v % 2 * PAIRS);
            step::<M, V>(t.a.add(p), t.lda, b, 2 * PAIRS);
        }
        if full < t.depth {
            // The last pairs of B, with zeros in place of those that there are not.
            let mut rest = Aligned(MaybeUninit::<[f32; EDGE]>::uninit());
            let rest: *mut f32 = rest.0.as_mut_ptr().cast();
            for v in 0..V {
                let from = t.b.add(v / 2 * t.panel + full * 2 * PAIRS + v % 2 * PAIRS);
                copy(t.depth - full, PAIRS, from, 2 * PAIRS, rest.add(v * PAIRS), V * PAIRS);
            }
            let length = (t.depth - full) * V * PAIRS;
            rest.add(length).write_bytes(0, V * PAIRS * PAIRS - length);
            step::<M, V>(t.a.add(full), t.lda, |v| rest.add(v * PAIRS).cast_const(), V * PAIRS);
        }
        store!("0", part(0), ldc);
        if M * V > 1 {
            store!("1", part(1), ldc);
        }
        if M * V > 2 {
            store!("2", part(2), ldc);
            store!("3", part(3), ldc);
        }
        if !whole {
            copy(t.rows, t.columns, edge, ldc, t.c, t.ldc);
        }
    }
}

/// 16 pairs: `a` those of the first row of A, `b` those of so many vectors of columns of B.
#[inline(always)]
unsafe fn step<const M: usize, const V: usize>(a: *const f32, lda: usize, b: impl Fn(usize) -> *const f32, ldb: usize) {
    // SAFETY: the caller's promises.
    unsafe {
        let a = |m: usize| a.add(m * PAIRS * lda);
        load!("4", a(0), lda);
        load!("5", b(0), ldb);
        multiply!("0", "4", "5");
        match (M, V) {
            (1, 1) => {}
            (1, _) => {
                load!("6", b(1), ldb);
                multiply!("1", "4", "6");
                if V > 2 {
                    load!("7", b(2), ldb);
                    multiply!("2", "4", "7");
                    load!("5", b(3), ldb);
                    multiply!("3", "4", "5");
                }
            }
            (_, 1) => {
                load!("6", a(1), lda);
                multiply!("1", "6", "5");
                if M > 2 {
                    load!("7", a(2), lda);
                    multiply!("2", "7", "5");
                    load!("4", a(3), lda);
                    multiply!("3", "4", "5");
                }
            }
            _ => {
                load!("6", b(1), ldb);
                multiply!("1", "4", "6");
                load!("7", a(1), lda);
                multiply!("2", "7", "5");
                multiply!("3", "7", "6");
            }
        }
    }
}

#[repr(align(64))]
struct Aligned<T>(MaybeUninit<T>);

/// Copies a matrix.
///
/// # Safety
/// The processor has AVX512-BF16; the matrices can be read and written.
unsafe fn copy(rows: usize, columns: usize, from: *const f32, ldf: usize, to: *mut f32, ldt: usize) {
    // SAFETY: the caller's promises; vectors are cut to the columns.
    unsafe {
        with_avx512_bf16(
            #[inline(always)]
            || {
                for i in 0..rows {
                    for at in (0..columns).step_by(PAIRS) {
                        let (from, to, left) = (from.add(i * ldf + at), to.add(i * ldt + at), columns - at);
                        if left >= PAIRS {
                            Avx512Bf16::load(from).store(to);
                        } else {
                            Avx512Bf16::load_first(from, left).store_first(to, left);
                        }
                    }
                }
            },
        );
    }
}

/// Turns a matrix of pairs, `depth` by `columns`: element (p, j) goes to `to[j * ld + p]`. `load(first, v, rows)` writes 16 columns, from
/// column 16 v on, of as many pairs as there are rows, from pair `first` on. Rows and columns are filled up to multiples of 16, pairs with
/// zeros.
///
/// # Safety
/// The processor has AVX512-BF16; `to` can be written, and its rows begin at multiples of 64 bytes.
#[inline(always)]
pub unsafe fn turn(depth: usize, columns: usize, load: impl Fn(usize, usize, &mut [__m512]), to: *mut f32, ld: usize) {
    // SAFETY: the caller's promises.
    unsafe {
        with_avx512_bf16(
            #[inline(always)]
            || {
                for vector in 0..columns.div_ceil(PAIRS) {
                    for first in (0..depth).step_by(PAIRS) {
                        let mut rows = [_mm512_setzero_ps(); PAIRS];
                        load(first, vector, &mut rows[..(depth - first).min(PAIRS)]);
                        let turned = transposed(rows);
                        for j in 0..PAIRS {
                            _mm512_store_ps(to.add((vector * PAIRS + j) * ld + first), turned[j]);
                        }
                    }
                }
            },
        );
    }
}

/// The transpose of 16 rows of 16 numbers.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
unsafe fn transposed(x: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: the caller's processor.
    unsafe {
        // Of four rows and four columns each: element (i, j) of a group of 4 x 4 goes to (j, i) within a quarter of a vector.
        let mut y = x;
        for i in (0..16).step_by(4) {
            let (a, b) = (_mm512_unpacklo_ps(x[i], x[i + 1]), _mm512_unpackhi_ps(x[i], x[i + 1]));
            let (c, d) = (_mm512_unpacklo_ps(x[i + 2], x[i + 3]), _mm512_unpackhi_ps(x[i + 2], x[i + 3]));
            y[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(c)));
            y[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(c)));
            y[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b), _mm512_castps_pd(d)));
            y[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b), _mm512_castps_pd(d)));
        }
        // Quarter q of y[4 i + j] holds column 4 q + j of rows 4 i..4 i + 4: quarters are transposed.
        let mut out = x;
        for j in 0..4 {
            let (a, b) = (y[j], y[4 + j]);
            let (c, d) = (y[8 + j], y[12 + j]);
            let (low, high) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            let (low2, high2) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
            out[j] = _mm512_shuffle_f32x4::<0x88>(low, low2);
            out[8 + j] = _mm512_shuffle_f32x4::<0xdd>(low, low2);
            out[4 + j] = _mm512_shuffle_f32x4::<0x88>(high, high2);
            out[12 + j] = _mm512_shuffle_f32x4::<0xdd>(high, high2);
        }
        out
    }
}
