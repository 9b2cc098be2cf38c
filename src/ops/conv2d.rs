//! Two-dimensional convolution (cross-correlation) with bias and activation, by gathering windows into a matrix.
//!
//! ```text
//! (V1) a[o, :]  = P[o, :] W + b         P[o, (p, q, ci)] = x[s oy + p - pad, s ox + q - pad, ci]
//! (V2) y        = f(a)
//! (V3) da       = dy f'(a)
//! (V4) dP       = da W^T                dx += dP, each element to where it was gathered
//! (V5) dW      += P^T da                db += sum da
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | x | [images, h, w, c_in] |
//! | W | [kernel, kernel, c_in, c_out] |
//! | b | `[c_out]` |
//! | y | [images, oh, ow, c_out], oh = (h + 2 pad - kernel) / s + 1 |

use super::activation::Activation;
use super::linear::add_rows;
use super::patches::Windows;
use crate::autodiff::op::{Backward, Cost, Forward, Op, Pack, WeightSplit, Weights, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::gemm::{self, Precision};

impl<R: Real> Graph<R> {
    /// `f(conv(x, w) + b)` for x [images, h, w, c_in] and w [kernel, kernel, c_in, c_out]: [images, oh, ow, c_out].
    pub fn conv2d(&mut self, x: Var, w: Var, b: Var, stride: usize, pad: usize, f: Activation) -> Var {
        let (x_shape, w_shape) = (self.shape(x).to_vec(), self.shape(w).to_vec());
        let fits = x_shape.len() == 4 && w_shape.len() == 4 && w_shape[0] == w_shape[1] && w_shape[2] == x_shape[3];
        assert!(
            fits && self.shape(b) == [w_shape[3]],
            "conv2d: x is {x_shape:?}, w {w_shape:?}, b {:?}",
            self.shape(b)
        );
        let windows = Windows::over(x_shape[1], x_shape[2], x_shape[3], w_shape[0], stride, pad);
        let op = Conv2d { images: x_shape[0], windows, out: w_shape[3], f, precision: self.precision() };
        let [y] = self.call(op, &[x, w, b], [&[x_shape[0], windows.oh, windows.ow, w_shape[3]]]);
        y
    }
}

#[derive(Clone)]
struct Conv2d {
    images: usize,
    windows: Windows,
    /// c_out
    out: usize,
    f: Activation,
    precision: Precision,
}

impl<R: Real> Op<R> for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn rows(&self) -> usize {
        self.images
    }

    fn whole(&self, input: usize) -> bool {
        input > 0
    }

    fn cost(&self) -> Cost {
        let (n, w) = (self.images as f64, &self.windows);
        let (count, patch, out) = (w.count() as f64, w.patch() as f64, self.out as f64);
        Cost { flops: 2.0 * n * count * patch * out, bytes: 4.0 * (n * (w.image() as f64 + count * out) + patch * out) }
    }

    fn packs(&self) -> Vec<Pack> {
        let (rows, columns) = (self.windows.patch(), self.out);
        [false, true].map(|transposed| Pack { input: 1, rows, columns, transposed, precision: self.precision }).to_vec()
    }

    fn scratch(&self, _rows: usize) -> usize {
        self.windows.block() * self.windows.count() * self.windows.patch()
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let (w, out) = (&self.windows, self.out);
        let (x, b) = (io.x[0], io.x[2]);
        for (x, y) in x.chunks(w.block() * w.image()).zip(y.chunks_mut(w.block() * w.count() * out)) {
            let m = y.len() / out;
            let patches = &mut io.scratch[..m * w.patch()];
            for (x, patches) in x.chunks_exact(w.image()).zip(patches.chunks_exact_mut(w.count() * w.patch())) {
                w.gather(x, patches);
            }
            gemm::gemm_packed(self.precision, m, out, w.patch(), patches, w.patch(), io.packed[0], y, out, false); // (V1)
            y.chunks_exact_mut(out).for_each(|y| y.iter_mut().zip(b).for_each(|(y, &b)| *y += b));
            self.f.apply(y); // (V2)
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(da), ..] = io.dy else { return };
        let (w, out) = (&self.windows, self.out);
        self.f.differentiate(io.y[0], da); // (V3)
        let [Some(dx), ..] = io.dx else { return };
        for (dx, da) in dx.chunks_mut(w.block() * w.image()).zip(da.chunks(w.block() * w.count() * out)) {
            let m = da.len() / out;
            let patches = &mut io.scratch[..m * w.patch()];
            gemm::gemm_packed(self.precision, m, w.patch(), out, da, out, io.packed[1], patches, w.patch(), false); // (V4)
            for (dx, patches) in dx.chunks_exact_mut(w.image()).zip(patches.chunks_exact(w.count() * w.patch())) {
                w.scatter(patches, dx);
            }
        }
    }

    fn weight_split(&self) -> WeightSplit {
        // Eight sums over images keep a few workers busy and cost little memory.
        WeightSplit::Rows(self.images.div_ceil(8))
    }

    fn backward_weights(&self, io: Weights<'_, R>) {
        let (w, out) = (&self.windows, self.out);
        let (x, da) = (io.x[0], io.dy[0]);
        if let Some(dw) = io.dw[1] {
            let dw = dw.all();
            for (x, da) in x.chunks(w.block() * w.image()).zip(da.chunks(w.block() * w.count() * out)) {
                let m = da.len() / out;
                let patches = &mut io.scratch[..m * w.patch()];
                for (x, patches) in x.chunks_exact(w.image()).zip(patches.chunks_exact_mut(w.count() * w.patch())) {
                    w.gather(x, patches);
                }
                gemm::gemm_tn(self.precision, 0..w.patch(), out, m, patches, w.patch(), da, out, dw, out); // (V5)
            }
        }
        if let Some(db) = io.dw[2] {
            add_rows(da, db.all());
        }
    }
}
