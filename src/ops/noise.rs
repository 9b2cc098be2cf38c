//! Noise drawn from Philox at (seed, stream, step, index): element i of a tensor is word i of its stream, whichever worker draws it.
//!
//! ```text
//! (X1) normal: elements 2j, 2j+1 = Box-Muller of words 2j, 2j+1
//! (X2) gumbel: element i = -ln(-ln u_i)
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | noise | [rows, n] |

pub use crate::autodiff::op::Noise;
use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::{Real, philox};
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, NoiseGumbel, NoiseNormal},
};

impl<R: Real> Graph<R> {
    /// Fresh noise at every step of the clock; `stream` says what for (see [`philox::stream`]).
    pub fn noise(&mut self, distribution: Noise, stream: u32, shape: &[usize]) -> Var {
        let n = *shape.last().expect("a shape has at least one axis");
        let rows = shape.iter().product::<usize>() / n;
        let [noise] = self.call(Draw { rows, n, distribution, stream }, &[], [shape]);
        noise
    }
}

struct Draw {
    rows: usize,
    n: usize,
    distribution: Noise,
    stream: u32,
}

impl<R: Real> Op<R> for Draw {
    fn name(&self) -> &'static str {
        "noise"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let n = (self.rows * self.n) as f64;
        Cost { flops: 60.0 * n, bytes: 4.0 * n }
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [out] = take(io.y);
        let mut index = io.rows.start * self.n;
        let mut left = out;
        while !left.is_empty() {
            let words = philox::block(io.clock.seed, self.stream, io.clock.step, (index / 4) as u32);
            let drawn = match self.distribution {
                Noise::Normal => {
                    let (a, b) = (philox::normal_pair([words[0], words[1]]), philox::normal_pair([words[2], words[3]]));
                    [a[0], a[1], b[0], b[1]]
                }
                Noise::Gumbel => words.map(philox::gumbel),
            };
            let from = index % 4;
            let take = (4 - from).min(left.len());
            let (now, rest) = left.split_at_mut(take);
            now.iter_mut().zip(&drawn[from..]).for_each(|(out, &x)| *out = R::of(x));
            left = rest;
            index += take;
        }
    }

    fn backward(&self, _io: Backward<'_, R>) {}

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let (noise, clock, n, stream) = (io.y[0], io.clock, self.rows * self.n, self.stream);
        // A thread draws four numbers.
        match self.distribution {
            Noise::Normal => NoiseNormal { noise, clock, n, stream }.threads(io.on, n.div_ceil(4)),
            Noise::Gumbel => NoiseGumbel { noise, clock, n, stream }.threads(io.on, n.div_ceil(4)),
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, _io: &Launch<'_>) -> Result<()> {
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn draws(&self) -> Option<(Noise, u32)> {
        Some((self.distribution, self.stream))
    }
}
