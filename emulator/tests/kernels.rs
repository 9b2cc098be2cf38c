//! Do kernels that NVRTC compiled compute what they say? tests/fixtures holds the CUDA and the PTX.

mod device;

use device::{Arg, Device, fixture, kernel, numbers};
use dreamer_emulator::fault::Kind;
use dreamer_emulator::memory::Cache;

/// Largest difference, with NaN as infinity.
fn worst(got: &[f32], want: impl Fn(usize) -> f64) -> f64 {
    let differences = got.iter().enumerate().map(|(i, &x)| (f64::from(x) - want(i)).abs());
    differences.map(|d| if d.is_nan() { f64::INFINITY } else { d }).fold(0.0, f64::max)
}

fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[test]
fn vector_add() {
    let module = fixture("vector_add");
    let mut gpu = Device::new();
    let (a, b) = (numbers(1000, 1), numbers(1000, 2));
    let (da, db, out) = (gpu.floats(&a), gpu.floats(&b), gpu.empty(4000));
    let args = [Arg::Pointer(out), Arg::Pointer(da), Arg::Pointer(db), Arg::Int(1000)];
    gpu.launch(&module, "vector_add", [4, 1, 1], [256, 1, 1], 0, &args).unwrap();
    let got = gpu.read_floats(out, 1000);
    assert!((0..1000).all(|i| got[i] == a[i] + b[i]));
    let c = &gpu.counters;
    assert_eq!((c.global_load_bytes, c.global_store_bytes), (8000, 4000));
    assert_eq!((c.minimal_read_bytes, c.minimal_written_bytes), (8000, 4000));
    assert_eq!((c.global_sectors, c.ideal_sectors, c.global_requests), (375, 375, 96));
    // The last warp has 8 lanes inside.
    assert_eq!((c.launches, c.divergent_branches), (1, 1));
}

/// One block of four, from the middle, stands for all.
#[test]
fn a_sampled_launch_scales_its_counts() {
    let module = fixture("vector_add");
    let mut gpu = Device::new();
    let (a, b) = (numbers(1000, 1), numbers(1000, 2));
    let (da, db, out) = (gpu.floats(&a), gpu.floats(&b), gpu.empty(4000));
    gpu.sample = 1;
    let args = [Arg::Pointer(out), Arg::Pointer(da), Arg::Pointer(db), Arg::Int(1000)];
    gpu.launch(&module, "vector_add", [4, 1, 1], [256, 1, 1], 0, &args).unwrap();
    gpu.memory.assume_written(true);
    let got = gpu.read_floats(out, 1000);
    assert!((0..1000).all(|i| got[i] == if i / 256 == 2 { a[i] + b[i] } else { 0.0 }));
    let c = &gpu.counters;
    assert_eq!((c.launches, c.blocks), (1, 4));
    assert_eq!((c.global_load_bytes, c.global_store_bytes), (8192, 4096));
    assert_eq!((c.global_sectors, c.global_requests), (384, 96));
}

/// With a cache, what a sampled launch accesses is that of all blocks, though only a slice of them is interpreted.
#[test]
fn a_sampled_launch_counts_the_accesses_of_all_blocks() {
    let (m, n, k) = (37, 50, 45);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    for (fixture_name, grid, block) in [("sgemm_tiled", [4, 3, 1], [16, 16, 1]), ("vector_add", [4, 1, 1], [256, 1, 1])]
    {
        let module = fixture(fixture_name);
        let counted = |sample: u32| {
            let mut gpu = Device::new();
            let [da, db, out] = [gpu.floats(&a), gpu.floats(&b), gpu.empty(4 * m * n)];
            gpu.memory.cache = Some(Cache::new(4096));
            gpu.sample = sample;
            let sizes: Vec<usize> = if fixture_name == "vector_add" { vec![1000] } else { vec![m, n, k] };
            let pointers = [out, da, db].map(Arg::Pointer);
            let args: Vec<Arg> = pointers.into_iter().chain(sizes.iter().map(|&v| Arg::Int(v as u32))).collect();
            gpu.launch(&module, fixture_name, grid, block, 0, &args).unwrap();
            gpu.counters
        };
        let (all, mut one) = (counted(0), counted(1));
        assert!(all.memory_read_bytes >= all.minimal_read_bytes && all.memory_read_bytes <= 32 * all.global_sectors);
        assert!(all.memory_written_bytes >= all.minimal_written_bytes, "{all:?}");
        // What the sampled block computes is scaled: the last ones, which have less to do, count as much as it.
        for (from, to) in [
            (all.warp_instructions, &mut one.warp_instructions),
            (all.lane_instructions, &mut one.lane_instructions),
            (all.shared_accesses, &mut one.shared_accesses),
            (all.bank_conflicts, &mut one.bank_conflicts),
            (all.divergent_branches, &mut one.divergent_branches),
        ] {
            *to = from;
        }
        assert_eq!(one, all, "{fixture_name}");
    }
}

/// Eight blocks of 32 threads on words that begin as ones, with a cache: what the launch says, and what it accesses.
fn accesses(body: &str, sample: u32) -> Result<[u64; 6], Kind> {
    let mut gpu = Device::new();
    let at = gpu.words(&[1; 4096]);
    gpu.memory.cache = Some(Cache::new(4096));
    gpu.sample = sample;
    let launched = gpu.launch(&kernel(16, body), "k", [8, 1, 1], [32, 1, 1], 0, &[Arg::Pointer(at)]);
    let c = &gpu.counters;
    let counts = [c.global_load_bytes, c.global_store_bytes, c.global_sectors, c.minimal_read_bytes];
    launched
        .map(|()| [counts.as_slice(), &[c.memory_read_bytes, c.memory_written_bytes]].concat().try_into().unwrap())
        .map_err(|fault| fault.kind)
}

/// What a slice does not compute decides no address: either it has to be computed after all, or it is a fault.
#[test]
fn a_slice_guesses_no_address() {
    // %rd1: the thread's word of its block.
    let mine = "mov.u32 %r1, %ctaid.x;\nmad.lo.u32 %r1, %r1, 32, %r0;\nmul.wide.u32 %rd1, %r1, 4;\nadd.s64 %rd1, %rd0, %rd1;\n\
                setp.eq.u32 %p1, %r0, 0;\n@%p1 st.shared.u32 [s], 0;\nbar.sync 0;\n";
    let both = |body: &str| {
        let body = format!("{mine}{body}");
        (accesses(&body, 0), accesses(&body, 1))
    };
    // A place in a list that an atomic on shared memory hands out; and one whose result nobody reads.
    let (all, one) = both(
        "atom.shared.add.u32 %r2, [s], 36;\nmul.wide.u32 %rd2, %r2, 4;\nadd.s64 %rd2, %rd0, %rd2;\nst.global.u32 [%rd2+4096], %r0;",
    );
    assert!(all.is_ok() && one == all, "{all:?} {one:?}");
    let (all, one) = both("red.shared.add.u32 [s], 1;\nst.global.u32 [%rd1], %r0;");
    assert!(all.is_ok() && one == all, "{all:?} {one:?}");
    // An address that the launch itself stores, read by a neighbour; the same value, merely stored again.
    let exchange = "mul.lo.u32 %r2, %r0, 8;\nst.global.u32 [%rd1], %r2;\nbar.sync 0;\nxor.b32 %r3, %r1, 1;\nmul.wide.u32 %rd2, %r3, 4;\n\
                    add.s64 %rd2, %rd0, %rd2;\nld.global.u32 %r4, [%rd2];\n";
    let follow = "mul.wide.u32 %rd3, %r4, 4;\nadd.s64 %rd3, %rd0, %rd3;\nld.global.u32 %r5, [%rd3+4096];\nst.global.u32 [%rd1+8192], %r5;";
    let (all, one) = both(&format!("{exchange}{follow}"));
    assert!(all.is_ok() && one == Err(Kind::Unsliced), "{one:?}");
    let (all, one) = both(&format!("{exchange}st.global.u32 [%rd1+8192], %r4;"));
    assert!(all.is_ok() && one == all, "{all:?} {one:?}");
    // The same address by way of shared memory and a generic address, which the text does not tell from one to global memory.
    let generic = "mul.lo.u32 %r2, %r0, 8;\nmov.u64 %rd2, s;\ncvta.shared.u64 %rd2, %rd2;\n@%p1 st.shared.u32 [s], %r2;\nbar.sync 0;\n\
                   ld.u32 %r4, [%rd2];\n";
    let (all, one) = both(&format!("{generic}{follow}"));
    assert!(all.is_ok() && one == Err(Kind::Unsliced), "{one:?}");
    // An atomic on global memory: the sampled block would do it twice.
    let (all, one) = both("red.global.add.u32 [%rd0+8192], 1;");
    assert!(all.is_ok() && one == Err(Kind::Unsliced), "{one:?}");
}

#[test]
fn sgemm_with_shared_tiles() {
    let module = fixture("sgemm_tiled");
    let (m, n, k) = (37, 50, 45);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    for order in [0, 1, 99] {
        let mut gpu = Device::new();
        gpu.order = order;
        let (da, db, out) = (gpu.floats(&a), gpu.floats(&b), gpu.empty(4 * m * n));
        let sizes = [m, n, k].map(|v| Arg::Int(v as u32));
        let args: Vec<Arg> = [out, da, db].map(Arg::Pointer).into_iter().chain(sizes).collect();
        gpu.launch(&module, "sgemm_tiled", [4, 3, 1], [16, 16, 1], 0, &args).unwrap();
        let got = gpu.read_floats(out, m * n);
        let want = |i: usize| (0..k).map(|j| f64::from(a[i / n * k + j]) * f64::from(b[j * n + i % n])).sum();
        assert!(worst(&got, want) < 1e-5);
        assert_eq!(gpu.counters.barriers, 12 * 8 * 6);
    }
}

#[test]
fn softmax_with_shuffles() {
    let module = fixture("softmax_rows");
    let mut gpu = Device::new();
    let (rows, cols) = (7, 77);
    let x: Vec<f32> = numbers(rows * cols, 3).iter().map(|v| 10.0 * v).collect();
    let (dx, y) = (gpu.floats(&x), gpu.empty(4 * rows * cols));
    let args = [Arg::Pointer(y), Arg::Pointer(dx), Arg::Int(rows as u32), Arg::Int(cols as u32)];
    gpu.launch(&module, "softmax_rows", [2, 1, 1], [128, 1, 1], 0, &args).unwrap();
    let got = gpu.read_floats(y, rows * cols);
    let want = |i: usize| {
        let row = &x[i / cols * cols..][..cols];
        let sum: f64 = row.iter().map(|&v| f64::from(v).exp()).sum();
        f64::from(x[i]).exp() / sum
    };
    assert!(worst(&got, want) < 1e-6);
}

#[test]
fn gru_cell_with_exp_and_tanh() {
    let module = fixture("gru_cell");
    let mut gpu = Device::new();
    let (rows, d) = (5, 30);
    let (gx, gh, h) = (numbers(rows * 3 * d, 4), numbers(rows * 3 * d, 5), numbers(rows * d, 6));
    let (gx, gh): (Vec<f32>, Vec<f32>) = (gx.iter().map(|v| 3.0 * v).collect(), gh.iter().map(|v| 3.0 * v).collect());
    let (dx, dg, dh, out) = (gpu.floats(&gx), gpu.floats(&gh), gpu.floats(&h), gpu.empty(4 * rows * d));
    let args = [
        Arg::Pointer(out),
        Arg::Pointer(dx),
        Arg::Pointer(dg),
        Arg::Pointer(dh),
        Arg::Int(rows as u32),
        Arg::Int(d as u32),
    ];
    gpu.launch(&module, "gru_cell", [2, 1, 1], [128, 1, 1], 0, &args).unwrap();
    let want = |i: usize| {
        let (r, j) = (i / d, i % d);
        let at = |g: &[f32], gate: usize| f64::from(g[r * 3 * d + gate * d + j]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (z, q) = (sigmoid(at(&gx, 0) + at(&gh, 0)), sigmoid(at(&gx, 1) + at(&gh, 1)));
        let n = (at(&gx, 2) + q * at(&gh, 2)).tanh();
        (1.0 - z) * n + z * f64::from(h[i])
    };
    assert!(worst(&gpu.read_floats(out, rows * d), want) < 1e-6);
}

#[test]
fn philox_is_exact() {
    let module = fixture("philox");
    let mut gpu = Device::new();
    let (n, step, key) = (510, 0x1_2345_6789u64, [0xdead_beefu32, 17]);
    let out = gpu.empty(4 * n);
    let args = [Arg::Pointer(out), Arg::Int(key[0]), Arg::Int(key[1]), Arg::Long(step), Arg::Int(n as u32)];
    gpu.launch(&module, "philox", [2, 1, 1], [64, 1, 1], 0, &args).unwrap();
    let got = gpu.read_floats(out, n);
    for i in 0..n {
        let (mut c, mut k) = ([i as u32 / 4, 0, step as u32, (step >> 32) as u32], key);
        for _ in 0..10 {
            let [x, y] = [0xD251_1F53u64 * u64::from(c[0]), 0xCD9E_8D57u64 * u64::from(c[2])];
            c = [(y >> 32) as u32 ^ c[1] ^ k[0], y as u32, (x >> 32) as u32 ^ c[3] ^ k[1], x as u32];
            k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
        }
        assert_eq!(got[i], (c[i % 4] >> 8) as f32 / 16_777_216.0, "{i}");
    }
}

#[test]
fn blocks_that_wait_for_each_other() {
    let module = fixture("persistent");
    let (blocks, steps) = (132, 5);
    for order in [0, 7] {
        let mut gpu = Device::new();
        gpu.order = order;
        let x = gpu.empty(4 * blocks * (steps + 1));
        let start = numbers(blocks, 8);
        gpu.memory.write(x, &start.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let counter = gpu.words(&[0]);
        let args = [Arg::Pointer(x), Arg::Pointer(counter), Arg::Int(steps as u32)];
        gpu.launch(&module, "persistent", [blocks as u32, 1, 1], [256, 1, 1], 0, &args).unwrap();
        let mut want: Vec<f64> = start.iter().map(|&v| f64::from(v)).collect();
        for _ in 0..steps {
            let mean = want.iter().sum::<f64>() / blocks as f64;
            want = (0..blocks).map(|b| mean + b as f64).collect();
        }
        let got = gpu.read_floats(x + 4 * (blocks * steps) as u64, blocks);
        assert!(worst(&got, |i| want[i]) < 1e-3);
        assert_eq!(gpu.counters.atomics, (blocks * steps) as u64);
    }
}

#[test]
fn tensor_core_gemm() {
    let module = fixture("gemm_bf16");
    let (m, n, k) = (128, 64, 96);
    let round = |v: Vec<f32>| v.into_iter().map(bf16).collect::<Vec<u16>>();
    let (a, b) = (round(numbers(m * k, 1)), round(numbers(k * n, 2)));
    let bytes = |v: &[u16]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let value = |x: u16| f64::from(f32::from_bits(u32::from(x) << 16));
    for order in [0, 3] {
        let mut gpu = Device::new();
        gpu.order = order;
        let (da, db, out) = (gpu.bytes(&bytes(&a)), gpu.bytes(&bytes(&b)), gpu.empty(4 * m * n));
        let sizes = [m, n, k].map(|v| Arg::Int(v as u32));
        let args: Vec<Arg> = [out, da, db].map(Arg::Pointer).into_iter().chain(sizes).collect();
        gpu.launch(&module, "gemm_bf16", [1, 2, 1], [128, 1, 1], 0, &args).unwrap();
        let want = |i: usize| (0..k).map(|j| value(a[i / n * k + j]) * value(b[j * n + i % n])).sum();
        assert!(worst(&gpu.read_floats(out, m * n), want) < 1e-5);
        assert_eq!(gpu.counters.mma, (m * n * k / (16 * 8 * 16)) as u64);
        // Reads are free of conflicts. The copies to a, rows of 64 bytes that begin 80 apart, are not: of the two rows in each phase the second
        // begins in a bank of the first. 3 steps and 2 blocks have 8 requests of 4 phases each.
        assert_eq!(gpu.counters.bank_conflicts, 3 * 2 * 8 * 4);
    }
}

#[test]
fn calls_switches_tables_and_local_memory() {
    let mut module = fixture("calls");
    let mut gpu = Device::new();
    module.place(&mut gpu.memory).unwrap();
    let n = 100;
    let x: Vec<f32> = numbers(n, 9).iter().map(|v| 5.0 * v).collect();
    let which: Vec<u32> = (0..n as u32).map(|i| i * 7 % 6).collect();
    let (dx, dw, out) = (gpu.floats(&x), gpu.words(&which), gpu.empty(4 * n));
    let args = [Arg::Pointer(out), Arg::Pointer(dx), Arg::Pointer(dw), Arg::Int(n as u32)];
    gpu.launch(&module, "calls", [2, 1, 1], [64, 1, 1], 256, &args).unwrap();
    let want = |i: usize| {
        let v = x[(i + which[i] as usize) % n];
        let picked = match which[i] {
            0 => v + 1.0,
            1 => v * 3.0,
            2 => v - 4.0,
            3 => -v,
            4 => v / 8.0,
            _ => 0.0,
        };
        f64::from(picked) + f64::from(x[i]).sin()
    };
    assert!(worst(&gpu.read_floats(out, n), want) < 2e-6);
    let (finished, bytes) = module.global("finished").unwrap();
    assert_eq!((gpu.read_words(finished, 1)[0], bytes), (n as u32, 4));
    let used = gpu.memory.used();
    module.unplace(&mut gpu.memory);
    assert!(module.global("finished").is_none() && gpu.memory.used() < used);
}
