//! The outer product of rows: what is seen through it has weights of its own for each of the factors.
//!
//! ```text
//! (C1) y_{k D + i} = a_k x_i
//! (C2) dx_i += sum_k a_k dy_{k D + i}
//! (C3) da_k += sum_i x_i dy_{k D + i}
//! ```
//! Where a is one-hot, y is x in one of K places and 0 in the others, and a linear layer of y is one of K linear layers of x. Source: Oh et al., 2015,
//! "Action-conditional video prediction using deep networks in Atari games", the multiplicative transformation, whose weights they factor.
//!
//! | tensor | shape |
//! |---|---|
//! | a | [rows, K] |
//! | x | [rows, D] |
//! | y | [rows, K D] |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, OuterBackwardA, OuterBackwardX, OuterForward},
};

impl<R: Real> Graph<R> {
    /// The outer product [.., K D] of each row of a [.., K] with its row of x [.., D].
    pub fn outer(&mut self, a: Var, x: Var) -> Var {
        let (rows, k, d) = (self.height(x), self.width(a), self.width(x));
        assert_eq!(self.height(a), rows, "outer: a is {:?}, x is {:?}", self.shape(a), self.shape(x));
        let shape = self.with_width(x, k * d);
        let [y] = self.call(Outer { rows, k, d }, &[a, x], [&shape]);
        y
    }
}

struct Outer {
    rows: usize,
    k: usize,
    d: usize,
}

impl<R: Real> Op<R> for Outer {
    fn name(&self) -> &'static str {
        "outer"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.k * self.d) as f64;
        Cost { flops: n, bytes: 4.0 * (n + (self.rows * (self.k + self.d)) as f64) }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let (k, d) = (self.k, self.d);
        for ((y, a), x) in y.chunks_exact_mut(k * d).zip(io.x[0].chunks_exact(k)).zip(io.x[1].chunks_exact(d)) {
            for (y, &a) in y.chunks_exact_mut(d).zip(a) {
                vectorize!(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = a * x)); // (C1)
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(dy), ..] = io.dy else { return };
        let [mut da, mut dx, ..] = io.dx;
        let (k, d) = (self.k, self.d);
        for (row, dy) in dy.chunks_exact(k * d).enumerate() {
            let (factors, numbers) = (row * k..(row + 1) * k, row * d..(row + 1) * d);
            let (a, x) = (&io.x[0][factors.clone()], &io.x[1][numbers.clone()]);
            if let Some(dx) = &mut dx {
                let dx = &mut dx[numbers];
                for (dy, &a) in dy.chunks_exact(d).zip(a) {
                    vectorize!(|| dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += a * dy)); // (C2)
                }
            }
            if let Some(da) = &mut da {
                for (da, dy) in da[factors].iter_mut().zip(dy.chunks_exact(d)) {
                    *da += x.iter().zip(dy).fold(R::ZERO, |sum, (&x, &dy)| sum + x * dy); // (C3)
                }
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let (rows, k, d) = (self.rows, self.k, self.d);
        OuterForward { y: io.y[0], a: io.x[0], x: io.x[1], rows, k, d }.threads(io.on, rows * k * d)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([da, dx, ..], [a, x, ..], dy, rows, k, d) = (io.dx, io.x, io.dy[0].read(), self.rows, self.k, self.d);
        if dx.is_some() {
            OuterBackwardX { dx, dy, a, rows, k, d }.threads(io.on, rows * d)?;
        }
        if da.is_some() {
            OuterBackwardA { da, dy, x, rows, k, d }.threads(io.on, rows * k)?;
        }
        Ok(())
    }
}
