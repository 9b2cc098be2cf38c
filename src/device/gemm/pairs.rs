//! Images in pairs of bf16, made once and read by many windows.
#![allow(unsafe_code)]

use super::lanes::Lanes;

/// What is paired in `from[..len]`.
pub(super) struct Pairs<E> {
    /// `None`: elements 2i and 2i + 1. Otherwise i and i + step, or i and 0 at the end.
    pub step: Option<usize>,
    pub from: *const E,
    pub len: usize,
    pub to: *mut E,
}

/// Writes the pairs.
///
/// # Safety
/// The processor has the instruction set of `L`; `from[..len]` can be read, and `to` written for every pair.
pub(super) unsafe fn run<L: Lanes>(p: &Pairs<L::Element>) {
    // SAFETY: the caller's promises; a vector is cut to the elements that are left.
    unsafe {
        L::enter(
            #[inline(always)]
            || match p.step {
                None => along::<L>(p),
                Some(step) => {
                    let both = p.len.saturating_sub(step);
                    down::<L>(p, 0, both, step, 2);
                    down::<L>(p, both, p.len, step, 1);
                }
            },
        );
    }
}

#[inline(always)]
unsafe fn along<L: Lanes>(p: &Pairs<L::Element>) {
    let most = L::LEN * L::STEPS;
    for at in (0..p.len).step_by(most) {
        let count = (p.len - at).min(most);
        // SAFETY: `run`'s caller vouches for `count` elements from `at` on, and for their pairs.
        unsafe { put(L::load_along(p.from.add(at), count), p.to.add(at / L::STEPS), count.div_ceil(L::STEPS)) };
    }
}

/// Elements `start..end`, each with the one `step` further if `rows` is 2.
#[inline(always)]
unsafe fn down<L: Lanes>(p: &Pairs<L::Element>, start: usize, end: usize, step: usize, rows: usize) {
    for at in (start..end).step_by(L::LEN) {
        let count = (end - at).min(L::LEN);
        // SAFETY: `run`'s caller vouches for elements `start..end`, and with two rows for those `step` further.
        unsafe { put(L::load_down(p.from.add(at), step, rows, count), p.to.add(at), count) };
    }
}

#[inline(always)]
unsafe fn put<L: Lanes>(x: L, to: *mut L::Element, count: usize) {
    // SAFETY: the caller's `to[..count]`.
    unsafe { if count == L::LEN { x.store(to) } else { x.store_first(to, count) } }
}
