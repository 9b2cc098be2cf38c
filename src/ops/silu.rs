//! The activation x sigmoid(x), whose derivative cannot be told from its value, so that it reads its input again.
//!
//! ```text
//! (F1) y  = x sigmoid(x)
//! (F2) dx += dy sigmoid(x) [1 + x (1 - sigmoid(x))]
//! ```
//! Source: Hendrycks and Gimpel, 2016; Elfwing et al., 2018. DreamerV3 uses it in every layer.
//!
//! | tensor | shape |
//! |---|---|
//! | x, y | [rows, width] |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, SiluBackward, SiluForward},
};

impl<R: Real> Graph<R> {
    /// `x sigmoid(x)`, elementwise, of the same shape.
    pub fn silu(&mut self, x: Var) -> Var {
        let shape = self.shape(x).to_vec();
        let [y] = self.call(Silu { rows: self.height(x), width: self.width(x) }, &[x], [&shape]);
        y
    }
}

struct Silu {
    rows: usize,
    width: usize,
}

impl<R: Real> Op<R> for Silu {
    fn name(&self) -> &'static str {
        "silu"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.width) as f64;
        Cost { flops: 10.0 * n, bytes: 8.0 * n }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let x = io.x[0];
        vectorize!(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * x.sigmoid())); // (F1)
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dy), ..], [Some(dx), ..]) = (io.dy, io.dx) else { return };
        let x = io.x[0];
        vectorize!(|| {
            for i in 0..x.len() {
                let s = x[i].sigmoid();
                dx[i] += dy[i] * s * (R::ONE + x[i] * (R::ONE - s)); // (F2)
            }
        });
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let n = self.rows * self.width;
        SiluForward { y: io.y[0], x: io.x[0], n }.threads(io.on, n)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let n = self.rows * self.width;
        SiluBackward { dx: io.dx[0], dy: io.dy[0].read(), x: io.x[0], n }.threads(io.on, n)
    }
}
