//! What the emulated driver knows beyond a real one: faults in words, counters per kernel, the order of warps and blocks.

use std::ffi::{c_char, c_int};

use cudarc::driver::sys;

use crate::base::{Error, Result};

/// The functions that only the emulated driver exports.
#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    fault: Text,
    counters: Text,
    reset: unsafe extern "C" fn() -> c_int,
    order: unsafe extern "C" fn(u64) -> c_int,
    sample: unsafe extern "C" fn(u32) -> c_int,
    cache: unsafe extern "C" fn(u64) -> c_int,
}

/// Writes a text and a final zero into a buffer of a given length, cut if need be; returns the text's whole length without
/// the zero.
type Text = unsafe extern "C" fn(*mut c_char, usize) -> usize;

impl Emulator {
    /// Looks the functions up in the driver that [`find::driver`](super::find::driver) opened.
    pub(super) fn open() -> Result<Self> {
        // SAFETY: the driver is open, and the types are those of `emulator/src/driver/own_calls.rs`.
        unsafe {
            Ok(Emulator {
                fault: symbol("dreamer_emulator_fault")?,
                counters: symbol("dreamer_emulator_counters")?,
                reset: symbol("dreamer_emulator_reset")?,
                order: symbol("dreamer_emulator_order")?,
                sample: symbol("dreamer_emulator_sample")?,
                cache: symbol("dreamer_emulator_cache")?,
            })
        }
    }

    /// The sentence about the fault that broke the context: what happened, where, in which kernel, block, warp and lane.
    pub fn fault(&self) -> Option<String> {
        Some(text(self.fault)).filter(|text| !text.is_empty())
    }

    /// What all launches since [`reset`](Self::reset) cost: a JSON object of objects of numbers, by kernel.
    pub fn counters(&self) -> String {
        text(self.counters)
    }

    /// Sets all counters to zero.
    pub fn reset(&self) {
        // SAFETY: takes nothing, and cannot fail while the driver is open.
        unsafe { (self.reset)() };
    }

    /// Seeds the order in which warps, blocks, streams and independent nodes of a graph run. Correct kernels give the same
    /// bits for every seed.
    pub fn order(&self, seed: u64) {
        // SAFETY: takes a number, and cannot fail while the driver is open.
        unsafe { (self.order)(seed) };
    }

    /// Of each launch, runs at most `most` blocks, spread evenly over the grid, and scales what they count to all of it; 0 runs all. Results
    /// have holes then, and the memory of the context no longer knows what nobody wrote. Ends with the context.
    pub fn sample(&self, most: u32) {
        // SAFETY: takes a number, and cannot fail while the driver is open.
        unsafe { (self.sample)(most) };
    }

    /// Puts a second-level cache of so many bytes, empty at first, between multiprocessors and memory; 0 takes it away. With it, and where only
    /// [some](Self::sample) blocks run, what is counted of global memory is that of all blocks. Ends with the context.
    pub fn cache(&self, bytes: u64) {
        // SAFETY: takes a number, and cannot fail while the driver is open.
        unsafe { (self.cache)(bytes) };
    }
}

/// # Safety
/// The driver must be open, and `F` the type of the function.
unsafe fn symbol<F: Copy>(name: &str) -> Result<F> {
    // SAFETY: as the caller promised.
    let found = unsafe { sys::culib().get::<F>(format!("{name}\0").as_bytes()) };
    found.map(|symbol| *symbol).map_err(|_| {
        Error::new(format!("the emulated CUDA driver lacks {name}: build it from the same checkout as this program."))
    })
}

fn text(function: Text) -> String {
    let mut bytes = vec![0_u8; 4096];
    loop {
        // SAFETY: the buffer is as long as we say.
        let length = unsafe { function(bytes.as_mut_ptr().cast(), bytes.len()) };
        if length < bytes.len() {
            bytes.truncate(length);
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        bytes.resize(length + 1, 0);
    }
}
