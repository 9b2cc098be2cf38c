//! Products: exact where they can be, in every precision and tile, the same bits in every order; and what they cost in sectors and bank conflicts.

use std::cell::Cell;
use std::sync::Arc;

use dreamer_fast::autodiff::cuda_check::{bound, check};
use dreamer_fast::autodiff::gradcheck::Case;
use dreamer_fast::autodiff::{Graph, Var};
use dreamer_fast::device::Pool;
use dreamer_fast::device::cuda::kernels::{
    Conv2dBackwardInput, Conv2dBackwardWeights, Conv2dForward, ConvTranspose2dBackwardInput,
    ConvTranspose2dBackwardWeights, ConvTranspose2dForward, Entry, In, Kernels, LinearBackwardInput,
    LinearBackwardWeights, LinearForward, Out,
};
use dreamer_fast::device::cuda::product::Phases;
use dreamer_fast::device::cuda::{Buffer, Precision};
use dreamer_fast::ops::Activation;
use dreamer_fast::ops::registry::cases;
use dreamer_fast::run::parity::{Golden, compare_on_device};

use crate::{Rig, compiler};

/// Kernels of the rig's device with products in another precision.
pub fn kernels_in(rig: &Rig, precision: Precision) -> Arc<Kernels> {
    let compiler = compiler().expect("the rig has one");
    Arc::new(Kernels::load_in(precision, &compiler, rig.stream()).unwrap_or_else(|error| panic!("{error}")))
}

/// A loss whose operands, gradients and sums are all whole numbers: a product of whole numbers, weighted by whole numbers `t`. Every precision
/// has these numbers, and f32 has their sums, so a product in any of them is exact.
fn whole(name: &str, params: &[(&str, &[usize])], build: fn(&mut Graph<f64>, &[Var]) -> Var) -> Case {
    let params: Vec<(String, Vec<usize>)> = params.iter().map(|(n, s)| (n.to_string(), s.to_vec())).collect();
    let names: Vec<String> = params.iter().map(|(name, _)| name.clone()).collect();
    Case {
        name: format!("{name}, {:?}", params.iter().map(|(_, shape)| shape.as_slice()).collect::<Vec<_>>()),
        params,
        inputs: Vec::new(),
        shape_value: |_, x| (2.0 * x).round().clamp(-4.0, 4.0),
        build: Box::new(move |g| {
            let vars: Vec<Var> = names.iter().map(|name| g.param(name)).collect();
            let y = build(g, &vars);
            let weighted = g.mul(y, vars[0]);
            let n = g.len(weighted) as f64;
            let mean = g.mean(weighted);
            g.sum(&[(mean, n)])
        }),
    }
}

/// Narrow and odd shapes and such as can be copied by four; results of few tiles with long sums, which are cut into parts, and of so many
/// tiles that the large one is taken.
fn whole_cases() -> Vec<Case> {
    let linear = |g: &mut Graph<f64>, v: &[Var]| {
        let mut xs = vec![v[1]];
        xs.extend(v.get(5));
        g.linear_add(&xs, v[2], Some(v[3]), Some(v[4]), Activation::Identity)
    };
    let conv = |g: &mut Graph<f64>, v: &[Var]| g.conv2d(v[1], v[2], v[3], 2, 1, Activation::Identity);
    let transpose = |g: &mut Graph<f64>, v: &[Var]| g.conv_transpose2d(v[1], v[2], v[3], 2, 0, Activation::Identity);
    let linear_case = |rows: usize, ks: &[usize], n: usize| {
        let k = ks.iter().sum::<usize>();
        let (y, x, w, z) = ([rows, n], [rows, ks[0]], [k, n], [rows, ks[ks.len() - 1]]);
        let mut params: Vec<(&str, &[usize])> =
            vec![("t", &y), ("x", &x), ("w", &w), ("b", std::slice::from_ref(&y[1])), ("add", &y)];
        if ks.len() > 1 {
            params.push(("z", &z));
        }
        whole("linear", &params, linear)
    };
    vec![
        linear_case(131, &[70, 17], 97),
        linear_case(66, &[64, 36], 132),
        linear_case(1037, &[30, 8], 77),
        linear_case(1600, &[132], 68),
        linear_case(2049, &[12], 961),
        linear_case(700, &[70], 20),
        linear_case(515, &[129], 31),
        whole("conv2d", &[("t", &[2, 9, 8, 67]), ("x", &[2, 19, 17, 5]), ("w", &[4, 4, 5, 67]), ("b", &[67])], conv),
        whole("conv2d", &[("t", &[66, 16, 16, 8]), ("x", &[66, 32, 32, 4]), ("w", &[4, 4, 4, 8]), ("b", &[8])], conv),
        whole(
            "conv_transpose2d",
            &[("t", &[2, 21, 19, 3]), ("x", &[2, 9, 8, 67]), ("w", &[67, 5, 5, 3]), ("b", &[3])],
            transpose,
        ),
        whole(
            "conv_transpose2d",
            &[("t", &[19, 30, 30, 4]), ("x", &[19, 14, 14, 8]), ("w", &[8, 4, 4, 4]), ("b", &[4])],
            transpose,
        ),
    ]
}

/// The loss is a mean, which rounds; everything else is exact.
const EXACT: f64 = 1e-6;

#[test]
fn whole_numbers_are_exact_in_every_precision_and_order() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    let mut failed = Vec::new();
    for precision in Precision::ALL {
        let kernels = kernels_in(&rig, precision);
        for case in whole_cases() {
            let outcome =
                check(&case, &pool, &kernels).unwrap_or_else(|e| panic!("{precision} {}: {e}", case.name)).outcome;
            println!("{precision} {:80} worst {:.1e} at {}", case.name, outcome.worst, outcome.at);
            if !outcome.passes(EXACT) {
                failed.push(format!("{precision} {}: {:.1e} at {}", case.name, outcome.worst, outcome.at));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Ops with products, on numbers that a tensor core rounds: within the stated tolerance, and beyond that of f32, so it is a tensor core that
/// multiplied. The order of warps and blocks changes no bit.
#[test]
fn tensor_cores_round_as_stated() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    for precision in [Precision::Tf32, Precision::Bf16] {
        let kernels = kernels_in(&rig, precision);
        let mut worst = 0.0_f64;
        for case in cases().iter().filter(|case| case.name.starts_with("linear") || case.name.starts_with("conv")) {
            let run = |order| {
                rig.context.emulator().unwrap().order(order);
                check(case, &pool, &kernels).unwrap_or_else(|error| panic!("{}: {error}", case.name))
            };
            let (first, other) = (run(0), run(1));
            println!("{precision} {:50} worst {:.1e} at {}", case.name, first.outcome.worst, first.outcome.at);
            assert!(first.outcome.passes(bound(precision)), "{precision} {}: {:?}", case.name, first.outcome);
            let same = first.device.iter().zip(&other.device).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{precision} {}: another order gives other bits", case.name);
            worst = worst.max(first.outcome.worst);
        }
        assert!(worst > 10.0 * bound(Precision::F32), "{precision}: nothing was rounded");
    }
}

/// Whole training steps with rounded products: losses and gradients near those that independent implementations agree on.
#[test]
fn golden_steps_are_met_by_tensor_cores() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    let file = format!("{}/tests/golden/tiny.safetensors", env!("CARGO_MANIFEST_DIR"));
    let golden = Golden::read(file.as_ref()).unwrap();
    for precision in [Precision::Tf32, Precision::Bf16] {
        let rows = compare_on_device(&golden, &pool, &kernels_in(&rig, precision)).unwrap();
        let failed: Vec<_> = rows.iter().filter(|row| row.fails()).collect();
        assert!(rows.len() > 50 && failed.is_empty(), "{precision}: {failed:?}");
    }
}

/// One layer, and how many sectors a request may take over the ideal.
struct Layer {
    name: &'static str,
    launch: fn(&Rig, &Kernels),
    sectors: f64,
}

/// Waits for the launch before, and for the next one empties the second-level cache, if there is one: each launch is counted by itself.
fn alone(rig: &Rig) {
    rig.stream().synchronize().unwrap();
    CACHE.with(|bytes| rig.context.emulator().unwrap().cache(bytes.get()));
}

thread_local! {
    /// Bytes of the cache; 0 for none.
    static CACHE: Cell<u64> = const { Cell::new(0) };
}

/// Device memory of zeros, kept until the launch is over.
fn zeros(rig: &Rig, len: usize) -> (Buffer<f32>, u64) {
    let buffer = Buffer::<f32>::zeroed(rig.stream(), len).unwrap();
    let address = buffer.address();
    (buffer, address)
}

/// Forward, both gradients, of x [rows, k] times w [k, n].
fn linear(rig: &Rig, on: &Kernels, rows: usize, k: usize, n: usize) {
    let [(_x, x), (_w, w), (_y, y)] = [rows * k, k * n, rows * n].map(|len| zeros(rig, len));
    let none = In::none();
    LinearForward {
        y: Out::at(y),
        x0: In::at(x),
        x1: none,
        x2: none,
        x3: none,
        add: none,
        w0: In::at(w),
        w1: none,
        w2: none,
        w3: none,
        b: none,
        rows,
        n,
        k0: k,
        k1: 0,
        k2: 0,
        k3: 0,
        f: 2,
    }
    .tiles(on, rows, n)
    .unwrap();
    alone(rig);
    LinearBackwardInput { dx: Out::at(x), da: In::at(y), w: In::at(w), rows, n, k }.tiles(on, rows, k).unwrap();
    let (dw, x, da) = (Out::at(w), In::at(x), In::at(y));
    alone(rig);
    on.sum_products(dw, [k, n], rows, |partial, each| LinearBackwardWeights { dw, partial, x, da, rows, n, k, each })
        .unwrap();
    rig.stream().synchronize().unwrap();
}

/// The same for a convolution of images [images, h, h, c] to n channels, stride 2.
fn conv(rig: &Rig, on: &Kernels, images: usize, h: usize, c: usize, kernel: usize, n: usize) {
    let (w, stride, pad, oh) = (h, 2, 0, (h - kernel) / 2 + 1);
    let (ow, f, patch) = (oh, 1, kernel * kernel * c);
    let lens = [images * h * h * c, patch * n, images * oh * oh * n, n];
    let [(_x, x), (_w, weights), (_y, y), (_b, b)] = lens.map(|len| zeros(rig, len));
    let (dw, dx, read_x, read_w, da) = (Out::at(weights), Out::at(x), In::at(x), In::at(weights), In::at(y));
    let (y, b) = (Out::at(y), In::at(b));
    Conv2dForward { y, x: read_x, weights: read_w, b, images, h, w, c, kernel, stride, pad, oh, ow, n, f }
        .tiles(on, images * oh * ow, n)
        .unwrap();
    alone(rig);
    let phases = Phases::of(images, [h, w, c], kernel, stride, pad, [oh, ow]);
    let of_phases = phases.stride;
    Conv2dBackwardInput { dx, da, weights: read_w, images, h, w, c, kernel, stride: of_phases, pad, oh, ow, n }
        .tiles(on, phases.rows, phases.columns)
        .unwrap();
    let entry = |partial, each| Conv2dBackwardWeights {
        dw,
        partial,
        x: read_x,
        da,
        images,
        h,
        w,
        c,
        kernel,
        stride,
        pad,
        oh,
        ow,
        n,
        each,
    };
    alone(rig);
    on.sum_products(dw, [patch, n], images * oh * ow, entry).unwrap();
    rig.stream().synchronize().unwrap();
}

/// The same for a transposed convolution of [images, oh, oh, n] to c channels, stride 2.
fn transpose(rig: &Rig, on: &Kernels, images: usize, oh: usize, n: usize, kernel: usize, c: usize) {
    let (h, stride, pad, ow) = ((oh - 1) * 2 + kernel, 2, 0, oh);
    let (w, f, patch) = (h, 1, kernel * kernel * c);
    let lens = [images * h * h * c, patch * n, images * oh * oh * n, c];
    let [(_y, y), (_w, weights), (_x, x), (_b, b)] = lens.map(|len| zeros(rig, len));
    let (dw, dx, read_x, read_w, da) = (Out::at(weights), Out::at(x), In::at(x), In::at(weights), In::at(y));
    let (y, b) = (Out::at(y), In::at(b));
    let Phases { stride: of_phases, rows, columns } = Phases::of(images, [h, w, c], kernel, stride, pad, [oh, ow]);
    let (x, weights) = (read_x, read_w);
    ConvTranspose2dForward { y, x, weights, b, images, h, w, c, kernel, stride: of_phases, pad, oh, ow, n, f }
        .tiles(on, rows, columns)
        .unwrap();
    alone(rig);
    ConvTranspose2dBackwardInput { dx, da, weights: read_w, images, h, w, c, kernel, stride, pad, oh, ow, n }
        .tiles(on, images * oh * ow, n)
        .unwrap();
    let entry = |partial, each| ConvTranspose2dBackwardWeights {
        dw,
        partial,
        x: read_x,
        da,
        images,
        h,
        w,
        c,
        kernel,
        stride,
        pad,
        oh,
        ow,
        n,
        each,
    };
    alone(rig);
    on.sum_products(dw, [n, patch], images * oh * ow, entry).unwrap();
    rig.stream().synchronize().unwrap();
}

/// Layers of the published model, with fewer rows and images: what a request takes does not depend on them. Windows of three channels begin anywhere in a sector, and so do rows of
/// 30: they take more of them.
const LAYERS: &[Layer] = &[
    Layer {
        name: "deter to units, 300 of 2450 rows, 200 to 400",
        launch: |r, k| linear(r, k, 300, 200, 400),
        sectors: 1.1,
    },
    Layer {
        name: "stoch to units, 300 of 2450 rows, 30 to 400",
        launch: |r, k| linear(r, k, 300, 30, 400),
        sectors: 1.1,
    },
    Layer {
        name: "embed to hidden, 300 of 2500 rows, 1024 to 200",
        launch: |r, k| linear(r, k, 300, 1024, 200),
        sectors: 1.1,
    },
    Layer { name: "gru, 50 rows, 200 to 600", launch: |r, k| linear(r, k, 50, 200, 600), sectors: 1.1 },
    Layer { name: "conv 1, 4 of 64 x 64 x 3 to 32", launch: |r, k| conv(r, k, 4, 64, 3, 4, 32), sectors: 1.4 },
    Layer { name: "conv 2, 4 of 31 x 31 x 32 to 64", launch: |r, k| conv(r, k, 4, 31, 32, 4, 64), sectors: 1.1 },
    Layer { name: "conv 4, 4 of 6 x 6 x 128 to 256", launch: |r, k| conv(r, k, 4, 6, 128, 4, 256), sectors: 1.1 },
    Layer { name: "deconv 3, 1 of 13 x 13 x 64 to 32", launch: |r, k| transpose(r, k, 1, 13, 64, 6, 32), sectors: 1.1 },
    Layer { name: "deconv 4, 2 of 30 x 30 x 32 to 3", launch: |r, k| transpose(r, k, 2, 30, 32, 6, 3), sectors: 1.4 },
];

/// Accesses of global memory are coalesced and those of shared memory meet few bank conflicts, for the layers of the published model.
#[test]
fn accesses_are_coalesced_and_free_of_conflicts() {
    let Some(rig) = Rig::new() else { return };
    let emulator = *rig.context.emulator().unwrap();
    let mut failed = Vec::new();
    for precision in Precision::ALL {
        let kernels = kernels_in(&rig, precision);
        for layer in LAYERS {
            emulator.reset();
            (layer.launch)(&rig, &kernels);
            let counters: serde_json::Value = serde_json::from_str(&emulator.counters()).unwrap();
            for (kernel, of) in counters.as_object().unwrap().iter().filter(|(name, _)| *name != "add_rows") {
                let count = |name: &str| of[name].as_u64().unwrap_or_else(|| panic!("no counter {name}")) as f64;
                let sectors = count("global_sectors") / count("ideal_sectors");
                let conflicts = count("bank_conflicts") / count("shared_accesses");
                let read = count("global_load_bytes") / count("minimal_read_bytes");
                println!(
                    "{precision:4} {:40} {kernel:34} sectors {sectors:.3}, conflicts {:.1} %, bytes read {read:.1} times",
                    layer.name,
                    100.0 * conflicts
                );
                if sectors > layer.sectors || conflicts > 0.05 {
                    failed.push(format!("{precision} {} {kernel}: {sectors:.3}, {conflicts:.3}", layer.name));
                }
                let mma = count("mma");
                assert!(
                    (precision == Precision::F32) == (mma == 0.0),
                    "{precision} {kernel}: {mma} tensor-core products"
                );
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Layers of the published model with a tenth of their rows and images, and a tenth of an H100's second-level cache; one whose weights alone are
/// larger than that with all of both. In MiB.
const ONCE: &[(&str, u64, fn(&Rig, &Kernels))] = &[
    ("units, 3675 rows, 400 to 400", 5, |r, k| linear(r, k, 3675, 400, 400)),
    ("deter to units, 245 rows, 200 to 400", 5, |r, k| linear(r, k, 245, 200, 400)),
    ("embed to hidden, 250 rows, 1024 to 200", 5, |r, k| linear(r, k, 250, 1024, 200)),
    ("conv 1, 250 of 64 x 64 x 3 to 32", 5, |r, k| conv(r, k, 250, 64, 3, 4, 32)),
    ("conv 2, 250 of 31 x 31 x 32 to 64", 5, |r, k| conv(r, k, 250, 31, 32, 4, 64)),
    ("conv 3, 250 of 14 x 14 x 64 to 128", 5, |r, k| conv(r, k, 250, 14, 64, 4, 128)),
    ("conv 4, 250 of 6 x 6 x 128 to 256", 5, |r, k| conv(r, k, 250, 6, 128, 4, 256)),
    ("deconv 1, 2500 of 1 x 1 x 1024 to 128", 50, |r, k| transpose(r, k, 2500, 1, 1024, 5, 128)),
    ("deconv 2, 250 of 5 x 5 x 128 to 64", 5, |r, k| transpose(r, k, 250, 5, 128, 5, 64)),
    ("deconv 3, 250 of 13 x 13 x 64 to 32", 5, |r, k| transpose(r, k, 250, 13, 64, 6, 32)),
    ("deconv 4, 250 of 30 x 30 x 32 to 3", 5, |r, k| transpose(r, k, 250, 30, 32, 6, 3)),
];

/// Products find again in the second-level cache what they read more than once: they move little more than their operands.
#[test]
fn memory_moves_operands_once() {
    let Some(rig) = Rig::new() else { return };
    let emulator = *rig.context.emulator().unwrap();
    // What is accessed is counted for all blocks.
    emulator.sample(1);
    let mut failed = Vec::new();
    for (name, mib, launch) in ONCE {
        CACHE.set(mib << 20);
        emulator.cache(mib << 20);
        emulator.reset();
        launch(&rig, &rig.kernels);
        let counters: serde_json::Value = serde_json::from_str(&emulator.counters()).unwrap();
        for (kernel, of) in counters.as_object().unwrap().iter().filter(|(name, _)| *name != "add_rows") {
            let count = |name: &str| of[name].as_u64().unwrap_or_else(|| panic!("no counter {name}")) as f64;
            let moved = count("memory_read_bytes") + count("memory_written_bytes");
            let distinct = count("minimal_read_bytes") + count("minimal_written_bytes");
            let requested = 32.0 * count("global_sectors");
            println!(
                "{name:40} {kernel:34} at memory {:.3} of {:.1} MB, at the cache {:.1}, {:.0} M lane instructions",
                moved / distinct,
                distinct / 1e6,
                requested / distinct,
                count("lane_instructions") / 1e6
            );
            if moved > 1.25 * distinct {
                failed.push(format!("{name} {kernel}: {:.3}", moved / distinct));
            }
        }
    }
    emulator.sample(0);
    emulator.cache(0);
    CACHE.set(0);
    assert!(failed.is_empty(), "{failed:#?}");
}
