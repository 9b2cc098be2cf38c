//! Negative log-probability of one-hot targets under categorical distributions given by their logits, weighted and summed.
//!
//! A row holds G cells, each with several variables side by side: the planes of a symbolic observation (type, colour, state), or a
//! single variable for an action.
//!
//! ```text
//! (Y1) nll = sum_cells w_cell sum_variables [ lse(a) - sum_k t_k a_k ]       lse(a) = ln sum_k e^a_k
//! (Y2) da += dnll w (softmax(a) - t)                                      for one-hot t
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | a, t | [rows, G sum K_v] |
//! | w (optional) | [rows, G] |
//! | nll | `[rows]` |

use super::softmax::{Variables, highest, ln, shifted_exp};
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{CategoricalNllBackward, CategoricalNllForward, Entry},
};

impl<R: Real> Graph<R> {
    /// -ln p(t; logits a), one number for each row: `[rows]`. `classes` are the sizes K_v of the variables of one cell; `w` weighs
    /// the cells, 1 where absent. No gradient goes to t or w.
    pub fn categorical_nll(&mut self, a: Var, t: Var, w: Option<Var>, classes: &[usize]) -> Var {
        let (rows, width) = (self.height(a), self.width(a));
        let cell: usize = classes.iter().sum();
        assert!(
            width.is_multiple_of(cell) && self.len(t) == rows * width,
            "categorical_nll: a is {:?} but t is {:?}, for cells of {classes:?} classes",
            self.shape(a),
            self.shape(t)
        );
        let cells = width / cell;
        let mut inputs = vec![a, self.stop(t)];
        if let Some(w) = w {
            assert_eq!(self.len(w), rows * cells, "categorical_nll: {cells} cells but w is {:?}", self.shape(w));
            inputs.push(self.stop(w));
        }
        let op = CategoricalNll { rows, cells, classes: classes.to_vec(), weighted: w.is_some() };
        let [nll] = self.call(op, &inputs, [&[rows]]);
        nll
    }
}

struct CategoricalNll {
    rows: usize,
    cells: usize,
    classes: Vec<usize>,
    weighted: bool,
}

impl CategoricalNll {
    fn cell(&self) -> usize {
        self.classes.iter().sum()
    }

    /// Calls `visit(row, weight, start, K)` for every variable of `rows` rows.
    fn each_variable<R: Real>(&self, rows: usize, w: &[R], mut visit: impl FnMut(usize, R, usize, usize)) {
        let mut at = 0;
        for row in 0..rows {
            for cell in 0..self.cells {
                let weight = if self.weighted { w[row * self.cells + cell] } else { R::ONE };
                for &k in &self.classes {
                    visit(row, weight, at, k);
                    at += k;
                }
            }
        }
    }
}

impl<R: Real> Op<R> for CategoricalNll {
    fn name(&self) -> &'static str {
        "categorical_nll"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.cells * self.cell()) as f64;
        Cost { flops: 20.0 * n, bytes: 8.0 * n }
    }

    fn scratch(&self, rows: usize) -> usize {
        // e^a, and for each variable its sum and the logarithm of that.
        rows * self.cells * (self.cell() + 2 * self.classes.len())
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [a, t, w, ..] = io.x;
        let [nll] = take(io.y);
        let variables = io.rows.len() * self.cells * self.classes.len();
        let (e, rest) = io.scratch.split_at_mut(a.len());
        let (sums, logs) = rest[..2 * variables].split_at_mut(variables);
        shifted_exp(a, e, Variables { classes: &self.classes });
        let mut next = sums.iter_mut();
        Variables { classes: &self.classes }.each(a.len(), |range| {
            let sum = next.next().expect("a sum for each variable");
            *sum = e[range].iter().copied().sum();
        });
        ln(sums, logs);
        nll.fill(R::ZERO);
        // (Y1), with the shift by the highest logit undone where the target is.
        let mut logs = logs.iter();
        self.each_variable(io.rows.len(), w, |row, weight, at, k| {
            let (a, t) = (&a[at..at + k], &t[at..at + k]);
            let (highest, log) = (highest(a), *logs.next().expect("a logarithm for each variable"));
            let chosen: R = a.iter().zip(t).map(|(&a, &t)| t * (a - highest)).sum();
            nll[row] += weight * (log - chosen);
        });
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [a, t, w, ..] = io.x;
        let ([Some(dnll), ..], [Some(da), ..]) = (io.dy, io.dx) else { return };
        let e = &mut io.scratch[..a.len()];
        shifted_exp(a, e, Variables { classes: &self.classes });
        // (Y2)
        self.each_variable(io.rows.len(), w, |row, weight, at, k| {
            let (t, e, da) = (&t[at..at + k], &e[at..at + k], &mut da[at..at + k]);
            let d = dnll[row] * weight;
            let scale = R::ONE / e.iter().copied().sum::<R>();
            da.iter_mut().zip(e).zip(t).for_each(|((da, &e), &t)| *da += d * (e * scale - t));
        });
    }

    #[cfg(feature = "cuda")]
    fn constants(&self) -> Vec<f32> {
        self.classes.iter().map(|&k| k as f32).collect()
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        CategoricalNllForward {
            nll: io.y[0],
            a: io.x[0],
            t: io.x[1],
            w: io.x[2],
            classes: io.constants,
            rows: self.rows,
            cells: self.cells,
            kinds: self.classes.len(),
            width: self.cell(),
        }
        .warps(io.on, self.rows)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        CategoricalNllBackward {
            da: io.dx[0],
            dnll: io.dy[0].read(),
            a: io.x[0],
            t: io.x[1],
            w: io.x[2],
            classes: io.constants,
            rows: self.rows,
            cells: self.cells,
            kinds: self.classes.len(),
            width: self.cell(),
        }
        .threads(io.on, self.rows * self.cells)
    }
}
