//! Where a command computes: on the CPU, or by kernels on a CUDA device.

use crate::base::{Error, Result};

#[cfg(feature = "cuda")]
pub use with_cuda::Device;

/// Where a command computes.
#[cfg(not(feature = "cuda"))]
pub enum Device {
    /// The CPU.
    Cpu,
}

#[cfg(not(feature = "cuda"))]
impl Device {
    /// The device of this name.
    ///
    /// # Errors
    /// Every name but `cpu`: this program was built without CUDA.
    pub fn open(name: &str) -> Result<Self> {
        match name {
            "cpu" => Ok(Device::Cpu),
            other => Err(Error::new(format!(
                "--device {other}: this program was built without CUDA; build it with --features cuda, or take cpu."
            ))),
        }
    }
}

#[cfg(feature = "cuda")]
mod with_cuda {
    use std::sync::Arc;

    use super::{Error, Result};
    use crate::device::cuda::{self, Compiler, Context, kernels::Kernels};

    /// Where a command computes.
    pub enum Device {
        /// The CPU.
        Cpu,
        /// A CUDA device, with its kernels.
        Cuda(Arc<Kernels>),
    }

    impl Device {
        /// The device of this name: `cpu`, `cuda`, `cuda:N` or `emulated`. Compiles the kernels, unless they are in the cache.
        ///
        /// # Errors
        /// An unknown name; no driver, device or NVRTC, with what to do.
        pub fn open(name: &str) -> Result<Self> {
            if name == "cpu" {
                return Ok(Device::Cpu);
            }
            let device: cuda::Device = name
                .parse()
                .map_err(|_| Error::new(format!("--device {name}: write cpu, cuda, cuda:N or emulated.")))?;
            let stream = Context::new(device)?.stream()?;
            Ok(Device::Cuda(Arc::new(Kernels::load(&Compiler::find()?, &stream)?)))
        }
    }
}
