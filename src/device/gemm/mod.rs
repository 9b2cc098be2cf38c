//! Matrix products, f32 (with operands of bf16, too) and f64, row-major, single-threaded: callers split rows, columns or tiles among threads.
//!
//! | call | computes | shapes |
//! |---|---|---|
//! | [`pack_b`], [`pack_bt`], [`pack_table`] | the packed form of B `[k, n]`, from B, its stored transpose or any other order | out `[packed_len(k, n)]` |
//! | [`gemm_packed`], [`gemm_packed_columns`] | `C (+)= A B` | A `[m, k]`, C `[m, n]` or some of its columns |
//! | [`gemm_windows`], [`gemm_windows_tn`] | the same two with the windows of a convolution as A and X | image, C `[windows, n]` or `[window, n]` (see [`transposes`]) |
//! | [`gemm_tn`], [`gemm_tn_tile`] | `C += X^T dY` | X `[m, k]`, dY `[m, n]`, C `[k, n]` or a tile of it |
//!
//! Every matrix is a slice and a leading dimension, the distance in elements between the beginnings of its rows. Every call names
//! its [`Precision`].
//!
//! # The rule of sums
//!
//! Each element of C is summed by itself, over the inner dimension in ascending order, in one accumulator, by fused
//! multiply-adds (`Level::Portable`: a product, then a sum). So its bits depend on its row of A, its column of B and the
//! [`Level`], and on nothing else: not on m or n, on where it stands in a tile, on how rows and
//! columns are split, on the number of threads.
//! With `accumulate`, and in `gemm_tn`, a sum of [`BLOCK`] (`gemm_tn`: [`HEIGHT`]) steps starts from 0 and is then added to C,
//! and so on, block after block: short sums lose less than a single one over tens of thousands of rows.
//!
//! In [`Precision::Bf16`] the two steps of a pair, 2p and 2p + 1, change places: the odd one comes first. Those bits do not even
//! depend on the level, but for [`Level::Amx`], which has its own rule of sums: see `amx`.

mod ahead;
#[cfg(target_arch = "x86_64")]
mod amx;
mod bf16;
mod gradient;
mod lanes;
mod matrix;
mod pack;
mod pairs;
mod product;
mod tile;
mod windows;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::any::{Any, TypeId};
use std::ops::Range;

pub use bf16::nearest_bf16;
pub use gradient::HEIGHT;
pub use matrix::MatrixMut;
pub use product::BLOCK;
pub use windows::Sliding;

use crate::base::Real;
use crate::device::simd::{Level, level, vectorize};
use bf16::Emulated;
use gradient::Gradient;
use lanes::Plain;
use product::Product;

/// Pairs in a tile of AMX.
const TILE: usize = 16;

/// In what numbers a product multiplies. Matrices are of the element type, and so are sums, in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Those of the matrices.
    #[default]
    Full,
    /// Both operands, of f32, are rounded to bf16, to nearest even: half the memory of packed matrices. Up to twice
    /// the speed at [`Level::Avx512Bf16`], if the processor's instruction is fast, and more at [`Level::Amx`]. Lower levels emulate the
    /// former to the bit, slowly.
    Bf16,
}

impl Precision {
    /// Steps of the inner dimension in an element of a packed matrix.
    fn steps(self) -> usize {
        match self {
            Precision::Full => 1,
            Precision::Bf16 => 2,
        }
    }
}

/// Calls `run` of a module with the vectors of the precision, of the element type and of the level.
macro_rules! dispatch {
    (@level $module:ident, $job:ident, $plain:ty, $avx2:ty, $avx512:ty, $bf16:ty, $amx:expr) => {{
        // SAFETY: `level` never exceeds what the processor has; the caller of this macro has checked every slice against the
        // sizes in the job, and C is a unique borrow.
        #[allow(unsafe_code)]
        unsafe {
            match level() {
                Level::Portable => $module::run::<$plain>($job),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => $module::run::<$avx2>($job),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => $module::run::<$avx512>($job),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512Bf16 => $module::run::<$bf16>($job),
                #[cfg(target_arch = "x86_64")]
                Level::Amx => $amx($job),
                #[cfg(not(target_arch = "x86_64"))]
                other => unreachable!("{other:?} exists on x86-64 only"),
            }
        }
    }};
    (@level $module:ident, $job:ident, $plain:ty, $avx2:ty, $avx512:ty) => {
        dispatch!(@level $module, $job, $plain, $avx2, $avx512, $avx512, $module::run::<$avx512>)
    };
    ($module:ident, $precision:ident, $job:expr) => {{
        let job = $job;
        let any: &dyn Any = &job;
        if let Some(job) = any.downcast_ref() {
            match $precision {
                Precision::Full => dispatch!(@level $module, job, Plain<f32, 4>, x86::Avx2F32, x86::Avx512F32),
                Precision::Bf16 => {
                    dispatch!(@level $module, job, Emulated<4>, Emulated<8>, Emulated<16>, x86::Avx512Bf16, amx::$module)
                }
            }
        } else if let Some(job) = any.downcast_ref() {
            assert_eq!($precision, Precision::Full, "gemm: bf16 stands in for f32 only");
            dispatch!(@level $module, job, Plain<f64, 2>, x86::Avx2F64, x86::Avx512F64);
        } else {
            unreachable!("gemm: Real is f32 or f64");
        }
    }};
}

/// Columns of a panel of packed B: two vectors. Column ranges begin at multiples of it.
pub fn panel_width<R: Real>() -> usize {
    let bytes = match level() {
        Level::Portable => 16,
        Level::Avx2 => 32,
        Level::Avx512 | Level::Avx512Bf16 | Level::Amx => 64,
    };
    2 * bytes / size_of::<R>()
}

/// Whether products are made by the tiles of AMX.
fn tiles(precision: Precision) -> bool {
    precision == Precision::Bf16 && level() == Level::Amx
}

/// Rows of a panel of packed B `[k, n]`: the inner dimension, at [`Level::Amx`] to the end of a tile of pairs.
fn depth(precision: Precision, k: usize) -> usize {
    let depth = k.div_ceil(precision.steps());
    if tiles(precision) { depth.next_multiple_of(TILE) } else { depth }
}

/// Elements of a packed B `[k, n]`.
pub fn packed_len<R: Real>(precision: Precision, k: usize, n: usize) -> usize {
    depth(precision, k).saturating_mul(n.next_multiple_of(panel_width::<R>()))
}

/// Packs B `[k, n]`.
///
/// # Panics
/// If `b` does not hold the matrix or `out` is not [`packed_len`] long.
pub fn pack_b<R: Real>(precision: Precision, b: &[R], k: usize, n: usize, ldb: usize, out: &mut [R]) {
    check("b", b.len(), k, n, ldb);
    check_packed::<R>(precision, out.len(), k, n);
    let width = panel_width::<R>();
    match precision {
        Precision::Full => vectorize!(|| pack::plain(b, k, n, ldb, width, out)),
        Precision::Bf16 => {
            let (b, out) = (bytemuck::cast_slice(single(b)), bytemuck::cast_slice_mut(out));
            vectorize!(|| pack::plain_pairs(b, k, n, ldb, width, depth(precision, k), out));
        }
    }
}

/// Packs B `[k, n]` which is stored as its transpose `[n, k]` with leading dimension `ldb`: for `dx = dy W^T`, W as it stands.
///
/// # Panics
/// If `b` does not hold the matrix or `out` is not [`packed_len`] long.
pub fn pack_bt<R: Real>(precision: Precision, b: &[R], k: usize, n: usize, ldb: usize, out: &mut [R]) {
    check("b", b.len(), n, k, ldb);
    check_packed::<R>(precision, out.len(), k, n);
    let width = panel_width::<R>();
    match precision {
        Precision::Full => vectorize!(|| pack::transposed(b, k, n, ldb, width, out)),
        Precision::Bf16 => {
            let (b, out) = (bytemuck::cast_slice(single(b)), bytemuck::cast_slice_mut(out));
            vectorize!(|| pack::transposed_pairs(b, k, n, ldb, width, depth(precision, k), out));
        }
    }
}

/// Packs B `[k, n]` whose elements, row by row, stand in `source` where `table` says; `u32::MAX` stands for a zero.
///
/// # Panics
/// If the table does not have `k n` entries, an entry is beyond `source`, or `out` is not [`packed_len`] long.
pub fn pack_table<R: Real>(precision: Precision, source: &[R], table: &[u32], k: usize, n: usize, out: &mut [R]) {
    assert_eq!(table.len(), k * n, "gemm: a table of {} entries for [{k}, {n}]", table.len());
    check_packed::<R>(precision, out.len(), k, n);
    let width = panel_width::<R>();
    match precision {
        Precision::Full => pack::table(source, table, k, n, width, out),
        Precision::Bf16 => {
            let (source, out) = (bytemuck::cast_slice(single(source)), bytemuck::cast_slice_mut(out));
            vectorize!(|| pack::table_pairs(source, table, k, n, width, depth(precision, k), out));
        }
    }
}

/// `C (+)= A B`: C `[m, n]`, A `[m, k]`, B packed. Without `accumulate` C is overwritten, also where it holds a NaN.
///
/// # Panics
/// If a slice does not hold its matrix.
pub fn gemm_packed<R: Real>(
    precision: Precision,
    m: usize,
    n: usize,
    k: usize,
    a: &[R],
    lda: usize,
    packed_b: &[R],
    c: &mut [R],
    ldc: usize,
    accumulate: bool,
) {
    check_packed::<R>(precision, packed_b.len(), k, n);
    gemm_packed_columns(precision, 0..n, k, a, lda, packed_b, MatrixMut::new(c, m, n, ldc), accumulate);
}

/// The columns `columns` of a product, so that threads can share one with few rows: C `[m, columns.len()]`, A `[m, k]`, all of B
/// packed. The bits are those of the whole product.
///
/// # Panics
/// If a slice does not hold its matrix, or `columns` does not begin at a multiple of [`panel_width`].
pub fn gemm_packed_columns<R: Real>(
    precision: Precision,
    columns: Range<usize>,
    k: usize,
    a: &[R],
    lda: usize,
    packed_b: &[R],
    mut c: MatrixMut<R>,
    accumulate: bool,
) {
    let (m, n, width) = (c.rows(), c.columns(), panel_width::<R>());
    assert_eq!(columns.len(), n, "gemm_packed: columns {columns:?} of a C with {n} columns");
    assert_eq!(columns.start % width, 0, "gemm_packed: columns {columns:?} do not begin at a multiple of {width}");
    check("a", a.len(), m, k, lda);
    let needed = packed_len::<R>(precision, k, columns.end);
    assert!(
        packed_b.len() >= needed,
        "gemm_packed: packed b holds {} elements, [{k}, {}] needs {needed}",
        packed_b.len(),
        columns.end
    );
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            (0..m).for_each(|i| c.row(i).fill(R::ZERO));
        }
        return;
    }
    let (start, ldc) = c.raw();
    let b = packed_b[packed_len::<R>(precision, k, columns.start)..].as_ptr();
    let job = Product { m, n, k, a: a.as_ptr(), lda, b, c: start, ldc, accumulate };
    dispatch!(product, precision, job);
}

/// The weight gradient, rows `rows` of `C += X^T dY`: X `[m, k]`, dY `[m, n]`; `c` holds those rows of C `[k, n]` only.
/// Threads share a gradient by its rows: the bits are those of the whole.
///
/// # Panics
/// If a slice does not hold its matrix.
pub fn gemm_tn<R: Real>(
    precision: Precision,
    rows: Range<usize>,
    n: usize,
    m: usize,
    x: &[R],
    ldx: usize,
    dy: &[R],
    ldy: usize,
    c: &mut [R],
    ldc: usize,
) {
    let c = MatrixMut::new(c, rows.len(), n, ldc);
    gemm_tn_tile(precision, rows, 0..n, m, x, ldx, dy, ldy, c);
}

/// The rows `rows` and columns `columns` of `C += X^T dY`: X `[m, k]`, dY `[m, n]`, c the tile `[rows.len(), columns.len()]`.
///
/// # Panics
/// If a slice does not hold its matrix, or the tile is not of that size.
pub fn gemm_tn_tile<R: Real>(
    precision: Precision,
    rows: Range<usize>,
    columns: Range<usize>,
    m: usize,
    x: &[R],
    ldx: usize,
    dy: &[R],
    ldy: usize,
    mut c: MatrixMut<R>,
) {
    let (k, n) = (c.rows(), c.columns());
    assert_eq!((rows.len(), columns.len()), (k, n), "gemm_tn: rows {rows:?}, columns {columns:?} of a tile [{k}, {n}]");
    check("x", x.len(), m, rows.end, ldx);
    check("dy", dy.len(), m, columns.end, ldy);
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    let (start, ldc) = c.raw();
    let (x, dy) = (x[rows.start..].as_ptr(), dy[columns.start..].as_ptr());
    let job = if n == 1 && ldc == 1 {
        // C^T += dY^T X: a vector holds several columns of X then, not a single one of dY, and a product commutes.
        Gradient { k: 1, n: k, m, x: dy, ldx: ldy, dy: x, ldy: ldx, c: start, ldc: k }
    } else {
        Gradient { k, n, m, x, ldx, dy, ldy, c: start, ldc }
    };
    dispatch!(gradient, precision, job);
}

/// Elements that [`copy_image`] writes.
pub fn image_len(precision: Precision, len: usize) -> usize {
    len.div_ceil(precision.steps())
}

/// Copies an image, or a stretch of one, into what [`gemm_windows`] reads: as it is, or in pairs of bf16.
///
/// # Panics
/// If `out` is not [`image_len`] long.
pub fn copy_image<R: Real>(precision: Precision, image: &[R], out: &mut [R]) {
    assert_eq!(out.len(), image_len(precision, image.len()), "copy_image: of {} elements", image.len());
    match precision {
        Precision::Full => out.copy_from_slice(image),
        Precision::Bf16 => {
            let job = pairs::Pairs { step: None, from: image.as_ptr(), len: image.len(), to: out.as_mut_ptr() };
            dispatch!(pairs, precision, job);
        }
    }
}

/// Copies an image into what [`gemm_windows_tn`] reads, with windows side by side that begin `step` elements apart: as it is, or
/// each element in a pair of bf16 with its neighbour in the next window.
///
/// # Panics
/// If `out` is not as long as the image.
pub fn copy_image_tn<R: Real>(precision: Precision, step: usize, image: &[R], out: &mut [R]) {
    assert_eq!(out.len(), image.len(), "copy_image_tn: of {} elements", image.len());
    match precision {
        Precision::Full => out.copy_from_slice(image),
        Precision::Bf16 => {
            let job = pairs::Pairs { step: Some(step), from: image.as_ptr(), len: image.len(), to: out.as_mut_ptr() };
            dispatch!(pairs, precision, job);
        }
    }
}

/// `C (+)= P B`: P `[windows, window]` the windows over an image, B the rows `rows` of a packed matrix `[k, n]`, C `[windows, n]`;
/// the image as [`copy_image`] makes it. `next` is memory that is read next, and asked for meanwhile. Without `accumulate` the bits are those of [`gemm_packed`] with gathered windows.
///
/// # Panics
/// If a slice does not hold its matrix or the image its windows, or if these do not [suit](Sliding::suits) the precision.
pub fn gemm_windows<R: Real>(
    precision: Precision,
    windows: &Sliding,
    rows: Range<usize>,
    k: usize,
    n: usize,
    image: &[R],
    packed_b: &[R],
    c: &mut [R],
    accumulate: bool,
    next: [&[R]; 2],
) {
    assert!(
        rows.len() == windows.columns() && rows.end <= k,
        "gemm_windows: rows {rows:?} of a matrix with {k} for windows of {}",
        windows.columns()
    );
    let steps = precision.steps();
    let folded = windows.folded(steps).filter(|_| rows.start.is_multiple_of(steps));
    let windows =
        folded.unwrap_or_else(|| panic!("gemm_windows: {windows:?} from row {} in {precision:?}", rows.start));
    check_packed::<R>(precision, packed_b.len(), k, n);
    check("c", c.len(), windows.rows(), n, n);
    check("image", image.len(), 1, windows.reach(), windows.reach());
    let width = panel_width::<R>();
    let (b, panel) = (packed_b[rows.start / steps * width..].as_ptr(), depth(precision, k) * width);
    let job = windows::Product {
        windows,
        n,
        image: image.as_ptr(),
        b,
        panel,
        padded: rows.start.is_multiple_of(steps * TILE) && rows.end == k,
        c: c.as_mut_ptr(),
        accumulate,
        next: next.map(|next| next as *const [R]),
    };
    dispatch!(windows, precision, windows::Job::Product(job));
}

/// Whether [`gemm_windows_tn`] adds to the transpose of C.
pub fn transposes(precision: Precision) -> bool {
    tiles(precision)
}

/// `C += P^T dY`: P `[windows, window]` the windows over an image, dY `[windows, n]`, C `[window, n]`, or `[n, window]` where [`transposes`]
/// says so; the image as [`copy_image_tn`] makes it. `next` is memory that is read next, and asked for meanwhile.
///
/// # Panics
/// If a slice does not hold its matrix or the image its windows, or if more than [`HEIGHT`] windows stand side by side.
pub fn gemm_windows_tn<R: Real>(
    precision: Precision,
    windows: &Sliding,
    n: usize,
    image: &[R],
    dy: &[R],
    c: &mut [R],
    next: [&[R]; 2],
) {
    assert!(windows.across <= HEIGHT, "gemm_windows_tn: {} windows side by side", windows.across);
    check("dy", dy.len(), windows.rows(), n, n);
    check("c", c.len(), 1, windows.columns() * n, windows.columns() * n);
    check("image", image.len(), 1, windows.reach(), windows.reach());
    let job = windows::Gradient {
        windows: *windows,
        n,
        image: image.as_ptr(),
        dy: dy.as_ptr(),
        c: c.as_mut_ptr(),
        next: next.map(|next| next as *const [R]),
    };
    dispatch!(windows, precision, windows::Job::Gradient(job));
}

/// Whether a slice of `len` elements holds `[rows, columns]` with leading dimension `ld`.
fn check(name: &str, len: usize, rows: usize, columns: usize, ld: usize) {
    assert!(rows < 2 || columns <= ld, "gemm: {name} has rows of {columns} columns but leading dimension {ld}");
    let needed = if rows == 0 || columns == 0 { 0 } else { (rows - 1).saturating_mul(ld).saturating_add(columns) };
    assert!(
        len >= needed,
        "gemm: {name} holds {len} elements, [{rows}, {columns}] with leading dimension {ld} needs {needed}"
    );
}

/// A matrix whose operands are rounded to bf16 is one of f32.
fn single<R: Real>(x: &[R]) -> &[R] {
    assert_eq!(TypeId::of::<R>(), TypeId::of::<f32>(), "gemm: bf16 stands in for f32 only");
    x
}

fn check_packed<R: Real>(precision: Precision, len: usize, k: usize, n: usize) {
    let needed = packed_len::<R>(precision, k, n);
    assert_eq!(len, needed, "gemm: packed b holds {len} elements, [{k}, {n}] needs {needed}");
}
