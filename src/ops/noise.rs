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
use crate::device::simd::vectorize;
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

/// Words that are drawn together.
const TILE: usize = 64;

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
        let [mut left] = take(io.y);
        let (mut words, mut drawn) = ([0; TILE], [R::ZERO; TILE]);
        let mut index = io.rows.start * self.n;
        while !left.is_empty() {
            let from = index % TILE;
            vectorize!(|| {
                for (i, words) in words.chunks_exact_mut(4).enumerate() {
                    let block = ((index - from) / 4 + i) as u32;
                    words.copy_from_slice(&philox::block(io.clock.seed, self.stream, io.clock.step, block));
                }
                match self.distribution {
                    // (X1)
                    Noise::Normal => {
                        for (out, words) in drawn.chunks_exact_mut(2).zip(words.chunks_exact(2)) {
                            let pair = philox::normal_pair([words[0], words[1]]);
                            (out[0], out[1]) = (R::of(pair[0]), R::of(pair[1]));
                        }
                    }
                    // (X2)
                    Noise::Gumbel => {
                        for (out, &word) in drawn.iter_mut().zip(&words) {
                            *out = R::of(philox::gumbel(word));
                        }
                    }
                }
            });
            let (now, rest) = left.split_at_mut((TILE - from).min(left.len()));
            now.copy_from_slice(&drawn[from..from + now.len()]);
            index += now.len();
            left = rest;
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
