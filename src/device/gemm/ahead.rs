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

/// Lines that a tile asks for on its way, one after the other, equally far apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trail<E> {
    next: *const E,
    stride: usize,
}

impl<E> Trail<E> {
    /// A line that is at hand, again and again.
    pub fn nowhere(near: *const E) -> Self {
        Trail { next: near, stride: 0 }
    }

    /// Asks for a line.
    #[inline(always)]
    pub fn ask<L: Lanes<Element = E>>(&mut self) {
        // SAFETY: asking for a line reads nothing.
        unsafe { L::prefetch(self.next) };
        self.next = self.next.wrapping_add(self.stride);
    }
}

/// The lines of matrices of `rows` rows, in columns: the lines at one place of all rows.
pub(super) struct Columns<E> {
    /// First element, elements between the beginnings of two rows, elements of a row.
    matrices: [(*const E, usize, usize); 2],
    rows: usize,
    /// The matrix and the element of its rows where the next column begins.
    at: (usize, usize),
    /// Columns that a tile has to do.
    portion: usize,
}

impl<E> Columns<E> {
    /// Elements of a line.
    const PER: usize = LINE / size_of::<E>();

    /// The columns of two matrices, for so many tiles.
    pub fn new(matrices: [(*const E, usize, usize); 2], rows: usize, tiles: usize) -> Self {
        let columns: usize = matrices.iter().map(|m| m.2.div_ceil(Self::PER)).sum();
        Columns { matrices, rows, at: (0, 0), portion: columns.div_ceil(tiles) }
    }

    /// The column that the next tile asks for on its way; where tiles are fewer than columns, others are asked for at once.
    pub fn next<L: Lanes<Element = E>>(&mut self, near: *const E) -> Trail<E> {
        for _ in 1..self.portion {
            let mut trail = self.column(near);
            (0..self.rows).for_each(|_| trail.ask::<L>());
        }
        self.column(near)
    }

    fn column(&mut self, near: *const E) -> Trail<E> {
        let (matrix, element) = self.at;
        match self.matrices.get(matrix) {
            Some(&(first, ld, columns)) if self.rows > 0 => {
                let next = element + Self::PER;
                self.at = if next < columns { (matrix, next) } else { (matrix + 1, 0) };
                Trail { next: first.wrapping_add(element), stride: ld }
            }
            _ => Trail::nowhere(near),
        }
    }
}
