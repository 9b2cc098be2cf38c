//! Packing: B is copied once into the order in which the micro-kernel reads it, and then used many times.

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

/// Packs B `[k, n]` element by element: `table[p n + j]` says where each stands.
pub(super) fn table<R: Real>(source: &[R], table: &[u32], k: usize, n: usize, width: usize, out: &mut [R]) {
    for (panel, first) in out.chunks_exact_mut((k * width).max(1)).zip((0..n).step_by(width)) {
        let columns = (n - first).min(width);
        for (p, row) in panel.chunks_exact_mut(width).enumerate() {
            for (to, &at) in row.iter_mut().zip(&table[p * n + first..][..columns]) {
                *to = if at == u32::MAX { R::ZERO } else { source[at as usize] };
            }
            row[columns..].fill(R::ZERO);
        }
    }
}
