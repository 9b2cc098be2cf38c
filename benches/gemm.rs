//! Billions of floating point operations a second of one thread on the shapes of a training step, beside crate `gemm` and beside
//! the most that the processor's multiply-adds can do: `cargo bench --bench gemm [-- tn]`; `Gelem/s` is Gflop/s.
#![allow(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dreamer_fast::device::gemm::{Precision, gemm_packed, gemm_tn, pack_b, packed_len};
use dreamer_fast::device::simd::{level, with_level};
use gemm::Parallelism;

/// (m, k, n) of `C = A B`: GRU and posterior at a batch of 32, priors of a chunk, imagination, heads, a value's last layer.
const PRODUCTS: [(usize, usize, usize); 11] = [
    (32, 128, 384),
    (32, 160, 128),
    (50, 200, 600),
    (50, 1224, 200),
    (1024, 128, 384),
    (1024, 147, 200),
    (2500, 230, 400),
    (2500, 400, 400),
    (2500, 230, 1024),
    (2500, 400, 1),
    (1, 230, 400),
];

/// (m, k, n) of `C += X^T dY`.
const GRADIENTS: [(usize, usize, usize); 5] =
    [(1024, 128, 384), (15_360, 128, 384), (2500, 230, 400), (37_500, 400, 400), (2500, 1024, 3200)];

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1013) as f32 / 1013.0 - 0.5).collect()
}

/// Multiply-adds on registers alone, with a sum for every one that can be under way at a time.
fn peak(criterion: &mut Criterion) {
    const STEPS: usize = 10_000;
    const LANES: usize = 16 * 16;
    let mut group = criterion.benchmark_group("peak");
    group.throughput(Throughput::Elements((2 * STEPS * LANES) as u64));
    group.bench_function(format!("multiply-add, {:?}", level()), |bencher| {
        bencher.iter(|| {
            with_level(
                #[inline(always)]
                || {
                    let mut sums = [black_box(0.0_f32); LANES];
                    for _ in 0..STEPS {
                        for sum in &mut sums {
                            *sum = sum.mul_add(0.999, 0.001);
                        }
                    }
                    sums
                },
            )
        });
    });
}

fn products(criterion: &mut Criterion) {
    for (m, k, n) in PRODUCTS {
        let (a, b, mut c) = (numbers(m * k), numbers(k * n), vec![0.0_f32; m * n]);
        let mut packed = vec![0.0; packed_len::<f32>(Precision::Full, k, n)];
        let mut group = criterion.benchmark_group(format!("nn {m}x{k}x{n}"));
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
        pack_b(Precision::Full, &b, k, n, n, &mut packed);
        group.bench_function("packed", |bencher| {
            bencher.iter(|| gemm_packed(Precision::Full, m, n, k, &a, k, &packed, black_box(&mut c), n, false));
        });
        group.bench_function("crate gemm", |bencher| {
            let (to, a, b, n_, k_) = (c.as_mut_ptr(), a.as_ptr(), b.as_ptr(), n as isize, k as isize);
            // SAFETY: the matrices have the sizes and strides that are named.
            bencher.iter(|| unsafe {
                let no = Parallelism::None;
                gemm::gemm(m, n, k, black_box(to), 1, n_, false, a, 1, k_, b, 1, n_, 0.0, 1.0, false, false, false, no);
            });
        });
    }
}

fn gradients(criterion: &mut Criterion) {
    for (m, k, n) in GRADIENTS {
        let (x, dy, mut c) = (numbers(m * k), numbers(m * n), vec![0.0_f32; k * n]);
        let mut group = criterion.benchmark_group(format!("tn {m}x{k}x{n}"));
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
        group.bench_function("tn", |bencher| {
            bencher.iter(|| gemm_tn(Precision::Full, 0..k, n, m, &x, k, &dy, n, black_box(&mut c), n));
        });
        group.bench_function("crate gemm", |bencher| {
            let (to, x, dy, n_, k_) = (c.as_mut_ptr(), x.as_ptr(), dy.as_ptr(), n as isize, k as isize);
            // SAFETY: the matrices have the sizes and strides that are named.
            bencher.iter(|| unsafe {
                let no = Parallelism::None;
                gemm::gemm(k, n, m, black_box(to), 1, n_, true, x, k_, 1, dy, 1, n_, 1.0, 1.0, false, false, false, no);
            });
        });
    }
}

criterion_group! {
    name = all;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = peak, products, gradients
}
criterion_main!(all);
