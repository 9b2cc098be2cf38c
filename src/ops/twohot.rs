//! A distribution over fixed bins as the prediction of one number.
//!
//! ```text
//! (H1) p    = softmax(a)
//! (H2) mean = sum_k p_k b_k                                        b: the bins, ascending
//! (H3) nll  = -sum_k t_k ln p_k        t: all weight on the two bins around the target, in proportion to nearness
//! (H4) from the mean: da += dmean p (b - mean)
//! (H5) from the nll:  da += dnll (p - t)
//! ```
//! Source: DreamerV3, "symexp twohot"; the bins are symexp of equally spaced points.
//!
//! | tensor | shape |
//! |---|---|
//! | a | [rows, K] |
//! | target, mean, nll | `[rows]` |

use std::sync::Arc;

use super::softmax::{Variables, highest, shifted_exp, softmax};
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, TwohotMeanBackward, TwohotMeanForward, TwohotNllBackward, TwohotNllForward},
};

/// K bins, symmetric about 0: symexp of K equally spaced points of -limit .. limit, with symexp x = sign(x) (e^|x| - 1).
pub fn symexp_bins(k: usize, limit: f64) -> Arc<[f64]> {
    assert!(k >= 3 && k % 2 == 1, "{k} bins: an odd number of at least 3 puts one of them at 0");
    let point = |i: usize| limit * (2.0 * i as f64 / (k - 1) as f64 - 1.0);
    // Mirrored, so that equal probabilities give exactly 0.
    let half: Vec<f64> = (k / 2 + 1..k).map(|i| point(i).exp_m1()).collect();
    half.iter().rev().map(|b| -b).chain([0.0]).chain(half.iter().copied()).collect()
}

impl<R: Real> Graph<R> {
    /// (H2): the expected number `[rows]` under logits a [.., K].
    pub fn twohot_mean(&mut self, a: Var, bins: &Arc<[f64]>) -> Var {
        let rows = self.height(a);
        assert_eq!(self.width(a), bins.len(), "twohot_mean: a is {:?} for {} bins", self.shape(a), bins.len());
        let [mean] = self.call(TwoHot { rows, bins: bins.clone(), nll: false }, &[a], [&[rows]]);
        mean
    }

    /// (H3): the cross-entropy `[rows]` between the target `[rows]` spread over two bins and logits a [.., K]. No gradient goes to the
    /// target.
    pub fn twohot_nll(&mut self, a: Var, target: Var, bins: &Arc<[f64]>) -> Var {
        let rows = self.height(a);
        assert!(
            self.width(a) == bins.len() && self.len(target) == rows,
            "twohot_nll: a is {:?}, target {:?}, for {} bins",
            self.shape(a),
            self.shape(target),
            bins.len()
        );
        let target = self.stop(target);
        let [nll] = self.call(TwoHot { rows, bins: bins.clone(), nll: true }, &[a, target], [&[rows]]);
        nll
    }
}

struct TwoHot {
    rows: usize,
    bins: Arc<[f64]>,
    nll: bool,
}

/// The lower of the two bins around `x`, and the weight of the upper one.
fn neighbours<R: Real>(bins: &[f64], x: R) -> (usize, R) {
    let x = x.f64().clamp(bins[0], bins[bins.len() - 1]);
    let low = bins.partition_point(|&b| b <= x).clamp(1, bins.len() - 1) - 1;
    (low, R::of((x - bins[low]) / (bins[low + 1] - bins[low])))
}

impl<R: Real> Op<R> for TwoHot {
    fn name(&self) -> &'static str {
        if self.nll { "twohot_nll" } else { "twohot_mean" }
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.bins.len()) as f64;
        Cost { flops: 20.0 * n, bytes: 4.0 * n }
    }

    fn scratch(&self, rows: usize) -> usize {
        rows * self.bins.len()
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [a, target, ..] = io.x;
        let [y] = take(io.y);
        let k = self.bins.len();
        let e = &mut io.scratch[..a.len()];
        let variables = Variables { classes: &[k] };
        if self.nll {
            shifted_exp(a, e, variables);
        } else {
            softmax(a, e, variables);
        }
        for (row, y) in y.iter_mut().enumerate() {
            let (a, e) = (&a[row * k..][..k], &e[row * k..][..k]);
            if self.nll {
                let highest = highest(a);
                let lse = e.iter().copied().sum::<R>().ln() + highest;
                let (low, upper) = neighbours(&self.bins, target[row]);
                *y = lse - (R::ONE - upper) * a[low] - upper * a[low + 1]; // (H3)
            } else {
                // (H2), from both ends inwards: symmetric probabilities cancel exactly.
                let term = |i: usize| e[i] * R::of(self.bins[i]);
                let middle = if k % 2 == 1 { term(k / 2) } else { R::ZERO };
                *y = (0..k / 2).map(|i| term(i) + term(k - 1 - i)).sum::<R>() + middle;
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [a, target, ..] = io.x;
        let ([Some(dy), ..], [Some(da), ..]) = (io.dy, io.dx) else { return };
        let k = self.bins.len();
        let p = &mut io.scratch[..a.len()];
        softmax(a, p, Variables { classes: &[k] });
        for (row, &dy) in dy.iter().enumerate() {
            let (p, da) = (&p[row * k..][..k], &mut da[row * k..][..k]);
            if self.nll {
                let (low, upper) = neighbours(&self.bins, target[row]);
                da.iter_mut().zip(p).for_each(|(da, &p)| *da += dy * p); // (H5)
                da[low] -= dy * (R::ONE - upper);
                da[low + 1] -= dy * upper;
            } else {
                let mean = io.y[0][row];
                (0..k).for_each(|i| da[i] += dy * p[i] * (R::of(self.bins[i]) - mean)); // (H4)
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn constants(&self) -> Vec<f32> {
        self.bins.iter().map(|&b| b as f32).collect()
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([a, target, ..], bins, rows, k) = (io.x, io.constants, self.rows, self.bins.len());
        if self.nll {
            TwohotNllForward { nll: io.y[0], a, target, bins, rows, k }.warps(io.on, rows)
        } else {
            TwohotMeanForward { mean: io.y[0], a, bins, rows, k }.warps(io.on, rows)
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([a, target, ..], bins, rows, k) = (io.x, io.constants, self.rows, self.bins.len());
        let (da, dy) = (io.dx[0], io.dy[0].read());
        if self.nll {
            TwohotNllBackward { da, dnll: dy, a, target, bins, rows, k }.warps(io.on, rows)
        } else {
            TwohotMeanBackward { da, dmean: dy, mean: io.y[0].read(), a, bins, rows, k }.warps(io.on, rows)
        }
    }
}
