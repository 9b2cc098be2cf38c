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

    /// A vector of the window that begins at `window`.
    ///
    /// # Safety
    /// The processor has AVX-512; the elements of the window can be read.
    #[inline(always)]
    pub unsafe fn load(&self, vector: usize, window: *const f32) -> __m512 {
        let first = if vector == 0 { 0 } else { self.ends[vector - 1] };
        // SAFETY: lanes that are not of a stretch are not read.
        unsafe {
            let mut loaded = _mm512_setzero_ps();
            for i in usize::from(first)..usize::from(self.ends[vector]) {
                let from = window.wrapping_offset(self.offsets[i] as isize);
                loaded = _mm512_mask_loadu_ps(loaded, self.lanes[i], from);
            }
            loaded
        }
    }
}
