//! Activations, as an op of their own and as the epilogue of `linear` and the convolutions.
//!
//! ```text
//! (A1) y  = f(x)
//! (A2) dx += dy f'(x)      f' is written in terms of y, so x need not be kept
//! ```
//!
//! | f | f(x) | f' from y |
//! |---|---|---|
//! | identity | x | 1 |
//! | relu | max(x, 0) | 1 if y > 0, else 0 |
//! | elu | x if x > 0, else e^x - 1 | 1 if y > 0, else y + 1 |
//! | tanh | tanh x | 1 - y^2 |
//! | sigmoid | 1 / (1 + e^-x) | y (1 - y) |
//! | softplus | ln(1 + e^x) | 1 - e^-y |
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
    device::cuda::kernels::{ActivationBackward, ActivationForward, Entry},
};

/// An elementwise function whose derivative can be told from its value. Kernels know it by its position: `kernels/prelude.cuh` has the same
/// list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x
    Identity,
    /// max(x, 0)
    Relu,
    /// x where positive, else e^x - 1 (Clevert et al., 2015)
    Elu,
    /// tanh x
    Tanh,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// ln(1 + e^x)
    Softplus,
}

impl Activation {
    /// The activation of this name, as configurations spell it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "identity" | "none" => Activation::Identity,
            "relu" => Activation::Relu,
            "elu" => Activation::Elu,
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            "softplus" => Activation::Softplus,
            _ => return None,
        })
    }

    /// (A1) in place.
    pub fn apply<R: Real>(self, x: &mut [R]) {
        match self {
            Activation::Identity => {}
            Activation::Relu => vectorize!(|| x.iter_mut().for_each(|x| *x = x.max(R::ZERO))),
            Activation::Elu => vectorize!(|| x.iter_mut().for_each(|x| *x = x.elu())),
            Activation::Tanh => vectorize!(|| x.iter_mut().for_each(|x| *x = x.tanh())),
            Activation::Sigmoid => vectorize!(|| x.iter_mut().for_each(|x| *x = x.sigmoid())),
            Activation::Softplus => vectorize!(|| x.iter_mut().for_each(|x| *x = x.softplus())),
        }
    }

    /// (A2) in place: turns dy into dy f'(x), given y.
    pub fn differentiate<R: Real>(self, y: &[R], dy: &mut [R]) {
        let pairs = y.iter().zip(dy);
        match self {
            Activation::Identity => {}
            Activation::Relu => {
                vectorize!(|| pairs.for_each(|(&y, d)| *d = if y > R::ZERO { *d } else { R::ZERO }));
            }
            Activation::Elu => {
                vectorize!(|| pairs.for_each(|(&y, d)| *d *= if y > R::ZERO { R::ONE } else { y + R::ONE }));
            }
            Activation::Tanh => vectorize!(|| pairs.for_each(|(&y, d)| *d *= R::ONE - y * y)),
            Activation::Sigmoid => vectorize!(|| pairs.for_each(|(&y, d)| *d *= y * (R::ONE - y))),
            Activation::Softplus => vectorize!(|| pairs.for_each(|(&y, d)| *d *= R::ONE - (-y).exp())),
        }
    }
}

impl<R: Real> Graph<R> {
    /// `f(x)`, elementwise, of the same shape.
    pub fn activation(&mut self, x: Var, f: Activation) -> Var {
        let shape = self.shape(x).to_vec();
        let op = ActivationOp { rows: self.height(x), width: self.width(x), f };
        let [y] = self.call(op, &[x], [&shape]);
        y
    }
}

struct ActivationOp {
    rows: usize,
    width: usize,
    f: Activation,
}

impl<R: Real> Op<R> for ActivationOp {
    fn name(&self) -> &'static str {
        "activation"
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
        y.copy_from_slice(io.x[0]);
        self.f.apply(y);
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dy), ..], [Some(dx), ..]) = (io.dy, io.dx) else { return };
        self.f.differentiate(io.y[0], dy);
        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += *dy);
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let n = self.rows * self.width;
        ActivationForward { y: io.y[0], x: io.x[0], n, f: self.f as usize }.threads(io.on, n)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let n = self.rows * self.width;
        ActivationBackward { dx: io.dx[0], dy: io.dy[0].read(), y: io.y[0].read(), n, f: self.f as usize }
            .threads(io.on, n)
    }
}
