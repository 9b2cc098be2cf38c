//! Where a command computes: on the CPU, or by kernels on a CUDA device.

use super::args::Precision;
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

    /// The device of this name, in any precision.
    ///
    /// # Errors
    /// Those of [`Device::open`].
    pub fn open_in(name: &str, _precision: Option<Precision>) -> Result<Self> {
        Self::open(name)
    }
}

#[cfg(feature = "cuda")]
mod with_cuda {
    use std::sync::Arc;

    use super::{Error, Precision, Result};
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
            Self::open_in(name, None)
        }

        /// The same, with the products of a CUDA device in this precision; in f32 if none is given.
        ///
        /// # Errors
        /// Those of [`Device::open`]; f64 on a CUDA device.
        pub fn open_in(name: &str, precision: Option<Precision>) -> Result<Self> {
            if name == "cpu" {
                return Ok(Device::Cpu);
            }
            let precision = match precision {
                None | Some(Precision::F32) => cuda::Precision::F32,
                Some(Precision::Tf32) => cuda::Precision::Tf32,
                Some(Precision::Bf16) => cuda::Precision::Bf16,
                Some(Precision::F64) => {
                    return Err(Error::new(format!(
                        "--precision f64: kernels compute in f32: write f32, tf32 or bf16 with --device {name}."
                    )));
                }
            };
            let device: cuda::Device = name
                .parse()
                .map_err(|_| Error::new(format!("--device {name}: write cpu, cuda, cuda:N or emulated.")))?;
            let stream = Context::new(device)?.stream()?;
            Ok(Device::Cuda(Arc::new(Kernels::load_in(precision, &Compiler::find()?, &stream)?)))
        }
    }
}
