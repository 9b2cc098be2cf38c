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
        let (rows, s) = (self.height(a), self.width(a) / 2);
        let shape = self.with_width(a, s);
        let [mean, std] = self.call(Normal { rows, s, min_std, sample: false }, &[a], [&shape, &shape]);
        Gaussian { mean, std }
    }

    /// (N1) to (N3): the distribution and a sample of it, moved by the noise eps [.., S].
    pub fn sample_gaussian(&mut self, a: Var, eps: Var, min_std: f64) -> (Gaussian, Var) {
        let (rows, s) = (self.height(a), self.width(a) / 2);
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

    fn forward(&self, io: Forward<'_, R>) {
        let (a, eps) = (io.x[0], io.x[1]);
        let [mean, std, sample] = take(io.y);
        let (s, min_std) = (self.s, R::of(self.min_std));
        for row in 0..io.rows.len() {
            let (a_m, a_s) = a[row * 2 * s..][..2 * s].split_at(s);
            let at = row * s..(row + 1) * s;
            let (mean, std) = (&mut mean[at.clone()], &mut std[at.clone()]);
            mean.copy_from_slice(a_m); // (N1)
            vectorize!(|| {
                for i in 0..s {
                    std[i] = a_s[i].softplus() + min_std; // (N2)
                }
            });
            if self.sample {
                let (sample, eps) = (&mut sample[at.clone()], &eps[at]);
                vectorize!(|| {
                    for i in 0..s {
                        sample[i] = mean[i] + std[i] * eps[i]; // (N3)
                    }
                });
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(da), ..] = io.dx else { return };
        let [dmean, dstd, dsample, ..] = io.dy;
        let (a, eps, s) = (io.x[0], io.x[1], self.s);
        for row in 0..io.rows.len() {
            let a_s = &a[row * 2 * s..][s..2 * s];
            let (da_m, da_s) = da[row * 2 * s..][..2 * s].split_at_mut(s);
            let at = row * s..(row + 1) * s;
            // (N4)
            for d in [&dmean, &dsample].into_iter().flatten() {
                da_m.iter_mut().zip(&d[at.clone()]).for_each(|(da, &d)| *da += d);
            }
            // (N5)
            if let Some(dstd) = &dstd {
                let dstd = &dstd[at.clone()];
                vectorize!(|| {
                    for i in 0..s {
                        da_s[i] += dstd[i] * a_s[i].sigmoid();
                    }
                });
            }
            if let Some(dsample) = &dsample {
                let (dsample, eps) = (&dsample[at.clone()], &eps[at.clone()]);
                vectorize!(|| {
                    for i in 0..s {
                        da_s[i] += dsample[i] * eps[i] * a_s[i].sigmoid();
                    }
                });
            }
        }
    }
}
