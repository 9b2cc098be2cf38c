//! Every op, whole training steps, Adam, noise: on the CPU and by kernels.

use std::path::Path;
use std::sync::Arc;

use dreamer_fast::autodiff::cuda_check::{BOUND, Comparison, check};
use dreamer_fast::autodiff::cuda_exec::CudaPlan;
use dreamer_fast::autodiff::gradcheck::Case;
use dreamer_fast::autodiff::{Clock, Graph, Layout, Params, Plan, Var};
use dreamer_fast::base::{Philox, philox};
use dreamer_fast::config::{Latent, Request, resolve};
use dreamer_fast::device::Pool;
use dreamer_fast::device::cuda::Buffer;
use dreamer_fast::device::cuda::kernels::{
    Entry, In, NoiseWords, Out, PixelsFromBytes, PlanesFromSymbols, SampleOnehotForward, TwohotNllForward,
    WeightsFromPixels, WeightsFromSymbols,
};
use dreamer_fast::dreamer::step::{NoiseSource, TrainStep};
use dreamer_fast::dreamer::{Observation, checks};
use dreamer_fast::ops::Activation;
use dreamer_fast::ops::adam::{Adam, DeviceAdam, DeviceGroup, adam_update, global_norm};
use dreamer_fast::ops::ego_map::MapShape;
use dreamer_fast::ops::gaussian::Gaussian;
use dreamer_fast::ops::lambda_return::Discount;
use dreamer_fast::ops::registry::cases;
use dreamer_fast::ops::twohot::symexp_bins;
use dreamer_fast::replay::Obs;
use dreamer_fast::run::parity::{Golden, compare_on_device};
use dreamer_fast::run::world::World;

use crate::Rig;

/// Largest error that passes in the larger cases: sums of up to 1700 products.
const LARGER_BOUND: f64 = 4e-6;

/// A scalar from parameters alone.
fn larger(name: &str, params: &[(&str, &[usize])], build: fn(&mut Graph<f64>, &[Var]) -> Vec<Var>) -> Case {
    let params: Vec<(String, Vec<usize>)> = params.iter().map(|(n, s)| (n.to_string(), s.to_vec())).collect();
    let names: Vec<String> = params.iter().map(|(name, _)| name.clone()).collect();
    Case {
        name: format!("{name} larger"),
        params,
        inputs: Vec::new(),
        // A standard deviation is positive, a discount below 1.
        shape_value: |name, x| match name {
            n if n.starts_with("std") => 0.3 + x.abs(),
            n if n.starts_with("discount") => 1.0 / (1.0 + (-x).exp()),
            n if n.starts_with('w') => 0.1 * x,
            // Far apart, and exact in f32.
            n if n.starts_with("far") => (200.0 * x).round(),
            _ => x,
        },
        build: Box::new(move |g| {
            let vars: Vec<Var> = names.iter().map(|name| g.param(name)).collect();
            let terms: Vec<(Var, f64)> = build(g, &vars).into_iter().map(|y| (g.mean(y), 3.0)).collect();
            g.sum(&terms)
        }),
    }
}

/// A map of 13 x 13 cells and 6 classes, with a control of `controls` numbers.
fn ego_map(name: &str, controls: usize) -> Case {
    let sizes: [(&str, &[usize]); 4] =
        [("x", &[11, 5]), ("state", &[11, 5 + 13 * 13 * 6]), ("seen", &[11, 49 * 6]), ("control", &[11, controls])];
    larger(name, &sizes, |g, v| {
        let shape = MapShape { side: 13, view: 7, classes: 6, columns: true };
        let y = g.ego_map(v[0], v[1], v[2], v[3], shape);
        vec![g.map_view(y, shape, 8.0), g.mul(y, v[1])]
    })
}

/// Shapes beyond a tile of a product, a warp's lanes and a block's threads: the cases of the gradient checks are smaller than all of these.
fn larger_cases() -> Vec<Case> {
    vec![
        larger(
            "linear",
            &[("x", &[131, 70]), ("y", &[131, 17]), ("w", &[87, 97]), ("b", &[97]), ("add", &[131, 97])],
            |g, v| vec![g.linear_add(&[v[0], v[1]], v[2], Some(v[3]), Some(v[4]), Activation::Elu)],
        ),
        larger("conv2d", &[("x", &[2, 19, 18, 5]), ("w", &[4, 4, 5, 67]), ("b", &[67])], |g, v| {
            vec![g.conv2d(v[0], v[1], v[2], 2, 1, Activation::Relu)]
        }),
        larger("conv_transpose2d", &[("x", &[2, 9, 8, 67]), ("w", &[67, 5, 5, 3]), ("b", &[3])], |g, v| {
            vec![g.conv_transpose2d(v[0], v[1], v[2], 2, 0, Activation::Tanh)]
        }),
        larger("layer_norm", &[("x", &[131, 203]), ("scale", &[203]), ("offset", &[203])], |g, v| {
            let y = g.layer_norm(v[0], v[1], v[2]);
            vec![g.mul(y, v[0])]
        }),
        larger("rms_norm", &[("x", &[131, 203]), ("scale", &[203])], |g, v| {
            let y = g.rms_norm(v[0], v[1]);
            vec![g.mul(y, v[0])]
        }),
        larger("norm_gru_cell", &[("a", &[11, 231]), ("h", &[11, 77])], |g, v| vec![g.norm_gru_cell(v[0], v[1])]),
        ego_map("ego_map and map_view", 10),
        ego_map("ego_map that erases apart", 16),
        larger("map_now and value_iteration", &[("state", &[11, 5 + 13 * 13 * 2]), ("seen", &[11, 49 * 2])], |g, v| {
            let shape = MapShape { side: 13, view: 7, classes: 2, columns: false };
            let now = g.map_now(v[0], v[1], shape, false);
            vec![g.value_iteration(now, 13, 20, 0.9), g.map_now(v[0], v[1], shape, true)]
        }),
        larger("columns", &[("x", &[11, 331])], |g, v| vec![g.columns(v[0], 77)]),
        larger("outer", &[("a", &[11, 7]), ("x", &[11, 77])], |g, v| vec![g.outer(v[0], v[1])]),
        larger("silu", &[("x", &[7, 73])], |g, v| {
            let (silu, symlog, symexp) = (g.silu(v[0]), g.symlog(v[0]), g.symexp(v[0]));
            vec![silu, symlog, symexp]
        }),
        larger("gru_cell", &[("xp", &[11, 231]), ("hp", &[11, 231]), ("h", &[11, 77])], |g, v| {
            vec![g.gru_cell(v[0], v[1], v[2])]
        }),
        larger(
            "kl_gaussian",
            &[("mq", &[9, 45]), ("std_q", &[9, 45]), ("mp", &[9, 45]), ("std_p", &[9, 45])],
            |g, v| vec![g.kl_gaussian(Gaussian { mean: v[0], std: v[1] }, Gaussian { mean: v[2], std: v[3] })],
        ),
        larger("kl_categorical", &[("q", &[9, 111]), ("p", &[9, 111])], |g, v| {
            vec![g.kl_categorical(v[0], v[1], 37, 0.01)]
        }),
        larger("kl_categorical far", &[("far_q", &[9, 111]), ("far_p", &[9, 111])], |g, v| {
            vec![g.kl_categorical(v[0], v[1], 37, 0.0)]
        }),
        larger("unimix", &[("a", &[9, 111])], |g, v| vec![g.unimix(v[0], 37, 0.01)]),
        larger("categorical_entropy", &[("a", &[9, 111])], |g, v| vec![g.categorical_entropy(v[0], 37)]),
        larger("sample_onehot", &[("a", &[9, 111]), ("gumbel", &[9, 111])], |g, v| {
            let gumbel = g.stop(v[1]);
            let (sample, p) = g.sample_onehot(v[0], gumbel, 37, 0.01);
            vec![g.mul(sample, v[1]), g.mul(p, v[1])]
        }),
        larger("categorical_nll", &[("a", &[3, 245]), ("t", &[3, 245]), ("w", &[3, 49])], |g, v| {
            vec![g.categorical_nll(v[0], v[1], Some(v[2]), &[3, 2])]
        }),
        larger("normal_nll", &[("mu", &[9, 1001]), ("x", &[9, 1001])], |g, v| vec![g.normal_nll(v[0], v[1], 9)]),
        larger("weighted_normal_nll", &[("mu", &[9, 999]), ("x", &[9, 999]), ("weight", &[9, 333])], |g, v| {
            vec![g.weighted_normal_nll(v[0], v[1], v[2], 9)]
        }),
        larger("twohot_nll", &[("a", &[9, 255]), ("target", &[9])], |g, v| {
            vec![g.twohot_nll(v[0], v[1], &symexp_bins(255, 20.0))]
        }),
        larger("twohot_mean", &[("a", &[9, 101])], |g, v| vec![g.twohot_mean(v[0], &symexp_bins(101, 3.0))]),
        larger("lambda_return", &[("r", &[7, 301]), ("v", &[7, 301]), ("discount", &[7, 301])], |g, v| {
            vec![g.lambda_return(v[0], v[1], Discount::Tensor(v[2]), 0.95), g.cumulative_discount(v[2], None)]
        }),
        larger("mean", &[("x", &[7, 301])], |g, v| vec![v[0], g.floor(v[0], 0.1)]),
    ]
}

#[test]
fn every_op_is_the_same_function() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    let mut failed = Vec::new();
    let all = cases().into_iter().map(|case| (case, BOUND));
    for (case, bound) in all.chain(larger_cases().into_iter().map(|case| (case, LARGER_BOUND))) {
        match check(&case, &pool, &rig.kernels) {
            Ok(Comparison { outcome, .. }) => {
                println!(
                    "{:44} {:5} numbers, worst {:.2e} at {}",
                    outcome.name, outcome.checked, outcome.worst, outcome.at
                );
                if !outcome.passes(bound) {
                    failed.push(format!("{}: {:.2e} at {}", outcome.name, outcome.worst, outcome.at));
                }
            }
            Err(error) => failed.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The same bits for every order of warps and blocks.
#[test]
fn no_result_depends_on_an_order() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    for case in cases().into_iter().chain(larger_cases()) {
        let [first, second, third] = [0, 1, 2].map(|order| {
            rig.context.emulator().unwrap().order(order);
            let compared = check(&case, &pool, &rig.kernels).unwrap();
            compared.device.iter().map(|x| x.to_bits()).collect::<Vec<u64>>()
        });
        assert!(!first.is_empty() && first == second && first == third, "{}", case.name);
    }
}

#[test]
fn philox_draws_the_words_of_the_cpu() {
    let Some(rig) = Rig::new() else { return };
    let (blocks, stream, seed, step) = (301, 77, 0x0123_4567_89ab_cdef, 0xfeed_0000_0042);
    let words = Buffer::<u32>::new(&rig.context, 4 * blocks).unwrap();
    let mut clock = Buffer::<u64>::new(&rig.context, 2).unwrap();
    clock.upload(rig.stream(), &[seed, step]).unwrap();
    let (out, clock) = (Out::at(words.address()), In::at(clock.address()));
    NoiseWords { words: out, clock, blocks, stream }.threads(&rig.kernels, blocks).unwrap();
    let want: Vec<u32> = (0..blocks as u32).flat_map(|index| philox::block(seed, stream, step, index)).collect();
    assert_eq!(words.to_vec(rig.stream()).unwrap(), want);
}

/// Three updates of Adam with clipping and decay, over a group that is no multiple of anything.
#[test]
fn adam_moves_parameters_as_on_the_cpu() {
    let Some(rig) = Rig::new() else { return };
    let (n, pool) = (40_007, Pool::new(1).unwrap());
    let mut layout = Layout::new();
    layout.group("all", [("w".to_string(), vec![n])]);
    let mut params = Params::<f64>::new(Arc::new(layout));
    let mut rng = Philox::new(4, philox::stream::TEST, 0);
    let mut draw = || -> Vec<f32> { (0..n).map(|_| rng.normal() as f32).collect() };
    let [mut value, mut m, mut v, mut grad] = [(); 4].map(|()| Buffer::<f32>::zeroed(rig.stream(), n).unwrap());
    let start = draw();
    value.upload(rig.stream(), &start).unwrap();
    params.value_mut("w").iter_mut().zip(&start).for_each(|(p, &x)| *p = f64::from(x));
    let (value_at, m_at, v_at) = (Out::at(value.address()), Out::at(m.address()), Out::at(v.address()));
    let (grad_at, decays) = (In::at(grad.address()), vec![(Out::at(value.at(5)), 1001), (Out::at(value.at(2000)), 7)]);
    let group = DeviceGroup { value: value_at, m: m_at, v: v_at, grad: grad_at, len: n, decays };
    let adam = |t| Adam { decay: 0.01, ..Adam::new(1e-2, 1e-5, 100.0, t) };
    let device = DeviceAdam::new(rig.stream(), n, adam(5)).unwrap();
    for t in 5..8 {
        let g = draw();
        grad.upload(rig.stream(), &g).unwrap();
        device.launch(&rig.kernels, &group).unwrap();
        params.grad.all_mut()[..n].iter_mut().zip(&g).for_each(|(p, &x)| *p = f64::from(x));
        let norm = global_norm(&params, 0..n, &pool);
        adam_update(&mut params, 0..n, norm, &adam(t), &[5..1006, 2000..2007], &pool);
        assert!((device.norm(rig.stream()).unwrap() - norm).abs() < 1e-6 * norm && norm > 100.0, "the norm at {t}");
    }
    let arenas = [(&mut value, params.value.all()), (&mut m, params.adam_m.all()), (&mut v, params.adam_v.all())];
    for (name, (got, want)) in ["p", "m", "v"].iter().zip(arenas) {
        let got = got.to_vec(rig.stream()).unwrap();
        let worst = got.iter().zip(want).map(|(&got, want)| (f64::from(got) - want).abs()).fold(0.0, f64::max);
        println!("adam, three updates, {name}: worst {worst:.2e}");
        assert!(worst <= BOUND, "{name}: {worst}");
    }
}

#[test]
fn pixels_are_those_of_the_cpu() {
    let Some(rig) = Rig::new() else { return };
    let bytes: Vec<u8> = (0..=255).collect();
    let mut from = Buffer::<u8>::new(&rig.context, 256).unwrap();
    from.upload(rig.stream(), &bytes).unwrap();
    let to = Buffer::<f32>::new(&rig.context, 256).unwrap();
    let pixels = PixelsFromBytes { pixels: Out::at(to.address()), bytes: In::at(from.address()), n: 256 };
    pixels.threads(&rig.kernels, 256).unwrap();
    let want: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0 - 0.5).collect();
    assert_eq!(to.to_vec(rig.stream()).unwrap(), want);
}

/// Random symbols of more cells than a block has threads, as a gridworld's replay holds them.
#[test]
fn planes_and_weights_are_those_of_the_cpu() {
    let Some(rig) = Rig::new() else { return };
    let request = Request {
        preset: Some("gridworld".into()),
        flags: vec![("task", "MiniGrid-DoorKey-5x5-v0".into())],
        set: vec!["object_weight=7".into()],
        ..Request::default()
    };
    let world = World::new(&resolve(&request).unwrap().config).unwrap();
    let Observation::Symbolic { cells, classes } = &world.model.observation else { panic!("a gridworld has symbols") };
    let (cells, variables, width) = (11 * cells, classes.len(), classes.iter().sum::<usize>());
    let mut rng = Philox::new(5, philox::stream::TEST, 0);
    let bytes: Vec<u8> = (0..cells).flat_map(|_| classes.clone()).map(|classes| rng.below(classes) as u8).collect();
    let (mut want_planes, mut want_weights) = (vec![f32::NAN; cells * width], vec![f32::NAN; cells]);
    world.encode(Obs::Bytes(&bytes), &mut want_planes);
    world.weights(&bytes, &mut want_weights);

    let classes: Vec<u32> = classes.iter().map(|&n| n as u32).collect();
    let mut symbols = Buffer::<u8>::new(&rig.context, bytes.len()).unwrap();
    symbols.upload(rig.stream(), &bytes).unwrap();
    let mut classes_there = Buffer::<u32>::new(&rig.context, variables).unwrap();
    classes_there.upload(rig.stream(), &classes).unwrap();
    let [planes, weights] = [cells * width, cells].map(|n| Buffer::<f32>::new(&rig.context, n).unwrap());
    let (symbols, classes) = (In::at(symbols.address()), In::at(classes_there.address()));
    let planes_at = Out::at(planes.address());
    PlanesFromSymbols { planes: planes_at, symbols, classes, cells, variables, width }
        .threads(&rig.kernels, cells * width)
        .unwrap();
    // From doors to lava.
    WeightsFromSymbols {
        weights: Out::at(weights.address()),
        symbols,
        cells,
        variables,
        first: 4,
        last: 9,
        weight: 7.0,
    }
    .threads(&rig.kernels, cells)
    .unwrap();
    assert_eq!(planes.to_vec(rig.stream()).unwrap(), want_planes);
    assert_eq!(weights.to_vec(rig.stream()).unwrap(), want_weights);
    assert!(want_weights.contains(&7.0) && want_weights.contains(&1.0));
}

/// Pictures of a world with objects, and the same with a byte changed in some tiles: bit by bit the weights of the CPU.
#[test]
fn weights_of_pixels_are_those_of_the_cpu() {
    let Some(rig) = Rig::new() else { return };
    for (view, tile_size) in [("rgb_partial", 8), ("rgb_full", 4)] {
        let request = Request {
            preset: Some("gridworld".into()),
            flags: vec![("task", "MiniGrid-DoorKey-5x5-v0".into())],
            set: ["object_weight=7".into(), format!("observation={view}"), format!("tile_size={tile_size}")].into(),
            ..Request::default()
        };
        let world = World::new(&resolve(&request).unwrap().config).unwrap();
        let &Observation::Image { height, width, .. } = &world.model.observation else { panic!("a picture") };
        let (pictures, size) = (7, height * width * 3);
        let mut bytes = vec![0; pictures * size];
        let mut envs = world.envs(1).unwrap();
        for (seed, picture) in bytes.chunks_exact_mut(size).enumerate() {
            envs.env_mut(0).reset(Some(seed as u64));
            envs.env_mut(0).write_bytes(picture);
        }
        let last = pictures * size - 1;
        bytes[5 * size..].iter_mut().step_by(size / 9).for_each(|byte| *byte ^= 1);
        bytes[last] ^= 1;
        let mut want = vec![f32::NAN; pictures * height * width];
        world.weights(&bytes, &mut want);
        assert!(want.contains(&7.0) && want.contains(&1.0));

        let tiles = world.object_tiles().unwrap();
        let (table, side) = (tiles.table(), tiles.side());
        let mut known_there = Buffer::<u8>::new(&rig.context, table.len()).unwrap();
        known_there.upload(rig.stream(), &table).unwrap();
        let mut pixels = Buffer::<u8>::new(&rig.context, bytes.len()).unwrap();
        pixels.upload(rig.stream(), &bytes).unwrap();
        let weights = Buffer::<f32>::new(&rig.context, want.len()).unwrap();
        WeightsFromPixels {
            weights: Out::at(weights.address()),
            pixels: In::at(pixels.address()),
            tiles: In::at(known_there.address()),
            pictures,
            height,
            width,
            side,
            known: table.len() / (side * side * 3),
            weight: 7.0,
        }
        .warps(&rig.kernels, pictures * (height / side) * (width / side))
        .unwrap();
        assert_eq!(weights.to_vec(rig.stream()).unwrap(), want, "{view}");
    }
}

/// Where a number is none, kernels do what the CPU does: the loss of such a target is none either, and a sample is one class all the same.
#[test]
fn a_nan_is_what_it_is_on_the_cpu() {
    let Some(rig) = Rig::new() else { return };
    let uploaded = |values: &[f32]| {
        let mut buffer = Buffer::<f32>::new(&rig.context, values.len()).unwrap();
        buffer.upload(rig.stream(), values).unwrap();
        buffer
    };
    let (rows, k) = (3, 41);
    let bins: Vec<f32> = symexp_bins(k, 3.0).iter().map(|&b| b as f32).collect();
    let mut rng = Philox::new(6, philox::stream::TEST, 0);
    let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal() as f32).collect() };
    let (a, target, bins) = (uploaded(&draw(rows * k)), uploaded(&[0.5, f32::NAN, 1e9]), uploaded(&bins));
    let nll = Buffer::<f32>::new(&rig.context, rows).unwrap();
    let [a_at, target, bins] = [&a, &target, &bins].map(|buffer| In::at(buffer.address()));
    TwohotNllForward { nll: Out::at(nll.address()), a: a_at, target, bins, rows, k }.warps(&rig.kernels, rows).unwrap();
    assert_eq!(nll.to_vec(rig.stream()).unwrap().iter().map(|x| x.is_nan()).collect::<Vec<_>>(), [false, true, false]);

    // More classes than a warp has lanes; NaN in the first, in the first of another lane, in the last, and nowhere.
    for (u, nan) in [0.0, 0.01].into_iter().flat_map(|u| [Some(0), Some(3), Some(k - 1), None].map(|nan| (u, nan))) {
        let (mut logits, noise) = (draw(k), draw(k));
        logits.iter_mut().enumerate().for_each(|(i, a)| *a = if nan == Some(i) { f32::NAN } else { *a });
        let (a, gumbel) = (uploaded(&logits), uploaded(&noise));
        let [sample, p] = [(); 2].map(|()| Buffer::<f32>::new(&rig.context, k).unwrap());
        SampleOnehotForward {
            sample: Out::at(sample.address()),
            p: Out::at(p.address()),
            a: In::at(a.address()),
            gumbel: In::at(gumbel.address()),
            clock: In::none(),
            stream: 0,
            first: 0,
            variables: 1,
            k,
            u,
        }
        .warps(&rig.kernels, 1)
        .unwrap();
        let p = p.to_vec(rig.stream()).unwrap();
        // (O3) in the order of the room: a class wins only over one that it is greater than.
        let score = |i: usize| noise[i] + if u > 0.0 { p[i].ln() } else { logits[i] };
        let best = (1..k).fold(0, |best, i| if score(i) > score(best) { i } else { best });
        let want: Vec<f32> = (0..k).map(|i| f32::from(i == best)).collect();
        assert_eq!(sample.to_vec(rig.stream()).unwrap(), want, "unimix {u}, NaN at {nan:?}");
    }
}

/// Whole training steps of tiny models: every loss and every gradient, with all tensors apart.
#[test]
fn a_training_step_is_the_same_function() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    let mut failed = Vec::new();
    for case in checks::whole_losses() {
        match checks::check_kernels(&case, &pool, &rig.kernels) {
            Ok(Comparison { outcome, .. }) => {
                println!(
                    "{:64} {:6} numbers, worst {:.2e} at {}",
                    case.name, outcome.checked, outcome.worst, outcome.at
                );
                if !outcome.passes(checks::KERNEL_BOUND) {
                    failed.push(format!("{}: {:.2e} at {}", case.name, outcome.worst, outcome.at));
                }
            }
            Err(error) => failed.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Whole training steps that independent implementations agree on.
#[test]
fn golden_steps_are_met() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    for name in ["tiny", "tiny_clamped", "tiny_grid"] {
        let file = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let golden = Golden::read(Path::new(&file)).unwrap();
        let rows = compare_on_device(&golden, &pool, &rig.kernels).unwrap();
        let failed: Vec<_> = rows.iter().filter(|row| row.fails()).collect();
        assert!(rows.len() > 50 && failed.is_empty(), "{name}: {failed:?} of {}", rows.len());
    }
}

/// The numbers that the CPU draws from a stream.
fn drawn_by_cpu(clock: Clock, stream: u32, gumbel: bool, n: usize) -> Vec<f32> {
    let block = |index: usize| {
        let words = philox::block(clock.seed, stream, clock.step, index as u32);
        if gumbel {
            return words.map(philox::gumbel);
        }
        let (low, high) = (philox::normal_pair([words[0], words[1]]), philox::normal_pair([words[2], words[3]]));
        [low[0], low[1], high[0], high[1]]
    };
    (0..n.div_ceil(4)).flat_map(block).take(n).map(|x| x as f32).collect()
}

/// A step whose kernels draw their noise has the bits of one that is given the CPU's, and as many launches: none fills a tensor with noise.
#[test]
fn noise_drawn_inside_is_the_noise_given() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    let clock = Clock { seed: 0x0123_4567_89ab_cdef, step: 0xfeed_0000_0042 };
    for name in ["image 8x8, continuous", "vector, discrete, categorical latent"] {
        let case = checks::whole_losses().into_iter().find(|case| case.name == name).unwrap();
        let run = |source: NoiseSource| {
            let mut params = checks::parameters::<f32>(&case.model);
            let mut step = TrainStep::compiled(&case.model, &params, source, &pool, Plan::for_device);
            for (name, values) in checks::batch(&case.model) {
                let var = step.plan.input(name).unwrap();
                step.plan.input_mut(var).iter_mut().zip(values).for_each(|(x, value)| *x = value as f32);
            }
            let (latent, discrete) = (case.model.config.latent, case.model.actions.discrete());
            for (name, stream, gumbel) in [
                ("noise.post", philox::stream::POSTERIOR, latent == Latent::Categorical),
                ("noise.prior", philox::stream::PRIOR, latent == Latent::Categorical),
                ("noise.action", philox::stream::ACTION, discrete),
            ] {
                let Some(var) = step.plan.input(name) else { continue };
                let noise = drawn_by_cpu(clock, stream, gumbel, step.plan.value(var).len());
                step.plan.input_mut(var).copy_from_slice(&noise);
            }
            let mut device = CudaPlan::new(&step.plan, &params, rig.kernels.clone()).unwrap();
            for _ in 0..2 {
                device.run(&mut step.plan, &mut params, clock, false).unwrap();
            }
            let gradients: Vec<u32> = params.grad.all().iter().map(|g| g.to_bits()).collect();
            (gradients, device.launches().unwrap())
        };
        assert!(run(NoiseSource::Drawn) == run(NoiseSource::Given), "{name}");
    }
}

/// A tiny model learns: losses and weights of 20 updates, with gradients from a captured graph, follow the CPU's.
#[test]
fn twenty_updates_follow_the_cpu() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    let case = &checks::whole_losses()[0];
    let losses = |on_device: bool| {
        let mut params = checks::parameters::<f32>(&case.model);
        let mut step = checks::training_step_by(&case.model, &params, &pool, Plan::for_device);
        let mut device = on_device.then(|| CudaPlan::new(&step.plan, &params, rig.kernels.clone()).unwrap());
        let mut losses = Vec::new();
        for _ in 0..20 {
            match &mut device {
                Some(device) => {
                    let run = |plan: &mut _, params: &mut _, clock| device.run(plan, params, clock, false);
                    step.gradients_by(&mut params, 9, run).unwrap();
                }
                None => step.gradients(&mut params, 9),
            }
            step.update(&mut params);
            losses.push(["model_loss", "actor_loss", "value_loss"].map(|name| {
                step.metrics().find(|(metric, _)| *metric == name).expect("a training step has this loss").1
            }));
        }
        losses
    };
    let (got, want) = (losses(true), losses(false));
    let apart =
        got.iter().flatten().zip(want.iter().flatten()).map(|(got, want)| (got - want).abs() / want.abs().max(1.0));
    let worst = apart.fold(0.0, |worst: f64, x| if x <= worst { worst } else { x });
    println!("20 updates: worst loss {worst:.2e}, model loss from {} to {}", want[0][0], want[19][0]);
    assert!(worst <= 1e-4 && want[19][0] < want[0][0], "{worst}");
}

/// With shared memory and replayed from a graph, a training step has the bits of one launched kernel by kernel, at every step of the clock.
#[test]
fn a_replayed_step_is_the_eager_one() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    let case = &checks::whole_losses()[0];
    let run = |eager: bool, order: u64| {
        rig.context.emulator().unwrap().order(order);
        let mut params = checks::parameters::<f32>(&case.model);
        let mut step = checks::training_step_by(&case.model, &params, &pool, Plan::for_device);
        let mut device = CudaPlan::new(&step.plan, &params, rig.kernels.clone()).unwrap();
        let gradients: Vec<Vec<u32>> = (0..4)
            .map(|number| {
                let clock = Clock { seed: 9, step: number };
                device.run(&mut step.plan, &mut params, clock, eager).unwrap();
                params.grad.all().iter().map(|g| g.to_bits()).collect()
            })
            .collect();
        assert!(gradients.iter().skip(1).all(|g| *g != gradients[0]), "the clock moves the noise");
        (gradients, device.launches().unwrap())
    };
    let (eager, none) = run(true, 0);
    let (replayed, launches) = run(false, 0);
    println!("{}: {} launches in the captured graph", case.name, launches.unwrap());
    assert_eq!(none, None);
    assert!(eager == replayed, "replayed differs from eager");
    assert!(eager == run(false, 1).0, "another order of warps gives other bits");
}
