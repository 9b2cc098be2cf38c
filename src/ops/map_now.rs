//! A map with what is seen laid on it: what is known at this moment, cell by cell, before it is written and moved.
//!
//! ```text
//! (M3) y_{c k} = z_{s k}  for cell c of the map that is cell s in view;  y_{c k} = m_{c k} elsewhere
//! (M4) dz_{s k} += dy_{c k};  dm_{c k} += dy_{c k} elsewhere
//! ```
//! Map and view are those of [`ego_map`](super::ego_map).
//!
//! | tensor | shape |
//! |---|---|
//! | state | [rows, H + S S K] |
//! | z | [rows, V V K] |
//! | y | [rows, S S K] |

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
    /// The map [n, S S K] of state [n, H + S S K] with what is seen [n, V V K] laid on it.
    pub fn map_now(&mut self, state: Var, seen: Var, shape: MapShape) -> Var {
        shape.check();
        let (rows, width) = (self.height(state), self.width(state));
        assert!(width >= shape.map(), "map_now: a state of {width} has no room for {shape:?}");
        assert_eq!(
            (self.height(seen), self.width(seen)),
            (rows, shape.seen()),
            "map_now: what is seen does not fit {shape:?}"
        );
        let out = self.with_width(state, shape.map());
        let [y] = self.call(MapNow { rows, own: width - shape.map(), shape }, &[state, seen], [&out]);
        y
    }
}

struct MapNow {
    rows: usize,
    /// H.
    own: usize,
    shape: MapShape,
}

impl MapNow {
    /// Numbers of a state.
    fn width(&self) -> usize {
        self.own + self.shape.map()
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
        Cost { flops: 0.0, bytes: 8.0 * (self.rows * self.shape.map()) as f64 }
    }

    fn reads(&self) -> Reads {
        Reads { x: 0, y: 0 }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let (map, seen, k) = (self.shape.map(), self.shape.seen(), self.shape.classes);
        let rows = io.x[0].chunks_exact(self.width()).zip(io.x[1].chunks_exact(seen));
        for (y, (state, z)) in y.chunks_exact_mut(map).zip(rows) {
            y.copy_from_slice(&state[self.own..]);
            for (at, seen) in self.shape.window() {
                y[at..at + k].copy_from_slice(&z[seen..seen + k]); // (M3)
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(dy), ..] = io.dy else { return };
        let [mut dstate, mut dseen, ..] = io.dx;
        let (width, seen, k) = (self.width(), self.shape.seen(), self.shape.classes);
        for (i, dy) in dy.chunks_exact_mut(self.shape.map()).enumerate() {
            // (M4)
            for (at, from) in self.shape.window() {
                let dy = &mut dy[at..at + k];
                if let Some(dseen) = &mut dseen {
                    let dz = &mut dseen[i * seen + from..i * seen + from + k];
                    dz.iter_mut().zip(&*dy).for_each(|(dz, &dy)| *dz += dy);
                }
                dy.fill(R::ZERO);
            }
            if let Some(dstate) = &mut dstate {
                let dm = &mut dstate[i * width + self.own..(i + 1) * width];
                dm.iter_mut().zip(&*dy).for_each(|(dm, &dy)| *dm += dy);
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([state, seen, ..], y, rows, own) = (io.x, io.y[0], self.rows, self.own);
        let [side, view, classes, columns] = self.shape.arguments();
        MapNowForward { y, state, seen, rows, own, side, view, classes, columns }
            .threads(io.on, rows * self.shape.map())
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([dstate, dseen, ..], dy, rows, own) = (io.dx, io.dy[0].read(), self.rows, self.own);
        if !dstate.is_some() && !dseen.is_some() {
            return Ok(());
        }
        let [side, view, classes, columns] = self.shape.arguments();
        MapNowBackward { dstate, dseen, dy, rows, own, side, view, classes, columns }
            .threads(io.on, rows * self.shape.map())
    }
}
