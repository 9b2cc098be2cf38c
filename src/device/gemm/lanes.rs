//! `Lanes`: a vector register as the micro-kernel sees it, and its plain version.
#![allow(unsafe_code)]

use crate::base::Real;

/// A vector of a few numbers that are computed in one instruction.
///
/// # Safety
/// Every method may only run on a processor that has the type's instruction set, and inside [`Lanes::enter`] to be fast.
/// Pointers must be valid for the elements that the method names; no alignment is asked for.
pub(super) unsafe trait Lanes: Copy {
    /// The number in a lane.
    type Element: Real;
    /// Numbers in a vector.
    const LEN: usize;
    /// Rows of the largest tile of two vectors whose sums stay in registers.
    const ROWS: usize;
    /// Rows of the largest tile of one vector.
    const TALL: usize = Self::ROWS;
    /// Steps of the inner dimension in a lane of an operand: 1, or 2 where a lane holds a pair of bf16. Operands of pairs are
    /// made from matrices of numbers by [`Lanes::load_along`] and [`Lanes::load_down`].
    const STEPS: usize = 1;

    /// Runs `f` compiled for this vector's instruction set.
    unsafe fn enter(f: impl FnOnce());
    /// All lanes 0.
    unsafe fn zero() -> Self;
    /// `x[0]` in all lanes.
    unsafe fn splat(x: *const Self::Element) -> Self;
    /// `x[..LEN]`.
    unsafe fn load(x: *const Self::Element) -> Self;
    /// `x[..count]` and zeros, `count < LEN`.
    unsafe fn load_first(x: *const Self::Element, count: usize) -> Self;
    /// The operand of `LEN` lanes whose inner dimension runs along a row: from `x[..count]` and zeros, `count <= LEN * STEPS`.
    #[inline(always)]
    unsafe fn load_along(x: *const Self::Element, count: usize) -> Self {
        // SAFETY: the caller's x[..count].
        unsafe { if count == Self::LEN { Self::load(x) } else { Self::load_first(x, count) } }
    }
    /// The operand of `LEN` lanes whose inner dimension runs down the columns: from the first `count <= LEN` columns of
    /// `rows <= STEPS` rows that begin `ld` apart, and zeros.
    #[inline(always)]
    unsafe fn load_down(x: *const Self::Element, _ld: usize, _rows: usize, count: usize) -> Self {
        // SAFETY: the caller's x[..count].
        unsafe { Self::load_along(x, count) }
    }
    /// Writes `x[..LEN]`.
    unsafe fn store(self, x: *mut Self::Element);
    /// Writes `x[..count]`, `count < LEN`.
    unsafe fn store_first(self, x: *mut Self::Element, count: usize);
    /// Asks for the cache line of `x`.
    unsafe fn prefetch(x: *const Self::Element);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self + a * b`, rounded once where the instruction set can; with pairs, the sum of both products (see `bf16`).
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
}

/// Vectors without intrinsics: 16 bytes, the width that every supported processor has.
#[derive(Clone, Copy)]
pub(super) struct Plain<R, const N: usize>(pub(super) [R; N]);

// SAFETY: no instruction beyond the architecture's baseline is used.
unsafe impl<R: Real, const N: usize> Lanes for Plain<R, N> {
    type Element = R;
    const LEN: usize = N;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn enter(f: impl FnOnce()) {
        f();
    }
    #[inline(always)]
    unsafe fn zero() -> Self {
        Plain([R::ZERO; N])
    }
    #[inline(always)]
    unsafe fn splat(x: *const R) -> Self {
        // SAFETY: the caller's x[0].
        Plain([unsafe { *x }; N])
    }
    #[inline(always)]
    unsafe fn load(x: *const R) -> Self {
        // SAFETY: the caller's x[..N].
        Plain(unsafe { x.cast::<[R; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_first(x: *const R, count: usize) -> Self {
        // SAFETY: the caller's x[..count].
        Plain(std::array::from_fn(|i| if i < count { unsafe { *x.add(i) } } else { R::ZERO }))
    }
    #[inline(always)]
    unsafe fn store(self, x: *mut R) {
        // SAFETY: the caller's x[..N].
        unsafe { x.cast::<[R; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, x: *mut R, count: usize) {
        for i in 0..count {
            // SAFETY: the caller's x[..count].
            unsafe { *x.add(i) = self.0[i] }
        }
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const R) {}
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Plain(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        Plain(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }
}
