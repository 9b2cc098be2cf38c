//! Does what stands between the engine and a GPU work? Libraries are found or missed in a sentence, kernels compiled and
//! cached, memory copied, streams kept in order, graphs replayed, faults reported. Runs on the emulated driver, through
//! cudarc and the real NVRTC.
#![cfg(feature = "cuda")]

mod compiling;
mod finding;
mod running;

#[path = "../rig/mod.rs"]
mod rig;

use dreamer_fast::device::cuda::{Compiler, Context, Kernel, Stream};

/// A context on the emulated device, which no other test uses meanwhile.
struct Rig {
    context: Context,
    stream: Stream,
    compiler: Compiler,
    // Dropped last: the context is destroyed before the next test makes one.
    _turn: rig::Turn,
}

impl Rig {
    /// `None` where the test is skipped.
    fn new() -> Option<Rig> {
        let (context, compiler, turn) = rig::emulated()?;
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
