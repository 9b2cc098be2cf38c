//! Is the packed matrix product the matrix product, and does a result depend on nothing but its row, its column and the level?
//!
//! The level is fixed for a process, so `every_level` runs this whole file again in child processes at the lower levels.

#![allow(unsafe_code)]

use std::ops::Range;

use dreamer_fast::base::{Philox, Real};
use dreamer_fast::device::gemm::*;
use dreamer_fast::device::simd::{Level, level};

/// A matrix `[rows, columns]` with leading dimension `ld`; between the rows stands NaN, so that reading there is found out.
fn matrix<R: Real>(seed: u64, rows: usize, columns: usize, ld: usize) -> Vec<R> {
    let mut random = Philox::new(seed, 0, 0);
    let mut data = vec![R::of(f64::NAN); rows * ld];
    for row in data.chunks_mut(ld.max(1)) {
        row[..columns].iter_mut().for_each(|x| *x = R::of(random.normal()));
    }
    data
}

fn bits<R: Real>(data: &[R]) -> Vec<u64> {
    data.iter().map(|x| x.f64().to_bits()).collect()
}

fn epsilon<R: Real>() -> f64 {
    if size_of::<R>() == 4 { f64::from(f32::EPSILON) } else { f64::EPSILON }
}

/// The oracle: three plain loops in f64. `c` must be `old + a b` (`old` NaN: not added) within the error of a sum of k terms, and
/// NaN still between its rows.
fn assert_product<R: Real>(
    name: &str,
    [m, n, k]: [usize; 3],
    a: impl Fn(usize, usize) -> R,
    b: impl Fn(usize, usize) -> R,
    old: impl Fn(usize, usize) -> f64,
    (c, ldc): (&[R], usize),
) {
    for i in 0..m {
        for j in 0..ldc {
            let got = c[i * ldc + j].f64();
            if j >= n {
                assert!(got.is_nan(), "{name} [{m}, {k}] [{k}, {n}]: wrote {got} beyond row {i}, at column {j}");
                continue;
            }
            let start = old(i, j);
            let (mut sum, mut size) = if start.is_nan() { (0.0, 0.0) } else { (start, start.abs()) };
            for p in 0..k {
                sum += a(i, p).f64() * b(p, j).f64();
                size += (a(i, p).f64() * b(p, j).f64()).abs();
            }
            let bound = (k + 2) as f64 * epsilon::<R>() * size;
            assert!(
                (got - sum).abs() <= bound,
                "{name} [{m}, {k}] [{k}, {n}]: c[{i}, {j}] is {got}, not {sum} (+- {bound:e})"
            );
        }
    }
}

fn packed<R: Real>(b: &[R], k: usize, n: usize, ldb: usize) -> Vec<R> {
    let mut out = vec![R::of(f64::NAN); packed_len::<R>(Precision::Full, k, n)];
    pack_b(Precision::Full, b, k, n, ldb, &mut out);
    out
}

const ROWS: [usize; 13] = [0, 1, 2, 3, 4, 5, 7, 13, 14, 15, 29, 31, 50];
const COLUMNS: [usize; 15] = [0, 1, 3, 4, 8, 13, 16, 17, 31, 32, 33, 47, 67, 129, 200];
const DEPTHS: [usize; 7] = [0, 1, 2, 13, 128, 511, BLOCK + 3];

/// Rows, columns and depths of a product: every third triple of the sizes above, so that all pairs of two sizes occur and the
/// test stays short; and sizes that a cache does not hold at once.
fn cases() -> impl Iterator<Item = (usize, [usize; 3])> {
    let small = ROWS.iter().flat_map(|&m| COLUMNS.iter().flat_map(move |&n| DEPTHS.map(|k| [m, n, k]))).step_by(3);
    small.chain([[15, 701, BLOCK + 3], [439, 443, HEIGHT + 3], [29, 900, 2]]).enumerate()
}

fn products<R: Real>() {
    for (case, [m, n, k]) in cases() {
        let (lda, ldb, ldc) = (k + case % 3, n + case % 5, n + case % 2);
        let (a, b) = (matrix::<R>(1, m, k, lda), matrix::<R>(2, k, n, ldb));
        let panels = packed(&b, k, n, ldb);

        let mut c = vec![R::of(f64::NAN); m * ldc];
        gemm_packed(Precision::Full, m, n, k, &a, lda, &panels, &mut c, ldc, false);
        assert_product("gemm", [m, n, k], |i, p| a[i * lda + p], |p, j| b[p * ldb + j], |_, _| f64::NAN, (&c, ldc));

        let old = matrix::<R>(3, m, n, ldc);
        let mut c = old.clone();
        gemm_packed(Precision::Full, m, n, k, &a, lda, &panels, &mut c, ldc, true);
        let start = |i: usize, j: usize| old[i * ldc + j].f64();
        assert_product("gemm +=", [m, n, k], |i, p| a[i * lda + p], |p, j| b[p * ldb + j], start, (&c, ldc));

        // The transpose of B, stored, packs to the same panels.
        let ldt = k + case % 2;
        let mut stored = vec![R::of(f64::NAN); n * ldt];
        (0..n).for_each(|j| (0..k).for_each(|p| stored[j * ldt + p] = b[p * ldb + j]));
        let mut other = vec![R::of(f64::NAN); packed_len::<R>(Precision::Full, k, n)];
        pack_bt(Precision::Full, &stored, k, n, ldt, &mut other);
        assert_eq!(bits(&panels), bits(&other), "pack_bt [{k}, {n}]");
    }
}

#[test]
fn it_is_the_product() {
    products::<f32>();
    products::<f64>();
}

fn transposed_products<R: Real>() {
    for (case, [k, n, m]) in cases() {
        let (ldx, ldy, ldc) = (k + case % 3, n + case % 5, n + case % 2);
        let (x, dy, old) = (matrix::<R>(4, m, k, ldx), matrix::<R>(5, m, n, ldy), matrix::<R>(6, k, n, ldc));
        let mut c = old.clone();
        gemm_tn(Precision::Full, 0..k, n, m, &x, ldx, &dy, ldy, &mut c, ldc);
        let start = |i: usize, j: usize| old[i * ldc + j].f64();
        assert_product("gemm_tn", [k, n, m], |i, p| x[p * ldx + i], |p, j| dy[p * ldy + j], start, (&c, ldc));
    }
}

#[test]
fn the_weight_gradient_is_the_product() {
    transposed_products::<f32>();
    transposed_products::<f64>();
}

/// Cuts `0..len` at multiples of `unit` into pieces of uneven length.
fn cuts(len: usize, unit: usize, seed: u64) -> Vec<Range<usize>> {
    let mut random = Philox::new(seed, 1, 0);
    let mut out = Vec::new();
    let mut start = 0;
    while start < len {
        let end = (start + unit * (1 + random.below(40 / unit.min(20)))).min(len);
        out.push(start..end);
        start = end;
    }
    out
}

/// Every row computed alone, and every uneven cut of rows and columns, gives the bits of the whole.
fn product_of_parts<R: Real>(accumulate: bool) {
    let (m, n, k, ldc) = (61, 200, BLOCK + 37, 203);
    let (a, b, old) = (matrix::<R>(7, m, k, k), matrix::<R>(8, k, n, n), matrix::<R>(9, m, n, ldc));
    let panels = packed(&b, k, n, n);
    let mut whole = old.clone();
    gemm_packed(Precision::Full, m, n, k, &a, k, &panels, &mut whole, ldc, accumulate);

    let mut alone = old.clone();
    for (a, c) in a.chunks(k).zip(alone.chunks_mut(ldc)) {
        gemm_packed(Precision::Full, 1, n, k, a, k, &panels, c, ldc, accumulate);
    }
    assert_eq!(bits(&whole), bits(&alone), "rows alone");

    for seed in 0..20 {
        let mut parts = old.clone();
        let mut below = MatrixMut::new(&mut parts, m, n, ldc);
        for rows in cuts(m, 1, seed) {
            let (here, rest) = below.split_rows(rows.len());
            below = rest;
            let mut right = here;
            for columns in cuts(n, panel_width::<R>(), seed) {
                let (here, rest) = right.split_columns(columns.len());
                right = rest;
                gemm_packed_columns(Precision::Full, columns, k, &a[rows.start * k..], k, &panels, here, accumulate);
            }
        }
        assert_eq!(bits(&whole), bits(&parts), "parts, seed {seed}");
    }
}

#[test]
fn a_product_does_not_depend_on_how_it_is_cut() {
    for accumulate in [false, true] {
        product_of_parts::<f32>(accumulate);
        product_of_parts::<f64>(accumulate);
    }
}

/// A B of fewer columns gives the bits of those columns.
#[test]
fn a_column_does_not_depend_on_n() {
    let (m, n, k) = (17, 100, 83);
    let (a, b) = (matrix::<f32>(10, m, k, k), matrix::<f32>(11, k, n, n));
    let mut whole = vec![0.0; m * n];
    gemm_packed(Precision::Full, m, n, k, &a, k, &packed(&b, k, n, n), &mut whole, n, false);
    for columns in 1..n {
        let mut c = vec![0.0; m * columns];
        gemm_packed(Precision::Full, m, columns, k, &a, k, &packed(&b, k, columns, n), &mut c, columns, false);
        for (part, whole) in c.chunks(columns).zip(whole.chunks(n)) {
            assert_eq!(bits(part), bits(&whole[..columns]), "{columns} columns");
        }
    }
}

fn gradient_of_parts<R: Real>() {
    let (k, n, m, ldc) = (61, 150, 2 * HEIGHT + 37, 151);
    let (x, dy, old) = (matrix::<R>(12, m, k, k), matrix::<R>(13, m, n, n), matrix::<R>(14, k, n, ldc));
    let mut whole = old.clone();
    gemm_tn(Precision::Full, 0..k, n, m, &x, k, &dy, n, &mut whole, ldc);
    for seed in 0..20 {
        let mut parts = old.clone();
        for rows in cuts(k, 1, seed) {
            let c = &mut parts[rows.start * ldc..rows.end * ldc];
            gemm_tn(Precision::Full, rows, n, m, &x, k, &dy, n, c, ldc);
        }
        assert_eq!(bits(&whole), bits(&parts), "rows, seed {seed}");

        let mut parts = old.clone();
        let mut below = MatrixMut::new(&mut parts, k, n, ldc);
        for rows in cuts(k, 1, seed) {
            let (here, rest) = below.split_rows(rows.len());
            below = rest;
            let mut right = here;
            for columns in cuts(n, 1, seed) {
                let (here, rest) = right.split_columns(columns.len());
                right = rest;
                gemm_tn_tile(Precision::Full, rows.clone(), columns, m, &x, k, &dy, n, here);
            }
        }
        assert_eq!(bits(&whole), bits(&parts), "tiles, seed {seed}");
    }
    for j in [0, 77, n - 1] {
        let column = |c: &[R]| (0..k).map(|i| c[i * ldc + j]).collect::<Vec<R>>();
        let mut alone = column(&old);
        gemm_tn_tile(Precision::Full, 0..k, j..j + 1, m, &x, k, &dy, n, MatrixMut::new(&mut alone, k, 1, 1));
        assert_eq!(bits(&column(&whole)), bits(&alone), "column {j} alone");
    }
}

#[test]
fn a_weight_gradient_does_not_depend_on_how_it_is_cut() {
    gradient_of_parts::<f32>();
    gradient_of_parts::<f64>();
}

/// The rule of sums, spelled out: one chain of (fused) multiply-adds in ascending order; with accumulation one per block.
#[test]
fn sums_are_one_ascending_chain() {
    let step = |sum: f32, x: f32, y: f32| if level() == Level::Portable { sum + x * y } else { x.mul_add(y, sum) };
    let (m, n, k) = (5, 37, BLOCK + 100);
    let (a, b, old) = (matrix::<f32>(15, m, k, k), matrix::<f32>(16, k, n, n), matrix::<f32>(17, m, n, n));
    let panels = packed(&b, k, n, n);
    let (mut set, mut added) = (old.clone(), old.clone());
    gemm_packed(Precision::Full, m, n, k, &a, k, &panels, &mut set, n, false);
    gemm_packed(Precision::Full, m, n, k, &a, k, &panels, &mut added, n, true);
    let x = matrix::<f32>(18, k, m, m);
    let mut gradient = old.clone();
    gemm_tn(Precision::Full, 0..m, n, k, &x, m, &b, n, &mut gradient, n);
    for i in 0..m {
        for j in 0..n {
            let at = i * n + j;
            let chain = |from: Range<usize>| from.fold(0.0, |sum, p| step(sum, a[i * k + p], b[p * n + j]));
            assert_eq!(set[at].to_bits(), chain(0..k).to_bits(), "set [{i}, {j}]");
            let blocks = (old[at] + chain(0..BLOCK)) + chain(BLOCK..k);
            assert_eq!(added[at].to_bits(), blocks.to_bits(), "added [{i}, {j}]");
            let blocks = (0..k).step_by(HEIGHT).fold(old[at], |sum, start| {
                let end = (start + HEIGHT).min(k);
                sum + (start..end).fold(0.0, |sum, p| step(sum, x[p * m + i], b[p * n + j]))
            });
            assert_eq!(gradient[at].to_bits(), blocks.to_bits(), "gradient [{i}, {j}]");
        }
    }
}

#[test]
#[should_panic(expected = "gemm: a holds 11 elements, [3, 4] with leading dimension 4 needs 12")]
fn a_short_slice_is_named() {
    gemm_packed(Precision::Full, 3, 2, 4, &[0.0_f32; 11], 4, &packed(&[0.0; 8], 4, 2, 2), &mut [0.0; 6], 2, false);
}

#[test]
#[should_panic(expected = "do not begin at a multiple of")]
fn columns_begin_at_a_panel() {
    let panels = packed(&[0.0_f32; 8], 4, 2, 2);
    gemm_packed_columns(Precision::Full, 1..2, 4, &[0.0; 4], 4, &panels, MatrixMut::new(&mut [0.0], 1, 1, 1), false);
}

/// Numbers that end where a page begins that nobody may touch.
#[cfg(target_os = "linux")]
mod guarded {
    use std::ffi::{c_int, c_void};

    const PAGE: usize = 4096;

    unsafe extern "C" {
        fn mmap(at: *mut c_void, len: usize, access: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
        fn mprotect(at: *mut c_void, len: usize, access: c_int) -> c_int;
    }

    /// `len` zeros before a forbidden page; never given back.
    pub fn zeros(len: usize) -> &'static mut [f32] {
        let bytes = (4 * len).next_multiple_of(PAGE);
        // SAFETY: private memory of our own (read 1, write 2; private 2, anonymous 32), of which the last page is forbidden and
        // the numbers before it are handed out once.
        unsafe {
            let start = mmap(std::ptr::null_mut(), bytes + PAGE, 3, 34, -1, 0);
            assert!(start.addr() != usize::MAX && mprotect(start.byte_add(bytes), PAGE, 0) == 0, "no memory");
            std::slice::from_raw_parts_mut(start.byte_add(bytes - 4 * len).cast(), len)
        }
    }
}

/// A vector that is cut to the columns of a matrix does not touch the memory behind its last element (or this test crashes).
#[cfg(target_os = "linux")]
#[test]
fn nothing_behind_a_matrix_is_touched() {
    let sizes = [
        (1, 1, 1),
        (15, 1, 9),
        (3, 17, 5),
        (29, 33, 14),
        (7, 70, 3),
        (16, 64, 16),
        (16, 49, 30),
        (33, 5, 40),
        (3, 96, 70),
    ];
    for (m, n, k) in sizes {
        for precision in [Precision::Full, Precision::Bf16] {
            let (a, b, c) = (guarded::zeros(m * k), guarded::zeros(k * n), guarded::zeros(m * n));
            let panels = guarded::zeros(packed_len::<f32>(precision, k, n));
            pack_b(precision, b, k, n, n, panels);
            gemm_packed(precision, m, n, k, a, k, panels, c, n, false);
            gemm_packed(precision, m, n, k, a, k, panels, c, n, true);
            gemm_tn(precision, 0..k, n, m, a, k, c, n, b, n);
            pack_bt(precision, b, n, k, n, guarded::zeros(packed_len::<f32>(precision, n, k)));
        }
    }
    // Windows, and of a packed matrix all rows and only some.
    for (across, n) in [(3, 5), (16, 70), (40, 12), (35, 33)] {
        for precision in [Precision::Full, Precision::Bf16] {
            let windows =
                Sliding { down: 2, across, runs: 2, run: 6, step: 4, stride: 4 * across + 4, line: 4 * across + 4 };
            let image = guarded::zeros(windows.reach());
            let pairs = guarded::zeros(image_len(precision, image.len()));
            copy_image(precision, image, pairs);
            let c = guarded::zeros(windows.rows() * n);
            let panels = guarded::zeros(packed_len::<f32>(precision, 20, n));
            for rows in [0..12, 8..20] {
                gemm_windows(precision, &windows, rows, 20, n, pairs, panels, c, true, [&[]; 2]);
            }
            let pairs = guarded::zeros(image.len());
            copy_image_tn(precision, windows.step, image, pairs);
            gemm_windows_tn(precision, &windows, n, pairs, c, guarded::zeros(12 * n), [&[]; 2]);
        }
    }
}

#[test]
fn every_level() {
    if std::env::var_os("DREAMER_SIMD").is_some() {
        println!("skipped: DREAMER_SIMD is set, this process is one of the levels");
        return;
    }
    for name in ["portable", "avx2", "avx512", "avx512bf16"] {
        if Level::named(name).unwrap() >= level() {
            println!("skipped {name}: this process runs at {:?}", level());
            continue;
        }
        let child =
            std::process::Command::new(std::env::current_exe().unwrap()).env("DREAMER_SIMD", name).output().unwrap();
        assert!(child.status.success(), "at {name}: {}", String::from_utf8_lossy(&child.stdout));
    }
}
