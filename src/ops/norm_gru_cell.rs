//! The gates of a GRU cell whose three projections were normalised as one vector (danijar/dreamerv2 `nets.py`, `GRUCell`).
//!
//! The projection `a = norm([x, h] W + b)` is a linear layer and a norm over all 3 D numbers; the cell is what comes after them. Unlike
//! `gru_cell` the reset gate meets the candidate of input and state together, and the update gate begins nearly closed:
//!
//! ```text
//! (J1) r  = sigmoid(a_r)
//! (J2) c  = tanh(r a_c)
//! (J3) u  = sigmoid(a_u - 1)
//! (J4) h' = u c + (1 - u) h
//!
//! (J5) dc' = dh' u (1 - c^2)                before the tanh
//! (J6) da_c += dc' r      da_r += dc' a_c r (1 - r)
//! (J7) da_u += dh' (c - h) u (1 - u)        dh += dh' (1 - u)
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | a | [rows, 3 D], in the order r, c, u |
//! | h, h' | [rows, D] |
//! | gates (saved) | [rows, 3 D]: r, c, u |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, NormGruCellBackward, NormGruCellForward},
};

impl<R: Real> Graph<R> {
    /// The next hidden state [.., D] from the normalised projection a [.., 3 D] and the hidden state h [.., D].
    pub fn norm_gru_cell(&mut self, a: Var, h: Var) -> Var {
        let (rows, d) = (self.height(h), self.width(h));
        assert_eq!(
            self.len(a),
            rows * 3 * d,
            "norm_gru_cell: h is {:?}, so a is 3 times as wide, not {:?}",
            self.shape(h),
            self.shape(a)
        );
        let (shape, gates) = (self.shape(h).to_vec(), self.with_width(h, 3 * d));
        let [h_next, _gates] = self.call(NormGruCell { rows, d }, &[a, h], [&shape, &gates]);
        h_next
    }
}

struct NormGruCell {
    rows: usize,
    d: usize,
}

impl<R: Real> Op<R> for NormGruCell {
    fn name(&self) -> &'static str {
        "norm_gru_cell"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.d) as f64;
        Cost { flops: 40.0 * n, bytes: 4.0 * 8.0 * n }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [h_next, gates] = take(io.y);
        let d = self.d;
        for row in 0..io.rows.len() {
            let (wide, narrow) = (row * 3 * d..(row + 1) * 3 * d, row * d..(row + 1) * d);
            let (a, h) = (&io.x[0][wide.clone()], &io.x[1][narrow.clone()]);
            let (gates, h_next) = (&mut gates[wide], &mut h_next[narrow]);
            vectorize!(|| norm_gru_cell_forward(h_next, gates, a, h));
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(dh_next), ..] = io.dy else { return };
        let [mut da, mut dh, ..] = io.dx;
        let d = self.d;
        for row in 0..io.rows.len() {
            let (wide, narrow) = (row * 3 * d..(row + 1) * 3 * d, row * d..(row + 1) * d);
            let (a, h) = (&io.x[0][wide.clone()], &io.x[1][narrow.clone()]);
            let (gates, dh_next) = (&io.y[1][wide.clone()], &dh_next[narrow.clone()]);
            if let Some(da) = &mut da {
                let da = &mut da[wide];
                vectorize!(|| norm_gru_cell_backward(da, dh_next, gates, a, h));
            }
            if let Some(dh) = &mut dh {
                let (dh, u) = (&mut dh[narrow], &gates[2 * d..]);
                // (J7)
                vectorize!(|| dh
                    .iter_mut()
                    .zip(u)
                    .zip(dh_next)
                    .for_each(|((dh, &u), &dout)| *dh += (R::ONE - u) * dout));
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([h_next, gates, ..], [a, h, ..], rows, d) = (io.y, io.x, self.rows, self.d);
        NormGruCellForward { h_next, gates, a, h, rows, d }.threads(io.on, rows * d)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([da, dh, ..], [a, h, ..], rows, d) = (io.dx, io.x, self.rows, self.d);
        let (dh_next, gates) = (io.dy[0].read(), io.y[1].read());
        NormGruCellBackward { da, dh, dh_next, gates, a, h, rows, d }.threads(io.on, rows * d)
    }
}

/// (J1) to (J4) for one row.
#[inline(always)]
fn norm_gru_cell_forward<R: Real>(h_next: &mut [R], gates: &mut [R], a: &[R], h: &[R]) {
    let d = h.len();
    let (r, cu) = gates.split_at_mut(d);
    let (c, u) = cu.split_at_mut(d);
    let (a_r, a_c, a_u) = (&a[..d], &a[d..2 * d], &a[2 * d..][..d]);
    for i in 0..d {
        r[i] = a_r[i].sigmoid(); // (J1)
    }
    for i in 0..d {
        c[i] = (r[i] * a_c[i]).tanh(); // (J2)
    }
    for i in 0..d {
        u[i] = (a_u[i] - R::ONE).sigmoid(); // (J3)
    }
    for i in 0..d {
        h_next[i] = u[i] * c[i] + (R::ONE - u[i]) * h[i]; // (J4)
    }
}

/// (J5) to (J7) for one row, but for dh.
#[inline(always)]
fn norm_gru_cell_backward<R: Real>(da: &mut [R], dh_next: &[R], gates: &[R], a: &[R], h: &[R]) {
    let d = h.len();
    let (r, c, u) = (&gates[..d], &gates[d..2 * d], &gates[2 * d..][..d]);
    let (a_c, dout) = (&a[d..2 * d], &dh_next[..d]);
    let (da_r, rest) = da.split_at_mut(d);
    let (da_c, da_u) = rest.split_at_mut(d);
    for i in 0..d {
        let dc = dout[i] * u[i] * (R::ONE - c[i] * c[i]); // (J5)
        da_c[i] += dc * r[i]; // (J6)
        da_r[i] += dc * a_c[i] * r[i] * (R::ONE - r[i]);
    }
    for i in 0..d {
        da_u[i] += dout[i] * (c[i] - h[i]) * u[i] * (R::ONE - u[i]); // (J7)
    }
}
