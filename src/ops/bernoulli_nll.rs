//! Negative log-probability of a target in [0, 1] under a Bernoulli distribution given by its logit.
//!
//! ```text
//! (B1) nll = softplus(a) - t a            = -[ t ln p + (1 - t) ln(1 - p) ],  p = sigmoid(a)
//! (B2) da += dnll (sigmoid(a) - t)
//! ```
//! The target may be soft: the continue head of DreamerV1 learns t = 0.99 discount_t.
//!
//! | tensor | shape |
//! |---|---|
//! | a, t, nll | `[rows]` |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{BernoulliNllBackward, BernoulliNllForward, Entry},
};

impl<R: Real> Graph<R> {
    /// -ln Bernoulli(t; logit a), elementwise; the result is `[rows]`. No gradient goes to t.
    pub fn bernoulli_nll(&mut self, a: Var, t: Var) -> Var {
        let rows = self.len(a);
        assert_eq!(self.len(t), rows, "bernoulli_nll: a is {:?} but t is {:?}", self.shape(a), self.shape(t));
        let t = self.stop(t);
        let [nll] = self.call(BernoulliNll { rows }, &[a, t], [&[rows]]);
        nll
    }
}

struct BernoulliNll {
    rows: usize,
}

impl<R: Real> Op<R> for BernoulliNll {
    fn name(&self) -> &'static str {
        "bernoulli_nll"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = self.rows as f64;
        Cost { flops: 20.0 * n, bytes: 12.0 * n }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [a, t, ..] = io.x;
        let [nll] = take(io.y);
        (0..nll.len()).for_each(|i| nll[i] = a[i].softplus() - t[i] * a[i]); // (B1)
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [a, t, ..] = io.x;
        let ([Some(dnll), ..], [Some(da), ..]) = (io.dy, io.dx) else { return };
        (0..a.len()).for_each(|i| da[i] += dnll[i] * (a[i].sigmoid() - t[i])); // (B2)
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let rows = self.rows;
        BernoulliNllForward { nll: io.y[0], a: io.x[0], t: io.x[1], rows }.threads(io.on, rows)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let rows = self.rows;
        BernoulliNllBackward { da: io.dx[0], dnll: io.dy[0].read(), a: io.x[0], t: io.x[1], rows }.threads(io.on, rows)
    }
}
