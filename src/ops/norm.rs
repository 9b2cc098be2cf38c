//! Normalisation of every row, with a learned scale and, for layer norm, a learned offset.
//!
//! ```text
//! (Z1) layer: m = mean x      s = 1 / sqrt(mean (x - m)^2 + eps)
//!      rms:   m = 0           s = 1 / sqrt(mean x^2 + eps)
//! (Z2) n   = (x - m) s
//! (Z3) y   = n scale (+ offset, layer only)
//! (Z4) dn  = dy scale         dx += s [ dn - n mean(dn n) (- mean dn, layer only) ]
//! (Z5) dscale += sum_rows dy n                doffset += sum_rows dy
//! ```
//! Sources: Ba et al., 2016, with Keras' eps of 1e-3, as danijar/dreamerv2 uses it; Zhang and Sennrich, 2019, with the eps of 1e-4 of
//! danijar/dreamerv3.
//!
//! | tensor | shape |
//! |---|---|
//! | x, y | [rows, n] |
//! | scale, offset | `[n]` |

use super::linear::add_rows;
use crate::autodiff::op::{Backward, Cost, Forward, Op, WeightSplit, Weights, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, NormBackward, NormBackwardWeights, NormForward},
};

/// Added to the variance of a layer norm.
const LAYER_EPS: f64 = 1e-3;

/// Added to the mean square of an RMS norm.
const RMS_EPS: f64 = 1e-4;

impl<R: Real> Graph<R> {
    /// Each row of x [.., n] less its mean, over its standard deviation, times `scale` `[n]`, plus `offset` `[n]`.
    pub fn layer_norm(&mut self, x: Var, scale: Var, offset: Var) -> Var {
        self.norm(x, &[scale, offset])
    }

    /// Each row of x [.., n] over the root of its mean square, times `scale` `[n]`.
    pub fn rms_norm(&mut self, x: Var, scale: Var) -> Var {
        self.norm(x, &[scale])
    }

    fn norm(&mut self, x: Var, learned: &[Var]) -> Var {
        let (shape, rows, n) = (self.shape(x).to_vec(), self.height(x), self.width(x));
        for &p in learned {
            assert_eq!(self.shape(p), [n], "norm: x is {shape:?} but a scale or offset is {:?}", self.shape(p));
        }
        let inputs: Vec<Var> = std::iter::once(x).chain(learned.iter().copied()).collect();
        let [y] = self.call(Norm { rows, n, centred: learned.len() > 1 }, &inputs, [&shape]);
        y
    }
}

#[derive(Clone)]
struct Norm {
    rows: usize,
    n: usize,
    /// Layer norm takes the mean away, RMS norm does not.
    centred: bool,
}

impl Norm {
    fn eps(&self) -> f64 {
        if self.centred { LAYER_EPS } else { RMS_EPS }
    }

    /// (Z1): the mean that is taken away and the factor.
    #[inline(always)]
    fn moments<R: Real>(&self, x: &[R]) -> (R, R) {
        let n = R::of(self.n as f64);
        let m = if self.centred { sum(x, |x| x) / n } else { R::ZERO };
        let square = sum(x, |x| (x - m) * (x - m)) / n;
        (m, R::ONE / (square + R::of(self.eps())).sqrt())
    }
}

/// Sums that run side by side along a row: as many as the widest vectors have numbers, so that none waits for the addition before.
const LANES: usize = 16;

/// The sum of `term` over a row.
#[inline(always)]
fn sum<R: Real>(x: &[R], term: impl Fn(R) -> R) -> R {
    let mut lanes = [R::ZERO; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] += term(block[i]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += term(x);
    }
    added(lanes)
}

/// The sum of `term` over three rows of one width.
#[inline(always)]
fn sum_of_three<R: Real>(x: &[R], y: &[R], z: &[R], term: impl Fn(R, R, R) -> R) -> R {
    let mut lanes = [R::ZERO; LANES];
    let ((xs, x), (ys, y), (zs, z)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>(), z.as_chunks::<LANES>());
    for ((x, y), z) in xs.iter().zip(ys).zip(zs) {
        for i in 0..LANES {
            lanes[i] += term(x[i], y[i], z[i]);
        }
    }
    for (((lane, &x), &y), &z) in lanes.iter_mut().zip(x).zip(y).zip(z) {
        *lane += term(x, y, z);
    }
    added(lanes)
}

/// The sum of all lanes, by halves.
#[inline(always)]
fn added<R: Real>(mut lanes: [R; LANES]) -> R {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            let other = lanes[i + half];
            lanes[i] += other;
        }
        half /= 2;
    }
    lanes[0]
}

impl<R: Real> Op<R> for Norm {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm" } else { "rms_norm" }
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn whole(&self, input: usize) -> bool {
        input > 0
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.n) as f64;
        Cost { flops: 8.0 * n, bytes: 8.0 * n }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [x, scale, offset, ..] = io.x;
        let [y] = take(io.y);
        for (y, x) in y.chunks_exact_mut(self.n).zip(x.chunks_exact(self.n)) {
            vectorize!(|| {
                let (m, s) = self.moments(x);
                for ((y, &x), &scale) in y.iter_mut().zip(x).zip(scale) {
                    *y = (x - m) * s * scale; // (Z2) (Z3)
                }
                if self.centred {
                    for (y, &offset) in y.iter_mut().zip(offset) {
                        *y += offset;
                    }
                }
            });
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [x, scale, ..] = io.x;
        let ([Some(dy), ..], [Some(dx), ..]) = (io.dy, io.dx) else { return };
        let count = R::of(self.n as f64);
        let rows = x.chunks_exact(self.n).zip(dy.chunks_exact(self.n)).zip(dx.chunks_exact_mut(self.n));
        for ((x, dy), dx) in rows {
            vectorize!(|| {
                // (Z4)
                let (m, s) = self.moments(x);
                let dn = |_, dy, scale| dy * scale;
                let mean = if self.centred { sum_of_three(x, dy, scale, dn) / count } else { R::ZERO };
                let along = sum_of_three(x, dy, scale, |x, dy, scale| dy * scale * ((x - m) * s)) / count;
                for (((dx, &dy), &scale), &x) in dx.iter_mut().zip(dy).zip(scale).zip(x) {
                    *dx += s * (dy * scale - mean - (x - m) * s * along);
                }
            });
        }
    }

    fn weight_split(&self) -> WeightSplit {
        // As the convolutions do: eight sums over rows keep a few workers busy.
        WeightSplit::Rows(self.rows.div_ceil(8))
    }

    fn backward_weights(&self, io: Weights<'_, R>) {
        // (Z5)
        let (x, dy) = (io.x[0], io.dy[0]);
        if let Some(dscale) = io.dw[1] {
            let dscale = dscale.all();
            for (x, dy) in x.chunks_exact(self.n).zip(dy.chunks_exact(self.n)) {
                vectorize!(|| {
                    let (m, s) = self.moments(x);
                    for ((dscale, &dy), &x) in dscale.iter_mut().zip(dy).zip(x) {
                        *dscale += dy * (x - m) * s;
                    }
                });
            }
        }
        if let Some(doffset) = io.dw[2] {
            add_rows(dy, doffset.all());
        }
    }

    fn with_rows(&self, rows: usize) -> Option<Box<dyn Op<R>>> {
        Some(Box::new(Norm { rows, ..self.clone() }))
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([x, scale, offset, ..], rows, n) = (io.x, self.rows, self.n);
        let (y, centred, eps) = (io.y[0], usize::from(self.centred), self.eps() as f32);
        NormForward { y, x, scale, offset, rows, n, centred, eps }.warps(io.on, rows)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([x, scale, ..], dx, dy, rows, n) = (io.x, io.dx[0], io.dy[0].read(), self.rows, self.n);
        let (centred, eps) = (usize::from(self.centred), self.eps() as f32);
        if !dx.is_some() {
            return Ok(());
        }
        NormBackward { dx, dy, x, scale, rows, n, centred, eps }.warps(io.on, rows)
    }

    #[cfg(feature = "cuda")]
    fn launch_weights(&self, io: &Launch<'_>) -> Result<()> {
        let ([_, dscale, doffset, ..], x, dy, rows, n) = (io.dw, io.x[0], io.dy[0].read(), self.rows, self.n);
        let (centred, eps) = (usize::from(self.centred), self.eps() as f32);
        // A block has 32 columns.
        let grid = [n.div_ceil(32), 1, 1];
        NormBackwardWeights { dscale, doffset, dy, x, rows, n, centred, eps }.blocks(io.on, grid)
    }
}
