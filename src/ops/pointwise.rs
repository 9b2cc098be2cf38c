//! Small elementwise functions of several tensors: a weighted sum, a product, a lower bound, a mask over rows.
//!
//! ```text
//! (E1) sum:   y = sum_i c_i x_i        dx_i += c_i dy
//! (E2) mul:   y = a b                  da += b dy      db += a dy
//! (E3) floor: y = max(x, c)            dx += dy where x >= c
//! (E4) mask:  y_row = m_row x_row      dx_row += m_row dy_row          no gradient to m
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | x_i, a, b, y | [rows, n] |
//! | m | `[rows]` |

use crate::autodiff::op::{Backward, Cost, Forward, MAX_SLOTS, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{
        Entry, FloorBackward, FloorForward, MaskBackward, MaskForward, MulBackward, MulForward, SumBackward, SumForward,
    },
};

impl<R: Real> Graph<R> {
    /// (E1): the sum of terms of equal shape, each times a constant.
    pub fn sum(&mut self, terms: &[(Var, f64)]) -> Var {
        let inputs: Vec<Var> = terms.iter().map(|t| t.0).collect();
        self.pointwise(Function::Sum(terms.iter().map(|t| t.1).collect()), &inputs)
    }

    /// (E2): the product of two tensors of equal shape.
    pub fn mul(&mut self, a: Var, b: Var) -> Var {
        self.pointwise(Function::Mul, &[a, b])
    }

    /// (E3): x, but at least c. Applied to the mean divergence with c = `free_nats`, it lets no gradient through while the mean is
    /// below.
    pub fn floor(&mut self, x: Var, c: f64) -> Var {
        self.pointwise(Function::Floor(c), &[x])
    }

    /// (E4): the rows of x, each times its number in m; where m is 0 the row is exactly 0.
    pub fn mask(&mut self, x: Var, m: Var) -> Var {
        let (rows, n) = (self.len(m), self.len(x) / self.len(m));
        let shape = self.shape(x).to_vec();
        let m = self.stop(m);
        let [y] = self.call(Pointwise { rows, n, function: Function::Mask }, &[x, m], [&shape]);
        y
    }

    fn pointwise(&mut self, function: Function, inputs: &[Var]) -> Var {
        let shape = self.shape(inputs[0]).to_vec();
        let (rows, n) = (self.height(inputs[0]), self.width(inputs[0]));
        for &x in inputs {
            assert_eq!(self.shape(x), shape, "{}: shapes differ", function.name());
        }
        let [y] = self.call(Pointwise { rows, n, function }, inputs, [&shape]);
        y
    }
}

enum Function {
    Sum(Vec<f64>),
    Mul,
    Floor(f64),
    Mask,
}

impl Function {
    fn name(&self) -> &'static str {
        match self {
            Function::Sum(_) => "sum",
            Function::Mul => "mul",
            Function::Floor(_) => "floor",
            Function::Mask => "mask",
        }
    }
}

struct Pointwise {
    rows: usize,
    n: usize,
    function: Function,
}

impl<R: Real> Op<R> for Pointwise {
    fn name(&self) -> &'static str {
        self.function.name()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.n) as f64;
        Cost { flops: 2.0 * n, bytes: 12.0 * n }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        match &self.function {
            // (E1)
            Function::Sum(factors) => {
                y.fill(R::ZERO);
                for (x, &c) in io.x.iter().zip(factors) {
                    y.iter_mut().zip(*x).for_each(|(y, &x)| *y += R::of(c) * x);
                }
            }
            // (E2)
            Function::Mul => (0..y.len()).for_each(|i| y[i] = io.x[0][i] * io.x[1][i]),
            // (E3)
            Function::Floor(c) => (0..y.len()).for_each(|i| y[i] = io.x[0][i].max(R::of(*c))),
            // (E4)
            Function::Mask => {
                for ((y, x), &m) in y.chunks_exact_mut(self.n).zip(io.x[0].chunks_exact(self.n)).zip(io.x[1]) {
                    // Where m is 0, x may be anything, even NaN.
                    (0..self.n).for_each(|i| y[i] = if m == R::ZERO { R::ZERO } else { m * x[i] });
                }
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(dy), ..] = io.dy else { return };
        let mut dx: [Option<&mut [R]>; MAX_SLOTS] = io.dx;
        match &self.function {
            Function::Sum(factors) => {
                for (dx, &c) in dx.iter_mut().zip(factors) {
                    if let Some(dx) = dx {
                        dx.iter_mut().zip(&*dy).for_each(|(dx, &dy)| *dx += R::of(c) * dy);
                    }
                }
            }
            Function::Mul => {
                for (i, other) in [(0, io.x[1]), (1, io.x[0])] {
                    if let Some(dx) = &mut dx[i] {
                        (0..dy.len()).for_each(|j| dx[j] += other[j] * dy[j]);
                    }
                }
            }
            Function::Floor(c) => {
                if let Some(dx) = &mut dx[0] {
                    (0..dy.len()).filter(|&i| io.x[0][i] >= R::of(*c)).for_each(|i| dx[i] += dy[i]);
                }
            }
            Function::Mask => {
                if let Some(dx) = &mut dx[0] {
                    for ((dx, dy), &m) in dx.chunks_exact_mut(self.n).zip(dy.chunks_exact(self.n)).zip(io.x[1]) {
                        dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += m * dy);
                    }
                }
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([x, b, ..], y, rows, n) = (io.x, io.y[0], self.rows, self.n);
        let all = rows * n;
        match &self.function {
            Function::Sum(factors) => factors.iter().zip(io.x).enumerate().try_for_each(|(i, (&c, x))| {
                SumForward { y, x, n: all, c: c as f32, more: usize::from(i > 0) }.threads(io.on, all)
            }),
            Function::Mul => MulForward { y, a: x, b, n: all }.threads(io.on, all),
            Function::Floor(c) => FloorForward { y, x, n: all, c: *c as f32 }.threads(io.on, all),
            Function::Mask => MaskForward { y, x, m: b, rows, n }.threads(io.on, all),
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([x, b, ..], [dx, db, ..], dy, rows, n) = (io.x, io.dx, io.dy[0].read(), self.rows, self.n);
        let all = rows * n;
        match &self.function {
            Function::Sum(factors) => {
                let wanted = factors.iter().zip(io.dx).filter(|(_, dx)| dx.is_some());
                wanted
                    .into_iter()
                    .try_for_each(|(&c, dx)| SumBackward { dx, dy, n: all, c: c as f32 }.threads(io.on, all))
            }
            Function::Mul => MulBackward { da: dx, db, dy, a: x, b, n: all }.threads(io.on, all),
            Function::Floor(c) => FloorBackward { dx, dy, x, n: all, c: *c as f32 }.threads(io.on, all),
            Function::Mask => MaskBackward { dx, dy, m: b, rows, n }.threads(io.on, all),
        }
    }
}
