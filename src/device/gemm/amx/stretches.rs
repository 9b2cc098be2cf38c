//! Where the elements of a window stand in an image, vector by vector: computed once, used for each window.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::product::BLOCK;
use super::super::windows::Sliding;
use super::tile::PAIRS;

/// A vector has as many stretches as the runs it lies in; a window has not more runs than elements.
const MOST: usize = BLOCK / 2 + BLOCK / 2 / PAIRS;

/// Some elements of a window, 16 in a vector. A stretch is what stands side by side in the image.
pub struct Stretches {
    /// Of each stretch, where lane 0 would stand if it began there, from the beginning of the window, and its lanes.
    offsets: [i32; MOST],
    lanes: [__mmask16; MOST],
    /// Where the stretches of each vector end.
    ends: [u16; BLOCK / 2 / PAIRS],
    vectors: usize,
}

impl Stretches {
    /// No elements.
    pub fn new() -> Self {
        Stretches { offsets: [0; MOST], lanes: [0; MOST], ends: [0; BLOCK / 2 / PAIRS], vectors: 0 }
    }

    /// The elements `elements` of each window, [`BLOCK`] / 2 or fewer.
    pub fn set(&mut self, w: &Sliding, elements: Range<usize>) {
        self.vectors = elements.len().div_ceil(PAIRS);
        let (mut run, mut within) = (elements.start / w.run, elements.start % w.run);
        let mut count = 0;
        for (vector, end) in self.ends[..self.vectors].iter_mut().enumerate() {
            let lanes = (elements.len() - vector * PAIRS).min(PAIRS);
            let mut lane = 0;
            while lane < lanes {
                let length = (w.run - within).min(lanes - lane);
                self.offsets[count] = (run * w.line + within) as i32 - lane as i32;
                self.lanes[count] = (((1_u32 << length) - 1) << lane) as __mmask16;
                (lane, within, count) = (lane + length, within + length, count + 1);
                if within == w.run {
                    (run, within) = (run + 1, 0);
                }
            }
            *end = count as u16;
        }
    }

    /// Number of vectors, the last one filled up with zeros.
    pub fn vectors(&self) -> usize {
        self.vectors
    }

    /// Vector `vector` of each window, given where the windows begin: `put` gets the number of the window and the vector.
    ///
    /// # Safety
    /// The processor has AVX-512; the elements of the windows can be read.
    #[inline(always)]
    pub unsafe fn each(&self, vector: usize, windows: &[*const f32], mut put: impl FnMut(usize, __m512)) {
        let first = if vector == 0 { 0 } else { usize::from(self.ends[vector - 1]) };
        let end = usize::from(self.ends[vector]);
        // What is the same for all windows stays in registers: nothing that is written can change it.
        let stretch = |i: usize| (self.offsets[first + i] as isize, self.lanes[first + i]);
        // SAFETY: lanes that are not of a stretch are not read.
        unsafe {
            let load = |to: __m512, (offset, lanes): (isize, __mmask16), window: *const f32| {
                _mm512_mask_loadu_ps(to, lanes, window.wrapping_offset(offset))
            };
            let zero = _mm512_setzero_ps();
            match end - first {
                1 if stretch(0).1 == !0 => {
                    let (offset, _) = stretch(0);
                    for (i, &window) in windows.iter().enumerate() {
                        put(i, _mm512_loadu_ps(window.wrapping_offset(offset)));
                    }
                }
                1 => {
                    let a = stretch(0);
                    for (i, &window) in windows.iter().enumerate() {
                        put(i, load(zero, a, window));
                    }
                }
                2 => {
                    let (a, b) = (stretch(0), stretch(1));
                    for (i, &window) in windows.iter().enumerate() {
                        put(i, load(load(zero, a, window), b, window));
                    }
                }
                3 => {
                    let (a, b, c) = (stretch(0), stretch(1), stretch(2));
                    for (i, &window) in windows.iter().enumerate() {
                        put(i, load(load(load(zero, a, window), b, window), c, window));
                    }
                }
                count => {
                    for (i, &window) in windows.iter().enumerate() {
                        let mut loaded = zero;
                        for i in 0..count {
                            loaded = load(loaded, stretch(i), window);
                        }
                        put(i, loaded);
                    }
                }
            }
        }
    }
}
