//! `MatrixMut`: a rectangle of a row-major matrix that several threads may write side by side.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::base::Real;

/// A writable rectangle of a row-major matrix. Unlike a slice it can be cut between two columns, so that threads share one
/// product by columns when it has few rows. The parts of a cut have no element in common.
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
        let lower = self.start.wrapping_add(at * self.ld);
        (MatrixMut { rows: at, ..self }, MatrixMut { start: lower, rows: self.rows - at, ..self })
    }

    /// Columns `..at` and columns `at..`.
    pub fn split_columns(self, at: usize) -> (Self, Self) {
        assert!(at <= self.columns, "split_columns: column {at} of {}", self.columns);
        let right = self.start.wrapping_add(at);
        (MatrixMut { columns: at, ..self }, MatrixMut { start: right, columns: self.columns - at, ..self })
    }

    /// Row `i`.
    pub fn row(&mut self, i: usize) -> &mut [R] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: the elements of row `i`, if there are any, lie within the borrowed data, and `self` is their only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.start.wrapping_add(i * self.ld), self.columns) }
    }

    /// The first element and the distance of rows.
    pub(super) fn raw(&mut self) -> (*mut R, usize) {
        (self.start, self.ld)
    }
}
