//! Are products in bf16 what they say: exact products of rounded operands, summed in f32, the same bits on every processor without
//! AMX, and with any number of threads? And does a training step made of them stay close to one in f32?
//!
//! The level is fixed for a process, so `every_level` runs this file again in child processes at the lower levels.

use std::ops::Range;
use std::sync::Arc;

use dreamer_fast::base::Philox;
use dreamer_fast::config::{Activation, Config, Norm, Precision, check_resume};
use dreamer_fast::device::gemm::{self, HEIGHT, MatrixMut, Precision::Bf16, Sliding};
use dreamer_fast::device::simd::{Level, level};
use dreamer_fast::device::{Pool, gemm::BLOCK};
use dreamer_fast::dreamer::checks::{parameters, training_step, whole_losses};
use dreamer_fast::dreamer::{Actions, Model, Observation};

/// The nearest bf16, ties to even; what is below the smallest normal number counts as zero.
fn rounded(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE {
        return 0.0_f32.copysign(x);
    }
    let lower = x.to_bits() & 0xffff_0000;
    let upper = f32::from_bits(lower.wrapping_add(0x1_0000));
    let lower = f32::from_bits(lower);
    let (below, above) = ((f64::from(x) - f64::from(lower)).abs(), (f64::from(upper) - f64::from(x)).abs());
    let even = lower.to_bits() >> 16 & 1 == 0;
    if below < above || (below == above && even) { lower } else { upper }
}

/// A matrix `[rows, columns]` of leading dimension `ld` with NaN between the rows. Every tenth number is a tie, or tiny.
fn matrix(seed: u64, rows: usize, columns: usize, ld: usize) -> Vec<f32> {
    let mut random = Philox::new(seed, 0, 0);
    let mut data = vec![f32::NAN; rows * ld];
    for row in data.chunks_mut(ld.max(1)) {
        for x in &mut row[..columns] {
            let number = random.normal() as f32;
            *x = match random.below(20) {
                0 => f32::from_bits(number.to_bits() & 0xffff_0000 | 0x8000),
                1 => number * 1e-41,
                _ => number,
            };
        }
    }
    data
}

/// C must be `old + a b` of the rounded operands, up to the error of f32 sums of k terms.
fn assert_product(
    name: &str,
    [m, n, k]: [usize; 3],
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
    old: impl Fn(usize, usize) -> f32,
    c: &[f32],
) {
    for i in 0..m {
        for j in 0..n {
            let start = f64::from(old(i, j));
            let (mut sum, mut size) = (start, start.abs());
            for p in 0..k {
                let product = f64::from(rounded(a(i, p))) * f64::from(rounded(b(p, j)));
                sum += product;
                size += product.abs();
            }
            let bound = (k + 2) as f64 * f64::from(f32::EPSILON / 2.0) * size + f64::from(f32::MIN_POSITIVE);
            let got = f64::from(c[i * n + j]);
            assert!((got - sum).abs() <= bound, "{name} [{m}, {k}] [{k}, {n}]: c[{i}, {j}] is {got}, not {sum}");
        }
    }
}

fn packed(b: &[f32], k: usize, n: usize, ldb: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; gemm::packed_len::<f32>(Bf16, k, n)];
    gemm::pack_b(Bf16, b, k, n, ldb, &mut out);
    out
}

fn bits(data: &[f32]) -> Vec<u32> {
    data.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn it_is_the_product_of_rounded_operands() {
    let sizes = [1, 2, 3, 7, 13, 16, 17, 31, 32, 33, 67];
    let depths = [1, 2, 3, 31, 32, 33, 67, BLOCK, BLOCK + 3];
    let cases = sizes.iter().flat_map(|&m| sizes.iter().flat_map(move |&n| depths.map(|k| [m, n, k]))).step_by(4);
    for (case, [m, n, k]) in cases.enumerate() {
        let (lda, ldb) = (k + case % 3, n + case % 5);
        let (a, b, old) = (matrix(1, m, k, lda), matrix(2, k, n, ldb), matrix(3, m, n, n));
        let panels = packed(&b, k, n, ldb);
        let (a_at, b_at) = (|i: usize, p: usize| a[i * lda + p], |p: usize, j: usize| b[p * ldb + j]);

        let mut c = vec![f32::NAN; m * n];
        gemm::gemm_packed(Bf16, m, n, k, &a, lda, &panels, &mut c, n, false);
        assert_product("gemm", [m, n, k], a_at, b_at, |_, _| 0.0, &c);
        let mut c = old.clone();
        gemm::gemm_packed(Bf16, m, n, k, &a, lda, &panels, &mut c, n, true);
        assert_product("gemm +=", [m, n, k], a_at, b_at, |i, j| old[i * n + j], &c);

        let ldt = k + case % 2;
        let mut stored = vec![f32::NAN; n * ldt];
        (0..n).for_each(|j| (0..k).for_each(|p| stored[j * ldt + p] = b[p * ldb + j]));
        let mut other = vec![f32::NAN; panels.len()];
        gemm::pack_bt(Bf16, &stored, k, n, ldt, &mut other);
        assert_eq!(bits(&panels), bits(&other), "pack_bt [{k}, {n}]");
    }
}

#[test]
fn the_weight_gradient_is_the_product_of_rounded_operands() {
    for [k, n, m] in
        [[1, 1, 1], [3, 1, 5], [1, 7, 4], [13, 33, 2], [31, 16, HEIGHT + 1], [17, 67, 3 * HEIGHT], [439, 443, 9]]
    {
        let (ldx, ldy) = (k + 1, n + 2);
        let (x, dy, old) = (matrix(4, m, k, ldx), matrix(5, m, n, ldy), matrix(6, k, n, n));
        let mut c = old.clone();
        gemm::gemm_tn(Bf16, 0..k, n, m, &x, ldx, &dy, ldy, &mut c, n);
        assert_product("gemm_tn", [k, n, m], |i, p| x[p * ldx + i], |p, j| dy[p * ldy + j], |i, j| old[i * n + j], &c);
    }
}

/// Windows of `kernel` by `kernel` pixels of `channels`, `stride` apart, over `[size, size]` pixels, and their matrix.
fn windows(kernel: usize, stride: usize, channels: usize, size: usize, image: &[f32]) -> (Sliding, Vec<f32>) {
    let (count, run, line) = ((size - kernel) / stride + 1, kernel * channels, size * channels);
    let (step, stride) = (stride * channels, stride * line);
    let sliding = Sliding { down: count, across: count, runs: kernel, run, step, stride, line };
    let mut rows = Vec::new();
    for window in 0..count * count {
        let first = window / count * stride + window % count * step;
        (0..kernel).for_each(|y| rows.extend_from_slice(&image[first + y * line..][..run]));
    }
    (sliding, rows)
}

#[test]
fn windows_in_the_image_are_those_that_were_gathered() {
    for [kernel, stride, channels, size, n] in [
        [4, 2, 3, 12, 5],
        [5, 2, 4, 13, 40],
        [6, 2, 3, 20, 16],
        [3, 1, 2, 9, 33],
        // More than one block of the inner dimension; of windows in a row; of odd rows of windows; of columns; few windows.
        [4, 2, 36, 14, 70],
        [4, 2, 2, 70, 40],
        [4, 2, 4, 36, 33],
        [3, 2, 2, 11, 430],
        [4, 2, 4, 10, 70],
    ] {
        let image = matrix(20, 1, size * size * channels, size * size * channels);
        let (sliding, rows) = windows(kernel, stride, channels, size, &image);
        let (m, k) = (sliding.rows(), sliding.columns());
        let name = format!("{sliding:?}");

        let panels = packed(&matrix(21, k, n, n), k, n, n);
        let (mut c, mut gathered) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
        gemm::gemm_packed(Bf16, m, n, k, &rows, k, &panels, &mut gathered, n, false);
        let mut pairs = vec![f32::NAN; gemm::image_len(Bf16, image.len())];
        gemm::copy_image(Bf16, &image, &mut pairs);
        gemm::gemm_windows(Bf16, &sliding, 0..k, k, n, &pairs, &panels, &mut c, false, [&[]; 2]);
        assert_eq!(bits(&c), bits(&gathered), "{name}");
        let old = matrix(24, m, n, n);
        c.clone_from(&old);
        gemm::gemm_windows(Bf16, &sliding, 0..k, k, n, &pairs, &panels, &mut c, true, [&[]; 2]);
        let (a, b) = (|i: usize, p: usize| rows[i * k + p], matrix(21, k, n, n));
        assert_product(&name, [m, n, k], a, |p, j| b[p * n + j], |i, j| old[i * n + j], &c);

        let (dy, old) = (matrix(22, m, n, n), matrix(23, k, n, n));
        let mut c = old.clone();
        let mut pairs = vec![f32::NAN; image.len()];
        gemm::copy_image_tn(Bf16, sliding.step, &image, &mut pairs);
        gemm::gemm_windows_tn(Bf16, &sliding, n, &pairs, &dy, &mut c, [&[], &[]]);
        let (x_at, dy_at) = (|p: usize, i: usize| rows[p * k + i], |p: usize, j: usize| dy[p * n + j]);
        if gemm::transposes(Bf16) {
            assert_product(&name, [n, k, m], |j, p| dy_at(p, j), x_at, |j, i| old[j * k + i], &c);
        } else {
            assert_product(&name, [k, n, m], |i, p| x_at(p, i), dy_at, |i, j| old[i * n + j], &c);
        }
    }
}

/// Some rows of a packed matrix, as the edges of a transposed convolution take them: the bits are those of a matrix of these rows.
#[test]
fn some_rows_are_a_matrix_of_their_own() {
    for (k, rows) in [(144, 0..48), (144, 48..144), (144, 96..144), (36, 0..12), (36, 12..36), (900, 0..600)] {
        for (across, n) in [(5, 70), (16, 96), (40, 12), (70, 33)] {
            let (run, step) = (rows.len() / 3, 4);
            let line = (across - 1) * step + run;
            let sliding = Sliding { down: 1, across, runs: 3, run, step, stride: line, line };
            let (image, b) = (matrix(30, 1, 3 * line, 3 * line), matrix(31, k, n, n));
            let mut pairs = vec![f32::NAN; gemm::image_len(Bf16, image.len())];
            gemm::copy_image(Bf16, &image, &mut pairs);
            let alone = packed(&b[rows.start * n..], rows.len(), n, n);
            let all = packed(&b, k, n, n);
            for accumulate in [false, true] {
                let (mut got, mut want) = (matrix(32, across, n, n), matrix(32, across, n, n));
                gemm::gemm_windows(Bf16, &sliding, rows.clone(), k, n, &pairs, &all, &mut got, accumulate, [&[]; 2]);
                let whole = 0..rows.len();
                let (k, next) = (rows.len(), [&[][..]; 2]);
                gemm::gemm_windows(Bf16, &sliding, whole, k, n, &pairs, &alone, &mut want, accumulate, next);
                assert_eq!(bits(&got), bits(&want), "rows {rows:?}, {across} windows, {n} columns");
            }
        }
    }
}

/// Numbers of an earlier product that are left in a thread's memory reach no later one.
#[test]
fn a_nan_does_not_outlive_its_product() {
    let run = |a: &[f32], b: &[f32], [m, n, k]: [usize; 3]| {
        let mut c = vec![0.0; m * n];
        gemm::gemm_packed(Bf16, m, n, k, a, k, &packed(b, k, n, n), &mut c, n, true);
        let mut gradient = vec![0.0; k * n];
        gemm::gemm_tn(Bf16, 0..k, n, m, a, k, &c, n, &mut gradient, n);
        let window = Sliding { down: m / 2, across: 2, runs: 1, run: k / 2 * 2, step: 0, stride: k, line: k };
        let mut pairs = vec![0.0; m / 2 * k];
        gemm::copy_image_tn(Bf16, 0, &a[..m / 2 * k], &mut pairs);
        let mut windows = vec![0.0; k / 2 * 2 * n];
        gemm::gemm_windows_tn(Bf16, &window, n, &pairs, &c[..m / 2 * 2 * n], &mut windows, [&[]; 2]);
        [bits(&c), bits(&gradient), bits(&windows)]
    };
    for size in [[3, 5, 7], [33, 17, 41], [50, 70, 90]] {
        let [m, n, k] = size;
        let (a, b) = (matrix(33, m, k, k), matrix(34, k, n, n));
        let fresh = run(&a, &b, size);
        run(&vec![f32::NAN; 100 * 600], &vec![f32::NAN; 600 * 100], [100, 100, 600]);
        assert!(run(&a, &b, size) == fresh, "{size:?}");
    }
}

#[test]
fn windows_of_odd_runs_do_not_suit() {
    let (sliding, _) = windows(3, 2, 1, 9, &matrix(24, 1, 81, 81));
    assert!(!sliding.suits(Bf16) && sliding.suits(gemm::Precision::Full));
}

#[test]
fn a_table_packs_what_it_lists() {
    let (k, n) = (7, 37);
    let b = matrix(25, k, n, n);
    let table: Vec<u32> = (0..k * n).map(|i| if i % 5 == 0 { u32::MAX } else { (k * n - 1 - i) as u32 }).collect();
    let listed: Vec<f32> = table.iter().map(|&at| if at == u32::MAX { 0.0 } else { b[at as usize] }).collect();
    let mut out = vec![f32::NAN; gemm::packed_len::<f32>(Bf16, k, n)];
    gemm::pack_table(Bf16, &b, &table, k, n, &mut out);
    assert_eq!(bits(&out), bits(&packed(&listed, k, n, n)));
}

/// A sum below the smallest normal number is a zero.
fn flushed(sum: f32) -> f32 {
    if sum.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(sum) } else { sum }
}

/// `round(sum + a b)` in f64, which holds products of bf16 and enough of a sum to round it.
fn fused(sum: f32, a: f32, b: f32) -> f32 {
    flushed((f64::from(sum) + f64::from(rounded(a)) * f64::from(rounded(b))) as f32)
}

/// The sum of `a b` over `steps` in one chain: the odd step of a pair first, each step rounded once.
fn chain(steps: Range<usize>, a: &dyn Fn(usize) -> f32, b: &dyn Fn(usize) -> f32) -> f32 {
    steps.clone().step_by(2).fold(0.0, |sum, p| {
        let odd = if p + 1 < steps.end { fused(sum, a(p + 1), b(p + 1)) } else { sum };
        fused(odd, a(p), b(p))
    })
}

/// The same sum by tiles of AMX: of 32 steps at a time, even and odd ones in a chain each, which are added to each other and then to
/// what there is.
fn tiles(old: f32, steps: usize, a: &dyn Fn(usize) -> f32, b: &dyn Fn(usize) -> f32) -> f32 {
    (0..steps).step_by(32).fold(flushed(old), |sum, start| {
        let of = |first: usize| (first..(start + 32).min(steps)).step_by(2).fold(0.0, |s, p| fused(s, a(p), b(p)));
        flushed(sum + flushed(of(start) + of(start + 1)))
    })
}

/// The promise that makes bits independent of the processor, and the one for AMX.
#[test]
fn every_bit_is_as_promised() {
    let (m, n, k) = (29, 37, 2 * HEIGHT + 5);
    // Numbers from 1e-25 to 1: products and sums below the smallest normal number occur.
    let scaled = |seed, rows, columns| -> Vec<f32> {
        let mut random = Philox::new(seed, 1, 0);
        let data = matrix(seed, rows, columns, columns);
        data.iter().map(|x| x * 10.0_f32.powi(-(random.below(26) as i32))).collect()
    };
    let (a, b) = (scaled(7, m, k), scaled(8, k, n));
    let mut c = vec![f32::NAN; m * n];
    gemm::gemm_packed(Bf16, m, n, k, &a, k, &packed(&b, k, n, n), &mut c, n, false);
    let old = scaled(9, m, n);
    let mut added = old.clone();
    gemm::gemm_packed(Bf16, m, n, k, &a, k, &packed(&b, k, n, n), &mut added, n, true);
    let x: Vec<f32> = (0..k * m).map(|at| a[at % m * k + at / m]).collect();
    let mut gradient = old.clone();
    gemm::gemm_tn(Bf16, 0..m, n, k, &x, m, &b, n, &mut gradient, n);
    for i in 0..m {
        for j in 0..n {
            let (a, b) = (|p: usize| a[i * k + p], |p: usize| b[p * n + j]);
            let old = old[i * n + j];
            let [product, sum, weights] = if level() == Level::Amx {
                [tiles(0.0, k, &a, &b), tiles(old, k, &a, &b), tiles(old, k, &a, &b)]
            } else {
                let blocks = (0..k).step_by(HEIGHT).map(|start| chain(start..(start + HEIGHT).min(k), &a, &b));
                [chain(0..k, &a, &b), old + chain(0..k, &a, &b), blocks.fold(old, |s, x| s + x)]
            };
            assert_eq!(c[i * n + j].to_bits(), product.to_bits(), "[{i}, {j}]");
            assert_eq!(added[i * n + j].to_bits(), sum.to_bits(), "+= [{i}, {j}]");
            assert_eq!(gradient[i * n + j].to_bits(), weights.to_bits(), "tn [{i}, {j}]");
        }
    }
}

#[test]
fn parts_have_the_bits_of_the_whole() {
    let (m, n, k) = (61, 200, BLOCK + 37);
    let (a, b) = (matrix(9, m, k, k), matrix(10, k, n, n));
    let panels = packed(&b, k, n, n);
    let mut whole = vec![0.0; m * n];
    gemm::gemm_packed(Bf16, m, n, k, &a, k, &panels, &mut whole, n, false);
    let mut alone = vec![0.0; m * n];
    for (c, a) in alone.chunks_mut(n).zip(a.chunks(k)) {
        gemm::gemm_packed(Bf16, 1, n, k, a, k, &panels, c, n, false);
    }
    assert!(bits(&whole) == bits(&alone), "single rows");
    let cut = 3 * gemm::panel_width::<f32>();
    let (left, right) = MatrixMut::new(&mut alone, m, n, n).split_columns(cut);
    gemm::gemm_packed_columns(Bf16, 0..cut, k, &a, k, &panels, left, false);
    gemm::gemm_packed_columns(Bf16, cut..n, k, &a, k, &panels, right, false);
    assert!(bits(&whole) == bits(&alone), "columns");

    let (x, dy) = (matrix(11, 301, m, m), matrix(12, 301, n, n));
    let mut whole = vec![0.0; m * n];
    gemm::gemm_tn(Bf16, 0..m, n, 301, &x, m, &dy, n, &mut whole, n);
    let mut alone = vec![0.0; m * n];
    for (i, c) in alone.chunks_mut(n).enumerate() {
        gemm::gemm_tn(Bf16, i..i + 1, n, 301, &x, m, &dy, n, c, n);
    }
    assert!(bits(&whole) == bits(&alone), "rows of a weight gradient");
}

#[test]
#[should_panic(expected = "gemm: bf16 stands in for f32 only")]
fn f64_is_not_rounded() {
    gemm::pack_b(Bf16, &[0.0_f64; 4], 2, 2, 2, &mut vec![0.0; gemm::packed_len::<f64>(Bf16, 2, 2)]);
}

/// The tiny models of the gradient checks, and a larger one whose layers the micro-kernel fills.
fn models() -> Vec<(&'static str, Model)> {
    let config = Config {
        batch_size: 8,
        batch_length: 5,
        horizon: 4,
        deter_size: 64,
        stoch_size: 16,
        hidden_size: 64,
        num_units: 72,
        cnn_depth: 8,
        ..Config::default()
    };
    let image = Observation::Image { height: 64, width: 64, channels: 3 };
    let larger = Model::new(&config, image, Actions::Continuous(3)).unwrap();
    whole_losses().into_iter().map(|case| (case.name, case.model)).chain([("larger", larger)]).collect()
}

fn with(model: &Model, precision: Precision) -> Model {
    Model { config: Config { precision, ..model.config.clone() }, ..model.clone() }
}

/// The metrics of a step, and the gradient of every parameter by name.
type Gradients = (Vec<f64>, Vec<(String, Vec<f32>)>);

fn gradients(model: &Model, threads: usize) -> Gradients {
    let pool = Arc::new(Pool::new(threads).unwrap());
    let mut params = parameters::<f32>(model);
    let mut step = training_step(model, &params, &pool);
    step.gradients(&mut params, 0);
    let layout = params.layout.clone();
    let gradients = layout.entries().iter().map(|e| (e.name.clone(), params.grad(&e.name).to_vec())).collect();
    (step.metrics().map(|(_, value)| value).collect(), gradients)
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for (name, model) in models() {
        let model = with(&model, Precision::Bf16);
        let one = gradients(&model, 1);
        for threads in [2, 3, 8] {
            assert!(gradients(&model, threads) == one, "{name}: {threads} threads differ from one");
        }
    }
}

/// Cosine of two gradients, and the length of their difference over the length of the second.
fn closeness(got: &[f32], want: &[f32]) -> (f64, f64) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let apart: Vec<f32> = got.iter().zip(want).map(|(a, b)| a - b).collect();
    let (length, wanted) = (dot(got, got).sqrt(), dot(want, want).sqrt());
    (dot(got, want) / (length * wanted), dot(&apart, &apart).sqrt() / wanted)
}

/// Smallest cosine and largest relative error of a gradient. Measured over the models of this file: 0.9993 and 0.038, but 0.98 and
/// 0.21 where convolutions end in ReLU: a unit near zero is on in one precision and off in the other, and few units share a
/// gradient here; and 0.9976 and 0.083 before a layer norm, which takes the mean and a projection out of a gradient, so that what is
/// left is small beside what was rounded.
fn tolerance(model: &Model) -> (f64, f64) {
    let units = matches!(model.observation, Observation::Image { .. }) && model.config.cnn_act == Activation::Relu;
    match (units, model.config.norm) {
        (true, _) => (0.96, 0.3),
        (false, Norm::None) => (0.998, 0.06),
        (false, _) => (0.995, 0.12),
    }
}

/// Largest relative difference of a loss or another metric; 0.0095 is measured.
const METRICS: f64 = 0.02;

#[test]
fn a_step_is_close_to_one_in_f32() {
    for (name, model) in models() {
        let (metrics, got) = gradients(&with(&model, Precision::Bf16), 2);
        let (wanted, want) = gradients(&with(&model, Precision::F32), 2);
        let mut worst = (String::new(), 1.0_f64, 0.0_f64);
        for ((tensor, got), (_, want)) in got.iter().zip(&want) {
            if want.iter().all(|&x| x == 0.0) {
                assert!(got.iter().all(|&x| x == 0.0), "{name}: {tensor} has a gradient in bf16 only");
                continue;
            }
            let (cosine, error) = closeness(got, want);
            let (least, most) = tolerance(&model);
            assert!(cosine >= least && error <= most, "{name}: {tensor} has cosine {cosine:.4}, error {error:.3}");
            if error > worst.2 {
                worst = (tensor.clone(), cosine, error);
            }
        }
        let loss = metrics.iter().zip(&wanted).map(|(a, b)| (a - b).abs() / b.abs().max(1e-3)).fold(0.0, f64::max);
        println!("{name}: worst is {} with cosine {:.5}, error {:.4}; metrics {loss:.4}", worst.0, worst.1, worst.2);
        assert!(loss <= METRICS, "{name}: a metric is {loss:.4} away");
        assert!(got != want, "{name}: bf16 is not in use");
    }
}

#[test]
fn a_run_keeps_its_precision() {
    let stored = Config { precision: Precision::Bf16, ..Config::default() };
    let message = check_resume(&stored, &Config::default()).expect_err("another precision is another run").to_string();
    assert!(message.contains("precision: stored \"bf16\", asked for \"f32\""), "{message}");
    assert!(check_resume(&stored, &stored.clone()).is_ok());
}

/// FNV-1a of the bits of a weight gradient and of a product: the same at every level but AMX.
fn hash() -> u64 {
    let (x, dy) = (matrix(13, 300, 45, 45), matrix(14, 300, 70, 70));
    let mut c = vec![0.0; 45 * 70];
    gemm::gemm_tn(Bf16, 0..45, 70, 300, &x, 45, &dy, 70, &mut c, 70);
    let mut product = vec![0.0; 300 * 70];
    gemm::gemm_packed(Bf16, 300, 70, 45, &x, 45, &packed(&c, 45, 70, 70), &mut product, 70, false);
    let bytes = c.iter().chain(&product).flat_map(|x| x.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn the_level_changes_no_bit_but_amx() {
    let wanted = if level() == Level::Amx { 0xe4ec_edd8_a5ba_991a } else { 0x7926_75d5_db05_d4ae };
    assert_eq!(hash(), wanted, "at {:?}: {:#x}", level(), hash());
}

#[test]
fn every_level() {
    if std::env::var_os("DREAMER_SIMD").is_some() {
        println!("skipped: DREAMER_SIMD is set, this process is one of the levels");
        return;
    }
    if level() < Level::Amx {
        println!("skipped amx: this process runs at {:?}", level());
    }
    for name in ["portable", "avx2", "avx512", "avx512bf16"] {
        if Level::named(name).unwrap() >= level() {
            println!("skipped {name}: this process runs at {:?}", level());
            continue;
        }
        let program = std::env::current_exe().unwrap();
        let child = std::process::Command::new(program).env("DREAMER_SIMD", name).output().unwrap();
        assert!(child.status.success(), "at {name}: {}", String::from_utf8_lossy(&child.stdout));
    }
}
