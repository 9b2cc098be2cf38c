//! Entropy of categorical variables given by their logits, summed over the variables of a row.
//!
//! ```text
//! (E1) p = softmax(a)        h = -sum p ln p
//! (E2) da += -dh p (ln p + h)
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | a | [rows, G K]: G variables of K classes |
//! | h | `[rows]` |

use super::softmax::{Variables, ln, softmax};
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{CategoricalEntropyBackward, CategoricalEntropyForward, Entry},
};

impl<R: Real> Graph<R> {
    /// Entropy in nats, one number for each row: `[rows]`.
    pub fn categorical_entropy(&mut self, a: Var, classes: usize) -> Var {
        let (rows, width) = (self.height(a), self.width(a));
        assert!(width.is_multiple_of(classes), "categorical_entropy: {width} logits for {classes} classes");
        let [h] = self.call(CategoricalEntropy { rows, width, classes }, &[a], [&[rows]]);
        h
    }
}

struct CategoricalEntropy {
    rows: usize,
    width: usize,
    classes: usize,
}

impl<R: Real> Op<R> for CategoricalEntropy {
    fn name(&self) -> &'static str {
        "categorical_entropy"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.width) as f64;
        Cost { flops: 40.0 * n, bytes: 4.0 * n }
    }

    fn scratch(&self, rows: usize) -> usize {
        2 * rows * self.width
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [h] = take(io.y);
        let (_, plogp) = self.terms(io.x[0], io.scratch);
        // (E1)
        h.iter_mut().zip(plogp.chunks_exact(self.width)).for_each(|(h, t)| *h = -t.iter().copied().sum::<R>());
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dh), ..], [Some(da), ..]) = (io.dy, io.dx) else { return };
        let (p, plogp) = self.terms(io.x[0], io.scratch);
        let (k, per_row) = (self.classes, self.width / self.classes);
        for (i, ((p, t), da)) in p.chunks_exact(k).zip(plogp.chunks_exact(k)).zip(da.chunks_exact_mut(k)).enumerate() {
            let h = -t.iter().copied().sum::<R>();
            let dh = dh[i / per_row];
            da.iter_mut().zip(p).zip(t).for_each(|((da, &p), &t)| *da += -(dh * (t + p * h))); // (E2)
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let (rows, variables, k) = (self.rows, self.width / self.classes, self.classes);
        CategoricalEntropyForward { h: io.y[0], a: io.x[0], rows, variables, k }.warps(io.on, rows)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let (rows, variables, k) = (self.rows, self.width / self.classes, self.classes);
        CategoricalEntropyBackward { da: io.dx[0], dh: io.dy[0].read(), a: io.x[0], rows, variables, k }
            .warps(io.on, rows * variables)
    }
}

impl CategoricalEntropy {
    /// p and p ln p (0 at p = 0) of all variables.
    fn terms<'a, R: Real>(&self, a: &[R], scratch: &'a mut [R]) -> (&'a [R], &'a [R]) {
        let (p, rest) = scratch.split_at_mut(a.len());
        let plogp = &mut rest[..a.len()];
        softmax(a, p, Variables { classes: &[self.classes] });
        ln(p, plogp);
        plogp.iter_mut().zip(&*p).for_each(|(t, &p)| *t = if p > R::ZERO { p * *t } else { R::ZERO });
        (p, plogp)
    }
}
