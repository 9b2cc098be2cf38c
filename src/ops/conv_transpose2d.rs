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
use super::convolve::{self, Spread};
use super::linear::add_rows;
use super::patches::Windows;
use crate::autodiff::op::{Backward, Cost, Forward, Op, Order, Pack, Reads, WeightSplit, Weights, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::gemm::{self, Precision};
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{
        ActivationDifferentiate, ConvTranspose2dBackwardInput, ConvTranspose2dBackwardWeights, ConvTranspose2dForward,
        Entry,
    },
    device::cuda::product::Phases,
};

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
        let precision = self.precision();
        let spread = Spread::new(windows, x_shape[3], precision);
        let op = ConvTranspose2d { images: x_shape[0], windows, spread, input: x_shape[3], f, precision };
        let [y] = self.call(op, &[x, w, b], [&[x_shape[0], windows.h, windows.w, w_shape[3]]]);
        y
    }
}

/// Pieces of a weight gradient that is not summed in parts of the images.
const PARTS: usize = 8;

#[derive(Clone)]
struct ConvTranspose2d {
    images: usize,
    /// Windows over the output, one for each input position.
    windows: Windows,
    /// (D1) (D2)
    spread: Spread,
    /// c_in
    input: usize,
    f: Activation,
    precision: Precision,
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
        let (columns, rows, w) = (self.input, self.windows.patch(), self.windows);
        let at = |j: usize, p: usize, q: usize, c: usize| ((j * w.kernel + p) * w.kernel + q) * w.c + c;
        let backward =
            Pack { input: 1, rows, columns, order: Order::Columns, precision: self.precision, backward: true };
        vec![self.spread.pack(1, Order::Rows, false, at), backward]
    }

    fn scratch(&self, _rows: usize) -> usize {
        self.spread.scratch().max(convolve::scratch(self.precision, &self.windows, self.input))
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let w = &self.windows;
        let (inputs, outputs) = (w.block() * w.count() * self.input, w.block() * w.image());
        // Image by image, so that the activation finds the sums in the cache.
        for i in 0..y.len().div_ceil(outputs) {
            let ([x, next_x], (y, next_y)) =
                (convolve::with_next(io.x[0], inputs, i), convolve::with_next_mut(y, outputs, i));
            convolve::fill(io.x[2], y);
            self.spread.run(x, io.packed[0], y, io.scratch, [next_x, next_y]); // (D1) (D2)
            self.f.apply(y); // (D3)
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(da), ..] = io.dy else { return };
        let [Some(dx), ..] = io.dx else { return self.f.differentiate(io.y[0], da) };
        let w = &self.windows;
        // Image by image, so that the product finds da in the cache; all at once if da is there already as it has to be.
        let images = if self.f == Activation::Identity { io.rows.len() } else { w.block() };
        let (outputs, inputs) = (images * w.image(), images * w.count() * self.input);
        for i in 0..da.len().div_ceil(outputs) {
            let ((da, next_da), (dx, next_dx)) =
                (convolve::with_next_mut(da, outputs, i), convolve::with_next_mut(dx, inputs, i));
            self.f.differentiate(io.y[0].get(i * outputs..).unwrap_or_default(), da); // (D4)
            let next = [next_da, next_dx];
            convolve::product(self.precision, w, self.input, da, io.packed[1], dx, true, io.scratch, next, |_| {}); // (D5)
        }
    }

    fn reads(&self) -> Reads {
        Reads::output(self.f != Activation::Identity)
    }

    fn weight_split(&self) -> WeightSplit {
        if self.windows.whole() {
            return WeightSplit::Parts(PARTS + 1);
        }
        // Eight sums over images keep a few workers busy and cost little memory.
        WeightSplit::Rows(self.images.div_ceil(8))
    }

    fn backward_weights(&self, io: Weights<'_, R>) {
        let (x, da) = (io.x[0], io.dy[0]);
        let (w, input, patch, part) = (&self.windows, self.input, self.windows.patch(), io.part);
        let mut db = io.dw[2].filter(|_| part == PARTS || !w.whole()).map(|db| db.all());
        let mut add = |da: &[R]| {
            if let Some(db) = &mut db {
                add_rows(da, db);
            }
        };
        match io.dw[1] {
            // (D6). The weights of one window are many, so each part but the last sums over all images itself.
            Some(dw) if w.whole() && part < PARTS => {
                let (from, to) = (part * input / PARTS, (part + 1) * input / PARTS);
                let dw = dw.part(from * patch..to * patch);
                gemm::gemm_tn(self.precision, from..to, patch, io.rows, x, input, da, patch, dw, patch);
            }
            Some(dw) if !w.whole() => {
                let dw = dw.all();
                convolve::gradient_transposed(self.precision, w, input, da, x, dw, io.scratch, |da, _| add(da));
            }
            _ => add(da),
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let Windows { h, w, c, kernel, stride, pad, oh, ow } = self.windows;
        let (y, [x, weights, b, ..], images, n, f) = (io.y[0], io.x, self.images, self.input, self.f as usize);
        let Phases { stride, rows, columns } = Phases::of(images, [h, w, c], kernel, stride, pad, [oh, ow]);
        ConvTranspose2dForward { y, x, weights, b, images, h, w, c, kernel, stride, pad, oh, ow, n, f }
            .tiles(io.on, rows, columns)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let Windows { h, w, c, kernel, stride, pad, oh, ow } = self.windows;
        let (dx, da, weights, images, n) = (io.dx[0], io.dy[0].read(), io.x[1], self.images, self.input);
        if self.f != Activation::Identity {
            let all = images * h * w * c;
            ActivationDifferentiate { dy: io.dy[0], y: io.y[0].read(), n: all, f: self.f as usize }
                .threads(io.on, all)?; // (D4)
        }
        if !dx.is_some() {
            return Ok(());
        }
        ConvTranspose2dBackwardInput { dx, da, weights, images, h, w, c, kernel, stride, pad, oh, ow, n }.tiles(
            io.on,
            images * oh * ow,
            n,
        ) // (D5)
    }

    #[cfg(feature = "cuda")]
    fn launch_weights(&self, io: &Launch<'_>) -> Result<()> {
        // (D6)
        let Windows { h, w, c, kernel, stride, pad, oh, ow } = self.windows;
        let ([_, dw, db, ..], x, da, images, n) = (io.dw, io.x[0], io.dy[0].read(), self.images, self.input);
        if dw.is_some() {
            io.on.sum_products(dw, [n, kernel * kernel * c], images * oh * ow, |partial, each| {
                ConvTranspose2dBackwardWeights {
                    dw,
                    partial,
                    x,
                    da,
                    images,
                    h,
                    w,
                    c,
                    kernel,
                    stride,
                    pad,
                    oh,
                    ow,
                    n,
                    each,
                }
            })?;
        }
        if db.is_some() {
            io.on.add_rows(db, da, images * h * w, c)?;
        }
        Ok(())
    }
}
