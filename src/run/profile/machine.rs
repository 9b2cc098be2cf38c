//! What the machine can do at most, measured on as many threads at once as the plan uses.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use crate::device::simd::{Level, level, with_level};

/// Rounds of each measurement, of which the best counts.
const ROUNDS: usize = 5;
/// Steps of the multiply-add loop in one round: some milliseconds.
const STEPS: usize = 200_000;
/// Elements of each of the three arrays that are streamed, on all threads together: more than caches hold.
const STREAM: usize = 16 << 20;

/// Rates of all threads together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Billions of floating point operations a second, of multiply-adds on registers.
    pub gflops: f64,
    /// Billions of bytes a second, of `a = b + 3 c` over arrays that no cache holds; the reading of `a` before it is written is not counted.
    pub gbytes: f64,
}

impl Machine {
    /// Measures both.
    pub fn measure(threads: usize) -> Machine {
        Machine {
            gflops: at_once(threads, multiply_adds) / 1e9,
            gbytes: at_once(threads, |_| triad(STREAM / threads)) / 1e9,
        }
    }

    /// Both rates in a sentence.
    pub fn in_words(&self) -> String {
        format!(
            "At most {:.0} GFLOP/s (multiply-adds on registers) and {:.1} GB/s (a = b + 3 c in memory).",
            self.gflops, self.gbytes
        )
    }
}

/// The sum of the rates that `rate` gives on all threads at once; the best of [`ROUNDS`].
fn at_once(threads: usize, rate: impl Fn(usize) -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let round = || -> f64 {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|i| {
                    let (barrier, rate) = (&barrier, &rate);
                    scope.spawn(move || {
                        barrier.wait();
                        rate(i)
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("a measurement does not panic")).sum()
        })
    };
    (0..ROUNDS).map(|_| round()).fold(0.0, f64::max)
}

/// Operations a second of one thread.
fn multiply_adds(_: usize) -> f64 {
    // As many sums as keep the multipliers busy and still fit the registers: twelve vectors of the level's width.
    match level() {
        Level::Avx512 | Level::Avx512Bf16 | Level::Amx => sums::<{ 12 * 16 }, true>(),
        Level::Avx2 => sums::<{ 12 * 8 }, true>(),
        Level::Portable => sums::<{ 12 * 4 }, false>(),
    }
}

fn sums<const LANES: usize, const FUSED: bool>() -> f64 {
    let begun = Instant::now();
    let sums = with_level(
        #[inline(always)]
        || {
            let (scale, shift) = (black_box(0.999_f32), black_box(0.001_f32));
            let mut sums = [black_box(0.5_f32); LANES];
            for _ in 0..STEPS {
                for sum in &mut sums {
                    // Where the instruction set has no fused operation, `mul_add` would call a function.
                    *sum = if FUSED { sum.mul_add(scale, shift) } else { *sum * scale + shift };
                }
            }
            sums
        },
    );
    black_box(sums);
    (2 * STEPS * LANES) as f64 / begun.elapsed().as_secs_f64()
}

/// Bytes a second of one thread.
fn triad(len: usize) -> f64 {
    let (mut a, b, c) = (vec![0.0_f32; len], vec![1.0_f32; len], vec![2.0_f32; len]);
    // The first pass makes the pages.
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let begun = Instant::now();
        let (a, b, c) = (&mut a[..], &b[..], &c[..]);
        with_level(
            #[inline(always)]
            || {
                for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                    *a = *b + 3.0 * *c;
                }
            },
        );
        best = best.max((3 * size_of::<f32>() * len) as f64 / begun.elapsed().as_secs_f64());
    }
    black_box(a);
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rates_are_those_of_a_computer() {
        let machine = Machine::measure(1);
        assert!(machine.gflops > 0.1 && machine.gflops < 1e5, "{machine:?}");
        assert!(machine.gbytes > 0.01 && machine.gbytes < 1e5, "{machine:?}");
    }
}
