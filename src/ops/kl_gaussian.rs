//! Kullback-Leibler divergence between diagonal normal distributions, summed over the dimensions.
//!
//! ```text
//! (K1) kl = sum_i [ ln(sp / sq) + (sq^2 + (mq - mp)^2) / (2 sp^2) - 1/2 ]     KL(q || p)
//! (K2) dmq += dkl (mq - mp) / sp^2           dmp -= the same
//! (K3) dsq += dkl (sq / sp^2 - 1 / sq)
//! (K4) dsp += dkl (1 / sp - (sq^2 + (mq - mp)^2) / sp^3)
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | mq, sq, mp, sp | [rows, S] |
//! | kl | `[rows]` |

use super::gaussian::Gaussian;
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, KlGaussianBackward, KlGaussianForward},
};

impl<R: Real> Graph<R> {
    /// KL(q || p), one number for each row; the result is `[rows]`.
    pub fn kl_gaussian(&mut self, q: Gaussian, p: Gaussian) -> Var {
        let (rows, s) = (self.height(q.mean), self.width(q.mean));
        let inputs = [q.mean, q.std, p.mean, p.std];
        assert!(inputs.iter().all(|&x| self.len(x) == rows * s), "kl_gaussian: the four inputs differ in size");
        let [kl] = self.call(KlGaussian { rows, s }, &inputs, [&[rows]]);
        kl
    }
}

struct KlGaussian {
    rows: usize,
    s: usize,
}

impl<R: Real> Op<R> for KlGaussian {
    fn name(&self) -> &'static str {
        "kl_gaussian"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.s) as f64;
        Cost { flops: 20.0 * n, bytes: 4.0 * 4.0 * n }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [mq, sq, mp, sp, ..] = io.x;
        let [kl] = take(io.y);
        let half = R::of(0.5);
        for (row, kl) in kl.iter_mut().enumerate() {
            let at = row * self.s..(row + 1) * self.s;
            // (K1)
            *kl = at
                .map(|i| {
                    let apart = mq[i] - mp[i];
                    (sp[i] / sq[i]).ln() + half * (sq[i] * sq[i] + apart * apart) / (sp[i] * sp[i]) - half
                })
                .sum();
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [mq, sq, mp, sp, ..] = io.x;
        let [Some(dkl), ..] = io.dy else { return };
        let [mut dmq, mut dsq, mut dmp, mut dsp, ..] = io.dx;
        for (row, &dkl) in dkl.iter().enumerate() {
            for i in row * self.s..(row + 1) * self.s {
                let (apart, precision) = (mq[i] - mp[i], R::ONE / (sp[i] * sp[i]));
                let pull = dkl * apart * precision;
                // (K2)
                if let Some(d) = &mut dmq {
                    d[i] += pull;
                }
                if let Some(d) = &mut dmp {
                    d[i] -= pull;
                }
                // (K3)
                if let Some(d) = &mut dsq {
                    d[i] += dkl * (sq[i] * precision - R::ONE / sq[i]);
                }
                // (K4)
                if let Some(d) = &mut dsp {
                    d[i] += dkl * (R::ONE - (sq[i] * sq[i] + apart * apart) * precision) / sp[i];
                }
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([mq, sq, mp, sp, ..], rows, s) = (io.x, self.rows, self.s);
        KlGaussianForward { kl: io.y[0], mq, sq, mp, sp, rows, s }.warps(io.on, rows)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([dmq, dsq, dmp, dsp, ..], [mq, sq, mp, sp, ..]) = (io.dx, io.x);
        let (dkl, rows, s) = (io.dy[0].read(), self.rows, self.s);
        KlGaussianBackward { dmq, dsq, dmp, dsp, dkl, mq, sq, mp, sp, rows, s }.threads(io.on, rows * s)
    }
}
