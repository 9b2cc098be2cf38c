//! Is CUDA the same function? Every op, forward and backward, over the odd shapes of its gradient check: on the CPU in f64, and by its kernels,
//! compiled by the real NVRTC and run through cudarc on the emulated driver, which checks bounds, unwritten memory and races.
#![cfg(feature = "cuda")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dreamer_fast::autodiff::cuda_check::{BOUND, Comparison, check, compare};
use dreamer_fast::autodiff::cuda_exec::CudaPlan;
use dreamer_fast::autodiff::{Clock, Layout, Params, Plan};
use dreamer_fast::base::{Philox, philox};
use dreamer_fast::device::Pool;
use dreamer_fast::device::cuda::kernels::*;
use dreamer_fast::device::cuda::{Buffer, Compiler, Context, Device, Format, Stream, Target, find};
use dreamer_fast::dreamer::checks;
use dreamer_fast::ops::adam::{Adam, DeviceAdam, DeviceGroup, adam_update, global_norm};
use dreamer_fast::ops::registry::{OPS, cases};

/// Ops that have no kernel. docs/cuda.md names them.
const NOT_YET: &[&str] = &[];

/// Largest error that passes in a whole training step: hundreds of ops in a row, each in f32.
const STEP_BOUND: f64 = 1e-4;

/// The emulated device with all kernels. One at a time: a fault breaks the device for its whole process.
struct Rig {
    kernels: Arc<Kernels>,
    context: Context,
    _turn: MutexGuard<'static, ()>,
}

impl Rig {
    /// `None`, with a line that says so, where the emulated driver was not built or NVRTC could not be fetched.
    fn new() -> Option<Rig> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let compiler = compiler()?;
        if !["debug", "release"].iter().any(|profile| target().join(profile).join(find::EMULATOR).exists()) {
            println!("skipped the CUDA kernels: the emulated driver is not built (make emulator)");
            return None;
        }
        let context = Context::new(Device::Emulated).unwrap_or_else(|error| panic!("{error}"));
        context.emulator().unwrap().order(0);
        let stream = context.stream().unwrap();
        let kernels = Kernels::load(&compiler, &stream).unwrap_or_else(|error| panic!("{error}"));
        Some(Rig { kernels: Arc::new(kernels), context, _turn: turn })
    }

    fn stream(&self) -> &Stream {
        self.kernels.stream()
    }
}

fn compiler() -> Option<Compiler> {
    let fetched = std::env::var_os("DREAMER_NVRTC").is_some() || target().join("nvrtc").exists();
    match Compiler::find() {
        Ok(compiler) => Some(compiler.with_cache(Some(target().join("kernels")))),
        Err(_) if !fetched => {
            println!("skipped the CUDA kernels: NVRTC is not there (make nvrtc)");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The folder that holds `debug`, where this test is built.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).map(Path::to_path_buf).unwrap()
}

#[test]
fn every_op_is_the_same_function() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    let (mut failed, mut skipped) = (Vec::new(), BTreeSet::new());
    for case in cases() {
        match check(&case, &pool, &rig.kernels) {
            Ok(Comparison { outcome, .. }) => {
                println!(
                    "{:44} {:5} numbers, worst {:.2e} at {}",
                    outcome.name, outcome.checked, outcome.worst, outcome.at
                );
                if !outcome.passes(BOUND) {
                    failed.push(format!("{}: {:.2e} at {}", outcome.name, outcome.worst, outcome.at));
                }
            }
            Err(error) if error.to_string().contains("has no kernel") => {
                println!("skipped {}: {error}", case.name);
                skipped.insert(case.name.split_whitespace().next().unwrap().to_string());
            }
            Err(error) => failed.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(skipped.iter().map(String::as_str).collect::<Vec<_>>(), NOT_YET, "ops without a kernel");
    assert!(NOT_YET.iter().all(|op| OPS.contains(op)));
}

/// The same bits for every order of warps and blocks.
#[test]
fn no_result_depends_on_an_order() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    for case in cases() {
        let [first, second, third] = [0, 1, 2].map(|order| {
            rig.context.emulator().unwrap().order(order);
            check(&case, &pool, &rig.kernels).unwrap().device.iter().map(|x| x.to_bits()).collect::<Vec<u64>>()
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
    let (grad_at, decays) = (In::at(grad.address()), vec![(Out::at(value.at(5)), 1001)]);
    let group = DeviceGroup { value: value_at, m: m_at, v: v_at, grad: grad_at, len: n, decays };
    let adam = |t| Adam { decay: 0.01, ..Adam::new(1e-2, 1e-5, 100.0, t) };
    let device = DeviceAdam::new(rig.stream(), n, adam(5)).unwrap();
    for t in 5..8 {
        let g = draw();
        grad.upload(rig.stream(), &g).unwrap();
        device.launch(&rig.kernels, &group).unwrap();
        params.grad.all_mut()[..n].iter_mut().zip(&g).for_each(|(p, &x)| *p = f64::from(x));
        let norm = global_norm(&params, 0..n, &pool);
        adam_update(&mut params, 0..n, norm, &adam(t), &[5..1006], &pool);
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

/// Whole training steps of tiny models: every loss and every gradient, with all tensors apart.
#[test]
fn a_training_step_is_the_same_function() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    let mut failed = Vec::new();
    for case in checks::whole_losses() {
        let mut params = checks::parameters::<f64>(&case.model);
        let mut step = checks::training_step_by(&case.model, &params, &pool, Plan::apart);
        let clock = Clock { seed: 9, step: 0 };
        match compare(case.name, &mut step.plan, &mut params, clock, &rig.kernels) {
            Ok(Comparison { outcome, .. }) => {
                println!(
                    "{:64} {:6} numbers, worst {:.2e} at {}",
                    case.name, outcome.checked, outcome.worst, outcome.at
                );
                if !outcome.passes(STEP_BOUND) {
                    failed.push(format!("{}: {:.2e} at {}", case.name, outcome.worst, outcome.at));
                }
            }
            Err(error) => failed.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
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

/// An output one element short: the fault names the kernel and its line.
#[test]
fn a_short_output_is_caught() {
    let Some(rig) = Rig::new() else { return };
    let n = 300;
    let mut x = Buffer::<f32>::new(&rig.context, n).unwrap();
    x.upload(rig.stream(), &vec![0.5; n]).unwrap();
    let y = Buffer::<f32>::new(&rig.context, n - 1).unwrap();
    ActivationForward { y: Out::at(y.address()), x: In::at(x.address()), n, f: 0 }.threads(&rig.kernels, n).unwrap();
    let error = rig.stream().synchronize().unwrap_err().to_string();
    for part in ["CUDA_ERROR_ILLEGAL_ADDRESS", "activation_forward, block (1, 0, 0)", "kernels/activation.cu:6"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// NVRTC has nothing to say about any kernel, on both architectures, and no register is spilled.
#[test]
fn every_kernel_compiles_without_a_warning() {
    let Some(compiler) = compiler() else { return };
    let mut seen = BTreeSet::new();
    for source in SOURCES {
        for sm in [80, 90] {
            let compile = |format, options: &[&str]| {
                let image = source.compile(&compiler, Target { sm, format }, options);
                image.unwrap_or_else(|error| panic!("{error}"))
            };
            assert_eq!(compile(Format::Ptx, &[]).log, "", "{} for sm_{sm}", source.name);
            let log = compile(Format::Cubin, &["--ptxas-options=-v"]).log;
            for (name, resources) in resources(&log) {
                println!("sm_{sm} {name:36} {resources:?}");
                let Resources { registers, shared, spilled } = resources;
                assert!(registers <= 128 && shared <= 16 * 1024 && spilled == 0, "{name} for sm_{sm}: {resources:?}");
                seen.insert(name);
            }
            assert!(!log.contains("warning"), "{log}");
        }
    }
    let all: BTreeSet<String> = NAMES.iter().map(|&(_, name)| name.to_string()).collect();
    assert_eq!(seen, all, "ptxas does not tell the resources of every kernel");
}

#[derive(Debug, Default, Clone, Copy)]
struct Resources {
    registers: u32,
    shared: u32,
    /// Bytes of stores and loads.
    spilled: u32,
}

/// What `ptxas -v` says of each kernel.
fn resources(log: &str) -> Vec<(String, Resources)> {
    let number = |line: &str, before: &str| -> u32 {
        let words = line.split(before).next().unwrap();
        words
            .split(|c: char| !c.is_ascii_digit())
            .rfind(|word| !word.is_empty())
            .map_or(0, |word| word.parse().unwrap())
    };
    let mut found: Vec<(String, Resources)> = Vec::new();
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            found.push((rest.split('\'').next().unwrap().to_string(), Resources::default()));
        } else if let Some((_, last)) = found.last_mut() {
            if line.contains("bytes spill stores") {
                last.spilled = number(line, " bytes spill stores") + number(line, " bytes spill loads");
            }
            if line.contains("registers") {
                last.registers = number(line, " registers");
                last.shared = if line.contains("bytes smem") { number(line, " bytes smem") } else { 0 };
            }
        }
    }
    found
}
