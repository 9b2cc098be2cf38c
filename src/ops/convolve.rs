//! The products that convolutions are made of, over any number of images: windows times a matrix, its transpose, and the
//! gradient of the matrix.
//!
//! | function | computes | of |
//! |---|---|---|
//! | [`product`] | Y (+)= P B | conv2d forward, conv_transpose2d dx |
//! | [`gradient`] | dB += P^T dY | conv2d dW |
//! | [`gradient_transposed`] | dB^T += Y^T P | conv_transpose2d dW |
//! | [`Spread::run`] | X += what lies under P where P = Y B | conv_transpose2d forward, conv2d dx |
//!
//! P `[images oh ow, window]` are the windows of X, with rows as [`Windows::gather`] makes them. Where it pays, they are read in the image
//! itself, or the transpose is computed by its [`Phases`]; the gathered form is what the tests compare with.

use std::sync::Arc;

use super::patches::Windows;
use super::phases::Phases;
use crate::autodiff::op::{Order, Pack};
use crate::base::Real;
use crate::device::gemm;
use crate::device::simd::vectorize;

/// Elements of scratch memory that the functions here need, for Y of n columns.
pub(super) fn scratch(w: &Windows, n: usize) -> usize {
    if w.sliding().is_some() { n * w.patch() } else { w.block() * w.count() * w.patch() }
}

/// `Y (+)= P B`: images [.., h, w, c], B packed [window, n], Y [.., oh, ow, n].
pub(super) fn product<R: Real>(
    w: &Windows,
    n: usize,
    images: &[R],
    packed: &[R],
    y: &mut [R],
    accumulate: bool,
    scratch: &mut [R],
) {
    if let Some(sliding) = w.sliding() {
        for (image, y) in images.chunks_exact(w.image()).zip(y.chunks_exact_mut(w.count() * n)) {
            gemm::gemm_windows(&sliding, 0..w.patch(), w.patch(), n, image, packed, y, accumulate);
        }
        return;
    }
    for (images, y) in images.chunks(w.block() * w.image()).zip(y.chunks_mut(w.block() * w.count() * n)) {
        let patches = gathered(w, images, scratch);
        gemm::gemm_packed(y.len() / n, n, w.patch(), patches, w.patch(), packed, y, n, accumulate);
    }
}

/// `dB += P^T dY`: images [.., h, w, c], dY [.., oh, ow, n], dB [window, n].
pub(super) fn gradient<R: Real>(w: &Windows, n: usize, images: &[R], dy: &[R], db: &mut [R], scratch: &mut [R]) {
    if let Some(sliding) = w.sliding() {
        for (image, dy) in images.chunks_exact(w.image()).zip(dy.chunks_exact(w.count() * n)) {
            gemm::gemm_windows_tn(&sliding, n, image, dy, db);
        }
        return;
    }
    for (images, dy) in images.chunks(w.block() * w.image()).zip(dy.chunks(w.block() * w.count() * n)) {
        let patches = gathered(w, images, scratch);
        gemm::gemm_tn(0..w.patch(), n, dy.len() / n, patches, w.patch(), dy, n, db, n);
    }
}

/// `dB^T += Y^T P`: images [.., h, w, c], Y [.., oh, ow, n], dB^T [n, window].
pub(super) fn gradient_transposed<R: Real>(
    w: &Windows,
    n: usize,
    images: &[R],
    y: &[R],
    db: &mut [R],
    scratch: &mut [R],
) {
    if w.sliding().is_some() {
        // The other way round, Y has few columns, which fill vectors better than the windows do.
        let (turned, scratch) = scratch.split_at_mut(n * w.patch());
        turned.fill(R::ZERO);
        gradient(w, n, images, y, turned, scratch);
        for (j, db) in db.chunks_exact_mut(w.patch()).enumerate() {
            db.iter_mut().zip(turned.chunks_exact(n)).for_each(|(db, turned)| *db += turned[j]);
        }
        return;
    }
    for (images, y) in images.chunks(w.block() * w.image()).zip(y.chunks(w.block() * w.count() * n)) {
        let patches = gathered(w, images, scratch);
        gemm::gemm_tn(0..n, w.patch(), y.len() / n, y, n, patches, w.patch(), db, w.patch());
    }
}

/// The windows of a block of images as rows of a matrix.
fn gathered<'a, R: Real>(w: &Windows, images: &[R], scratch: &'a mut [R]) -> &'a [R] {
    let patches = &mut scratch[..images.len() / w.image() * w.count() * w.patch()];
    for (image, patches) in images.chunks_exact(w.image()).zip(patches.chunks_exact_mut(w.count() * w.patch())) {
        w.gather(image, patches);
    }
    patches
}

/// The transpose of [`product`]: from Y [.., oh, ow, n] to images [.., h, w, c].
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    windows: Windows,
    /// n
    n: usize,
    phases: Option<Phases>,
}

impl Spread {
    pub fn new(windows: Windows, n: usize) -> Self {
        Spread { windows, n, phases: Phases::of(windows, n) }
    }

    /// The matrix it wants packed, from a weight at `input` whose element (j, p, q, c), for column j of Y, stands at `at(j, p, q, c)`;
    /// `order` says how the weight holds `[n, window]`.
    pub fn pack(
        &self,
        input: usize,
        order: Order,
        backward: bool,
        at: impl Fn(usize, usize, usize, usize) -> usize,
    ) -> Pack {
        match self.phases {
            None => Pack { input, rows: self.n, columns: self.windows.patch(), order, backward },
            Some(phases) => {
                let order = Order::Table(Arc::new(phases.table(at)));
                Pack { input, rows: phases.rows(), columns: phases.columns(), order, backward }
            }
        }
    }

    /// Elements of scratch memory that `run` needs.
    pub fn scratch(&self) -> usize {
        let w = &self.windows;
        self.phases.map_or(w.block() * w.count() * w.patch(), |phases| phases.scratch())
    }

    /// Adds to the images what each window of them stands for.
    pub fn run<R: Real>(&self, y: &[R], packed: &[R], images: &mut [R], scratch: &mut [R]) {
        let (w, n) = (&self.windows, self.n);
        if let Some(phases) = self.phases {
            for (y, image) in y.chunks_exact(w.count() * n).zip(images.chunks_exact_mut(w.image())) {
                phases.run(y, packed, scratch, image);
            }
            return;
        }
        for (y, images) in y.chunks(w.block() * w.count() * n).zip(images.chunks_mut(w.block() * w.image())) {
            let m = y.len() / n;
            let patches = &mut scratch[..m * w.patch()];
            gemm::gemm_packed(m, w.patch(), n, y, n, packed, patches, w.patch(), false);
            for (patches, image) in patches.chunks_exact(w.count() * w.patch()).zip(images.chunks_exact_mut(w.image()))
            {
                w.scatter(patches, image);
            }
        }
    }
}

/// Fills images [.., c] with the bias of their channels.
pub(super) fn fill<R: Real>(bias: &[R], images: &mut [R]) {
    // A stretch of many pixels is copied faster than one pixel at a time.
    let stretch = (64 * bias.len()).min(images.len());
    let (first, rest) = images.split_at_mut(stretch);
    first.chunks_exact_mut(bias.len()).for_each(|pixel| pixel.copy_from_slice(bias));
    rest.chunks_mut(stretch.max(1)).for_each(|pixels| pixels.copy_from_slice(&first[..pixels.len()]));
}

/// Adds the bias to rows [.., c].
pub(super) fn add_bias<R: Real>(bias: &[R], rows: &mut [R]) {
    vectorize!(|| for row in rows.chunks_exact_mut(bias.len()) {
        for (x, &b) in row.iter_mut().zip(bias) {
            *x += b;
        }
    });
}
