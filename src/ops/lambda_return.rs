//! The lambda-return: an exponential average of n-step returns (Dreamer eq. (6), in recursive form).
//!
//! ```text
//! (R1) R_t = r_t + p_t [ (1 - lambda) v_t + lambda R_{t+1} ],   R_L = v_{L-1},   t = L-1 .. 0
//! (R2) g_t = dR_t + lambda p_{t-1} g_{t-1}                  all of the loss that passes through R_t
//! (R3) dr_t += g_t
//! (R4) dv_t += p_t (1 - lambda) g_t      dv_{L-1} += p_{L-1} lambda g_{L-1}
//! (R5) dp_t += g_t [ (1 - lambda) v_t + lambda R_{t+1} ]
//! ```
//! `v_t` is the value of the state that follows; which states are paired is the caller's choice. DreamerV1 passes the rewards of
//! states 0 .. H-2 and the values of states 1 .. H-1, so that R_t contains the reward of its own state and v_{L-1} is the bootstrap.
//!
//! | tensor | shape |
//! |---|---|
//! | r, v, p, R | [L, N] |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, LambdaReturnBackward, LambdaReturnForward},
};

/// The discount of each step.
#[derive(Debug, Clone, Copy)]
pub enum Discount {
    /// The same for all.
    Constant(f64),
    /// Predicted, [L, N].
    Tensor(Var),
}

impl<R: Real> Graph<R> {
    /// The returns [L, N] of rewards [L, N], values of the states that follow [L, N], and discounts.
    pub fn lambda_return(&mut self, reward: Var, value: Var, discount: Discount, lambda: f64) -> Var {
        let shape = self.shape(reward).to_vec();
        assert!(
            shape.len() == 2 && self.shape(value) == shape,
            "lambda_return: reward is {shape:?} but value is {:?}",
            self.shape(value)
        );
        let mut inputs = vec![reward, value];
        let constant = match discount {
            Discount::Constant(p) => p,
            Discount::Tensor(p) => {
                assert_eq!(self.shape(p), shape, "lambda_return: reward is {shape:?} but p is {:?}", self.shape(p));
                inputs.push(p);
                f64::NAN
            }
        };
        let op = LambdaReturn { l: shape[0], n: shape[1], lambda, constant };
        let [returns] = self.call(op, &inputs, [&shape]);
        returns
    }
}

struct LambdaReturn {
    l: usize,
    n: usize,
    lambda: f64,
    /// The discount, if it is a constant; NaN if it is a tensor.
    constant: f64,
}

impl LambdaReturn {
    fn discount<R: Real>(&self, p: &[R], at: usize) -> R {
        if self.constant.is_nan() { p[at] } else { R::of(self.constant) }
    }
}

impl<R: Real> Op<R> for LambdaReturn {
    fn name(&self) -> &'static str {
        "lambda_return"
    }

    fn rows(&self) -> usize {
        1
    }

    fn cost(&self) -> Cost {
        let n = (self.l * self.n) as f64;
        Cost { flops: 5.0 * n, bytes: 16.0 * n }
    }

    fn scratch(&self, _rows: usize) -> usize {
        self.n
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [r, v, p, ..] = io.x;
        let [returns] = take(io.y);
        let (n, lambda) = (self.n, R::of(self.lambda));
        for t in (0..self.l).rev() {
            for i in 0..n {
                let at = t * n + i;
                let next = if t + 1 < self.l { returns[at + n] } else { v[at] };
                returns[at] = r[at] + self.discount(p, at) * ((R::ONE - lambda) * v[at] + lambda * next); // (R1)
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [_, v, p, ..] = io.x;
        let returns = io.y[0];
        let [Some(dreturns), ..] = io.dy else { return };
        let [mut dr, mut dv, mut dp, ..] = io.dx;
        let (n, lambda) = (self.n, R::of(self.lambda));
        let g = &mut io.scratch[..n];
        for t in 0..self.l {
            for i in 0..n {
                let at = t * n + i;
                let last = t + 1 == self.l;
                let before = if t > 0 { lambda * self.discount(p, at - n) * g[i] } else { R::ZERO };
                g[i] = dreturns[at] + before; // (R2)
                if let Some(dr) = &mut dr {
                    dr[at] += g[i]; // (R3)
                }
                if let Some(dv) = &mut dv {
                    let share = if last { R::ONE } else { R::ONE - lambda };
                    dv[at] += self.discount(p, at) * share * g[i]; // (R4)
                }
                if let Some(dp) = &mut dp {
                    let next = if last { v[at] } else { returns[at + n] };
                    dp[at] += g[i] * ((R::ONE - lambda) * v[at] + lambda * next); // (R5)
                }
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([r, v, p, ..], l, n) = (io.x, self.l, self.n);
        let (lambda, constant) = (self.lambda as f32, self.constant as f32);
        LambdaReturnForward { returns: io.y[0], r, v, p, l, n, lambda, constant }.threads(io.on, n)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([dr, dv, dp, ..], [_, v, p, ..], l, n) = (io.dx, io.x, self.l, self.n);
        let (lambda, constant) = (self.lambda as f32, self.constant as f32);
        let (dreturns, returns) = (io.dy[0].read(), io.y[0].read());
        LambdaReturnBackward { dr, dv, dp, dreturns, returns, v, p, l, n, lambda, constant }.threads(io.on, n)
    }
}
