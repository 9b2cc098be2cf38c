//! Kullback-Leibler divergence between products of categorical distributions, from their logits.
//!
//! ```text
//! (C1) Q = softmax(a_q), q = (1 - u) Q + u / K      likewise P, p from a_p; u = unimix
//! (C2) kl = sum_variables sum_k q (ln q - ln p)
//! (C3) dq = dkl (ln q - ln p + 1)       da_q += f - Q sum f with f = (1 - u) Q dq
//! (C4) dp = -dkl q / p                  da_p += f - P sum f with f = (1 - u) P dp
//! ```
//! Without a uniform share a probability may be too small for a number, while its logarithm is not: then ln p = a - max a - ln sum e^(a - max a), and P / p in
//! (C4) is 1.
//! Sources: DreamerV2, the KL loss of its world model; unimix as in DreamerV3.
//!
//! | tensor | shape |
//! |---|---|
//! | a_q, a_p | [rows, G K]: G variables of K classes |
//! | kl | `[rows]` |

use super::softmax::{Variables, ln, log_softmax, mix, softmax};
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, KlCategoricalBackward, KlCategoricalForward},
};

impl<R: Real> Graph<R> {
    /// KL(q || p) from logits, one number for each row; the result is `[rows]`.
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
    /// (C1): the softmax and the mixed probabilities of some logits.
    fn probabilities<R: Real>(&self, a: &[R], soft: &mut [R], mixed: &mut [R]) {
        softmax(a, soft, Variables { classes: &[self.classes] });
        mixed.copy_from_slice(soft);
        mix(mixed, R::of(1.0 - self.unimix), R::of(self.unimix / self.classes as f64));
    }

    /// The logarithms of the mixed probabilities of logits `a`.
    fn logarithms<R: Real>(&self, a: &[R], mixed: &[R], out: &mut [R]) {
        match self.unimix {
            0.0 => log_softmax(a, out, Variables { classes: &[self.classes] }),
            _ => ln(mixed, out),
        }
    }

    /// `f - soft sum f` of every variable, added to `da`: to the gradient of logits, from that of probabilities times these.
    fn add_through_softmax<R: Real>(&self, soft: &[R], f: &[R], da: &mut [R]) {
        let k = self.classes;
        for ((soft, f), da) in soft.chunks_exact(k).zip(f.chunks_exact(k)).zip(da.chunks_exact_mut(k)) {
            let sum: R = f.iter().copied().sum();
            da.iter_mut().zip(soft).zip(f).for_each(|((da, &s), &f)| *da += f - s * sum);
        }
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

    fn scratch(&self, rows: usize) -> usize {
        5 * rows * self.width
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [a_q, a_p, ..] = io.x;
        let [kl] = take(io.y);
        let [soft, q, p, ln_q, ln_p] = parts(io.scratch, a_q.len());
        self.probabilities(a_p, soft, p);
        self.probabilities(a_q, soft, q);
        self.logarithms(a_q, q, ln_q);
        self.logarithms(a_p, p, ln_p);
        // (C2)
        vectorize!(|| {
            for i in 0..q.len() {
                ln_q[i] = q[i] * (ln_q[i] - ln_p[i]);
            }
        });
        kl.iter_mut().zip(ln_q.chunks_exact(self.width)).for_each(|(kl, terms)| *kl = terms.iter().copied().sum());
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [a_q, a_p, ..] = io.x;
        let [Some(dkl), ..] = io.dy else { return };
        let [da_q, da_p, ..] = io.dx;
        let keep = R::of(1.0 - self.unimix);
        let [soft, q, p, f, other] = parts(io.scratch, a_q.len());
        self.probabilities(a_p, soft, p);
        // (C4)
        if let Some(da_p) = da_p {
            self.probabilities(a_q, other, q);
            for (row, &dkl) in dkl.iter().enumerate() {
                for i in row * self.width..(row + 1) * self.width {
                    let share = if self.unimix > 0.0 { soft[i] / p[i] } else { R::ONE };
                    f[i] = -(keep * dkl * q[i] * share);
                }
            }
            self.add_through_softmax(soft, f, da_p);
        }
        // (C3)
        if let Some(da_q) = da_q {
            self.probabilities(a_q, soft, q);
            self.logarithms(a_q, q, f);
            self.logarithms(a_p, p, other);
            for (row, &dkl) in dkl.iter().enumerate() {
                for i in row * self.width..(row + 1) * self.width {
                    f[i] = keep * dkl * soft[i] * (f[i] - other[i] + R::ONE);
                }
            }
            self.add_through_softmax(soft, f, da_q);
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([a_q, a_p, ..], u) = (io.x, self.unimix as f32);
        let (rows, variables, k) = (self.rows, self.width / self.classes, self.classes);
        KlCategoricalForward { kl: io.y[0], a_q, a_p, rows, variables, k, u }.warps(io.on, rows)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([da_q, da_p, ..], [a_q, a_p, ..], dkl, u) = (io.dx, io.x, io.dy[0].read(), self.unimix as f32);
        let (rows, variables, k) = (self.rows, self.width / self.classes, self.classes);
        KlCategoricalBackward { da_q, da_p, dkl, a_q, a_p, rows, variables, k, u }.warps(io.on, rows * variables)
    }
}

/// Five buffers of `len` numbers in the scratch memory.
fn parts<R>(scratch: &mut [R], len: usize) -> [&mut [R]; 5] {
    let mut buffers = scratch.chunks_exact_mut(len);
    std::array::from_fn(|_| buffers.next().expect("scratch holds five buffers"))
}
