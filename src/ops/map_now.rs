//! A map with what is seen laid on it: what is known at this moment, cell by cell, before it is written and moved.
//!
//! ```text
//! (M3) y_{c k} = z_{s k}  for cell c of the map that is cell s in view;  y_{c k} = m_{c k} elsewhere
//! (M4) dz_{s k} += dy_{c k};  dm_{c k} += dy_{c k} elsewhere
//! ```
//! Laid beside it, not in its place: 2 K numbers for a cell, so that a cell whose sight is blocked at this moment is still what it was known to be.
//! ```text
//! (M5) y_c = [m_c, z_s]   for cell c of the map that is cell s in view;  y_c = [m_c, 0] elsewhere
//! (M6) dm_c += the first half of dy_c;  dz_s += the second
//! ```
//! Map and view are those of [`ego_map`](super::ego_map).
//!
//! | tensor | shape |
//! |---|---|
//! | state | [rows, H + S S K] |
//! | z | [rows, V V K] |
//! | y | [rows, S S K], or [rows, S S 2 K] with (M5) |

use super::ego_map::MapShape;
use crate::autodiff::op::{Backward, Cost, Forward, Op, Reads, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, MapNowBackward, MapNowForward},
};

impl<R: Real> Graph<R> {
    /// The map [n, S S K] of state [n, H + S S K] with what is seen [n, V V K] laid on it (M3), or with `beside` laid beside it [n, S S 2 K] (M5).
    pub fn map_now(&mut self, state: Var, seen: Var, shape: MapShape, beside: bool) -> Var {
        shape.check();
        let (rows, width) = (self.height(state), self.width(state));
        assert!(width >= shape.map(), "map_now: a state of {width} has no room for {shape:?}");
        assert_eq!(
            (self.height(seen), self.width(seen)),
            (rows, shape.seen()),
            "map_now: what is seen does not fit {shape:?}"
        );
        let op = MapNow { rows, own: width - shape.map(), shape, beside };
        let out = self.with_width(state, op.given());
        let [y] = self.call(op, &[state, seen], [&out]);
        y
    }
}

struct MapNow {
    rows: usize,
    /// H.
    own: usize,
    shape: MapShape,
    /// (M5) in place of (M3).
    beside: bool,
}

impl MapNow {
    /// Numbers of a state.
    fn width(&self) -> usize {
        self.own + self.shape.map()
    }

    /// Numbers of y.
    fn given(&self) -> usize {
        self.shape.map() * (1 + usize::from(self.beside))
    }

    /// Where y has what is seen of a cell that begins at `at` on the map.
    fn laid(&self, at: usize) -> usize {
        if self.beside { 2 * at + self.shape.classes } else { at }
    }
}

impl<R: Real> Op<R> for MapNow {
    fn name(&self) -> &'static str {
        "map_now"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        Cost { flops: 0.0, bytes: 4.0 * (self.rows * (self.shape.map() + self.given())) as f64 }
    }

    fn reads(&self) -> Reads {
        Reads { x: 0, y: 0 }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let (seen, k) = (self.shape.seen(), self.shape.classes);
        let rows = io.x[0].chunks_exact(self.width()).zip(io.x[1].chunks_exact(seen));
        for (y, (state, z)) in y.chunks_exact_mut(self.given()).zip(rows) {
            // (M3) (M5)
            if self.beside {
                for (y, m) in y.chunks_exact_mut(2 * k).zip(state[self.own..].chunks_exact(k)) {
                    y[..k].copy_from_slice(m);
                    y[k..].fill(R::ZERO);
                }
            } else {
                y.copy_from_slice(&state[self.own..]);
            }
            for (at, seen) in self.shape.window() {
                y[self.laid(at)..][..k].copy_from_slice(&z[seen..seen + k]);
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(dy), ..] = io.dy else { return };
        let [mut dstate, mut dseen, ..] = io.dx;
        let (width, seen, k) = (self.width(), self.shape.seen(), self.shape.classes);
        for (i, dy) in dy.chunks_exact_mut(self.given()).enumerate() {
            // (M4) (M6)
            for (at, from) in self.shape.window() {
                let dy = &mut dy[self.laid(at)..][..k];
                if let Some(dseen) = &mut dseen {
                    let dz = &mut dseen[i * seen + from..i * seen + from + k];
                    dz.iter_mut().zip(&*dy).for_each(|(dz, &dy)| *dz += dy);
                }
                dy.fill(R::ZERO);
            }
            if let Some(dstate) = &mut dstate {
                let dm = &mut dstate[i * width + self.own..(i + 1) * width];
                let cells = dy.chunks_exact(self.given() / (self.shape.map() / k));
                for (dm, dy) in dm.chunks_exact_mut(k).zip(cells) {
                    dm.iter_mut().zip(dy).for_each(|(dm, &dy)| *dm += dy);
                }
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([state, seen, ..], y, rows, own) = (io.x, io.y[0], self.rows, self.own);
        let ([side, view, classes, columns], beside) = (self.shape.arguments(), usize::from(self.beside));
        MapNowForward { y, state, seen, rows, own, side, view, classes, columns, beside }
            .threads(io.on, rows * self.shape.map())
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([dstate, dseen, ..], dy, rows, own) = (io.dx, io.dy[0].read(), self.rows, self.own);
        if !dstate.is_some() && !dseen.is_some() {
            return Ok(());
        }
        let ([side, view, classes, columns], beside) = (self.shape.arguments(), usize::from(self.beside));
        MapNowBackward { dstate, dseen, dy, rows, own, side, view, classes, columns, beside }
            .threads(io.on, rows * self.shape.map())
    }
}
