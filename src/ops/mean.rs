//! Weighted mean of all elements.
//!
//! ```text
//! (M1) m = sum_i w_i x_i / n           w_i = 1 where no weights are given
//! (M2) dx_i += dm w_i / n
//! ```
//! The sum is taken in f64, in order: a loss is a small difference of large sums (the constant of a normal density over thousands of pixels), and
//! its mean must not lose what its terms still have.
//!
//! | tensor | shape |
//! |---|---|
//! | x, w | `[n]`, any shape |
//! | m | `[1]` |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, MeanBackward, MeanForward},
};

impl<R: Real> Graph<R> {
    /// The mean of all elements: a scalar.
    pub fn mean(&mut self, x: Var) -> Var {
        let [m] = self.call(Mean { n: self.len(x), weighted: false }, &[x], [&[1]]);
        m
    }

    /// `mean(w x)`: a scalar. No gradient goes to w.
    pub fn weighted_mean(&mut self, x: Var, w: Var) -> Var {
        assert_eq!(self.len(x), self.len(w), "weighted_mean: x is {:?} but w is {:?}", self.shape(x), self.shape(w));
        let w = self.stop(w);
        let [m] = self.call(Mean { n: self.len(x), weighted: true }, &[x, w], [&[1]]);
        m
    }
}

struct Mean {
    n: usize,
    weighted: bool,
}

impl<R: Real> Op<R> for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn rows(&self) -> usize {
        1
    }

    fn cost(&self) -> Cost {
        Cost { flops: 2.0 * self.n as f64, bytes: 4.0 * self.n as f64 }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [x, w, ..] = io.x;
        let [m] = take(io.y);
        let weight = |i: usize| if self.weighted { w[i] } else { R::ONE };
        // (M1)
        let sum: f64 = x.iter().enumerate().map(|(i, &x)| (weight(i) * x).f64()).sum();
        m[0] = R::of(sum / self.n as f64);
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dm), ..], [Some(dx), ..]) = (io.dy, io.dx) else { return };
        let share = dm[0] / R::of(self.n as f64);
        let w = io.x[1];
        let weight = |i: usize| if self.weighted { w[i] } else { R::ONE };
        dx.iter_mut().enumerate().for_each(|(i, dx)| *dx += share * weight(i)); // (M2)
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        MeanForward { m: io.y[0], x: io.x[0], w: io.x[1], n: self.n }.blocks(io.on, [1, 1, 1])
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        MeanBackward { dx: io.dx[0], dm: io.dy[0].read(), w: io.x[1], n: self.n }.threads(io.on, self.n)
    }
}
