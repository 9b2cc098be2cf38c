//! `MatrixMut`: a rectangle of a row-major matrix that several threads may write side by side.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::base::Real;

/// A writable rectangle of a row-major matrix. Unlike a slice it can be cut between two columns, so that threads share one
/// product by columns when it has few rows.
pub struct MatrixMut<'a, R> {
    start: *mut R,
    rows: usize,
    columns: usize,
    ld: usize,
    owner: PhantomData<&'a mut [R]>,
}

// SAFETY: a `MatrixMut` is a unique borrow of its rectangle's elements, as `&mut [R]` is of its own.
unsafe impl<R: Send> Send for MatrixMut<'_, R> {}

impl<'a, R: Real> MatrixMut<'a, R> {
    /// The matrix `[rows, columns]` at the start of `data`, whose rows begin `ld` elements apart.
    ///
    /// # Panics
    /// If the rows overlap or reach beyond `data`.
    pub fn new(data: &'a mut [R], rows: usize, columns: usize, ld: usize) -> Self {
        super::check("c", data.len(), rows, columns, ld);
        MatrixMut { start: data.as_mut_ptr(), rows, columns, ld, owner: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A shorter borrow of the same rectangle.
    pub fn reborrow(&mut self) -> MatrixMut<'_, R> {
        MatrixMut { start: self.start, rows: self.rows, columns: self.columns, ld: self.ld, owner: PhantomData }
    }

    /// Rows `..at` and rows `at..`.
    pub fn split_rows(self, at: usize) -> (Self, Self) {
        assert!(at <= self.rows, "split_rows: row {at} of {}", self.rows);
        // An empty lower part must not start beyond the data.
        let skip = if at == self.rows { 0 } else { at * self.ld };
        // SAFETY: row `at`, if it exists, lies within the borrowed data. The two parts have no row in common.
        let lower = unsafe { self.start.add(skip) };
        (MatrixMut { rows: at, ..self }, MatrixMut { start: lower, rows: self.rows - at, ..self })
    }

    /// Columns `..at` and columns `at..`.
    pub fn split_columns(self, at: usize) -> (Self, Self) {
        assert!(at <= self.columns, "split_columns: column {at} of {}", self.columns);
        let skip = if self.rows == 0 { 0 } else { at };
        // SAFETY: column `at` of the first row, or the end of that row, lies within the borrowed data or one past it. The two
        // parts have no column in common.
        let right = unsafe { self.start.add(skip) };
        (MatrixMut { columns: at, ..self }, MatrixMut { start: right, columns: self.columns - at, ..self })
    }

    /// Row `i`.
    pub fn row(&mut self, i: usize) -> &mut [R] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: row `i` lies within the borrowed data, and `self` is its only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(i * self.ld), self.columns) }
    }

    /// The first element and the distance of rows.
    pub(super) fn raw(&mut self) -> (*mut R, usize) {
        (self.start, self.ld)
    }
}
