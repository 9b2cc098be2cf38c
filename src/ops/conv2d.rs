//! Two-dimensional convolution (cross-correlation) with bias and activation, as a product of windows and a matrix.
//!
//! ```text
//! (V1) a[o, :]  = P[o, :] W + b         P[o, (p, q, ci)] = x[s oy + p - pad, s ox + q - pad, ci]
//! (V2) y        = f(a)
//! (V3) da       = dy f'(a)
//! (V4) dP       = da W^T                dx += dP, each element to where it lies in the image
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
use super::convolve::{self, Spread};
use super::linear::add_rows;
use super::patches::Windows;
use crate::autodiff::op::{Backward, Cost, Forward, Op, Order, Pack, Reads, WeightSplit, Weights, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::gemm::Precision;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{
        ActivationDifferentiate, Conv2dBackwardInput, Conv2dBackwardWeights, Conv2dForward, Entry,
    },
    device::cuda::product::Phases,
};

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
        let precision = self.precision();
        let spread = Spread::new(windows, w_shape[3], precision);
        let op = Conv2d { images: x_shape[0], windows, spread, out: w_shape[3], f, precision };
        let [y] = self.call(op, &[x, w, b], [&[x_shape[0], windows.oh, windows.ow, w_shape[3]]]);
        y
    }
}

#[derive(Clone)]
struct Conv2d {
    images: usize,
    windows: Windows,
    /// (V4)
    spread: Spread,
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
        let (rows, columns, w) = (self.windows.patch(), self.out, self.windows);
        let at = |j: usize, p: usize, q: usize, c: usize| ((p * w.kernel + q) * w.c + c) * columns + j;
        let forward = Pack { input: 1, rows, columns, order: Order::Rows, precision: self.precision, backward: false };
        vec![forward, self.spread.pack(1, Order::Columns, true, at)]
    }

    fn scratch(&self, _rows: usize) -> usize {
        convolve::scratch(self.precision, &self.windows, self.out).max(self.spread.scratch())
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let (x, bias, packed) = (io.x[0], io.x[2], io.packed[0]);
        // (V1)
        convolve::product(self.precision, &self.windows, self.out, x, packed, y, false, io.scratch, [&[]; 2], |y| {
            convolve::add_bias(bias, y);
            self.f.apply(y); // (V2)
        });
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(da), ..] = io.dy else { return };
        let [Some(dx), ..] = io.dx else { return self.f.differentiate(io.y[0], da) };
        let w = &self.windows;
        // Image by image, so that the product finds da in the cache.
        let (outputs, inputs) = (w.block() * w.count() * self.out, w.block() * w.image());
        for i in 0..da.len().div_ceil(outputs) {
            let ((da, next_da), (dx, next_dx)) =
                (convolve::with_next_mut(da, outputs, i), convolve::with_next_mut(dx, inputs, i));
            self.f.differentiate(io.y[0].get(i * outputs..).unwrap_or_default(), da); // (V3)
            self.spread.run(da, io.packed[1], dx, io.scratch, [next_da, next_dx]); // (V4)
        }
    }

    fn reads(&self) -> Reads {
        Reads::output(self.f != Activation::Identity)
    }

    fn weight_split(&self) -> WeightSplit {
        // Eight sums over images keep a few workers busy and cost little memory.
        WeightSplit::Rows(self.images.div_ceil(8))
    }

    fn backward_weights(&self, io: Weights<'_, R>) {
        let (x, da) = (io.x[0], io.dy[0]);
        let mut db = io.dw[2].map(|db| db.all());
        let mut add = |da: &[R]| {
            if let Some(db) = &mut db {
                add_rows(da, db);
            }
        };
        match io.dw[1].map(|dw| dw.all()) {
            // (V5)
            Some(dw) => {
                convolve::gradient(self.precision, &self.windows, self.out, x, da, dw, io.scratch, |_, da| add(da));
            }
            None => add(da),
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let Windows { h, w, c, kernel, stride, pad, oh, ow } = self.windows;
        let (y, [x, weights, b, ..], images, n, f) = (io.y[0], io.x, self.images, self.out, self.f as usize);
        Conv2dForward { y, x, weights, b, images, h, w, c, kernel, stride, pad, oh, ow, n, f }.tiles(
            io.on,
            images * oh * ow,
            n,
        )
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let Windows { h, w, c, kernel, stride, pad, oh, ow } = self.windows;
        let (dx, da, weights, images, n) = (io.dx[0], io.dy[0].read(), io.x[1], self.images, self.out);
        if self.f != Activation::Identity {
            let all = images * oh * ow * n;
            ActivationDifferentiate { dy: io.dy[0], y: io.y[0].read(), n: all, f: self.f as usize }
                .threads(io.on, all)?; // (V3)
        }
        if !dx.is_some() {
            return Ok(());
        }
        let Phases { stride, rows, columns } = Phases::of(images, [h, w, c], kernel, stride, pad, [oh, ow]);
        Conv2dBackwardInput { dx, da, weights, images, h, w, c, kernel, stride, pad, oh, ow, n }
            .tiles(io.on, rows, columns) // (V4)
    }

    #[cfg(feature = "cuda")]
    fn launch_weights(&self, io: &Launch<'_>) -> Result<()> {
        // (V5)
        let Windows { h, w, c, kernel, stride, pad, oh, ow } = self.windows;
        let ([_, dw, db, ..], x, da, images, n) = (io.dw, io.x[0], io.dy[0].read(), self.images, self.out);
        if dw.is_some() {
            io.on.sum_products(dw, [kernel * kernel * c, n], images * oh * ow, |partial, each| {
                Conv2dBackwardWeights { dw, partial, x, da, images, h, w, c, kernel, stride, pad, oh, ow, n, each }
            })?;
        }
        if db.is_some() {
            io.on.add_rows(db, da, images * oh * ow, n)?;
        }
        Ok(())
    }
}
