//! Philox4x32-10, a counter-based random number generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
//!
//! A draw is a pure function of its address `(seed, stream, step, index)`. There is no generator state to save, so neither the
//! number of threads, nor the order of a batch, nor a resume ever changes a draw. The address is laid into the cipher so:
//!
//! | word | holds |
//! |---|---|
//! | key 0, key 1 | seed, low and high half |
//! | counter 0 | index: which block of four words within the draw |
//! | counter 1 | stream: what the numbers are for (see the constants in [`stream`]) |
//! | counter 2, counter 3 | step, low and high half |

use std::convert::Infallible;

use rand::rand_core::TryRng;

const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// What a stream of random numbers is for. Two purposes never share a stream.
pub mod stream {
    /// Initial parameters; the step is the parameter's position.
    pub const INIT: u32 = 1;
    /// Which chunks a batch is drawn from.
    pub const REPLAY: u32 = 2;
    /// Noise of the posterior samples in `observe`.
    pub const POSTERIOR: u32 = 3;
    /// Noise of the prior samples in `imagine`.
    pub const PRIOR: u32 = 4;
    /// Noise of the actions in `imagine`.
    pub const ACTION: u32 = 5;
    /// Noise of the posterior samples while acting.
    pub const ACT_LATENT: u32 = 6;
    /// Noise of the actions while acting.
    pub const ACT_ACTION: u32 = 7;
    /// Exploration noise.
    pub const EXPLORE: u32 = 8;
    /// Seeds of training layouts.
    pub const TRAIN_LAYOUT: u32 = 9;
    /// Seeds of evaluation layouts.
    pub const EVAL_LAYOUT: u32 = 10;
    /// Prefill: random actions.
    pub const PREFILL: u32 = 11;
    /// Bootstrap intervals.
    pub const BOOTSTRAP: u32 = 12;
    /// Random play in `envs rollout`.
    pub const ROLLOUT: u32 = 13;
    /// Names of episode files; the step is the number of the episode.
    pub const EPISODE_NAME: u32 = 20;
    /// Tests and gradient checks.
    pub const TEST: u32 = 99;
}

/// Ten rounds of Philox4x32: encrypts `counter` under `key`.
#[inline(always)]
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * u64::from(MULTIPLIER[0]);
        let b = u64::from(counter[2]) * u64::from(MULTIPLIER[1]);
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// The four words at address `(seed, stream, step, index)`.
#[inline(always)]
pub fn block(seed: u64, stream: u32, step: u64, index: u32) -> [u32; 4] {
    philox4x32([index, stream, step as u32, (step >> 32) as u32], [seed as u32, (seed >> 32) as u32])
}

/// A word as a uniform number in `(0, 1)`: the middle of one of 2^24 equal cells, so neither 0 nor 1 is ever drawn and the
/// value is exact in f32.
#[inline(always)]
pub fn unit(word: u32) -> f64 {
    (f64::from(word >> 8) + 0.5) / 16_777_216.0
}

/// Two words as two independent standard normal numbers (Box and Muller, 1958).
#[inline(always)]
pub fn normal_pair(words: [u32; 2]) -> [f64; 2] {
    let radius = (-2.0 * ln(unit(words[0]))).sqrt();
    let [sin, cos] = sin_cos_of_turns(unit(words[1]));
    [radius * cos, radius * sin]
}

/// A word as a standard Gumbel number, `-ln(-ln u)`.
#[inline(always)]
pub fn gumbel(word: u32) -> f64 {
    -ln(-ln(unit(word)))
}

/// The natural logarithm of a normal positive number, to 2 ULP. Written out, so that a loop over it becomes vector code, as std's does not:
/// x = 2^e m, ln x = e ln 2 + 2 artanh((m - 1) / (m + 1)), by the series of artanh.
#[inline(always)]
fn ln(x: f64) -> f64 {
    /// Bits of the square root of 1/2: m lies between it and twice it.
    const LOWEST: u64 = 0x3fe6_a09e_667f_3bcd;
    const EXPONENT: u64 = 0x7ff << 52;
    const BIAS: u64 = 1023;
    /// An integer below 2^52 in its low bits makes it a number that is larger by just as much.
    const TWO_52: f64 = 4_503_599_627_370_496.0;
    let offset = x.to_bits() + ((BIAS << 52) - LOWEST);
    let e = f64::from_bits(TWO_52.to_bits() | offset >> 52) - (TWO_52 + BIAS as f64);
    let m = f64::from_bits((offset & !EXPONENT) + LOWEST);
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut p = 1.0 / 19.0;
    for odd in [17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        p = 1.0 / odd + z * p;
    }
    e * std::f64::consts::LN_2 + (2.0 * s + 2.0 * s * (z * p))
}

/// Sine and cosine of so many full turns, between 0 and 1, within 1e-15: those of at most an eighth of a turn, by their series, and the quarter.
#[inline(always)]
fn sin_cos_of_turns(u: f64) -> [f64; 2] {
    /// 1.5 * 2^52: adding it rounds to the nearest integer, which then stands in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let shifted = 4.0 * u + ROUND;
    let quarter = shifted.to_bits();
    let x = (u - 0.25 * (shifted - ROUND)) * std::f64::consts::TAU;
    let z = x * x;
    let (mut sin, mut cos) = (1.0, 1.0);
    for n in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        sin = 1.0 - z * (1.0 / (n * (n - 1.0))) * sin;
    }
    for n in [16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0] {
        cos = 1.0 - z * (1.0 / (n * (n - 1.0))) * cos;
    }
    let sin = x * sin;
    let (a, b) = if quarter & 1 == 1 { (cos, sin) } else { (sin, cos) };
    [if quarter & 2 == 2 { -a } else { a }, if quarter.wrapping_add(1) & 2 == 2 { -b } else { b }]
}

/// A sequential reader of one `(seed, stream, step)`, for host code: implements rand's traits.
///
/// ```
/// use dreamer_fast::base::{Philox, philox::stream};
/// use rand::RngExt;
/// let mut rng = Philox::new(7, stream::TEST, 0);
/// let die: u32 = rng.random_range(1..=6);
/// assert!((1..=6).contains(&die));
/// ```
#[derive(Debug, Clone)]
pub struct Philox {
    seed: u64,
    stream: u32,
    step: u64,
    index: u32,
    words: [u32; 4],
    used: usize,
}

impl Philox {
    /// A reader that begins at index 0 of `(seed, stream, step)`.
    pub fn new(seed: u64, stream: u32, step: u64) -> Self {
        Philox { seed, stream, step, index: 0, words: [0; 4], used: 4 }
    }

    /// A uniform number in `(0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        unit(self.word())
    }

    /// A standard normal number; half of each Box-Muller pair is discarded.
    pub fn normal(&mut self) -> f64 {
        normal_pair([self.word(), self.word()])[0]
    }

    /// A whole number in `0..n`, `n > 0`, without bias.
    pub fn below(&mut self, n: usize) -> usize {
        rand::RngExt::random_range(self, 0..n as u64) as usize
    }

    fn word(&mut self) -> u32 {
        if self.used == 4 {
            self.words = block(self.seed, self.stream, self.step, self.index);
            self.index = self.index.checked_add(1).expect("a stream of Philox has 2^34 words");
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }
}

impl TryRng for Philox {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.word()) | u64::from(self.word()) << 32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            let word = self.word().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of Random123 1.14 (`tests/kat_vectors`, rows `philox4x32 10`).
    #[test]
    fn agrees_with_random123() {
        let all = 0xffff_ffff;
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([all; 4], [all; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn the_functions_written_out_are_those_of_std() {
        for word in (0..1 << 24).step_by(7) {
            let u = unit(word << 8);
            for x in [u, -u.ln()] {
                let (ours, std) = (ln(x), x.ln());
                assert!((ours - std).abs() <= 4.5e-16 * std.abs(), "ln {x} = {ours}, not {std}");
            }
            let (ours, (sin, cos)) = (sin_cos_of_turns(u), (std::f64::consts::TAU * u).sin_cos());
            assert!((ours[0] - sin).abs() < 1e-15 && (ours[1] - cos).abs() < 1e-15, "{u} turns: {ours:?}");
        }
    }

    #[test]
    fn normals_have_unit_moments() {
        let mut rng = Philox::new(1, stream::TEST, 0);
        let draws: Vec<f64> = (0..200_000).map(|_| rng.normal()).collect();
        let moment = |k: i32| draws.iter().map(|x| x.powi(k)).sum::<f64>() / draws.len() as f64;
        assert!(moment(1).abs() < 0.01, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.01, "variance {}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.1, "fourth moment {}", moment(4));
    }
}
