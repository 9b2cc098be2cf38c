//! Exported functions that no real driver has.

use std::ffi::{c_char, c_int};

use super::call::{Needs, enter, why};
use crate::counters::Counters;
use crate::memory::Cache;

/// Why the context is broken, or else why this thread's last failing call failed, as a sentence with kernel, block, warp,
/// lane and source line; empty if the error's code says it all. Writes at most `length` bytes with a final zero, and
/// returns how long the text is without the zero.
///
/// # Safety
/// `to` is null, or `length` bytes there may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dreamer_emulator_fault(to: *mut c_char, length: usize) -> usize {
    // SAFETY: as the caller promised.
    unsafe { hand_out(&why(), to, length) }
}

/// What all launches since the last reset cost: a JSON object with one object of numbers for each kernel. Work that no call
/// has waited for is not in it. Writes and returns as [`dreamer_emulator_fault`] does.
///
/// # Safety
/// `to` is null, or `length` bytes there may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dreamer_emulator_counters(to: *mut c_char, length: usize) -> usize {
    let mut text = String::new();
    enter(Needs::Driver, |state| {
        let kernels: Vec<String> =
            state.counters.iter().map(|(name, counters)| format!("{name:?}:{}", json(counters))).collect();
        text = format!("{{{}}}", kernels.join(","));
        Ok(())
    });
    // SAFETY: as the caller promised.
    unsafe { hand_out(&text, to, length) }
}

/// Sets all counters to zero.
#[unsafe(no_mangle)]
pub extern "C" fn dreamer_emulator_reset() -> c_int {
    enter(Needs::Driver, |state| {
        state.counters.clear();
        Ok(())
    })
}

/// Seeds the order of warps, blocks, streams and nodes of graphs. 0 runs work as late as the calls allow.
#[unsafe(no_mangle)]
pub extern "C" fn dreamer_emulator_order(seed: u64) -> c_int {
    enter(Needs::Driver, |state| {
        state.order = seed;
        Ok(())
    })
}

/// Of each launch of this context, runs at most this many blocks, spread evenly over the grid, and scales what they count to all
/// of it; 0 runs all. For counts alone: results then have holes, so nothing that is read counts as unwritten.
#[unsafe(no_mangle)]
pub extern "C" fn dreamer_emulator_sample(most: u32) -> c_int {
    enter(Needs::Driver, |state| {
        state.sample = most;
        state.memory.assume_written(most > 0);
        Ok(())
    })
}

/// From now on, and until this context ends, accesses go through a second-level cache of this many bytes, empty at first; 0 ends that. A launch
/// of which only some blocks run is run once more for it, all blocks, but no more of them than decides what they access.
#[unsafe(no_mangle)]
pub extern "C" fn dreamer_emulator_cache(bytes: u64) -> c_int {
    enter(Needs::Driver, |state| {
        state.memory.cache = (bytes > 0).then(|| Cache::new(bytes));
        Ok(())
    })
}

/// # Safety
/// `to` is null, or `length` bytes there may be written.
unsafe fn hand_out(text: &str, to: *mut c_char, length: usize) -> usize {
    if !to.is_null() && length > 0 {
        let kept = text.len().min(length - 1);
        // SAFETY: as the caller promised.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), to.cast(), kept);
            to.add(kept).write(0);
        }
    }
    text.len()
}

fn json(counters: &Counters) -> String {
    let fields: Vec<String> = counters.named().map(|(name, count)| format!("{name:?}:{count}")).collect();
    format!("{{{}}}", fields.join(","))
}
