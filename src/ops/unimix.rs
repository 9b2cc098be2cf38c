//! A share of the uniform distribution in categorical variables, so that no class is ever ruled out.
//!
//! ```text
//! (U1) q = softmax(a)    p = (1 - u) q + u / K    y = ln p
//! (U2) g = dy / p        da += (1 - u) q (g - sum q g)
//! ```
//! softmax(y) = p: y are logits of the mixed distribution, for whatever takes logits. [`sample_onehot`](super::sample_onehot) and
//! [`kl_categorical`](super::kl_categorical) mix by themselves. Source: DreamerV3, appendix on the actor: 1 % uniform.
//!
//! | tensor | shape |
//! |---|---|
//! | a, y | [rows, G K]: G variables of K classes |

use super::softmax::{Variables, ln, mix, softmax};
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, UnimixBackward, UnimixForward},
};

impl<R: Real> Graph<R> {
    /// Logits of the same shape for the distribution of logits a [.., G K], of which the share `unimix`, above 0 and below 1, is uniform.
    pub fn unimix(&mut self, a: Var, classes: usize, unimix: f64) -> Var {
        let (rows, width, shape) = (self.height(a), self.width(a), self.shape(a).to_vec());
        assert!(width.is_multiple_of(classes), "unimix: {width} logits for {classes} classes");
        assert!(unimix > 0.0 && unimix < 1.0, "unimix: a share of {unimix}");
        let [y] = self.call(Unimix { rows, width, classes, unimix }, &[a], [&shape]);
        y
    }
}

struct Unimix {
    rows: usize,
    width: usize,
    classes: usize,
    unimix: f64,
}

impl<R: Real> Op<R> for Unimix {
    fn name(&self) -> &'static str {
        "unimix"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.width) as f64;
        Cost { flops: 30.0 * n, bytes: 8.0 * n }
    }

    fn scratch(&self, rows: usize) -> usize {
        rows * self.width
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let p = &mut io.scratch[..y.len()];
        softmax(io.x[0], p, Variables { classes: &[self.classes] });
        mix(p, R::of(1.0 - self.unimix), R::of(self.unimix / self.classes as f64));
        ln(p, y); // (U1)
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dy), ..], [Some(da), ..]) = (io.dy, io.dx) else { return };
        let (k, keep, floor) = (self.classes, R::of(1.0 - self.unimix), R::of(self.unimix / self.classes as f64));
        let q = &mut io.scratch[..da.len()];
        softmax(io.x[0], q, Variables { classes: &[k] });
        for ((q, dy), da) in q.chunks_exact(k).zip(dy.chunks_exact(k)).zip(da.chunks_exact_mut(k)) {
            let g = |i: usize| dy[i] / (keep * q[i] + floor);
            let mean: R = (0..k).map(|i| q[i] * g(i)).sum();
            (0..k).for_each(|i| da[i] += keep * q[i] * (g(i) - mean)); // (U2)
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let (variables, k, u) = (self.rows * self.width / self.classes, self.classes, self.unimix as f32);
        UnimixForward { y: io.y[0], a: io.x[0], variables, k, u }.warps(io.on, variables)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let (variables, k, u) = (self.rows * self.width / self.classes, self.classes, self.unimix as f32);
        UnimixBackward { da: io.dx[0], dy: io.dy[0].read(), a: io.x[0], variables, k, u }.warps(io.on, variables)
    }
}
