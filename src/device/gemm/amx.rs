//! Products of bf16 by the tiles of AMX: the jobs of [`product`](super::product), [`gradient`](super::gradient) and
//! [`windows`](super::windows), cut so that all operands of a tile lie in rows of 64 bytes.
//!
//! | operand | where its tiles are read |
//! |---|---|
//! | B of a product | in the packed matrix: a row of a panel is 32 pairs, two tiles side by side |
//! | A of a product, windows of an image | in a copy of 32 or 64 rows in pairs: windows are gathered here, out of the cache |
//! | dY of a weight gradient, windows of an image | in a copy in pairs of rows, as the vectors read it |
//! | X of a weight gradient | in a copy that is turned: a row for each column of X |
//! | dY of a weight gradient by windows | in such a copy; then the windows are B, and C is transposed |
//!
//! # The rule of sums
//!
//! [`tile`] says what one instruction computes. An element of C goes through it for each 32 steps of the inner dimension, in
//! ascending order, the last ones filled up with zeros; with `accumulate`, and in weight gradients, it begins with what C holds.
//! In a weight gradient by windows, steps are counted anew in every block of rows of windows.
#![allow(unsafe_code)]

mod stretches;
mod tile;

use std::arch::x86_64::{__m512, _mm512_store_ps};
use std::cell::RefCell;
use std::ptr;

use super::ahead::Ahead;
use super::gradient::{self, Gradient};
use super::lanes::Lanes;
use super::pairs::Pairs;
use super::product::{BLOCK, CACHE, Product, pieces};
use super::windows::{self, Job};
use super::x86::Avx512Bf16;
use super::{Precision, depth};
use crate::device::simd::with_avx512_bf16;
use stretches::Stretches;
use tile::{PAIRS, Tile, Tiles, most};

/// Numbers in a vector, rows and columns of a tile register.
const LEN: usize = PAIRS;

/// Columns of a panel.
const WIDTH: usize = 2 * LEN;

/// Elements between two rows of a copy, beyond their length: a vector, so that rows do not all fall into the same lines of the
/// first-level cache.
const GAP: usize = LEN;

/// Elements between the rows of A.
const APART: usize = BLOCK / 2 + GAP;

/// Rows of X and dY, or windows, that are multiplied while a tile of C stays in its registers.
const HEIGHT: usize = 256;

/// Elements between the rows of a turned X.
const TURNED: usize = HEIGHT / 2 + GAP;

/// Elements between the panels of a copy of dY or of the elements of windows.
const PANEL: usize = HEIGHT / 2 * WIDTH;

/// Columns of X, and of dY, whose copies and part of C the second-level cache holds.
const MOST: usize = 416;

/// Copies of operands, aligned for tiles. What a tile reads beyond its rows is multiplied, but not stored.
#[repr(C, align(64))]
struct Rooms {
    /// Rows of A.
    rows: [f32; 4 * LEN * APART],
    /// Columns of X.
    turned: [f32; MOST * TURNED],
    /// A panel of dY, or two of the elements of windows.
    panels: [f32; 2 * PANEL],
}

// SAFETY: zeros are numbers.
unsafe impl bytemuck::Zeroable for Rooms {}

thread_local! {
    /// Not on the stack, whose pages a function with so large a frame would all touch whenever it is called.
    static ROOMS: RefCell<Box<Rooms>> = RefCell::new(bytemuck::zeroed_box());
}

/// Runs a job with the copies of this thread and its tile registers.
///
/// # Safety
/// The processor has AMX with bf16, and the system lets this process use it.
unsafe fn with_rooms(job: impl FnOnce(&mut Rooms, &Tiles)) {
    ROOMS.with_borrow_mut(|rooms| {
        // SAFETY: the caller's promise.
        let tiles = unsafe { Tiles::new() };
        job(rooms, &tiles);
    });
}

/// Images in pairs: nothing to multiply.
///
/// # Safety
/// As for [`pairs::run`](super::pairs::run) with [`Avx512Bf16`].
pub(super) unsafe fn pairs(job: &Pairs<f32>) {
    // SAFETY: the caller's promises.
    unsafe { super::pairs::run::<Avx512Bf16>(job) }
}

/// `C (+)= A B`.
///
/// # Safety
/// The processor has AMX with bf16; the pointers are valid for the matrices that `p` names, C for writing and by nobody else.
pub(super) unsafe fn product(p: &Product<f32>) {
    let panel = depth(Precision::Bf16, p.k) * WIDTH;
    let (a, lda) = (p.a, p.lda);
    // SAFETY: rows top.. of A in numbers start.. are within the caller's matrices.
    let copy = |top: usize, rows: usize, start: usize, count: usize, to: *mut f32| unsafe {
        with_avx512_bf16(
            #[inline(always)]
            || {
                for i in 0..rows {
                    let (from, to) = (a.add((top + i) * lda + start), to.add(i * APART));
                    let whole = count / WIDTH * WIDTH;
                    for at in (0..whole).step_by(WIDTH) {
                        Avx512Bf16::load_along(from.add(at), WIDTH).store(to.add(at / 2));
                    }
                    if whole < count {
                        Avx512Bf16::load_along(from.add(whole), count - whole).store(to.add(whole / 2));
                    }
                }
            },
        );
    };
    let c = Target { padded: true, rows: p.m, columns: p.n, c: p.c, ldc: p.ldc, accumulate: p.accumulate };
    // SAFETY: the caller's promises.
    unsafe { with_rooms(|rooms, tiles| by_rows(rooms, tiles, &c, p.k, p.b, panel, copy, || {})) }
}

/// C of a product by rows.
struct Target {
    /// Whether zeros follow the rows of B to the end of a tile.
    padded: bool,
    rows: usize,
    columns: usize,
    c: *mut f32,
    ldc: usize,
    accumulate: bool,
}

/// `C (+)= A B`, B in panels of `panel` elements. `copy(top, rows, start, count, to)` writes numbers `start..start + count` of so many
/// rows of A from `top` on, in pairs and with zeros to the end of a vector, into rows that begin [`APART`] elements apart. `between` is
/// called before each tile.
///
/// # Safety
/// The processor has AMX with bf16; C and B are valid for that product, C for writing and by nobody else.
unsafe fn by_rows(
    rooms: &mut Rooms,
    tiles: &Tiles,
    target: &Target,
    k: usize,
    b: *const f32,
    panel: usize,
    mut copy: impl FnMut(usize, usize, usize, usize, *mut f32),
    mut between: impl FnMut(),
) {
    let &Target { padded, rows: m, columns: n, c, ldc, accumulate } = target;
    let (tall, wide) = (most(n), most(m));
    let room = rooms.rows.as_mut_ptr();
    for start in (0..k).step_by(BLOCK) {
        let count = (k - start).min(BLOCK);
        let depth = count.div_ceil(2);
        let group = (CACHE / (depth * WIDTH * size_of::<f32>())).max(1) * WIDTH;
        for first in (0..n).step_by(group) {
            let end = (first + group).min(n);
            for top in (0..m).step_by(tall) {
                let rows = (m - top).min(tall);
                copy(top, rows, start, count, room);
                for column in (first..end).step_by(wide) {
                    between();
                    // SAFETY: rows top..top + rows and columns column.. of C, and the panel that holds these, are within the caller's
                    // matrices; A is in `room`.
                    unsafe {
                        tiles.run(&Tile {
                            rows,
                            columns: (end - column).min(wide),
                            depth,
                            a: room,
                            lda: APART,
                            b: b.add(column / WIDTH * panel + start / 2 * WIDTH),
                            panel,
                            padded,
                            c: c.add(top * ldc + column),
                            ldc,
                            keep: accumulate || start > 0,
                        });
                    }
                }
            }
        }
    }
}

/// `C += X^T dY`.
///
/// # Safety
/// As for [`product`].
pub(super) unsafe fn gradient(p: &Gradient<f32>) {
    // SAFETY: the caller's promises.
    unsafe { with_rooms(|rooms, tiles| gradient_in(rooms, tiles, p)) }
}

unsafe fn gradient_in(rooms: &mut Rooms, tiles: &Tiles, p: &Gradient<f32>) {
    let (turned, panel) = (rooms.turned.as_mut_ptr(), rooms.panels.as_mut_ptr());
    for (left, right) in pieces(p.n, MOST, WIDTH) {
        for (top, bottom) in pieces(p.k, MOST, WIDTH) {
            let count = (right - left).div_ceil(WIDTH) * (bottom - top).div_ceil(WIDTH);
            for start in (0..p.m).step_by(HEIGHT) {
                let height = (p.m - start).min(HEIGHT);
                let depth = height.div_ceil(2);
                let (next, rows) = (start + height, (p.m - start - height).min(HEIGHT));
                let mut ahead = [
                    Ahead::new(p.x.wrapping_add(next * p.ldx + top), p.ldx, rows, bottom - top, count),
                    Ahead::new(p.dy.wrapping_add(next * p.ldy + left), p.ldy, rows, right - left, count),
                ];
                // SAFETY: rows start.. of X and dY, columns top..bottom and left..right of them, and that part of C are within the
                // caller's matrices; the copies have room for MOST columns and HEIGHT rows.
                unsafe {
                    let x = p.x.add(start * p.ldx + top);
                    let ldx = p.ldx;
                    let load = |first: usize, vector: usize, pairs: &mut [__m512]| {
                        let (x, columns) = (x.add(vector * LEN), (bottom - top - vector * LEN).min(LEN));
                        for (i, pair) in pairs.iter_mut().enumerate() {
                            let row = 2 * (first + i);
                            *pair = Avx512Bf16::load_down(x.add(row * ldx), ldx, (height - row).min(2), columns).0;
                        }
                    };
                    tile::turn(depth, bottom - top, load, turned, TURNED);
                    for column in (left..right).step_by(WIDTH) {
                        let columns = (right - column).min(WIDTH);
                        let dy = p.dy.add(start * p.ldy + column);
                        gradient::copy::<Avx512Bf16>(dy, p.ldy, height, columns, panel, WIDTH);
                        pad(panel, depth);
                        for row in (top..bottom).step_by(WIDTH) {
                            ahead.iter_mut().for_each(Ahead::ask::<Avx512Bf16>);
                            tiles.run(&Tile {
                                rows: (bottom - row).min(WIDTH),
                                columns,
                                depth,
                                a: turned.add((row - top) * TURNED),
                                lda: TURNED,
                                b: panel,
                                panel: 0,
                                padded: true,
                                c: p.c.add(row * p.ldc + column),
                                ldc: p.ldc,
                                keep: true,
                            });
                        }
                    }
                }
            }
        }
    }
}

/// Products with the windows of an image.
///
/// # Safety
/// As for [`product`], with the image that the job names.
pub(super) unsafe fn windows(job: &Job<f32>) {
    // SAFETY: the caller's promises.
    unsafe {
        match job {
            Job::Product(p) => windows_product(p),
            Job::Gradient(p) => with_rooms(|rooms, tiles| windows_gradient(rooms, tiles, p)),
        }
    }
}

/// `C (+)= P B`: 32 or 64 windows at a time, in one row or in several, are gathered out of the pairs of the image.
unsafe fn windows_product(p: &windows::Product<f32>) {
    let w = &p.windows;
    let portions = w.rows().div_ceil(most(p.n)) * p.n.div_ceil(most(w.rows()));
    let mut ahead = p.next.map(|next| Ahead::new(next.cast::<f32>(), 0, 1, next.len(), portions));
    let mut stretches = Stretches::new();
    let mut began = usize::MAX;
    // SAFETY: windows top.. lie within the image; an element of the image is two steps of the inner dimension, as in `by_rows`.
    let copy = |top: usize, rows: usize, start: usize, count: usize, to: *mut f32| unsafe {
        if start != began {
            stretches.set(w, start / 2..(start + count) / 2);
            began = start;
        }
        let (mut y, mut x) = (top / w.across, top % w.across);
        let mut begins = [ptr::null(); 4 * LEN];
        for window in &mut begins[..rows] {
            *window = p.image.add(y * w.stride + x * w.step);
            x += 1;
            if x == w.across {
                (y, x) = (y + 1, 0);
            }
        }
        let (stretches, begins) = (&stretches, &begins[..rows]);
        with_avx512_bf16(
            #[inline(always)]
            || {
                for vector in 0..stretches.vectors() {
                    let to = to.add(vector * LEN);
                    stretches.each(vector, begins, |i, x| _mm512_store_ps(to.add(i * APART), x));
                }
            },
        );
    };
    let c = Target { padded: p.padded, rows: w.rows(), columns: p.n, c: p.c, ldc: p.n, accumulate: p.accumulate };
    // SAFETY: the caller's promises.
    unsafe {
        with_rooms(|rooms, tiles| {
            let ask = || ahead.iter_mut().for_each(Ahead::ask::<Avx512Bf16>);
            by_rows(rooms, tiles, &c, 2 * w.columns(), p.b, p.panel, copy, ask);
        });
    }
}

/// `C^T += dY^T P`: for each block of rows of windows, dY is turned, and 32 or 64 elements of those windows at a time are gathered.
unsafe fn windows_gradient(rooms: &mut Rooms, tiles: &Tiles, p: &windows::Gradient<f32>) {
    let w = &p.windows;
    let (n, across) = (p.n, w.across);
    let (turned, panels) = (rooms.turned.as_mut_ptr(), rooms.panels.as_mut_ptr());
    let mut stretches = Stretches::new();
    // Windows of a row are paired among themselves.
    let pairs = across.div_ceil(2);
    let rows = HEIGHT / 2 / pairs;
    let portions = w.down.div_ceil(rows) * n.div_ceil(WIDTH) * w.columns().div_ceil(most(n));
    let mut ahead = p.next.map(|next| Ahead::new(next.cast::<f32>(), 0, 1, next.len(), portions));
    for (from, to) in pieces(w.down, rows, 1) {
        let depth = (to - from) * pairs;
        let mut begins = [ptr::null(); HEIGHT / 2];
        for (pair, window) in begins[..depth].iter_mut().enumerate() {
            let (y, x) = (from + pair / pairs, 2 * (pair % pairs));
            *window = p.image.wrapping_add(y * w.stride + x * w.step);
        }
        for (left, right) in pieces(n, MOST, WIDTH) {
            // SAFETY: windows of rows from..to are rows of dY and lie within the image, columns left..right are columns of dY and rows of
            // C, whose columns are elements of a window. The copies have room for MOST columns and HEIGHT windows.
            unsafe {
                let dy = p.dy.add(from * across * n);
                let load = |first: usize, vector: usize, rows: &mut [__m512]| {
                    let column = left + vector * LEN;
                    let columns = (right - column).min(LEN);
                    let (mut y, mut x) = (first / pairs, 2 * (first % pairs));
                    for row in rows {
                        let dy = dy.add((y * across + x) * n + column);
                        *row = Avx512Bf16::load_down(dy, n, (across - x).min(2), columns).0;
                        x += 2;
                        if x >= across {
                            (y, x) = (y + 1, 0);
                        }
                    }
                };
                tile::turn(depth, right - left, load, turned, TURNED);
                let most = most(right - left);
                for first in (0..w.columns()).step_by(most) {
                    let columns = (w.columns() - first).min(most);
                    stretches.set(w, first..first + columns);
                    gather(&stretches, &begins[..depth], panels);
                    (0..columns.div_ceil(WIDTH)).for_each(|i| pad(panels.add(i * PANEL), depth));
                    for row in (left..right).step_by(WIDTH) {
                        ahead.iter_mut().for_each(Ahead::ask::<Avx512Bf16>);
                        tiles.run(&Tile {
                            rows: (right - row).min(WIDTH),
                            columns,
                            depth,
                            a: turned.add((row - left) * TURNED),
                            lda: TURNED,
                            b: panels,
                            panel: PANEL,
                            padded: true,
                            c: p.c.add(row * w.columns() + first),
                            ldc: w.columns(),
                            keep: true,
                        });
                    }
                }
            }
        }
    }
}

/// Zeros from row `depth` of a panel to the end of a tile.
///
/// # Safety
/// The panel can be written.
unsafe fn pad(panel: *mut f32, depth: usize) {
    // SAFETY: the caller's promise.
    unsafe { panel.add(depth * WIDTH).write_bytes(0, (depth.next_multiple_of(LEN) - depth) * WIDTH) }
}

/// Copies the elements of `stretches` of windows into the rows of one or two panels, [`PANEL`] elements apart.
///
/// # Safety
/// The processor has AVX-512; the windows can be read, and the panels written.
#[inline(always)]
unsafe fn gather(stretches: &Stretches, windows: &[*const f32], panels: *mut f32) {
    // SAFETY: the caller's promises.
    unsafe {
        with_avx512_bf16(
            #[inline(always)]
            || {
                for vector in 0..stretches.vectors() {
                    let to = panels.add(vector / 2 * PANEL + vector % 2 * LEN);
                    stretches.each(vector, windows, |i, x| _mm512_store_ps(to.add(i * WIDTH), x));
                }
            },
        );
    }
}
