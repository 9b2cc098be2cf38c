//! What a map holds of the cells in view: an expectation of what will be seen, before it is looked at.
//!
//! ```text
//! (M1) y_{s k} = a m_{s k}          for cell s in view
//! (M2) dm_{s k} += a dy_{s k}
//! ```
//! Added to logits, the factor a says how sure it is that a cell shows again what it showed before. Map and view are those of [`ego_map`](super::ego_map).
//!
//! | tensor | shape |
//! |---|---|
//! | state | [rows, H + S S K] |
//! | y | [rows, V V K] |

use super::ego_map::MapShape;
use crate::autodiff::op::{Backward, Cost, Forward, Op, Reads, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, MapViewBackward, MapViewForward},
};

impl<R: Real> Graph<R> {
    /// `scale` times what the map of state [.., H + S S K] holds of the cells in view [.., V V K].
    pub fn map_view(&mut self, state: Var, shape: MapShape, scale: f64) -> Var {
        shape.check();
        let (rows, width) = (self.height(state), self.width(state));
        assert!(width >= shape.map(), "map_view: a state of {width} has no room for {shape:?}");
        let out = self.with_width(state, shape.seen());
        let [y] = self.call(MapView { rows, own: width - shape.map(), shape, scale }, &[state], [&out]);
        y
    }
}

struct MapView {
    rows: usize,
    /// H.
    own: usize,
    shape: MapShape,
    /// a.
    scale: f64,
}

impl MapView {
    /// Numbers of a state.
    fn width(&self) -> usize {
        self.own + self.shape.map()
    }
}

impl<R: Real> Op<R> for MapView {
    fn name(&self) -> &'static str {
        "map_view"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.shape.seen()) as f64;
        Cost { flops: n, bytes: 8.0 * n }
    }

    fn reads(&self) -> Reads {
        Reads::output(false)
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let (a, k) = (R::of(self.scale), self.shape.classes);
        for (y, state) in y.chunks_exact_mut(self.shape.seen()).zip(io.x[0].chunks_exact(self.width())) {
            for (at, seen) in self.shape.window() {
                let m = &state[self.own + at..self.own + at + k];
                y[seen..seen + k].iter_mut().zip(m).for_each(|(y, &m)| *y = a * m); // (M1)
            }
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dy), ..], [Some(dx), ..]) = (io.dy, io.dx) else { return };
        let (a, k) = (R::of(self.scale), self.shape.classes);
        for (dy, dstate) in dy.chunks_exact(self.shape.seen()).zip(dx.chunks_exact_mut(self.width())) {
            for (at, seen) in self.shape.window() {
                let dm = &mut dstate[self.own + at..self.own + at + k];
                dm.iter_mut().zip(&dy[seen..seen + k]).for_each(|(dm, &dy)| *dm += a * dy); // (M2)
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let (y, state, rows, own, scale) = (io.y[0], io.x[0], self.rows, self.own, self.scale as f32);
        let [side, view, classes, columns] = self.shape.arguments();
        MapViewForward { y, state, rows, own, side, view, classes, columns, scale }
            .threads(io.on, rows * self.shape.seen())
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let (dstate, dy, rows, own, scale) = (io.dx[0], io.dy[0].read(), self.rows, self.own, self.scale as f32);
        if !dstate.is_some() {
            return Ok(());
        }
        let [side, view, classes, columns] = self.shape.arguments();
        MapViewBackward { dstate, dy, rows, own, side, view, classes, columns, scale }
            .threads(io.on, rows * self.shape.seen())
    }
}
