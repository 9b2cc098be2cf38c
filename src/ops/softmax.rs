//! The softmax of many small variables at once, which several rooms share.
//!
//! ```text
//! q_k = e^(a_k - max a) / sum_j e^(a_j - max a)
//! ```
//! The exponentials of all variables are one loop over contiguous numbers, so that variables of 3 or 8 classes fill vectors as well as long ones.

use crate::base::Real;
use crate::device::simd::vectorize;

/// Numbers that are compared side by side.
const LANES: usize = 8;

/// Sizes of variables that stand side by side and repeat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variables<'a> {
    /// Classes of each variable of one cell.
    pub classes: &'a [usize],
}

impl Variables<'_> {
    /// Calls `visit(variable, range)` for every variable of `len` numbers, in order.
    #[inline(always)]
    pub fn each(&self, len: usize, mut visit: impl FnMut(std::ops::Range<usize>)) {
        let mut at = 0;
        while at < len {
            for &k in self.classes {
                visit(at..at + k);
                at += k;
            }
        }
    }
}

/// The highest number of a variable. A NaN need not be it: its own exponential is NaN, and so is the sum of all.
#[inline(always)]
pub(super) fn highest<R: Real>(a: &[R]) -> R {
    let higher = |a: R, b: R| if b > a { b } else { a };
    // Long variables in lanes: a chain of comparisons waits for each.
    let (chunks, rest) = a.as_chunks::<LANES>();
    let first = rest.iter().copied().fold(a[0], higher);
    let mut lanes = [first; LANES];
    for chunk in chunks {
        for (lane, &a) in lanes.iter_mut().zip(chunk) {
            *lane = higher(*lane, a);
        }
    }
    if chunks.is_empty() { first } else { lanes.into_iter().fold(first, higher) }
}

/// `e^(a - max a)` of every variable into `e`.
pub(super) fn shifted_exp<R: Real>(a: &[R], e: &mut [R], variables: Variables<'_>) {
    variables.each(a.len(), |range| {
        let a = &a[range.clone()];
        let highest = highest(a);
        e[range].iter_mut().zip(a).for_each(|(e, &a)| *e = a - highest);
    });
    exp(e);
}

/// The softmax of every variable into `q`.
pub(super) fn softmax<R: Real>(a: &[R], q: &mut [R], variables: Variables<'_>) {
    shifted_exp(a, q, variables);
    variables.each(a.len(), |range| {
        let q = &mut q[range];
        let scale = R::ONE / q.iter().copied().sum::<R>();
        q.iter_mut().for_each(|q| *q *= scale);
    });
}

/// The logarithm of the softmax of every variable into `y`: finite, also where a probability is too small for a number.
pub(super) fn log_softmax<R: Real>(a: &[R], y: &mut [R], variables: Variables<'_>) {
    shifted_exp(a, y, variables);
    variables.each(a.len(), |range| {
        let (a, y) = (&a[range.clone()], &mut y[range]);
        let shift = highest(a) + y.iter().copied().sum::<R>().ln();
        y.iter_mut().zip(a).for_each(|(y, &a)| *y = a - shift);
    });
}

/// e^x in place.
pub(super) fn exp<R: Real>(x: &mut [R]) {
    vectorize!(|| {
        for x in x.iter_mut() {
            *x = x.exp();
        }
    });
}

/// ln x of every number into `out`.
pub(super) fn ln<R: Real>(x: &[R], out: &mut [R]) {
    vectorize!(|| {
        for (out, x) in out.iter_mut().zip(x) {
            *out = x.ln();
        }
    });
}

/// `keep x + add` in place: mixes a uniform distribution into probabilities.
pub(super) fn mix<R: Real>(x: &mut [R], keep: R, add: R) {
    vectorize!(|| {
        for x in x.iter_mut() {
            *x = keep * *x + add;
        }
    });
}
