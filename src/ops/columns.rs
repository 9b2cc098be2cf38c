//! The first columns of rows: a part of a state for those who do not read all of it.
//!
//! ```text
//! (R1) y_ij = x_ij          for j < W
//! (R2) dx_ij += dy_ij
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | x | [rows, N] |
//! | y | [rows, W] |

use crate::autodiff::op::{Backward, Cost, Forward, Op, Reads, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{ColumnsBackward, ColumnsForward, Entry},
};

impl<R: Real> Graph<R> {
    /// The first `width` columns [.., W] of x [.., N].
    pub fn columns(&mut self, x: Var, width: usize) -> Var {
        let (rows, all) = (self.height(x), self.width(x));
        assert!(width <= all, "columns: {width} of {all}");
        let shape = self.with_width(x, width);
        let [y] = self.call(Columns { rows, all, width }, &[x], [&shape]);
        y
    }
}

struct Columns {
    rows: usize,
    /// N.
    all: usize,
    /// W.
    width: usize,
}

impl<R: Real> Op<R> for Columns {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        Cost { flops: 0.0, bytes: 8.0 * (self.rows * self.width) as f64 }
    }

    fn reads(&self) -> Reads {
        Reads::output(false)
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        for (y, x) in y.chunks_exact_mut(self.width).zip(io.x[0].chunks_exact(self.all)) {
            y.copy_from_slice(&x[..self.width]); // (R1)
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dy), ..], [Some(dx), ..]) = (io.dy, io.dx) else { return };
        for (dy, dx) in dy.chunks_exact(self.width).zip(dx.chunks_exact_mut(self.all)) {
            dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy); // (R2)
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let (rows, all, width) = (self.rows, self.all, self.width);
        ColumnsForward { y: io.y[0], x: io.x[0], rows, all, width }.threads(io.on, rows * width)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let (dx, dy, rows, all, width) = (io.dx[0], io.dy[0].read(), self.rows, self.all, self.width);
        if !dx.is_some() {
            return Ok(());
        }
        ColumnsBackward { dx, dy, rows, all, width }.threads(io.on, rows * width)
    }
}
