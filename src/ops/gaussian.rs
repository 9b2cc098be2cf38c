//! Diagonal normal distribution from the output of a layer, and a reparameterised sample of it.
//!
//! ```text
//! (N1) mean   = a_m
//! (N2) std    = softplus(a_s) + min_std
//! (N3) sample = mean + std eps               eps ~ N(0, 1), given or drawn
//! (N4) da_m += dmean + dsample
//! (N5) da_s += (dstd + dsample eps) sigmoid(a_s)
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | a = (a_m, a_s) | [rows, 2 S] |
//! | eps | [rows, S] |
//! | mean, std, sample | [rows, S] |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::{Drawn, Launch, Noise},
    base::Result,
    device::cuda::kernels::{Entry, GaussianBackward, GaussianForward},
};

/// Mean and standard deviation of a diagonal normal distribution.
#[derive(Debug, Clone, Copy)]
pub struct Gaussian {
    /// Mean [.., S].
    pub mean: Var,
    /// Standard deviation [.., S].
    pub std: Var,
}

impl<R: Real> Graph<R> {
    /// (N1) (N2): the distribution that a [.., 2 S] describes.
    pub fn gaussian(&mut self, a: Var, min_std: f64) -> Gaussian {
        let (rows, s) = (self.height(a), self.half_width(a));
        let shape = self.with_width(a, s);
        let [mean, std] = self.call(Normal { rows, s, min_std, sample: false }, &[a], [&shape, &shape]);
        Gaussian { mean, std }
    }

    /// (N1) to (N3): the distribution and a sample of it, moved by the noise eps [.., S].
    pub fn sample_gaussian(&mut self, a: Var, eps: Var, min_std: f64) -> (Gaussian, Var) {
        let (rows, s) = (self.height(a), self.half_width(a));
        assert_eq!(
            self.len(eps),
            rows * s,
            "sample_gaussian: a is {:?} but eps is {:?}",
            self.shape(a),
            self.shape(eps)
        );
        let shape = self.with_width(a, s);
        let op = Normal { rows, s, min_std, sample: true };
        let [mean, std, sample] = self.call(op, &[a, eps], [&shape, &shape, &shape]);
        (Gaussian { mean, std }, sample)
    }
}

struct Normal {
    rows: usize,
    s: usize,
    min_std: f64,
    sample: bool,
}

impl<R: Real> Op<R> for Normal {
    fn name(&self) -> &'static str {
        if self.sample { "sample_gaussian" } else { "gaussian" }
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.s) as f64;
        Cost { flops: 20.0 * n, bytes: 4.0 * 6.0 * n }
    }

    fn scratch(&self, rows: usize) -> usize {
        2 * rows * self.s
    }

    // A row may be shorter than a vector, so everything but copies runs over all rows at once.
    fn forward(&self, io: Forward<'_, R>) {
        let (a, eps) = (io.x[0], io.x[1]);
        let [mean, std, sample] = take(io.y);
        let (s, min_std) = (self.s, R::of(self.min_std));
        let rows = mean.chunks_exact_mut(s).zip(std.chunks_exact_mut(s));
        for ((mean, std), a) in rows.zip(a.chunks_exact(2 * s)) {
            mean.copy_from_slice(&a[..s]); // (N1)
            std.copy_from_slice(&a[s..]);
        }
        vectorize!(|| {
            for std in std.iter_mut() {
                *std = std.softplus() + min_std; // (N2)
            }
        });
        if self.sample {
            let (mean, std) = (&*mean, &*std);
            vectorize!(|| {
                for i in 0..sample.len() {
                    sample[i] = mean[i] + std[i] * eps[i]; // (N3)
                }
            });
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(da), ..] = io.dx else { return };
        let [dmean, dstd, dsample, ..] = io.dy;
        let (a, eps, s) = (io.x[0], io.x[1], self.s);
        let (slope, total) = io.scratch[..2 * io.rows.len() * s].split_at_mut(io.rows.len() * s);
        // (N4)
        for d in [&dmean, &dsample].into_iter().flatten() {
            for (da, d) in da.chunks_exact_mut(2 * s).zip(d.chunks_exact(s)) {
                da[..s].iter_mut().zip(d).for_each(|(da, &d)| *da += d);
            }
        }
        // (N5)
        match (&dstd, &dsample) {
            (Some(dstd), _) => total.copy_from_slice(dstd),
            (None, Some(_)) => total.fill(R::ZERO),
            (None, None) => return,
        }
        if let Some(dsample) = &dsample {
            let dsample = &**dsample;
            vectorize!(|| {
                for i in 0..total.len() {
                    total[i] += dsample[i] * eps[i];
                }
            });
        }
        slope.chunks_exact_mut(s).zip(a.chunks_exact(2 * s)).for_each(|(slope, a)| slope.copy_from_slice(&a[s..]));
        vectorize!(|| {
            for (slope, &d) in slope.iter_mut().zip(&*total) {
                *slope = d * slope.sigmoid();
            }
        });
        for (da, d) in da.chunks_exact_mut(2 * s).zip(slope.chunks_exact(s)) {
            da[s..].iter_mut().zip(d).for_each(|(da, &d)| *da += d);
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([mean, std, sample, ..], [a, eps, ..], clock, Drawn { stream, first }) = (io.y, io.x, io.clock, io.drawn);
        let (rows, s, min_std) = (self.rows, self.s, self.min_std as f32);
        GaussianForward { mean, std, sample, a, eps, clock, stream, first, rows, s, min_std }.threads(io.on, rows * s)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([dmean, dstd, dsample, ..], [a, eps, ..]) = (io.dy.map(|dy| dy.read()), io.x);
        let (da, clock, Drawn { stream, first }, rows, s) = (io.dx[0], io.clock, io.drawn, self.rows, self.s);
        GaussianBackward { da, dmean, dstd, dsample, a, eps, clock, stream, first, rows, s }.threads(io.on, rows * s)
    }

    #[cfg(feature = "cuda")]
    fn noise(&self) -> Option<(usize, Noise)> {
        self.sample.then_some((1, Noise::Normal))
    }
}
