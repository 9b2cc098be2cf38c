//! One-hot sample of categorical variables by the Gumbel maximum, with the straight-through gradient.
//!
//! ```text
//! (O1) q      = softmax(a)                             of each variable
//! (O2) p      = (1 - u) q + u / K                      u = unimix
//! (O3) sample = onehot(argmax(ln p + gumbel))          Gumbel noise, given or drawn; zeros give the mode
//! (O4) dq     = (1 - u) dsample                        straight through: the sample counts as p
//! (O5) da    += q (dq - sum q dq)
//! ```
//! Sources: Bengio et al., 2013 (straight-through); danijar/dreamer `tools.py`, `OneHotDist`; unimix as in DreamerV3.
//!
//! | tensor | shape |
//! |---|---|
//! | a, gumbel, sample, p | [rows, G K]: G variables of K classes |

use super::softmax::{Variables, ln, mix, softmax};
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::{Drawn, Launch, Noise},
    base::Result,
    device::cuda::kernels::{Entry, SampleOnehotBackward, SampleOnehotForward},
};

impl<R: Real> Graph<R> {
    /// (sample, p), each of the shape of the logits a [.., G K].
    pub fn sample_onehot(&mut self, a: Var, gumbel: Var, classes: usize, unimix: f64) -> (Var, Var) {
        let (rows, width) = (self.height(a), self.width(a));
        assert!(
            width.is_multiple_of(classes) && self.len(gumbel) == rows * width,
            "sample_onehot: a is {:?}, gumbel {:?}, for {classes} classes",
            self.shape(a),
            self.shape(gumbel)
        );
        let shape = self.shape(a).to_vec();
        let [sample, p] = self.call(SampleOneHot { rows, width, classes, unimix }, &[a, gumbel], [&shape, &shape]);
        (sample, p)
    }
}

struct SampleOneHot {
    rows: usize,
    width: usize,
    classes: usize,
    unimix: f64,
}

impl<R: Real> Op<R> for SampleOneHot {
    fn name(&self) -> &'static str {
        "sample_onehot"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.width) as f64;
        Cost { flops: 30.0 * n, bytes: 4.0 * 4.0 * n }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let (a, gumbel) = (io.x[0], io.x[1]);
        let [sample, p] = take(io.y);
        let k = self.classes;
        softmax(a, p, Variables { classes: &[k] }); // (O1)
        if self.unimix > 0.0 {
            mix(p, R::of(1.0 - self.unimix), R::of(self.unimix / k as f64)); // (O2)
            ln(p, sample);
        } else {
            // ln q and a differ by a constant, which moves no maximum.
            sample.copy_from_slice(a);
        }
        // (O3)
        for (sample, gumbel) in sample.chunks_exact_mut(k).zip(gumbel.chunks_exact(k)) {
            let (mut best, mut highest) = (0, sample[0] + gumbel[0]);
            for i in 1..k {
                let score = sample[i] + gumbel[i];
                (best, highest) = if score > highest { (i, score) } else { (best, highest) };
            }
            sample.fill(R::ZERO);
            sample[best] = R::ONE;
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(da), ..] = io.dx else { return };
        let [dsample, dp, ..] = io.dy;
        let (p, k) = (io.y[1], self.classes);
        let keep = R::of(1.0 - self.unimix);
        let floor = R::of(self.unimix / k as f64);
        for at in (0..da.len()).step_by(k) {
            let dq = |i: usize| {
                let through = dsample.as_ref().map_or(R::ZERO, |d| d[at + i]);
                (through + dp.as_ref().map_or(R::ZERO, |d| d[at + i])) * keep // (O4)
            };
            let q = |i: usize| (p[at + i] - floor) / keep;
            let mean: R = (0..k).map(|i| q(i) * dq(i)).sum();
            (0..k).for_each(|i| da[at + i] += q(i) * (dq(i) - mean)); // (O5)
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([sample, p, ..], [a, gumbel, ..], u) = (io.y, io.x, self.unimix as f32);
        let (variables, k) = (self.rows * self.width / self.classes, self.classes);
        let (clock, Drawn { stream, first }) = (io.clock, io.drawn);
        SampleOnehotForward { sample, p, a, gumbel, clock, stream, first, variables, k, u }.warps(io.on, variables)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([dsample, dp, ..], p, u) = (io.dy.map(|dy| dy.read()), io.y[1].read(), self.unimix as f32);
        let (variables, k) = (self.rows * self.width / self.classes, self.classes);
        SampleOnehotBackward { da: io.dx[0], dsample, dp, p, variables, k, u }.warps(io.on, variables)
    }

    #[cfg(feature = "cuda")]
    fn noise(&self) -> Option<(usize, Noise)> {
        Some((1, Noise::Gumbel))
    }
}
