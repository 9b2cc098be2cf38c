//! `NumpyRng`: the generator that Gymnasium gives every environment, bit for bit.
//!
//! `gymnasium.utils.seeding.np_random(seed)` returns `numpy.random.Generator(PCG64(SeedSequence(seed)))`. A world that draws the
//! same numbers in the same order builds the same layout, so parity by seed begins here. The sources are NumPy's
//! `bit_generator.pyx` (SeedSequence), `pcg64.h` (PCG64, XSL-RR 128/64), `distributions.c` (bounded integers, intervals) and
//! `_generator.pyx` (shuffle, choice). Two things are easy to miss:
//!
//! - 32-bit draws come in pairs: one 64-bit word is drawn, its low half is used, its high half waits for the next 32-bit draw,
//!   however many 64-bit draws (doubles) lie between.
//! - `integers` and `choice` use Lemire's multiplication, `shuffle` and `permutation` use masked rejection.

use crate::base::{Error, Result};

const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

/// A NumPy generator: 128-bit state and increment, and the half word that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumpyRng {
    state: u128,
    increment: u128,
    /// The high half of the last word drawn for a 32-bit number, if it is not used yet.
    waiting: Option<u32>,
    /// What NumPy's state dictionary shows as `uinteger`: the last half word that waited, kept after use.
    half: u32,
}

impl NumpyRng {
    /// Bytes that [`NumpyRng::save`] writes.
    pub const SAVED_BYTES: usize = 37;

    /// `Generator(PCG64(SeedSequence(seed)))`.
    pub fn new(seed: u64) -> Self {
        let [a, b, c, d] = seed_sequence(seed);
        let join = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        // pcg_setseq_128_srandom_r: step from 0, add the initial state, step again.
        let increment = join(c, d) << 1 | 1;
        let state = increment.wrapping_add(join(a, b)).wrapping_mul(MULTIPLIER).wrapping_add(increment);
        NumpyRng { state, increment, waiting: None, half: 0 }
    }

    /// The next 64-bit word; a waiting half word goes on waiting.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
        ((self.state >> 64) as u64 ^ self.state as u64).rotate_right((self.state >> 122) as u32)
    }

    /// The next 32-bit word: the half word that waits, or the low half of a new word.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if let Some(word) = self.waiting.take() {
            return word;
        }
        let word = self.next_u64();
        self.half = (word >> 32) as u32;
        self.waiting = Some(self.half);
        word as u32
    }

    /// `Generator.random()`: a multiple of 2^-53 in `[0, 1)`.
    #[inline]
    pub fn random(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// `Generator.uniform(low, high)`.
    #[inline]
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random()
    }

    /// `Generator.integers(low, high)` of dtype int64: a whole number in `low..high`. A range of one number draws nothing.
    #[inline]
    pub fn integers(&mut self, low: i64, high: i64) -> i64 {
        assert!(low < high, "integers: low {low} is not below high {high}");
        // The largest offset; NumPy's ranges are closed.
        let range = high.wrapping_sub(1).wrapping_sub(low) as u64;
        low.wrapping_add(self.offset(range) as i64)
    }

    /// `Generator.choice(n)`: an index below `n`, drawn by `integers`.
    #[inline]
    pub fn choice(&mut self, n: usize) -> usize {
        self.integers(0, n as i64) as usize
    }

    /// `Generator.shuffle(items)`, of a list or of an array.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.interval(i as u64) as usize;
            items.swap(i, j);
        }
    }

    /// `Generator.permutation(out.len())`, written into `out`.
    pub fn permutation(&mut self, out: &mut [usize]) {
        for (i, item) in out.iter_mut().enumerate() {
            *item = i;
        }
        self.shuffle(out);
    }

    /// The whole state: state and increment (16 bytes each, little endian), the flag of the waiting half word, the half word.
    pub fn save(&self) -> [u8; Self::SAVED_BYTES] {
        let mut bytes = [0; Self::SAVED_BYTES];
        bytes[..16].copy_from_slice(&self.state.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.increment.to_le_bytes());
        bytes[32] = u8::from(self.waiting.is_some());
        bytes[33..].copy_from_slice(&self.half.to_le_bytes());
        bytes
    }

    /// The generator that [`NumpyRng::save`] wrote. An error if the bytes cannot be one.
    pub fn load(bytes: &[u8]) -> Result<Self> {
        let damaged = |what: String| {
            Error::new(format!("a saved random generator {what}: the state is damaged, go back to an older checkpoint"))
        };
        let Ok(bytes) = <&[u8; Self::SAVED_BYTES]>::try_from(bytes) else {
            return Err(damaged(format!("has {} bytes instead of {}", bytes.len(), Self::SAVED_BYTES)));
        };
        let wide = |at: usize| u128::from_le_bytes(bytes[at..at + 16].try_into().expect("16 bytes"));
        let half = u32::from_le_bytes(bytes[33..].try_into().expect("4 bytes"));
        let (state, increment, flag) = (wide(0), wide(16), bytes[32]);
        if increment % 2 == 0 || flag > 1 {
            return Err(damaged(format!("has increment {increment:#x} (even) or flag {flag} (not 0 or 1)")));
        }
        Ok(NumpyRng { state, increment, waiting: (flag == 1).then_some(half), half })
    }

    /// `random_bounded_uint64_fill` of one number, unmasked: `0..=range`. Ranges below 2^32 use 32-bit words.
    #[inline]
    fn offset(&mut self, range: u64) -> u64 {
        if range == 0 {
            0
        } else if let Ok(range) = u32::try_from(range) {
            u64::from(self.lemire_u32(range))
        } else {
            self.lemire_u64(range)
        }
    }

    /// Lemire, "Fast random integer generation in an interval" (2019): the high half of word * (range + 1) is the number; the
    /// few low halves that would favour some numbers are rejected.
    #[inline]
    fn lemire_u32(&mut self, range: u32) -> u32 {
        if range == u32::MAX {
            return self.next_u32();
        }
        let count = range + 1;
        let mut product = u64::from(self.next_u32()) * u64::from(count);
        if (product as u32) < count {
            let threshold = (u32::MAX - range) % count;
            while (product as u32) < threshold {
                product = u64::from(self.next_u32()) * u64::from(count);
            }
        }
        (product >> 32) as u32
    }

    /// The same on 64-bit words; `range` is below 2^64 - 1, since `integers` has an exclusive `high` of 64 bits.
    fn lemire_u64(&mut self, range: u64) -> u64 {
        let count = range + 1;
        let mut product = u128::from(self.next_u64()) * u128::from(count);
        if (product as u64) < count {
            let threshold = (u64::MAX - range) % count;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(count);
            }
        }
        (product >> 64) as u64
    }

    /// `random_interval`: `0..=max` by masking words to the bits of `max` and rejecting those above it.
    #[inline]
    fn interval(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let word = if max <= u64::from(u32::MAX) { u64::from(self.next_u32()) } else { self.next_u64() };
            if word & mask <= max {
                return word & mask;
            }
        }
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`: a pool of four 32-bit words is mixed from the seed, eight words are hashed
/// out of it.
fn seed_sequence(seed: u64) -> [u64; 4] {
    let hash = |word: u32, constant: &mut u32, multiplier: u32| {
        let word = word ^ *constant;
        *constant = constant.wrapping_mul(multiplier);
        let word = word.wrapping_mul(*constant);
        word ^ word >> 16
    };
    let mix = |x: u32, y: u32| {
        let word = x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715));
        word ^ word >> 16
    };

    // A seed below 2^32 has one word of entropy, padded with zeros, so both cases are the same pool.
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0];
    let mut constant = 0x43b0_d7e5;
    for word in &mut pool {
        *word = hash(*word, &mut constant, 0x931e_8875);
    }
    for source in 0..4 {
        for target in (0..4).filter(|&target| target != source) {
            pool[target] = mix(pool[target], hash(pool[source], &mut constant, 0x931e_8875));
        }
    }

    let mut constant = 0x8b51_f9dd;
    let mut word = |i: usize| u64::from(hash(pool[i % 4], &mut constant, 0x58f3_8ded));
    std::array::from_fn(|i| word(2 * i) | word(2 * i + 1) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Recorded from NumPy by `scripts/record_numpy_rng.py`.
    const RECORDED: &str = include_str!("../../tests/fixtures/numpy_rng/calls.json");

    fn whole(value: &Value) -> i64 {
        value.as_i64().expect("a whole number")
    }

    fn number(text: &Value) -> u128 {
        text.as_str().expect("a number as text").parse().expect("a decimal number")
    }

    /// The state as NumPy's dictionary shows it: state, inc, has_uint32, uinteger.
    fn assert_state(rng: &NumpyRng, state: &Value, when: &str) {
        assert_eq!(rng.state, number(&state[0]), "state {when}");
        assert_eq!(rng.increment, number(&state[1]), "inc {when}");
        assert_eq!(i64::from(rng.waiting.is_some()), whole(&state[2]), "has_uint32 {when}");
        assert_eq!(i64::from(rng.half), whole(&state[3]), "uinteger {when}");
    }

    /// Makes one recorded call and returns what NumPy would have returned, as JSON.
    fn call(rng: &mut NumpyRng, call: &Value) -> Value {
        match call[0].as_str().expect("a name") {
            "integers" => rng.integers(whole(&call[1]), whole(&call[2])).into(),
            "choice" => rng.choice(whole(&call[1]) as usize).into(),
            "random" => rng.random().into(),
            "uniform" => rng.uniform(call[1].as_f64().expect("low"), call[2].as_f64().expect("high")).into(),
            "shuffle" => {
                let mut items: Vec<u32> = (0..whole(&call[1]) as u32).map(|i| 10 * i).collect();
                rng.shuffle(&mut items);
                items.into()
            }
            "permutation" => {
                let mut items = vec![0; whole(&call[1]) as usize];
                rng.permutation(&mut items);
                items.into()
            }
            name => panic!("unknown call {name}"),
        }
    }

    #[test]
    fn draws_what_numpy_draws() {
        let recorded: Value = serde_json::from_str(RECORDED).expect("the fixture is JSON");
        let mut calls = 0;
        for recording in recorded.as_array().expect("recordings") {
            let seed = number(&recording["seed"]) as u64;
            let mut rng = NumpyRng::new(seed);
            assert_state(&rng, &recording["first_state"], &format!("after seed {seed}"));
            for (i, recorded) in recording["calls"].as_array().expect("calls").iter().enumerate() {
                let result = call(&mut rng, recorded);
                let expected = recorded.as_array().expect("a call").last().expect("a result");
                assert_eq!(&result, expected, "seed {seed}, call {i}: {recorded}");
                calls += 1;
            }
            assert_state(&rng, &recording["last_state"], &format!("after the calls of seed {seed}"));
        }
        assert!(calls > 1000, "only {calls} calls recorded");
    }

    #[test]
    fn a_saved_generator_goes_on_as_if_never_saved() {
        let mut rng = NumpyRng::new(3);
        for draws in 0..4 {
            let mut copy = NumpyRng::load(&rng.save()).expect("just saved");
            assert_eq!(copy, rng, "after {draws} draws of 32 bits");
            assert_eq!(copy.next_u32(), rng.next_u32());
        }
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let mut bytes = NumpyRng::new(3).save();
        assert!(NumpyRng::load(&bytes[1..]).unwrap_err().to_string().contains("36 bytes instead of 37"));
        bytes[32] = 2;
        assert!(NumpyRng::load(&bytes).is_err());
        bytes[32] = 0;
        bytes[16] ^= 1;
        assert!(NumpyRng::load(&bytes).is_err());
    }
}
