//! A transposed convolution as a plain one, so that nothing is added up twice.
//!
//! Outputs whose places agree up to the remainder by the stride s see the same window of x: output `s a + r`, with phase r in
//! `0..s`, takes `x[a - i]` times the kernel's element `s i + r`, for i in `0..t`, t = ceil(kernel / s). So the whole is one product of
//! windows of t by t positions with a matrix whose columns are all phases of all channels:
//!
//! ```text
//! Y[(a, b), (r, r', co)] = sum over (i, j, ci) of x[a - t + 1 + i, b - t + 1 + j, ci] B[(i, j, ci), (r, r', co)]
//! B[(i, j, ci), (r, r', co)] = W[ci, s (t - 1 - i) + r, s (t - 1 - j) + r', co], or 0 beyond the kernel
//! ```
//!
//! Rows of windows that reach over the upper or lower edge leave out those rows of B; at the left and right edge x is padded by zeros.

use super::patches::Windows;
use crate::base::Real;
use crate::device::gemm::{self, Precision, Sliding};
use crate::device::simd::vectorize;

/// The phases of a transposed convolution from x [h, w, c_in] to an image [H, W, c_out].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phases {
    /// The windows of the image that x stands for, one for each position.
    windows: Windows,
    /// c_in
    input: usize,
    /// t
    taps: usize,
    precision: Precision,
}

impl Phases {
    /// The phases of a transposed convolution, if this way is expected to be the faster one: zeros are multiplied where the kernel
    /// is no multiple of the stride, at the edges, and in the last vector of the columns; the other way adds up windows, which
    /// costs about as much as 14 multiplications, or 28 of bf16, for each of their elements.
    pub fn of(windows: Windows, input: usize, precision: Precision) -> Option<Phases> {
        let adding = match precision {
            Precision::Full => 14,
            Precision::Bf16 => 28,
        };
        let phases = Phases::always(windows, input, precision);
        let lanes = |n: usize| n.next_multiple_of(16);
        let (w, taps) = (&windows, phases.taps);
        let here = w.oh * taps * phases.across() * taps * input * lanes(phases.columns());
        let there = w.count() * (input * lanes(w.patch()) + adding * w.patch());
        (w.pad == 0 && here < there && phases.sliding(taps).suits(precision)).then_some(phases)
    }

    /// The phases, for windows without padding.
    pub fn always(windows: Windows, input: usize, precision: Precision) -> Phases {
        Phases { windows, input, taps: windows.kernel.div_ceil(windows.stride), precision }
    }

    /// Windows of x side by side.
    fn across(&self) -> usize {
        self.windows.ow + self.taps - 1
    }

    /// Elements of a row of x with zeros at both ends.
    fn line(&self) -> usize {
        (self.windows.ow + 2 * (self.taps - 1)) * self.input
    }

    /// Columns of B.
    pub fn columns(&self) -> usize {
        self.windows.stride * self.windows.stride * self.windows.c
    }

    /// Rows of B.
    pub fn rows(&self) -> usize {
        self.taps * self.taps * self.input
    }

    /// A row of windows that have `rows` rows in x.
    fn sliding(&self, rows: usize) -> Sliding {
        Sliding {
            down: 1,
            across: self.across(),
            runs: rows,
            run: self.taps * self.input,
            step: self.input,
            stride: self.line(),
            line: self.line(),
        }
    }

    /// Elements of scratch memory.
    pub fn scratch(&self) -> usize {
        self.windows.oh * self.padded(self.line()) + self.across() * self.columns()
    }

    /// Elements that so many elements of x become.
    fn padded(&self, len: usize) -> usize {
        gemm::image_len(self.precision, len)
    }

    /// For each element of B, row by row, where it stands in a weight whose element (ci, p, q, co) is at `at(ci, p, q, co)`; `u32::MAX`
    /// marks a zero.
    pub fn table(&self, at: impl Fn(usize, usize, usize, usize) -> usize) -> Vec<u32> {
        let (s, t, kernel) = (self.windows.stride, self.taps, self.windows.kernel);
        let mut table = Vec::with_capacity(self.rows() * self.columns());
        for row in 0..self.rows() {
            let (i, j, ci) = (row / self.input / t, row / self.input % t, row % self.input);
            for column in 0..self.columns() {
                let (phase, co) = (column / self.windows.c, column % self.windows.c);
                let (p, q) = (s * (t - 1 - i) + phase / s, s * (t - 1 - j) + phase % s);
                table.push(if p < kernel && q < kernel { at(ci, p, q, co) as u32 } else { u32::MAX });
            }
        }
        table
    }

    /// Adds to an image [H, W, c_out] what x [h, w, c_in] contributes, given B packed. `next` is the memory that is needed next: it is
    /// asked for meanwhile.
    pub fn run<R: Real>(&self, x: &[R], packed: &[R], scratch: &mut [R], image: &mut [R], next: [&[R]; 2]) {
        let (w, t, n) = (&self.windows, self.taps, self.columns());
        let line = self.padded(self.line());
        let (padded, products) = scratch[..self.scratch()].split_at_mut(w.oh * line);
        let edge = self.padded((t - 1) * self.input);
        for (to, from) in padded.chunks_exact_mut(line).zip(x.chunks_exact(w.ow * self.input)) {
            to[..edge].fill(R::ZERO);
            gemm::copy_image(self.precision, from, &mut to[edge..line - edge]);
            to[line - edge..].fill(R::ZERO);
        }
        let down = w.oh + t - 1;
        for a in 0..down {
            // Rows of the window that lie in x.
            let (from, to) = ((t - 1).saturating_sub(a), t.min(down - a));
            let sliding = self.sliding(to - from);
            let rows = from * sliding.run..to * sliding.run;
            let x = &padded[(a + from + 1 - t) * line..];
            let next = next.map(|next| &next[a * next.len() / down..(a + 1) * next.len() / down]);
            gemm::gemm_windows(self.precision, &sliding, rows, self.rows(), n, x, packed, products, false, next);
            let rows = image.chunks_exact_mut(w.w * w.c).skip(w.stride * a).take(w.stride);
            for (r, row) in rows.enumerate() {
                let width = w.stride * w.c;
                let products = &products[r * width..];
                match width {
                    6 => add_narrow::<R, 6>(products, n, row),
                    _ => vectorize!(|| for (to, from) in row.chunks_mut(width).zip(products.chunks(n)) {
                        to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
                    }),
                }
            }
        }
    }
}

/// Adds the first `W` of every `n` products to the next `W` elements of `row`, which may end in fewer. A loop over so few numbers costs
/// more than the numbers unless its length is known.
fn add_narrow<R: Real, const W: usize>(products: &[R], n: usize, row: &mut [R]) {
    let (whole, rest) = row.as_chunks_mut::<W>();
    let after = products.chunks(n).nth(whole.len()).unwrap_or_default();
    vectorize!(|| for (to, from) in whole.iter_mut().zip(products.chunks(n)) {
        if let Some(from) = from.first_chunk::<W>() {
            *to = std::array::from_fn(|i| to[i] + from[i]);
        }
    });
    rest.iter_mut().zip(after).for_each(|(to, &from)| *to += from);
}
