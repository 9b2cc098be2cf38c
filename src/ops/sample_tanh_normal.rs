//! Reparameterised sample of a normal distribution squashed by tanh: the actor of continuous actions.
//!
//! ```text
//! (T1) mean   = c tanh(a_m / c)                     c = action_mean_scale
//! (T2) std    = softplus(a_s + ln(e^init - 1)) + min_std    so that a_s = 0 gives init + min_std
//! (T3) action = tanh(mean + std eps)
//! (T4) du     = daction (1 - action^2)
//! (T5) da_m  += du (1 - (mean / c)^2)
//! (T6) da_s  += du eps sigmoid(a_s + ln(e^init - 1))
//! ```
//! Source: danijar/dreamer `models.py`, `ActionDecoder`, `tanh_normal`.
//!
//! | tensor | shape |
//! |---|---|
//! | a = (a_m, a_s) | [rows, 2 A] |
//! | eps, mean, std, action | [rows, A] |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::{Drawn, Launch, Noise},
    base::Result,
    device::cuda::kernels::{Entry, SampleTanhNormalBackward, SampleTanhNormalForward},
};

/// Constants of the squashed normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TanhNormal {
    /// c: the mean stays within -c .. c.
    pub mean_scale: f64,
    /// Standard deviation where the layer puts out 0.
    pub init_std: f64,
    /// Smallest standard deviation.
    pub min_std: f64,
}

impl<R: Real> Graph<R> {
    /// (mean, std, action), each [.., A], from a [.., 2 A] and noise eps [.., A]. No gradient flows through the mean and the standard deviation.
    pub fn sample_tanh_normal(&mut self, a: Var, eps: Var, constants: TanhNormal) -> (Var, Var, Var) {
        let (rows, n) = (self.height(a), self.half_width(a));
        assert_eq!(
            self.len(eps),
            rows * n,
            "sample_tanh_normal: a is {:?} but eps is {:?}",
            self.shape(a),
            self.shape(eps)
        );
        let shape = self.with_width(a, n);
        let [mean, std, action] =
            self.call(SampleTanhNormal { rows, n, constants }, &[a, eps], [&shape, &shape, &shape]);
        (self.stop(mean), self.stop(std), action)
    }
}

struct SampleTanhNormal {
    rows: usize,
    /// A
    n: usize,
    constants: TanhNormal,
}

impl SampleTanhNormal {
    fn raw_init_std(&self) -> f64 {
        self.constants.init_std.exp_m1().ln()
    }
}

impl<R: Real> Op<R> for SampleTanhNormal {
    fn name(&self) -> &'static str {
        "sample_tanh_normal"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.n) as f64;
        Cost { flops: 60.0 * n, bytes: 4.0 * 6.0 * n }
    }

    fn scratch(&self, rows: usize) -> usize {
        rows * self.n
    }

    // A row is shorter than a vector, so everything but copies runs over all rows at once.
    fn forward(&self, io: Forward<'_, R>) {
        let (a, eps) = (io.x[0], io.x[1]);
        let [mean, std, action] = take(io.y);
        let (n, c, raw) = (self.n, R::of(self.constants.mean_scale), R::of(self.raw_init_std()));
        let min_std = R::of(self.constants.min_std);
        let rows = mean.chunks_exact_mut(n).zip(std.chunks_exact_mut(n));
        for ((mean, std), a) in rows.zip(a.chunks_exact(2 * n)) {
            mean.copy_from_slice(&a[..n]);
            std.copy_from_slice(&a[n..]);
        }
        vectorize!(|| {
            for mean in mean.iter_mut() {
                *mean = c * (*mean / c).tanh(); // (T1)
            }
            for std in std.iter_mut() {
                *std = (*std + raw).softplus() + min_std; // (T2)
            }
        });
        let (mean, std) = (&*mean, &*std);
        vectorize!(|| {
            for i in 0..action.len() {
                action[i] = (mean[i] + std[i] * eps[i]).tanh(); // (T3)
            }
        });
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(da), ..], [_, _, Some(du), ..]) = (io.dx, io.dy) else { return };
        let (a, eps, mean, action) = (io.x[0], io.x[1], io.y[0], io.y[2]);
        let (n, c, raw) = (self.n, R::of(self.constants.mean_scale), R::of(self.raw_init_std()));
        let slope = &mut io.scratch[..io.rows.len() * n];
        slope.chunks_exact_mut(n).zip(a.chunks_exact(2 * n)).for_each(|(slope, a)| slope.copy_from_slice(&a[n..]));
        vectorize!(|| {
            for i in 0..du.len() {
                du[i] *= R::ONE - action[i] * action[i]; // (T4)
                slope[i] = du[i] * eps[i] * (slope[i] + raw).sigmoid(); // (T6)
                let scaled = mean[i] / c;
                du[i] *= R::ONE - scaled * scaled; // (T5)
            }
        });
        for ((da, du), slope) in da.chunks_exact_mut(2 * n).zip(du.chunks_exact(n)).zip(slope.chunks_exact(n)) {
            let (da_m, da_s) = da.split_at_mut(n);
            da_m.iter_mut().zip(du).for_each(|(da, &du)| *da += du);
            da_s.iter_mut().zip(slope).for_each(|(da, &d)| *da += d);
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([mean, std, action, ..], [a, eps, ..], rows, n) = (io.y, io.x, self.rows, self.n);
        let (c, raw, min_std) =
            (self.constants.mean_scale as f32, self.raw_init_std() as f32, self.constants.min_std as f32);
        let (clock, Drawn { stream, first }) = (io.clock, io.drawn);
        SampleTanhNormalForward { mean, std, action, a, eps, clock, stream, first, rows, n, c, raw, min_std }
            .threads(io.on, rows * n)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        // As on the CPU, no gradient passes through the mean and std that are put out.
        let ([mean, _, action, ..], [a, eps, ..]) = (io.y.map(|y| y.read()), io.x);
        let (daction, rows, n) = (io.dy[2].read(), self.rows, self.n);
        let (c, raw) = (self.constants.mean_scale as f32, self.raw_init_std() as f32);
        if !daction.is_some() {
            return Ok(());
        }
        let (da, clock, Drawn { stream, first }) = (io.dx[0], io.clock, io.drawn);
        SampleTanhNormalBackward { da, daction, mean, action, a, eps, clock, stream, first, rows, n, c, raw }
            .threads(io.on, rows * n)
    }

    #[cfg(feature = "cuda")]
    fn noise(&self) -> Option<(usize, Noise)> {
        Some((1, Noise::Normal))
    }
}
