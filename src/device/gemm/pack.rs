//! Packing: B is copied once into the order in which the micro-kernel reads it, and then used many times.

use super::bf16::pair;
use crate::base::Real;

/// Packs a row-major B `[k, n]` into panels of `width` columns, the last one filled up with zeros.
#[inline(always)]
pub(super) fn plain<R: Real>(b: &[R], k: usize, n: usize, ldb: usize, width: usize, out: &mut [R]) {
    for (panel, first) in out.chunks_exact_mut((k * width).max(1)).zip((0..n).step_by(width)) {
        let columns = (n - first).min(width);
        for (p, row) in panel.chunks_exact_mut(width).enumerate() {
            row[..columns].copy_from_slice(&b[p * ldb + first..][..columns]);
            row[columns..].fill(R::ZERO);
        }
    }
}

/// Packs B `[k, n]` in pairs of bf16: one row of a panel holds two rows of B. Panels have `depth` rows, the last ones of zeros.
#[inline(always)]
pub(super) fn plain_pairs(b: &[f32], k: usize, n: usize, ldb: usize, width: usize, depth: usize, out: &mut [f32]) {
    for (panel, first) in out.chunks_exact_mut((depth * width).max(1)).zip((0..n).step_by(width)) {
        let columns = (n - first).min(width);
        let (panel, rest) = panel.split_at_mut(k.div_ceil(2) * width);
        rest.fill(0.0);
        for (p, row) in panel.chunks_exact_mut(width).enumerate() {
            let even = &b[2 * p * ldb + first..][..columns];
            row[columns..].fill(0.0);
            if 2 * p + 1 < k {
                let odd = &b[(2 * p + 1) * ldb + first..][..columns];
                row.iter_mut().zip(even.iter().zip(odd)).for_each(|(to, (&even, &odd))| *to = pair(even, odd));
            } else {
                row.iter_mut().zip(even).for_each(|(to, &even)| *to = pair(even, 0.0));
            }
        }
    }
}

/// Packs B `[k, n]`, stored as its transpose `[n, k]`.
#[inline(always)]
pub(super) fn transposed<R: Real>(b: &[R], k: usize, n: usize, ldb: usize, width: usize, out: &mut [R]) {
    /// So many steps of the inner dimension at a time: a cache line of each stored row.
    const STEPS: usize = 16;
    for (panel, first) in out.chunks_exact_mut((k * width).max(1)).zip((0..n).step_by(width)) {
        let columns = (n - first).min(width);
        if columns < width {
            panel.fill(R::ZERO);
        }
        for (block, start) in panel.chunks_mut(STEPS * width).zip((0..k).step_by(STEPS)) {
            let steps = (k - start).min(STEPS);
            for j in 0..columns {
                let stored = &b[(first + j) * ldb + start..][..steps];
                for (to, &x) in block[j..].iter_mut().step_by(width).zip(stored) {
                    *to = x;
                }
            }
        }
    }
}

/// Packs B `[k, n]`, stored as its transpose `[n, k]`, in pairs of bf16. Panels as in [`plain_pairs`].
#[inline(always)]
pub(super) fn transposed_pairs(b: &[f32], k: usize, n: usize, ldb: usize, width: usize, depth: usize, out: &mut [f32]) {
    /// So many pairs of the inner dimension at a time: four cache lines of each stored row.
    const PAIRS: usize = 32;
    for (panel, first) in out.chunks_exact_mut((depth * width).max(1)).zip((0..n).step_by(width)) {
        let columns = (n - first).min(width);
        let (panel, rest) = panel.split_at_mut(k.div_ceil(2) * width);
        rest.fill(0.0);
        if columns < width {
            panel.fill(0.0);
        }
        for (block, start) in panel.chunks_mut(PAIRS * width).zip((0..k).step_by(2 * PAIRS)) {
            let steps = (k - start).min(2 * PAIRS);
            for j in 0..columns {
                let mut numbers = [0.0; 2 * PAIRS];
                numbers[..steps].copy_from_slice(&b[(first + j) * ldb + start..][..steps]);
                // Rounded as vectors, then put down pair by pair.
                let pairs: [f32; PAIRS] = std::array::from_fn(|p| pair(numbers[2 * p], numbers[2 * p + 1]));
                for (to, x) in block[j..].iter_mut().step_by(width).zip(pairs) {
                    *to = x;
                }
            }
        }
    }
}

/// Packs B `[k, n]` element by element: `table[p n + j]` says where each stands.
pub(super) fn table<R: Real>(source: &[R], table: &[u32], k: usize, n: usize, width: usize, out: &mut [R]) {
    for (panel, first) in out.chunks_exact_mut((k * width).max(1)).zip((0..n).step_by(width)) {
        let columns = (n - first).min(width);
        for (p, row) in panel.chunks_exact_mut(width).enumerate() {
            for (to, &at) in row.iter_mut().zip(&table[p * n + first..][..columns]) {
                *to = listed(source, at);
            }
            row[columns..].fill(R::ZERO);
        }
    }
}

/// The same in pairs of bf16. Panels as in [`plain_pairs`].
pub(super) fn table_pairs(
    source: &[f32],
    table: &[u32],
    k: usize,
    n: usize,
    width: usize,
    depth: usize,
    out: &mut [f32],
) {
    for (panel, first) in out.chunks_exact_mut((depth * width).max(1)).zip((0..n).step_by(width)) {
        let columns = (n - first).min(width);
        for (p, row) in panel.chunks_exact_mut(width).enumerate() {
            let at = |step: usize, j: usize| if step < k { table[step * n + first + j] } else { u32::MAX };
            for (j, to) in row[..columns].iter_mut().enumerate() {
                *to = pair(listed(source, at(2 * p, j)), listed(source, at(2 * p + 1, j)));
            }
            row[columns..].fill(0.0);
        }
    }
}

/// The element that an entry of a table stands for.
#[inline(always)]
fn listed<R: Real>(source: &[R], at: u32) -> R {
    if at == u32::MAX { R::ZERO } else { source[at as usize] }
}
