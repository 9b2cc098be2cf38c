//! Kullback-Leibler divergence between products of categorical distributions, from their logits.
//!
//! ```text
//! (C1) Q = softmax(a_q), q = (1 - u) Q + u / K      likewise P, p from a_p; u = unimix
//! (C2) kl = sum_variables sum_k q (ln q - ln p)
//! (C3) dq = dkl (ln q - ln p + 1)       da_q += Q (g - sum Q g) with g = (1 - u) dq
//! (C4) dp = -dkl q / p                  da_p += P (g - sum P g) with g = (1 - u) dp
//! ```
//! Sources: DreamerV2, eq. (4); unimix as in DreamerV3.
//!
//! | tensor | shape |
//! |---|---|
//! | a_q, a_p | [rows, G K]: G variables of K classes |
//! | kl | [rows] |

use super::sample_onehot::softmax;
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;

impl<R: Real> Graph<R> {
    /// KL(q || p) from logits, one number for each row; the result is [rows].
    pub fn kl_categorical(&mut self, q: Var, p: Var, classes: usize, unimix: f64) -> Var {
        let (rows, width) = (self.height(q), self.width(q));
        assert!(
            self.len(p) == rows * width && width.is_multiple_of(classes),
            "kl_categorical: q is {:?} but p is {:?}, for {classes} classes",
            self.shape(q),
            self.shape(p)
        );
        let [kl] = self.call(KlCategorical { rows, width, classes, unimix }, &[q, p], [&[rows]]);
        kl
    }
}

struct KlCategorical {
    rows: usize,
    width: usize,
    classes: usize,
    unimix: f64,
}

impl KlCategorical {
    /// (C1) into `soft`; the mixed probability of class `i` is then `mix(soft[i])`.
    fn mix<R: Real>(&self, soft: R) -> R {
        R::of(1.0 - self.unimix) * soft + R::of(self.unimix / self.classes as f64)
    }
}

impl<R: Real> Op<R> for KlCategorical {
    fn name(&self) -> &'static str {
        "kl_categorical"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.width) as f64;
        Cost { flops: 80.0 * n, bytes: 8.0 * n }
    }

    fn scratch(&self, _rows: usize) -> usize {
        2 * self.classes
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [a_q, a_p, ..] = io.x;
        let [kl] = take(io.y);
        let k = self.classes;
        let (soft_q, soft_p) = io.scratch[..2 * k].split_at_mut(k);
        for (row, kl) in kl.iter_mut().enumerate() {
            *kl = R::ZERO;
            for at in (row * self.width..(row + 1) * self.width).step_by(k) {
                softmax(&a_q[at..at + k], soft_q);
                softmax(&a_p[at..at + k], soft_p);
                // (C2)
                for (&q, &p) in soft_q.iter().zip(&*soft_p) {
                    let (q, p) = (self.mix(q), self.mix(p));
                    // A probability of zero adds nothing.
                    *kl += if q > R::ZERO { q * (q.ln() - p.ln()) } else { R::ZERO };
                }
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [a_q, a_p, ..] = io.x;
        let [Some(dkl), ..] = io.dy else { return };
        let [mut da_q, mut da_p, ..] = io.dx;
        let k = self.classes;
        let keep = R::of(1.0 - self.unimix);
        let (soft_q, soft_p) = io.scratch[..2 * k].split_at_mut(k);
        for (row, &dkl) in dkl.iter().enumerate() {
            for at in (row * self.width..(row + 1) * self.width).step_by(k) {
                softmax(&a_q[at..at + k], soft_q);
                softmax(&a_p[at..at + k], soft_p);
                let (q, p) = (|i: usize| self.mix(soft_q[i]), |i: usize| self.mix(soft_p[i]));
                // (C3)
                if let Some(da) = &mut da_q {
                    let g = |i: usize| {
                        if q(i) > R::ZERO { keep * dkl * (q(i).ln() - p(i).ln() + R::ONE) } else { R::ZERO }
                    };
                    let mean: R = (0..k).map(|i| soft_q[i] * g(i)).sum();
                    (0..k).for_each(|i| da[at + i] += soft_q[i] * (g(i) - mean));
                }
                // (C4)
                if let Some(da) = &mut da_p {
                    let g = |i: usize| -(keep * dkl * q(i) / p(i));
                    let mean: R = (0..k).map(|i| soft_p[i] * g(i)).sum();
                    (0..k).for_each(|i| da[at + i] += soft_p[i] * (g(i) - mean));
                }
            }
        }
    }
}
