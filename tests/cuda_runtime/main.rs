//! Does what stands between the engine and a GPU work? Libraries are found or missed in a sentence, kernels compiled and
//! cached, memory copied, streams kept in order, graphs replayed, faults reported. Runs on the emulated driver, through
//! cudarc and the real NVRTC.
//!
//! A process has one emulated device, and a test that breaks its context breaks it for all: so tests take turns.
#![cfg(feature = "cuda")]

mod compiling;
mod finding;
mod running;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dreamer_fast::device::cuda::{Compiler, Context, Device, Kernel, Stream, find};

/// A context on the emulated device, which no other test uses meanwhile.
struct Rig {
    context: Context,
    stream: Stream,
    compiler: Compiler,
    // Dropped last: the context is destroyed before the next test makes one.
    _turn: MutexGuard<'static, ()>,
}

impl Rig {
    /// `None`, with a line that says so, where the emulated driver was not built or NVRTC could not be fetched.
    fn new() -> Option<Rig> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let compiler = compiler()?;
        if !target().join("debug").join(find::EMULATOR).exists()
            && !target().join("release").join(find::EMULATOR).exists()
        {
            println!("skipped the CUDA runtime: the emulated driver is not built (make emulator)");
            return None;
        }
        let context = Context::new(Device::Emulated).unwrap_or_else(|error| panic!("{error}"));
        context.emulator().unwrap().order(0);
        context.emulator().unwrap().reset();
        let stream = context.stream().unwrap();
        Some(Rig { context, stream, compiler, _turn: turn })
    }

    fn order(&self, seed: u64) {
        self.context.emulator().unwrap().order(seed);
    }

    /// A kernel of a source.
    fn kernel(&self, source: &str, name: &str) -> Kernel {
        let image = self.compiler.compile("test.cu", source, self.context.target(), &[]);
        let module = self.context.load(&image.unwrap_or_else(|error| panic!("{error}")));
        module.unwrap_or_else(|error| panic!("{error}")).kernel(name).unwrap()
    }
}

/// NVRTC without a cache; `None`, with a line that says so, where it could not be fetched.
fn compiler() -> Option<Compiler> {
    let fetched = std::env::var_os("DREAMER_NVRTC").is_some() || target().join("nvrtc").exists();
    match Compiler::find() {
        Ok(compiler) => Some(compiler.with_cache(None)),
        Err(_) if !fetched => {
            println!("skipped the CUDA runtime: NVRTC is not there (make nvrtc)");
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
