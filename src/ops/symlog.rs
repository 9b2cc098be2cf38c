//! A logarithm for numbers of either sign, and its inverse.
//!
//! ```text
//! (Q1) symlog:  y = sign(x) ln(1 + |x|)        dx += dy / (1 + |x|)
//! (Q2) symexp:  y = sign(x) (e^|x| - 1)        dx += dy (1 + |y|)
//! ```
//! Source: DreamerV3, eq. (1).
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
    device::cuda::kernels::{Entry, SymexpBackward, SymexpForward, SymlogBackward, SymlogForward},
};

/// (Q1) of one number.
#[inline(always)]
pub fn symlog<R: Real>(x: R) -> R {
    let y = (R::ONE + x.abs()).ln();
    if x < R::ZERO { -y } else { y }
}

/// (Q2) of one number.
#[inline(always)]
pub fn symexp<R: Real>(x: R) -> R {
    let y = x.abs().exp_m1();
    if x < R::ZERO { -y } else { y }
}

impl<R: Real> Graph<R> {
    /// (Q1), elementwise, of the same shape.
    pub fn symlog(&mut self, x: Var) -> Var {
        self.symmetric(x, false)
    }

    /// (Q2), elementwise, of the same shape.
    pub fn symexp(&mut self, x: Var) -> Var {
        self.symmetric(x, true)
    }

    fn symmetric(&mut self, x: Var, inverse: bool) -> Var {
        let shape = self.shape(x).to_vec();
        let [y] = self.call(Symmetric { rows: self.height(x), width: self.width(x), inverse }, &[x], [&shape]);
        y
    }
}

struct Symmetric {
    rows: usize,
    width: usize,
    inverse: bool,
}

impl<R: Real> Op<R> for Symmetric {
    fn name(&self) -> &'static str {
        if self.inverse { "symexp" } else { "symlog" }
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
        if self.inverse {
            vectorize!(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = symexp(x))); // (Q2)
        } else {
            vectorize!(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = symlog(x))); // (Q1)
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dy), ..], [Some(dx), ..]) = (io.dy, io.dx) else { return };
        let (x, y) = (io.x[0], io.y[0]);
        if self.inverse {
            (0..x.len()).for_each(|i| dx[i] += dy[i] * (R::ONE + y[i].abs()));
        } else {
            (0..x.len()).for_each(|i| dx[i] += dy[i] / (R::ONE + x[i].abs()));
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let (y, x, n) = (io.y[0], io.x[0], self.rows * self.width);
        if self.inverse {
            SymexpForward { y, x, n }.threads(io.on, n)
        } else {
            SymlogForward { y, x, n }.threads(io.on, n)
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let (dx, dy, n) = (io.dx[0], io.dy[0].read(), self.rows * self.width);
        if self.inverse {
            SymexpBackward { dx, dy, y: io.y[0].read(), n }.threads(io.on, n)
        } else {
            SymlogBackward { dx, dy, x: io.x[0], n }.threads(io.on, n)
        }
    }
}
