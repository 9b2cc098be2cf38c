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

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;

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

    fn forward(&self, io: Forward<'_, R>) {
        let [h_next, gates] = take(io.y);
        let d = self.d;
        for row in 0..io.rows.len() {
            let (xp, hp) = (&io.x[0][row * 3 * d..][..3 * d], &io.x[1][row * 3 * d..][..3 * d]);
            let h = &io.x[2][row * d..][..d];
            let (r, zn) = gates[row * 3 * d..][..3 * d].split_at_mut(d);
            let (z, n) = zn.split_at_mut(d);
            let out = &mut h_next[row * d..][..d];
            vectorize!(|| {
                for i in 0..d {
                    r[i] = (xp[i] + hp[i]).sigmoid(); // (G1)
                    z[i] = (xp[d + i] + hp[d + i]).sigmoid(); // (G2)
                    n[i] = (xp[2 * d + i] + r[i] * hp[2 * d + i]).tanh(); // (G3)
                    out[i] = (R::ONE - z[i]) * n[i] + z[i] * h[i]; // (G4)
                }
            });
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(dh_next), ..] = io.dy else { return };
        let [mut dxp, mut dhp, mut dh, ..] = io.dx;
        let d = self.d;
        for row in 0..io.rows.len() {
            let wide = row * 3 * d..(row + 1) * 3 * d;
            let narrow = row * d..(row + 1) * d;
            let hp_n = &io.x[1][wide.clone()][2 * d..];
            let h = &io.x[2][narrow.clone()];
            let gates = &io.y[1][wide.clone()];
            let (r, z, n) = (&gates[..d], &gates[d..2 * d], &gates[2 * d..]);
            let dout = &dh_next[narrow.clone()];
            let before_n = |i: usize| dout[i] * (R::ONE - z[i]) * (R::ONE - n[i] * n[i]); // (G5)
            let before_z = |i: usize| dout[i] * (h[i] - n[i]) * z[i] * (R::ONE - z[i]); // (G6)
            let before_r = |i: usize| before_n(i) * hp_n[i] * r[i] * (R::ONE - r[i]); // (G7)
            // (G8)
            if let Some(dxp) = dxp.as_deref_mut() {
                let (dr, dzn) = dxp[wide.clone()].split_at_mut(d);
                let (dz, dn) = dzn.split_at_mut(d);
                vectorize!(|| {
                    for i in 0..d {
                        dr[i] += before_r(i);
                        dz[i] += before_z(i);
                        dn[i] += before_n(i);
                    }
                });
            }
            if let Some(dhp) = dhp.as_deref_mut() {
                let (dr, dzn) = dhp[wide].split_at_mut(d);
                let (dz, dn) = dzn.split_at_mut(d);
                vectorize!(|| {
                    for i in 0..d {
                        dr[i] += before_r(i);
                        dz[i] += before_z(i);
                        dn[i] += before_n(i) * r[i];
                    }
                });
            }
            if let Some(dh) = dh.as_deref_mut() {
                let dh = &mut dh[narrow];
                vectorize!(|| (0..d).for_each(|i| dh[i] += z[i] * dout[i]));
            }
        }
    }
}
