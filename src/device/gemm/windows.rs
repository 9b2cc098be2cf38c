//! Products with the windows of a convolution, which are read where they lie in the image: nothing is gathered. (By AMX they are:
//! see `amx`.)
//!
//! A window is `runs` stretches of `run` elements, one in each image row that it covers. Windows side by side begin `step`
//! elements apart, so along a row of windows they are a matrix with leading dimension `step`, and a micro-kernel only has to skip
//! from one image row to the next between two runs.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use super::Precision;
use super::ahead::{Ahead, Trail};
use super::gradient::{HEIGHT, Panel, copy};
use super::lanes::Lanes;
use super::product::{CACHE, pieces};
use super::tile::{self, Mode, Tile};

/// The windows over one image as a matrix `[down * across, runs * run]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sliding {
    /// Rows of windows.
    pub down: usize,
    /// Windows in such a row, at most [`HEIGHT`].
    pub across: usize,
    /// Image rows in a window.
    pub runs: usize,
    /// Elements of a window in one image row.
    pub run: usize,
    /// Elements between the beginnings of two windows side by side.
    pub step: usize,
    /// Elements between the beginnings of two rows of windows.
    pub stride: usize,
    /// Elements of an image row.
    pub line: usize,
}

impl Sliding {
    /// Rows of the matrix: windows.
    pub fn rows(&self) -> usize {
        self.down * self.across
    }

    /// Columns of the matrix: elements of a window.
    pub fn columns(&self) -> usize {
        self.runs * self.run
    }

    /// Elements of the image up to the end of the last window.
    pub fn reach(&self) -> usize {
        (self.down - 1) * self.stride + (self.across - 1) * self.step + (self.runs - 1) * self.line + self.run
    }

    /// The same windows over an image of which `steps` neighbours stand in one element, if none of them begins or ends between.
    pub(super) fn folded(&self, steps: usize) -> Option<Sliding> {
        let fold = |n: usize| n.is_multiple_of(steps).then_some(n / steps);
        Some(Sliding {
            run: fold(self.run)?,
            step: fold(self.step)?,
            stride: fold(self.stride)?,
            line: fold(self.line)?,
            ..*self
        })
    }

    /// Whether [`gemm_windows`](super::gemm_windows) takes these windows: in pairs, no window begins or ends between two.
    pub fn suits(&self, precision: Precision) -> bool {
        self.folded(precision.steps()).is_some()
    }
}

/// `C (+)= P B`, P the windows, B some rows of a packed matrix.
pub(super) struct Product<E> {
    pub windows: Sliding,
    pub n: usize,
    pub image: *const E,
    /// The first of these rows in the first panel.
    pub b: *const E,
    /// Elements in a panel of the packed matrix.
    pub panel: usize,
    /// Whether zeros follow these rows to the end of a tile of AMX.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub padded: bool,
    pub c: *mut E,
    pub accumulate: bool,
    /// What is read or written next.
    pub next: [*const [E]; 2],
}

/// `C += P^T dY`, P the windows; transposed where [`transposes`](super::transposes) says so.
pub(super) struct Gradient<E> {
    pub windows: Sliding,
    pub n: usize,
    /// In pairs: each element with its neighbour in the next window. The last window of an odd row has none; whatever stands in its
    /// place is multiplied by a zero of dY, so it must be finite.
    pub image: *const E,
    pub dy: *const E,
    pub c: *mut E,
    /// What is read next.
    pub next: [*const [E]; 2],
}

/// A job of either kind.
pub(super) enum Job<E> {
    Product(Product<E>),
    Gradient(Gradient<E>),
}

/// Runs a job.
///
/// # Safety
/// The processor has the instruction set of `L`; the pointers are valid for the matrices and the image that the job names, C
/// for writing and by nobody else.
pub(super) unsafe fn run<L: Lanes>(job: &Job<L::Element>) {
    // SAFETY: the caller's promises, passed on.
    unsafe {
        match job {
            Job::Product(p) => product::<L>(p),
            Job::Gradient(p) => gradient::<L>(p),
        }
    }
}

/// For as many panels of B as the second-level cache holds, for each row of windows, for each tile of it, all those panels.
unsafe fn product<L: Lanes>(p: &Product<L::Element>) {
    let w = &p.windows;
    let width = 2 * L::LEN;
    let group = (CACHE / (w.columns() * width * size_of::<L::Element>())).max(1) * width;
    let most = tile::tallest::<L>(p.n);
    let tiles = w.down * w.across.div_ceil(most) * p.n.div_ceil(width);
    let mut ahead = p.next.map(|next| Ahead::new(next.cast(), 0, 1, next.len(), tiles));
    for first in (0..p.n).step_by(group) {
        let end = (first + group).min(p.n);
        for y in 0..w.down {
            for (left, right) in pieces(w.across, most, 1) {
                let mut column = first;
                while column < end {
                    let vectors = tile::widest(right - left, (end - column).div_ceil(L::LEN));
                    let columns = (end - column).min(vectors * L::LEN);
                    ahead.iter_mut().for_each(Ahead::ask::<L>);
                    // SAFETY: windows left..right of row y lie within the image, rows and columns within C, and the panels that
                    // hold the columns within B. `column` begins a panel, because only the last tile of a group has an odd
                    // number of vectors and groups are whole panels.
                    unsafe {
                        let tile = Tile {
                            depth: w.run,
                            runs: w.runs,
                            jump: w.line - w.run,
                            a: p.image.add(y * w.stride + left * w.step),
                            lda: w.step,
                            b: p.b.add(column / width * p.panel),
                            panel: p.panel,
                            c: p.c.add((y * w.across + left) * p.n + column),
                            ldc: p.n,
                            columns,
                            mode: if p.accumulate { Mode::Add } else { Mode::Set },
                            trail: Trail::nowhere(p.b),
                        };
                        tile::run::<L, false>(right - left, vectors, &tile);
                    }
                    column += columns;
                }
            }
        }
    }
}

/// For each block of rows of windows, for each panel of dY, for each tile of the windows' columns.
unsafe fn gradient<L: Lanes>(p: &Gradient<L::Element>) {
    let w = &p.windows;
    let width = 2 * L::LEN;
    let mut panel = Panel(MaybeUninit::uninit());
    let panel: *mut L::Element = panel.0.as_mut_ptr().cast();
    let pairs = w.across.div_ceil(L::STEPS);
    let across = pairs * L::STEPS;
    let most = HEIGHT / across;
    let rows = tile::tallest::<L>(p.n);
    let tiles = w.down.div_ceil(most) * p.n.div_ceil(width) * w.runs * w.run.div_ceil(rows);
    let mut ahead = p.next.map(|next| Ahead::new(next.cast(), 0, 1, next.len(), tiles));
    for (from, to) in pieces(w.down, most, 1) {
        for column in (0..p.n).step_by(width) {
            let columns = (p.n - column).min(width);
            // SAFETY: windows of rows from..to are rows of dY; `most` of those rows fit the panel.
            unsafe {
                let dy = p.dy.add(from * w.across * p.n + column);
                let windows = (to - from) * w.across;
                // The windows of a row are paired among themselves, so that rows of an odd number end in half a pair.
                let height = if w.across == across { windows } else { w.across };
                for row in (0..windows).step_by(height) {
                    copy::<L>(
                        dy.add(row * p.n),
                        p.n,
                        height,
                        columns,
                        panel.add(row / w.across * pairs * width),
                        width,
                    );
                }
            }
            for run in 0..w.runs {
                for (left, right) in pieces(w.run, rows, 1) {
                    ahead.iter_mut().for_each(Ahead::ask::<L>);
                    // SAFETY: elements left..right of a run of those windows lie within the image, and rows of C are elements of
                    // a window.
                    unsafe {
                        let tile = Tile {
                            depth: pairs,
                            runs: to - from,
                            jump: w.stride.wrapping_sub(across * w.step),
                            a: p.image.add(from * w.stride + run * w.line + left),
                            lda: L::STEPS * w.step,
                            b: panel,
                            panel: 0,
                            c: p.c.add((run * w.run + left) * p.n + column),
                            ldc: p.n,
                            columns,
                            mode: Mode::Add,
                            trail: Trail::nowhere(panel),
                        };
                        tile::run::<L, true>(right - left, columns.div_ceil(L::LEN), &tile);
                    }
                }
            }
        }
    }
}
