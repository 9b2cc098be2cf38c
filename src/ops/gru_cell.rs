//! The gates of a GRU cell, reset applied after the projection (Keras `reset_after=True`, as danijar/dreamer runs it).
//!
//! The two projections `xp = x Wx + bx` and `hp = h Wh + bh` are linear layers; the cell is what comes after them:
//!
//! ```text
//! (G1) r  = sigmoid(xp_r + hp_r)
//! (G2) z  = sigmoid(xp_z + hp_z)
//! (G3) n  = tanh(xp_n + r hp_n)
//! (G4) h' = (1 - z) n + z h
//!
//! (G5) dn' = dh' (1 - z) (1 - n^2)       gradient before the tanh
//! (G6) dz' = dh' (h - n) z (1 - z)       before the sigmoid
//! (G7) dr' = dn' hp_n r (1 - r)          before the sigmoid
//! (G8) dxp += (dr', dz', dn')   dhp += (dr', dz', r dn')   dh += z dh'
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | xp, hp | [rows, 3 D], gates in the order r, z, n |
//! | h, h' | [rows, D] |
//! | gates (saved) | [rows, 3 D]: r, z, n |

use crate::autodiff::op::{Backward, Cost, Forward, Op, Reads, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, GruCellBackward, GruCellForward},
};

impl<R: Real> Graph<R> {
    /// The next hidden state [.., D] from the projected input and hidden state [.., 3 D] and the hidden state [.., D].
    pub fn gru_cell(&mut self, xp: Var, hp: Var, h: Var) -> Var {
        let (rows, d) = (self.height(h), self.width(h));
        assert!(
            self.len(xp) == rows * 3 * d && self.len(hp) == rows * 3 * d,
            "gru_cell: h is {:?}, so xp and hp are 3 times as wide, not {:?} and {:?}",
            self.shape(h),
            self.shape(xp),
            self.shape(hp)
        );
        let (shape, gates) = (self.shape(h).to_vec(), self.with_width(h, 3 * d));
        let [h_next, _gates] = self.call(GruCell { rows, d }, &[xp, hp, h], [&shape, &gates]);
        h_next
    }
}

struct GruCell {
    rows: usize,
    d: usize,
}

impl<R: Real> Op<R> for GruCell {
    fn name(&self) -> &'static str {
        "gru_cell"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.d) as f64;
        Cost { flops: 40.0 * n, bytes: 4.0 * 11.0 * n }
    }

    fn reads(&self) -> Reads {
        Reads { x: 0b110, y: 0b10 } // hp, h; the gates
    }

    fn scratch(&self, _rows: usize) -> usize {
        6 * self.d
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [h_next, gates] = take(io.y);
        let d = self.d;
        for row in 0..io.rows.len() {
            let (wide, narrow) = (row * 3 * d..(row + 1) * 3 * d, row * d..(row + 1) * d);
            let (xp, hp, h) = (&io.x[0][wide.clone()], &io.x[1][wide.clone()], &io.x[2][narrow.clone()]);
            let (gates, h_next) = (&mut gates[wide], &mut h_next[narrow]);
            vectorize!(|| gru_cell_forward(h_next, gates, xp, hp, h));
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(dh_next), ..] = io.dy else { return };
        let [mut dxp, mut dhp, mut dh, ..] = io.dx;
        let d = self.d;
        // Gradients that nobody wants are computed all the same, into memory that nobody reads.
        let (unused_xp, unused_hp) = io.scratch[..6 * d].split_at_mut(3 * d);
        for row in 0..io.rows.len() {
            let (wide, narrow) = (row * 3 * d..(row + 1) * 3 * d, row * d..(row + 1) * d);
            let (hp, h) = (&io.x[1][wide.clone()], &io.x[2][narrow.clone()]);
            let (gates, dh_next) = (&io.y[1][wide.clone()], &dh_next[narrow.clone()]);
            let dxp = dxp.as_deref_mut().map_or(&mut *unused_xp, |dxp| &mut dxp[wide.clone()]);
            let dhp = dhp.as_deref_mut().map_or(&mut *unused_hp, |dhp| &mut dhp[wide.clone()]);
            vectorize!(|| gru_cell_backward(dxp, dhp, dh_next, gates, hp, h));
            if let Some(dh) = dh.as_deref_mut() {
                let (dh, z) = (&mut dh[narrow], &gates[d..2 * d]);
                vectorize!(|| dh.iter_mut().zip(z).zip(dh_next).for_each(|((dh, &z), &dout)| *dh += z * dout));
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([h_next, gates, ..], [xp, hp, h, ..]) = (io.y, io.x);
        let (rows, d) = (self.rows, self.d);
        GruCellForward { h_next, gates, xp, hp, h, rows, d }.threads(io.on, rows * d)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([dxp, dhp, dh, ..], [_, hp, h, ..]) = (io.dx, io.x);
        let (dh_next, gates, rows, d) = (io.dy[0].read(), io.y[1].read(), self.rows, self.d);
        GruCellBackward { dxp, dhp, dh, dh_next, gates, hp, h, rows, d }.threads(io.on, rows * d)
    }
}

/// (G1) to (G4) for one row. Slices as arguments are known to be disjoint, which the vector code needs.
#[inline(always)]
fn gru_cell_forward<R: Real>(h_next: &mut [R], gates: &mut [R], xp: &[R], hp: &[R], h: &[R]) {
    let d = h.len();
    let (r, zn) = gates.split_at_mut(d);
    let (z, n) = zn.split_at_mut(d);
    gate_forward(r, &xp[..d], &hp[..d]); // (G1)
    gate_forward(z, &xp[d..2 * d], &hp[d..2 * d]); // (G2)
    let (xp_n, hp_n) = (&xp[2 * d..][..d], &hp[2 * d..][..d]);
    for i in 0..d {
        n[i] = (xp_n[i] + r[i] * hp_n[i]).tanh(); // (G3)
    }
    for i in 0..d {
        h_next[i] = (R::ONE - z[i]) * n[i] + z[i] * h[i]; // (G4)
    }
}

#[inline(always)]
fn gate_forward<R: Real>(gate: &mut [R], xp: &[R], hp: &[R]) {
    gate.iter_mut().zip(xp).zip(hp).for_each(|((gate, &x), &h)| *gate = (x + h).sigmoid());
}

/// (G5) to (G8) for one row, but for dh.
#[inline(always)]
fn gru_cell_backward<R: Real>(dxp: &mut [R], dhp: &mut [R], dh_next: &[R], gates: &[R], hp: &[R], h: &[R]) {
    let d = h.len();
    let (r, z, n) = (&gates[..d], &gates[d..2 * d], &gates[2 * d..][..d]);
    let (hp_n, dout) = (&hp[2 * d..][..d], &dh_next[..d]);
    let (dxp_r, rest) = dxp.split_at_mut(d);
    let (dxp_z, dxp_n) = rest.split_at_mut(d);
    let (dhp_r, rest) = dhp.split_at_mut(d);
    let (dhp_z, dhp_n) = rest.split_at_mut(d);
    let before_n = |i: usize| dout[i] * (R::ONE - z[i]) * (R::ONE - n[i] * n[i]); // (G5)
    for i in 0..d {
        let dn = before_n(i);
        dxp_n[i] += dn; // (G8)
        dhp_n[i] += dn * r[i];
    }
    for i in 0..d {
        let dz = dout[i] * (h[i] - n[i]) * z[i] * (R::ONE - z[i]); // (G6)
        dxp_z[i] += dz;
        dhp_z[i] += dz;
    }
    for i in 0..d {
        let dr = before_n(i) * hp_n[i] * r[i] * (R::ONE - r[i]); // (G7)
        dxp_r[i] += dr;
        dhp_r[i] += dr;
    }
}
