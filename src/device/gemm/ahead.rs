//! Memory that is asked for while something else is worked on.
#![allow(unsafe_code)]

use super::lanes::Lanes;

/// Bytes of a cache line, and of the longest vector.
pub(super) const LINE: usize = 64;

/// The lines of a matrix that is read next, asked for in equal portions.
pub(super) struct Ahead<E> {
    row: *const E,
    ld: usize,
    rows: usize,
    /// Bytes of a row, and how many of them are asked for already.
    width: usize,
    done: usize,
    portion: usize,
}

impl<E> Ahead<E> {
    /// `rows` rows of `columns` elements that begin `ld` apart, in so many portions.
    pub fn new(row: *const E, ld: usize, rows: usize, columns: usize, portions: usize) -> Self {
        let width = columns * size_of::<E>();
        Ahead { row, ld, rows, width, done: 0, portion: (rows * width.div_ceil(LINE)).div_ceil(portions) }
    }

    /// Asks for one portion.
    pub fn ask<L: Lanes<Element = E>>(&mut self) {
        for _ in 0..self.portion {
            if self.rows == 0 {
                return;
            }
            // SAFETY: asking for a line reads nothing.
            unsafe { L::prefetch(self.row.wrapping_byte_add(self.done)) };
            self.done += LINE;
            if self.done >= self.width {
                self.done = 0;
                self.row = self.row.wrapping_add(self.ld);
                self.rows -= 1;
            }
        }
    }
}
