//! Pairs of bf16: how operands are rounded, what a product of pairs is, and its emulation.
//!
//! A bf16 is the upper half of an f32: 8 bits of significance. Two neighbours of the inner dimension, of steps 2p and 2p + 1,
//! stand in one 32-bit lane, the even one in the lower half. A lane is handled as the f32 of the same bits, so that the loops
//! over tiles are those of f32.
//!
//! [`fused`] says what the instruction `vdpbf16ps` computes, and every level computes exactly that, but for
//! [`Level::Amx`](crate::device::simd::Level::Amx):
//!
//! ```text
//! (B1) s' = round(s  + a[2p + 1] b[2p + 1])
//! (B2) s" = round(s' + a[2p] b[2p])            the odd step comes first
//! ```
//!
//! Sums are f32, rounded to nearest even once for each step. Numbers below the smallest normal one count as zeros, in operands
//! and in sums. So a bf16 product has the same bits at every level below AMX, with and without the instruction.
#![allow(unsafe_code)]

use super::lanes::{Lanes, Plain};
#[cfg(target_arch = "x86_64")]
use crate::device::simd;

/// The bf16 nearest to `x`, ties to even, in the upper half of the result; a NaN stays one.
#[inline(always)]
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let nearest = if x.is_nan() { bits | 0x40_0000 } else { nearest };
    (if x.abs() < f32::MIN_POSITIVE { bits & 0x8000_0000 } else { nearest }) & 0xffff_0000
}

/// The bf16 nearest to `x`, ties to even, as f32; what is below the smallest normal number becomes zero.
pub fn nearest_bf16(x: f32) -> f32 {
    f32::from_bits(round(x))
}

/// A pair: the bf16 nearest to each number, `even` in the lower half.
#[inline(always)]
pub(super) fn pair(even: f32, odd: f32) -> f32 {
    f32::from_bits(round(odd) | round(even) >> 16)
}

/// `round(sum + a b)` for bf16 `a` and `b`, a number below the smallest normal one becoming zero. f64 holds the product, and the
/// sum as far as it can decide the rounding, so that this is a fused multiply-add where the processor has none.
#[inline(always)]
fn fused(fma: bool, sum: f32, a: f32, b: f32) -> f32 {
    let sum = if fma { a.mul_add(b, sum) } else { (f64::from(sum) + f64::from(a) * f64::from(b)) as f32 };
    if sum.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(sum) } else { sum }
}

/// The emulation: `N` pairs in plain code, compiled for the instruction set whose vectors hold `N` f32.
#[derive(Clone, Copy)]
pub(super) struct Emulated<const N: usize>(Plain<f32, N>);

impl<const N: usize> Emulated<N> {
    /// Only the instruction sets of 256 and 512 bits are sure to have fused multiply-adds.
    const FMA: bool = N > 4;
}

// SAFETY: nothing but plain code, in `enter` of the instruction set of that width.
unsafe impl<const N: usize> Lanes for Emulated<N> {
    type Element = f32;
    const LEN: usize = N;
    const ROWS: usize = 4;
    const STEPS: usize = 2;

    #[inline(always)]
    unsafe fn enter(f: impl FnOnce()) {
        match N {
            // SAFETY: the caller's processor has the instruction set.
            #[cfg(target_arch = "x86_64")]
            8 => unsafe { simd::with_avx2(f) },
            // SAFETY: the caller's processor has the instruction set.
            #[cfg(target_arch = "x86_64")]
            16 => unsafe { simd::with_avx512(f) },
            _ => f(),
        }
    }
    #[inline(always)]
    unsafe fn zero() -> Self {
        Emulated(Plain([0.0; N]))
    }
    #[inline(always)]
    unsafe fn splat(x: *const f32) -> Self {
        // SAFETY: the caller's x[0].
        Emulated(unsafe { Plain::splat(x) })
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> Self {
        // SAFETY: the caller's x[..N].
        Emulated(unsafe { Plain::load(x) })
    }
    #[inline(always)]
    unsafe fn load_first(x: *const f32, count: usize) -> Self {
        // SAFETY: the caller's x[..count].
        Emulated(unsafe { Plain::load_first(x, count) })
    }
    #[inline(always)]
    unsafe fn load_along(x: *const f32, count: usize) -> Self {
        // SAFETY: the caller's x[..count].
        let number = |i: usize| if i < count { unsafe { *x.add(i) } } else { 0.0 };
        Emulated(Plain(std::array::from_fn(|i| pair(number(2 * i), number(2 * i + 1)))))
    }
    #[inline(always)]
    unsafe fn load_down(x: *const f32, ld: usize, rows: usize, count: usize) -> Self {
        // SAFETY: the caller's first `count` columns of the rows.
        let number = |row: usize, i: usize| if row < rows && i < count { unsafe { *x.add(row * ld + i) } } else { 0.0 };
        Emulated(Plain(std::array::from_fn(|i| pair(number(0, i), number(1, i)))))
    }
    #[inline(always)]
    unsafe fn store(self, x: *mut f32) {
        // SAFETY: the caller's x[..N].
        unsafe { self.0.store(x) }
    }
    #[inline(always)]
    unsafe fn store_first(self, x: *mut f32, count: usize) {
        // SAFETY: the caller's x[..count].
        unsafe { self.0.store_first(x, count) }
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: plain additions.
        Emulated(unsafe { self.0.add(other.0) })
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let odd = |x: f32| f32::from_bits(x.to_bits() & 0xffff_0000);
        let even = |x: f32| f32::from_bits(x.to_bits() << 16);
        let (s, a, b) = (self.0.0, a.0.0, b.0.0);
        Emulated(Plain(std::array::from_fn(|i| {
            let s = fused(Self::FMA, s[i], odd(a[i]), odd(b[i])); // (B1)
            fused(Self::FMA, s, even(a[i]), even(b[i])) // (B2)
        })))
    }
}
