//! What tests on the emulated driver begin with.
//!
//! A process has one emulated device, and a test that breaks its context breaks it for all: so tests take turns.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dreamer_fast::device::cuda::{Compiler, Context, Device, find};

/// As long as a test has this, no other one has a device. To be dropped after the context.
pub type Turn = MutexGuard<'static, ()>;

/// The emulated device, which runs warps and blocks in ascending order, and NVRTC; `None`, with a line that says so, where the emulated driver was not
/// built or NVRTC could not be fetched.
pub fn emulated() -> Option<(Context, Compiler, Turn)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let compiler = compiler()?;
    if driver().is_none() {
        println!("skipped CUDA: the emulated driver is not built (make emulator)");
        return None;
    }
    let context = Context::new(Device::Emulated).unwrap_or_else(|error| panic!("{error}"));
    context.emulator().unwrap().order(0);
    Some((context, compiler, turn))
}

/// NVRTC without a cache; `None`, with a line that says so, where it could not be fetched.
pub fn compiler() -> Option<Compiler> {
    let fetched = std::env::var_os("DREAMER_NVRTC").is_some() || target().join("nvrtc").exists();
    match Compiler::find() {
        Ok(compiler) => Some(compiler.with_cache(None)),
        Err(_) if !fetched => {
            println!("skipped CUDA: NVRTC is not there (make nvrtc)");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The emulated driver's file, of either profile.
pub fn driver() -> Option<PathBuf> {
    let file = |profile| target().join(profile).join(find::EMULATOR);
    ["debug", "release"].map(file).into_iter().find(|file| file.exists())
}

/// The folder that holds `debug`, where this test is built.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).map(Path::to_path_buf).unwrap()
}
