//! Negative log-probability of a target under a normal distribution of standard deviation 1, summed over the dimensions.
//!
//! ```text
//! (P1) nll = sum_i [ (x - mu)^2 / 2 + ln(2 pi) / 2 ]
//! (P2) dmu += dnll (mu - x)
//! (P3) nll = sum_i [ w_i (x - mu)^2 / 2 + ln(2 pi) / 2 ]         with weights
//! (P4) dmu += dnll w_i (mu - x)
//! ```
//! One weight counts for the neighbouring elements of one pixel: w stands for each of its channels. The constant changes no gradient; it is kept, since the published losses have it (danijar/dreamer `models.py`, `DenseDecoder`).
//!
//! | tensor | shape |
//! |---|---|
//! | mu, x | [rows, n] |
//! | w | [rows, n / channels] |
//! | nll | `[rows]` |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{
        Entry, NormalNllBackward, NormalNllForward, WeightedNormalNllBackward, WeightedNormalNllForward,
    },
};

/// ln(2 pi) / 2
pub const HALF_LN_TAU: f64 = 0.918_938_533_204_672_7;

impl<R: Real> Graph<R> {
    /// -ln N(x; mu, 1), summed over all but the first `rows` of the elements; the result is `[rows]`. No gradient goes to x.
    pub fn normal_nll(&mut self, mu: Var, x: Var, rows: usize) -> Var {
        let n = self.len(mu) / rows;
        assert_eq!(self.len(x), rows * n, "normal_nll: mu is {:?} but x is {:?}", self.shape(mu), self.shape(x));
        let x = self.stop(x);
        let [nll] = self.call(NormalNll { rows, n, channels: None }, &[mu, x], [&[rows]]);
        nll
    }

    /// The same with a weight for the squared error of each pixel: `w` has one number for as many neighbouring elements of `mu` as there are
    /// channels. No gradient goes to x or w.
    pub fn weighted_normal_nll(&mut self, mu: Var, x: Var, w: Var, rows: usize) -> Var {
        let (n, weights) = (self.len(mu) / rows, self.len(w) / rows);
        assert!(
            self.len(x) == rows * n && self.len(w) == rows * weights && n.is_multiple_of(weights),
            "weighted_normal_nll: mu is {:?}, x {:?}, w {:?}",
            self.shape(mu),
            self.shape(x),
            self.shape(w)
        );
        let (x, w) = (self.stop(x), self.stop(w));
        let [nll] = self.call(NormalNll { rows, n, channels: Some(n / weights) }, &[mu, x, w], [&[rows]]);
        nll
    }
}

struct NormalNll {
    rows: usize,
    n: usize,
    /// Elements that share a weight; `None` without weights.
    channels: Option<usize>,
}

impl<R: Real> Op<R> for NormalNll {
    fn name(&self) -> &'static str {
        if self.channels.is_some() { "weighted_normal_nll" } else { "normal_nll" }
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.n) as f64;
        Cost { flops: 4.0 * n, bytes: 8.0 * n }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [mu, x, w, ..] = io.x;
        let [nll] = take(io.y);
        for (row, nll) in nll.iter_mut().enumerate() {
            let at = row * self.n..(row + 1) * self.n;
            let (mu, x) = (&mu[at.clone()], &x[at]);
            let squares = match self.channels {
                None => sum_of_squares(mu, x),
                Some(channels) => {
                    let w = &w[row * self.n / channels..];
                    (0..mu.len()).map(|i| w[i / channels] * (mu[i] - x[i]) * (mu[i] - x[i])).sum()
                }
            };
            *nll = R::of(0.5) * squares + R::of(HALF_LN_TAU * self.n as f64); // (P1) (P3)
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [mu, x, w, ..] = io.x;
        let ([Some(dnll), ..], [Some(dmu), ..]) = (io.dy, io.dx) else { return };
        for (row, &dnll) in dnll.iter().enumerate() {
            let at = row * self.n..(row + 1) * self.n;
            let (mu, x, dmu) = (&mu[at.clone()], &x[at.clone()], &mut dmu[at]);
            match self.channels {
                None => vectorize!(|| (0..mu.len()).for_each(|i| dmu[i] += dnll * (mu[i] - x[i]))), // (P2)
                Some(channels) => {
                    let w = &w[row * self.n / channels..];
                    (0..mu.len()).for_each(|i| dmu[i] += dnll * w[i / channels] * (mu[i] - x[i])); // (P4)
                }
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([mu, x, w, ..], nll, rows, n) = (io.x, io.y[0], self.rows, self.n);
        let constant = (HALF_LN_TAU * n as f64) as f32;
        match self.channels {
            None => NormalNllForward { nll, mu, x, rows, n, constant }.warps(io.on, rows),
            Some(channels) => {
                WeightedNormalNllForward { nll, mu, x, w, rows, n, channels, constant }.warps(io.on, rows)
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([mu, x, w, ..], dmu, dnll, rows, n) = (io.x, io.dx[0], io.dy[0].read(), self.rows, self.n);
        match self.channels {
            None => NormalNllBackward { dmu, dnll, mu, x, rows, n }.threads(io.on, rows * n),
            Some(channels) => {
                WeightedNormalNllBackward { dmu, dnll, mu, x, w, rows, n, channels }.threads(io.on, rows * n)
            }
        }
    }
}

/// sum (a - b)^2 in sixteen interleaved sums: a fixed order that vectors of any width keep, and that loses little in f32.
fn sum_of_squares<R: Real>(a: &[R], b: &[R]) -> R {
    let mut sums = [R::ZERO; 16];
    vectorize!(|| {
        let (a_blocks, b_blocks) = (a.chunks_exact(16), b.chunks_exact(16));
        let tail: R = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(&a, &b)| (a - b) * (a - b)).sum();
        for (a, b) in a_blocks.zip(b_blocks) {
            for i in 0..16 {
                let d = a[i] - b[i];
                sums[i] += d * d;
            }
        }
        sums.iter().copied().sum::<R>() + tail
    })
}
