//! Is CUDA the same function? Every op, forward and backward, over the odd shapes of its gradient check: on the CPU in f64, and by its kernels,
//! compiled by the real NVRTC and run through cudarc on the emulated driver, which checks bounds, unwritten memory and races.
#![cfg(feature = "cuda")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dreamer_fast::autodiff::cuda_check::{BOUND, Comparison, check};
use dreamer_fast::base::philox;
use dreamer_fast::device::Pool;
use dreamer_fast::device::cuda::kernels::{ActivationForward, Entry, In, Kernels, NAMES, NoiseWords, Out, SOURCES};
use dreamer_fast::device::cuda::{Buffer, Compiler, Context, Device, Format, Stream, Target, find};
use dreamer_fast::ops::registry::{OPS, cases};

/// Ops that have no kernel. docs/cuda.md names them.
const NOT_YET: &[&str] = &[];

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
