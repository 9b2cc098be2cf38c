//! Transposed convolution with bias and activation: the windows of the output are a product of the input, and are added up.
//!
//! ```text
//! (D1) P        = x W                   one window (p, q, co) for every input position
//! (D2) a[s i + p - pad, s j + q - pad, co] = b[co] + sum of all P[(i, j), (p, q, co)]
//! (D3) y        = f(a)
//! (D4) da       = dy f'(a)              dP gathered from da, as a convolution gathers its windows
//! (D5) dx      += dP W^T
//! (D6) dW      += x^T dP                db += sum da
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | x | [images, h, w, c_in] |
//! | W | [c_in, kernel, kernel, c_out] |
//! | b | `[c_out]` |
//! | y | [images, oh, ow, c_out], oh = (h - 1) s + kernel - 2 pad |

use super::activation::Activation;
use super::linear::add_rows;
use super::patches::Windows;
use crate::autodiff::op::{Backward, Cost, Forward, Op, Pack, WeightSplit, Weights, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::gemm::{self, Precision};

impl<R: Real> Graph<R> {
    /// `f(conv_transpose(x, w) + b)` for x [images, h, w, c_in] and w [c_in, kernel, kernel, c_out]: [images, oh, ow, c_out].
    pub fn conv_transpose2d(&mut self, x: Var, w: Var, b: Var, stride: usize, pad: usize, f: Activation) -> Var {
        let (x_shape, w_shape) = (self.shape(x).to_vec(), self.shape(w).to_vec());
        let fits = x_shape.len() == 4 && w_shape.len() == 4 && w_shape[1] == w_shape[2] && w_shape[0] == x_shape[3];
        assert!(
            fits && self.shape(b) == [w_shape[3]],
            "conv_transpose2d: x is {x_shape:?}, w {w_shape:?}, b {:?}",
            self.shape(b)
        );
        let kernel = w_shape[1];
        let size = |n: usize| {
            let full = (n - 1) * stride + kernel;
            assert!(full > 2 * pad, "conv_transpose2d: a pad of {pad} leaves nothing of {full}");
            full - 2 * pad
        };
        let windows = Windows::over(size(x_shape[1]), size(x_shape[2]), w_shape[3], kernel, stride, pad);
        assert_eq!((windows.oh, windows.ow), (x_shape[1], x_shape[2]), "one window for every input position");
        let op = ConvTranspose2d { images: x_shape[0], windows, input: x_shape[3], f, precision: self.precision() };
        let [y] = self.call(op, &[x, w, b], [&[x_shape[0], windows.h, windows.w, w_shape[3]]]);
        y
    }
}

#[derive(Clone)]
struct ConvTranspose2d {
    images: usize,
    /// Windows over the output, one for each input position.
    windows: Windows,
    /// c_in
    input: usize,
    f: Activation,
    precision: Precision,
}

impl ConvTranspose2d {
    /// Gathers the windows of a block of gradients.
    fn gather<R: Real>(&self, da: &[R], patches: &mut [R]) {
        let w = &self.windows;
        for (da, patches) in da.chunks_exact(w.image()).zip(patches.chunks_exact_mut(w.count() * w.patch())) {
            w.gather(da, patches);
        }
    }
}

impl<R: Real> Op<R> for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn rows(&self) -> usize {
        self.images
    }

    fn whole(&self, input: usize) -> bool {
        input > 0
    }

    fn cost(&self) -> Cost {
        let (n, w) = (self.images as f64, &self.windows);
        let (count, patch, input) = (w.count() as f64, w.patch() as f64, self.input as f64);
        Cost {
            flops: 2.0 * n * count * patch * input,
            bytes: 4.0 * (n * (w.image() as f64 + count * input) + patch * input),
        }
    }

    fn packs(&self) -> Vec<Pack> {
        let (rows, columns) = (self.input, self.windows.patch());
        [false, true].map(|transposed| Pack { input: 1, rows, columns, transposed, precision: self.precision }).to_vec()
    }

    fn scratch(&self, _rows: usize) -> usize {
        self.windows.block() * self.windows.count() * self.windows.patch()
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let (w, input) = (&self.windows, self.input);
        let (x, b) = (io.x[0], io.x[2]);
        for (x, y) in x.chunks(w.block() * w.count() * input).zip(y.chunks_mut(w.block() * w.image())) {
            let m = x.len() / input;
            let patches = &mut io.scratch[..m * w.patch()];
            gemm::gemm_packed(self.precision, m, w.patch(), input, x, input, io.packed[0], patches, w.patch(), false); // (D1)
            y.chunks_exact_mut(w.c).for_each(|y| y.copy_from_slice(b));
            for (y, patches) in y.chunks_exact_mut(w.image()).zip(patches.chunks_exact(w.count() * w.patch())) {
                w.scatter(patches, y); // (D2)
            }
            self.f.apply(y); // (D3)
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(da), ..] = io.dy else { return };
        let (w, input) = (&self.windows, self.input);
        self.f.differentiate(io.y[0], da); // (D4)
        let [Some(dx), ..] = io.dx else { return };
        for (dx, da) in dx.chunks_mut(w.block() * w.count() * input).zip(da.chunks(w.block() * w.image())) {
            let m = dx.len() / input;
            let patches = &mut io.scratch[..m * w.patch()];
            self.gather(da, patches);
            gemm::gemm_packed(self.precision, m, input, w.patch(), patches, w.patch(), io.packed[1], dx, input, true); // (D5)
        }
    }

    fn weight_split(&self) -> WeightSplit {
        // Eight sums over images keep a few workers busy and cost little memory.
        WeightSplit::Rows(self.images.div_ceil(8))
    }

    fn backward_weights(&self, io: Weights<'_, R>) {
        let (w, input) = (&self.windows, self.input);
        let (x, da) = (io.x[0], io.dy[0]);
        if let Some(dw) = io.dw[1] {
            let dw = dw.all();
            for (x, da) in x.chunks(w.block() * w.count() * input).zip(da.chunks(w.block() * w.image())) {
                let m = x.len() / input;
                let patches = &mut io.scratch[..m * w.patch()];
                self.gather(da, patches);
                gemm::gemm_tn(self.precision, 0..input, w.patch(), m, x, input, patches, w.patch(), dw, w.patch()); // (D6)
            }
        }
        if let Some(db) = io.dw[2] {
            add_rows(da, db.all());
        }
    }
}
