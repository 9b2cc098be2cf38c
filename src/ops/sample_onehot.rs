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

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;

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

/// softmax of `a` into `q`.
#[inline]
pub(super) fn softmax<R: Real>(a: &[R], q: &mut [R]) {
    let highest = a.iter().copied().fold(a[0], R::max);
    let mut sum = R::ZERO;
    for (q, &a) in q.iter_mut().zip(a) {
        *q = (a - highest).exp();
        sum += *q;
    }
    q.iter_mut().for_each(|q| *q = *q / sum);
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
        let (k, u) = (self.classes, R::of(self.unimix));
        let floor = R::of(self.unimix / k as f64);
        for at in (0..a.len()).step_by(k) {
            let (a, gumbel) = (&a[at..at + k], &gumbel[at..at + k]);
            let (sample, p) = (&mut sample[at..at + k], &mut p[at..at + k]);
            softmax(a, p); // (O1)
            let mut best = 0;
            if self.unimix > 0.0 {
                p.iter_mut().for_each(|p| *p = (R::ONE - u) * *p + floor); // (O2)
                let score = |i: usize| p[i].ln() + gumbel[i];
                (1..k).for_each(|i| best = if score(i) > score(best) { i } else { best });
            } else {
                // ln q and a differ by a constant, which moves no maximum.
                let score = |i: usize| a[i] + gumbel[i];
                (1..k).for_each(|i| best = if score(i) > score(best) { i } else { best });
            }
            sample.fill(R::ZERO);
            sample[best] = R::ONE; // (O3)
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
}
