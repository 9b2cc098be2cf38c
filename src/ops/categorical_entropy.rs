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
//! | h | [rows] |

use super::sample_onehot::softmax;
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;

impl<R: Real> Graph<R> {
    /// Entropy in nats, one number for each row: [rows].
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

/// p ln p, 0 at p = 0.
fn plogp<R: Real>(p: R) -> R {
    if p > R::ZERO { p * p.ln() } else { R::ZERO }
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

    fn scratch(&self, _rows: usize) -> usize {
        self.classes
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [h] = take(io.y);
        let p = &mut io.scratch[..self.classes];
        for (a, h) in io.x[0].chunks_exact(self.width).zip(h) {
            *h = R::ZERO;
            for a in a.chunks_exact(self.classes) {
                softmax(a, p);
                *h += -p.iter().map(|&p| plogp(p)).sum::<R>(); // (E1)
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dh), ..], [Some(da), ..]) = (io.dy, io.dx) else { return };
        let p = &mut io.scratch[..self.classes];
        for ((a, da), &dh) in io.x[0].chunks_exact(self.width).zip(da.chunks_exact_mut(self.width)).zip(&*dh) {
            for (a, da) in a.chunks_exact(self.classes).zip(da.chunks_exact_mut(self.classes)) {
                softmax(a, p);
                let h = -p.iter().map(|&p| plogp(p)).sum::<R>();
                p.iter().zip(da).for_each(|(&p, da)| *da += -(dh * (plogp(p) + p * h))); // (E2)
            }
        }
    }
}
