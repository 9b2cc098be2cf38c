//! The vectors of x86-64: AVX2 with FMA (256 bits) and AVX-512 (512 bits), in f32 and f64; AVX512-BF16 in pairs of bf16.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::lanes::Lanes;
use crate::device::simd;

/// Lanes 0..8 of this table, read from `8 - count`, select the first `count` of eight (or four pairs of) lanes for AVX2.
static FIRST: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Eight f32 of AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2F32(__m256);

/// Four f64 of AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2F64(__m256d);

/// Sixteen f32 of AVX-512.
#[derive(Clone, Copy)]
pub(super) struct Avx512F32(__m512);

/// Eight f64 of AVX-512.
#[derive(Clone, Copy)]
pub(super) struct Avx512F64(__m512d);

/// Sixteen f32 of AVX-512, or sixteen pairs of bf16.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(pub(super) __m512);

/// Writes `Lanes` once for all: they differ in names, in how the first few lanes are selected, and in the product.
macro_rules! lanes {
    ($vector:ident, $element:ty, $len:literal, $rows:literal, $tall:literal, $enter:path, $zero:ident, $splat:ident, $loadu:ident,
     $storeu:ident, $add:ident, $add_product:expr, $mask:expr, $load_first:expr, $store_first:expr $(, { $($pairs:item)+ })?) => {
        // SAFETY: each method passes its caller's promises (instruction set, valid pointers) on to one intrinsic.
        unsafe impl Lanes for $vector {
            type Element = $element;
            const LEN: usize = $len;
            const ROWS: usize = $rows;
            const TALL: usize = $tall;

            #[inline(always)]
            unsafe fn enter(f: impl FnOnce()) {
                // SAFETY: the caller's processor has the instruction set.
                unsafe { $enter(f) }
            }
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: as promised by the caller.
                Self(unsafe { $zero() })
            }
            #[inline(always)]
            unsafe fn splat(x: *const $element) -> Self {
                // SAFETY: as promised by the caller.
                Self(unsafe { $splat(*x) })
            }
            #[inline(always)]
            unsafe fn load(x: *const $element) -> Self {
                // SAFETY: as promised by the caller.
                Self(unsafe { $loadu(x) })
            }
            #[inline(always)]
            unsafe fn load_first(x: *const $element, count: usize) -> Self {
                // SAFETY: masked lanes are not read.
                Self(unsafe { $load_first(x, $mask(count)) })
            }
            #[inline(always)]
            unsafe fn store(self, x: *mut $element) {
                // SAFETY: as promised by the caller.
                unsafe { $storeu(x, self.0) }
            }
            #[inline(always)]
            unsafe fn store_first(self, x: *mut $element, count: usize) {
                // SAFETY: masked lanes are not written.
                unsafe { $store_first(x, $mask(count), self.0) }
            }
            #[inline(always)]
            unsafe fn prefetch(x: *const $element) {
                // SAFETY: asking for a line reads nothing.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(x.cast()) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: as promised by the caller.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn add_product(self, a: Self, b: Self) -> Self {
                // SAFETY: as promised by the caller.
                Self(unsafe { $add_product(self.0, a.0, b.0) })
            }
            $($($pairs)+)?
        }
    };
}

lanes!(
    Avx2F32,
    f32,
    8,
    6,
    12,
    simd::with_avx2,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    |sum, a, b| _mm256_fmadd_ps(a, b, sum),
    |count: usize| _mm256_loadu_si256(FIRST.as_ptr().add(8 - count).cast()),
    |x, mask| _mm256_maskload_ps(x, mask),
    |x, mask, v| _mm256_maskstore_ps(x, mask, v)
);
lanes!(
    Avx2F64,
    f64,
    4,
    6,
    12,
    simd::with_avx2,
    _mm256_setzero_pd,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_add_pd,
    |sum, a, b| _mm256_fmadd_pd(a, b, sum),
    |count: usize| _mm256_loadu_si256(FIRST.as_ptr().add(8 - 2 * count).cast()),
    |x, mask| _mm256_maskload_pd(x, mask),
    |x, mask, v| _mm256_maskstore_pd(x, mask, v)
);
lanes!(
    Avx512F32,
    f32,
    16,
    14,
    18,
    simd::with_avx512,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    |sum, a, b| _mm512_fmadd_ps(a, b, sum),
    |count: usize| first(count),
    |x, mask| _mm512_maskz_loadu_ps(mask, x),
    |x, mask, v| _mm512_mask_storeu_ps(x, mask, v)
);
lanes!(
    Avx512F64,
    f64,
    8,
    14,
    18,
    simd::with_avx512,
    _mm512_setzero_pd,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_add_pd,
    |sum, a, b| _mm512_fmadd_pd(a, b, sum),
    |count: usize| ((1_u32 << count) - 1) as __mmask8,
    |x, mask| _mm512_maskz_loadu_pd(mask, x),
    |x, mask, v| _mm512_mask_storeu_pd(x, mask, v)
);
lanes!(
    Avx512Bf16,
    f32,
    16,
    14,
    18,
    simd::with_avx512_bf16,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    |sum, a, b| _mm512_dpbf16_ps(sum, transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)),
    |count: usize| first(count),
    |x, mask| _mm512_maskz_loadu_ps(mask, x),
    |x, mask, v| _mm512_mask_storeu_ps(x, mask, v),
    {
        const STEPS: usize = 2;

        #[inline(always)]
        unsafe fn load_along(x: *const f32, count: usize) -> Self {
            // SAFETY: masked lanes are not read.
            unsafe {
                let next = x.wrapping_add(16);
                match count {
                    32 => Self(pairs(_mm512_loadu_ps(x), _mm512_loadu_ps(next))),
                    _ => Self(pairs(
                        _mm512_maskz_loadu_ps(first(count.min(16)), x),
                        _mm512_maskz_loadu_ps(first(count.saturating_sub(16)), next),
                    )),
                }
            }
        }
        #[inline(always)]
        unsafe fn load_down(x: *const f32, ld: usize, rows: usize, count: usize) -> Self {
            // SAFETY: masked lanes are not read.
            unsafe {
                let next = x.wrapping_add(ld);
                let rows = match (count, rows > 1) {
                    (16, true) => pairs(_mm512_loadu_ps(x), _mm512_loadu_ps(next)),
                    (_, both) => pairs(
                        _mm512_maskz_loadu_ps(first(count), x),
                        _mm512_maskz_loadu_ps(first(if both { count } else { 0 }), next),
                    ),
                };
                let interleave = _mm512_load_si512(INTERLEAVE.0.as_ptr().cast());
                let mixed = _mm512_permutexvar_epi16(interleave, _mm512_castps_si512(rows));
                Self(_mm512_castsi512_ps(mixed))
            }
        }
    }
);

/// The bf16 nearest to the numbers of two vectors, side by side.
///
/// # Safety
/// The processor has AVX512-BF16.
#[inline(always)]
unsafe fn pairs(low: __m512, high: __m512) -> __m512 {
    // SAFETY: the caller's processor; both types are 512 bits.
    unsafe { transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Takes two halves of a vector of bf16 to pairs, one of each.
static INTERLEAVE: Aligned = {
    let mut order = [0; 32];
    let mut i = 0;
    while i < 16 {
        (order[2 * i], order[2 * i + 1]) = (i as u16, 16 + i as u16);
        i += 1;
    }
    Aligned(order)
};

#[repr(align(64))]
struct Aligned([u16; 32]);

/// The mask of the first `count <= 16` lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}
