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
use crate::device::gemm::{self, Precision, Sliding};
use crate::device::simd::vectorize;

/// Elements of scratch memory that the functions here need, for Y of n columns.
pub(super) fn scratch(precision: Precision, w: &Windows, n: usize) -> usize {
    if sliding(precision, w).is_some() { w.image() + n * w.patch() } else { w.block() * w.count() * w.patch() }
}

/// The windows as they can be read in the image, where that is the faster way.
fn sliding(precision: Precision, w: &Windows) -> Option<Sliding> {
    w.sliding().filter(|sliding| sliding.suits(precision))
}

/// `Y (+)= P B`: images [.., h, w, c], B packed [window, n], Y [.., oh, ow, n]. Image by image or a few at a time, `then` gets their Y
/// while the cache holds it. `next` is memory that is needed after the last image.
pub(super) fn product<R: Real>(
    precision: Precision,
    w: &Windows,
    n: usize,
    images: &[R],
    packed: &[R],
    y: &mut [R],
    accumulate: bool,
    scratch: &mut [R],
    next: [&[R]; 2],
    mut then: impl FnMut(&mut [R]),
) {
    if let Some(sliding) = sliding(precision, w) {
        let count = images.len() / w.image();
        for i in 0..count {
            let [image, next_image] = with_next(images, w.image(), i);
            let (y, next_y) = with_next_mut(y, w.count() * n, i);
            let next = if i + 1 < count { [next_image, next_y] } else { next };
            let image = match precision {
                Precision::Full => image,
                Precision::Bf16 => {
                    let pairs = &mut scratch[..gemm::image_len(precision, w.image())];
                    gemm::copy_image(precision, image, pairs);
                    pairs
                }
            };
            gemm::gemm_windows(precision, &sliding, 0..w.patch(), w.patch(), n, image, packed, y, accumulate, next);
            then(y);
        }
        return;
    }
    for (images, y) in images.chunks(w.block() * w.image()).zip(y.chunks_mut(w.block() * w.count() * n)) {
        let patches = gathered(w, images, scratch);
        gemm::gemm_packed(precision, y.len() / n, n, w.patch(), patches, w.patch(), packed, y, n, accumulate);
        then(y);
    }
}

/// `dB += P^T dY`: images [.., h, w, c], dY [.., oh, ow, n], dB [window, n]. Image by image or a few at a time, `then` gets the images
/// and their dY while the cache holds them.
pub(super) fn gradient<R: Real>(
    precision: Precision,
    w: &Windows,
    n: usize,
    images: &[R],
    dy: &[R],
    db: &mut [R],
    scratch: &mut [R],
    mut then: impl FnMut(&[R], &[R]),
) {
    if let Some(sliding) = sliding(precision, w) {
        let sum = |db: &mut [R], scratch: &mut [R]| {
            gradient_in_images(precision, w, sliding, n, images, dy, db, scratch, then);
        };
        if gemm::transposes(precision) {
            turned(db, n, scratch, sum)
        } else {
            sum(db, scratch)
        }
        return;
    }
    for (images, dy) in images.chunks(w.block() * w.image()).zip(dy.chunks(w.block() * w.count() * n)) {
        let patches = gathered(w, images, scratch);
        gemm::gemm_tn(precision, 0..w.patch(), n, dy.len() / n, patches, w.patch(), dy, n, db, n);
        then(images, dy);
    }
}

/// `dB^T += Y^T P`: images [.., h, w, c], Y [.., oh, ow, n], dB^T [n, window]. `then` as in [`gradient`].
pub(super) fn gradient_transposed<R: Real>(
    precision: Precision,
    w: &Windows,
    n: usize,
    images: &[R],
    y: &[R],
    db: &mut [R],
    scratch: &mut [R],
    mut then: impl FnMut(&[R], &[R]),
) {
    if let Some(sliding) = sliding(precision, w) {
        let sum = |db: &mut [R], scratch: &mut [R]| {
            gradient_in_images(precision, w, sliding, n, images, y, db, scratch, then);
        };
        // The other way round, Y has few columns, which fill vectors better than the windows do.
        if gemm::transposes(precision) {
            sum(db, scratch)
        } else {
            turned(db, w.patch(), scratch, sum)
        }
        return;
    }
    for (images, y) in images.chunks(w.block() * w.image()).zip(y.chunks(w.block() * w.count() * n)) {
        let patches = gathered(w, images, scratch);
        gemm::gemm_tn(precision, 0..n, w.patch(), y.len() / n, y, n, patches, w.patch(), db, w.patch());
        then(images, y);
    }
}

/// Adds to a matrix [.., columns] the transpose of what `sum` adds to zeros.
fn turned<R: Real>(db: &mut [R], columns: usize, scratch: &mut [R], sum: impl FnOnce(&mut [R], &mut [R])) {
    let (turned, scratch) = scratch.split_at_mut(db.len());
    turned.fill(R::ZERO);
    sum(turned, scratch);
    let rows = db.len() / columns;
    for (j, db) in db.chunks_exact_mut(columns).enumerate() {
        db.iter_mut().zip(turned.chunks_exact(rows)).for_each(|(db, turned)| *db += turned[j]);
    }
}

/// [`gradient`] or [`gradient_transposed`], as [`gemm::transposes`] says, by windows in the images.
fn gradient_in_images<R: Real>(
    precision: Precision,
    w: &Windows,
    sliding: Sliding,
    n: usize,
    images: &[R],
    dy: &[R],
    db: &mut [R],
    scratch: &mut [R],
    mut then: impl FnMut(&[R], &[R]),
) {
    for i in 0..images.len() / w.image() {
        let ([image, next], [dy, next_dy]) = (with_next(images, w.image(), i), with_next(dy, w.count() * n, i));
        let operand = match precision {
            Precision::Full => image,
            Precision::Bf16 => {
                let pairs = &mut scratch[..w.image()];
                gemm::copy_image_tn(precision, sliding.step, image, pairs);
                pairs
            }
        };
        gemm::gemm_windows_tn(precision, &sliding, n, operand, dy, db, [next, next_dy]);
        then(image, dy);
    }
}

/// Piece `i` of `len` elements each, and the one after it, which is empty at the end. The last piece may be shorter.
pub(super) fn with_next<R>(all: &[R], len: usize, i: usize) -> [&[R]; 2] {
    let rest = &all[i * len..];
    let (piece, rest) = rest.split_at(len.min(rest.len()));
    [piece, &rest[..len.min(rest.len())]]
}

/// [`with_next`] for a piece that is written.
pub(super) fn with_next_mut<R>(all: &mut [R], len: usize, i: usize) -> (&mut [R], &[R]) {
    let rest = &mut all[i * len..];
    let (piece, rest) = rest.split_at_mut(len.min(rest.len()));
    (piece, &rest[..len.min(rest.len())])
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
    precision: Precision,
}

impl Spread {
    pub fn new(windows: Windows, n: usize, precision: Precision) -> Self {
        Spread { windows, n, phases: Phases::of(windows, n, precision), precision }
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
        let precision = self.precision;
        match self.phases {
            None => Pack { input, rows: self.n, columns: self.windows.patch(), order, precision, backward },
            Some(phases) => {
                let order = Order::Table(Arc::new(phases.table(at)));
                Pack { input, rows: phases.rows(), columns: phases.columns(), order, precision, backward }
            }
        }
    }

    /// Elements of scratch memory that `run` needs.
    pub fn scratch(&self) -> usize {
        let w = &self.windows;
        self.phases.map_or(w.block() * w.count() * w.patch(), |phases| phases.scratch())
    }

    /// Adds to the images what each window of them stands for: [`Windows::block`] images or fewer. `next` is the memory that is needed
    /// next.
    pub fn run<R: Real>(&self, y: &[R], packed: &[R], images: &mut [R], scratch: &mut [R], next: [&[R]; 2]) {
        let (w, n) = (&self.windows, self.n);
        if let Some(phases) = self.phases {
            for (y, image) in y.chunks_exact(w.count() * n).zip(images.chunks_exact_mut(w.image())) {
                phases.run(y, packed, scratch, image, next);
            }
            return;
        }
        for (y, images) in y.chunks(w.block() * w.count() * n).zip(images.chunks_mut(w.block() * w.image())) {
            let m = y.len() / n;
            let patches = &mut scratch[..m * w.patch()];
            gemm::gemm_packed(self.precision, m, w.patch(), n, y, n, packed, patches, w.patch(), false);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Philox, philox::stream};

    const FULL: Precision = Precision::Full;

    /// Sizes of the published networks and odd ones: (h, w, c, kernel, stride, pad, n).
    const SIZES: [(usize, usize, usize, usize, usize, usize, usize); 9] = [
        (64, 64, 3, 4, 2, 0, 8),
        (31, 31, 8, 4, 2, 0, 16),
        (14, 14, 16, 4, 2, 0, 32),
        (6, 6, 5, 4, 2, 0, 7),
        (13, 13, 5, 5, 2, 0, 9),
        (30, 30, 4, 6, 2, 0, 8),
        (64, 64, 3, 6, 2, 0, 4),
        (17, 23, 2, 5, 3, 0, 33),
        (9, 11, 3, 3, 1, 1, 5),
    ];

    fn numbers(seed: u64, len: usize) -> Vec<f64> {
        let mut random = Philox::new(seed, stream::TEST, 0);
        (0..len).map(|_| random.normal()).collect()
    }

    fn packed(pack: &Pack, source: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; gemm::packed_len::<f64>(FULL, pack.rows, pack.columns)];
        match &pack.order {
            Order::Rows => gemm::pack_b(FULL, source, pack.rows, pack.columns, pack.columns, &mut out),
            Order::Columns => gemm::pack_bt(FULL, source, pack.rows, pack.columns, pack.rows, &mut out),
            Order::Table(table) => gemm::pack_table(FULL, source, table, pack.rows, pack.columns, &mut out),
        }
        out
    }

    fn close(what: &str, got: &[f64], want: &[f64]) {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            assert!((got - want).abs() <= 1e-11 * (1.0 + want.abs()), "{what}: element {i} is {got}, not {want}");
        }
    }

    /// Windows read in the image give what gathered windows give: the product to the bit, the gradients but for the order of sums.
    #[test]
    fn windows_in_the_image_are_those_that_are_gathered() {
        let mut read = 0;
        for (i, (h, w, c, kernel, stride, pad, n)) in SIZES.into_iter().enumerate() {
            let windows = Windows::over(h, w, c, kernel, stride, pad);
            read += usize::from(windows.sliding().is_some());
            let (images, seed) = (2, 10 * i as u64);
            let x = numbers(seed, images * windows.image());
            let b = numbers(seed + 1, windows.patch() * n);
            let dy = numbers(seed + 2, images * windows.count() * n);
            let mut memory = vec![f64::NAN; scratch(FULL, &windows, n)];
            let mut patches = vec![0.0; images * windows.count() * windows.patch()];
            let each = patches.chunks_exact_mut(windows.count() * windows.patch());
            x.chunks_exact(windows.image()).zip(each).for_each(|(x, patches)| windows.gather(x, patches));

            let order = Pack {
                input: 0,
                rows: windows.patch(),
                columns: n,
                order: Order::Rows,
                backward: false,
                precision: FULL,
            };
            let b = packed(&order, &b);
            let (m, k) = (images * windows.count(), windows.patch());
            let (mut got, mut want) = (dy.clone(), dy.clone());
            product(FULL, &windows, n, &x, &b, &mut got, false, &mut memory, [&[]; 2], |_| {});
            gemm::gemm_packed(FULL, m, n, k, &patches, k, &b, &mut want, n, false);
            assert!(got == want, "{h}x{w}: the product differs");
            product(FULL, &windows, n, &x, &b, &mut got, true, &mut memory, [&[]; 2], |_| {});
            gemm::gemm_packed(FULL, m, n, k, &patches, k, &b, &mut want, n, true);
            close("the sum", &got, &want);

            let (mut got, mut want) = (vec![1.0; k * n], vec![1.0; k * n]);
            gradient(FULL, &windows, n, &x, &dy, &mut got, &mut memory, |_, _| {});
            gemm::gemm_tn(FULL, 0..k, n, m, &patches, k, &dy, n, &mut want, n);
            close("the gradient", &got, &want);
            let mut turned = vec![1.0; k * n];
            gradient_transposed(FULL, &windows, n, &x, &dy, &mut turned, &mut memory, |_, _| {});
            let back: Vec<f64> = (0..k * n).map(|i| turned[i % n * k + i / n]).collect();
            close("the transposed gradient", &back, &want);
        }
        assert_eq!(read, 7, "sizes of both kinds are tested");
    }

    /// Phases give what adding up windows gives, also where the rule would not choose them.
    #[test]
    fn phases_are_the_sum_of_windows() {
        for (i, (h, w, c, kernel, stride, _, n)) in SIZES.into_iter().enumerate() {
            let windows = Windows::over(h, w, c, kernel, stride, 0);
            let plain = Spread { windows, n, phases: None, precision: FULL };
            let by_phases = Spread { phases: Some(Phases::always(windows, n, FULL)), ..plain };
            let y = numbers(7 * i as u64, 2 * windows.count() * n);
            let weight = numbers(7 * i as u64 + 1, n * windows.patch());
            let at = |j: usize, p: usize, q: usize, co: usize| ((j * kernel + p) * kernel + q) * c + co;
            let images = [plain, by_phases].map(|spread| {
                let b = packed(&spread.pack(0, Order::Rows, false, at), &weight);
                let mut images = numbers(3, 2 * windows.image());
                spread.run(&y, &b, &mut images, &mut vec![f64::NAN; spread.scratch()], [&[]; 2]);
                images
            });
            close("the image", &images[1], &images[0]);
        }
        let chosen =
            SIZES.iter().filter(|s| Phases::of(Windows::over(s.0, s.1, s.2, s.3, s.4, s.5), s.6, FULL).is_some());
        let chosen = chosen.count();
        assert!(chosen > 0 && chosen < SIZES.len(), "the rule chooses phases {chosen} times");
    }

    /// The level is fixed for a process, so the tests above run again in child processes.
    #[test]
    fn every_level() {
        use crate::device::simd::Level;
        for name in ["portable", "avx2", "avx512", "avx512bf16"] {
            if Level::named(name).unwrap() > Level::detect() {
                println!("skipped {name}: this processor has {:?}", Level::detect());
                continue;
            }
            let program = std::env::current_exe().unwrap();
            let tests = ["windows_in_the_image", "phases_are_the_sum"];
            let child = std::process::Command::new(program).args(tests).env("DREAMER_SIMD", name).output().unwrap();
            let said = String::from_utf8_lossy(&child.stdout);
            assert!(child.status.success() && said.contains("2 passed"), "at {name}: {said}");
        }
    }
}
