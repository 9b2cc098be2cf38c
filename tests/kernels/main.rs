//! Is CUDA the same function? Every op, forward and backward, over the odd shapes of its gradient check: on the CPU in f64, and by its kernels,
//! compiled by the real NVRTC and run through cudarc on the emulated driver, which checks bounds, unwritten memory and races.
#![cfg(feature = "cuda")]

mod batches;
mod commands;
mod compiling;
mod faults;
mod functions;
mod launches;
mod products;
mod reading;
mod rollouts;
mod training;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dreamer_fast::device::cuda::kernels::Kernels;
use dreamer_fast::device::cuda::{Compiler, Context, Device, Stream, find};

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
