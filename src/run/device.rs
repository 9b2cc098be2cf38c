//! Where a command computes: on the CPU, or by kernels on a CUDA device.

#[cfg(feature = "cuda")]
use std::sync::Arc;

use super::args;
use crate::base::{Error, Result};
use crate::config::{self, Config, Precision};
#[cfg(feature = "cuda")]
use crate::device::cuda::{self, Compiler, Context, kernels::Kernels};

/// Where a command computes.
pub enum Device {
    /// The CPU.
    Cpu,
    /// A CUDA device, with its kernels.
    #[cfg(feature = "cuda")]
    Cuda(Arc<Kernels>),
}

impl Device {
    /// Opens a device. Compiles the kernels, unless they are in the cache. `auto` takes the first GPU, or else the CPU, and then says on
    /// standard error why.
    ///
    /// # Errors
    /// But for `auto`: no driver, device or NVRTC, with what to do; a program that was built without CUDA.
    pub fn open(choice: config::Device) -> Result<Self> {
        Self::open_in(choice, None)
    }

    /// The same, with the products of a CUDA device in this precision; in f32 if none is given.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); f64 on a CUDA device.
    pub fn open_in(choice: config::Device, precision: Option<args::Precision>) -> Result<Self> {
        match choice {
            config::Device::Cpu => Ok(Device::Cpu),
            config::Device::Auto => Ok(open_cuda(config::Device::Cuda(0), precision).unwrap_or_else(|error| {
                eprintln!("{}", instead(&error));
                Device::Cpu
            })),
            named => open_cuda(named, precision),
        }
    }

    /// The device that a run trains on, with products in the run's precision. What cannot be known before there is a training step,
    /// [`Learner::move_to`](super::agent::Learner::move_to) says.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); a precision that the device does not have.
    pub fn of_run(settings: &Config) -> Result<Self> {
        Device::with_products(settings.device, settings.precision)
    }

    /// A device whose products multiply in this precision: on the CPU the graph's calls have it, on a CUDA device the kernels.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); a precision that the device does not have.
    pub fn with_products(choice: config::Device, precision: Precision) -> Result<Self> {
        let device = Device::open_in(choice, Some(precision.into()))?;
        if matches!(device, Device::Cpu) {
            check_cpu(precision)?;
        }
        Ok(device)
    }

    /// What it is: a number of CPU threads, or the name and the size of a CUDA device.
    pub fn describe(&self, threads: usize) -> String {
        match self {
            Device::Cpu => format!("{threads} CPU thread{}", if threads == 1 { "" } else { "s" }),
            #[cfg(feature = "cuda")]
            Device::Cuda(kernels) => kernels.stream().context().info().to_string(),
        }
    }

    /// Whether it is the emulated driver, whose times are those of an interpreter.
    pub fn emulated(&self) -> bool {
        match self {
            Device::Cpu => false,
            #[cfg(feature = "cuda")]
            Device::Cuda(kernels) => kernels.stream().context().emulator().is_some(),
        }
    }
}

/// Why `auto` is the CPU, in one line.
pub fn instead(error: &Error) -> String {
    format!("--device auto takes the CPU: {error}")
}

/// Refuses a precision that the CPU does not train in.
///
/// # Errors
/// What to take instead.
pub fn check_cpu(precision: Precision) -> Result<()> {
    if precision == Precision::Tf32 {
        return Err(Error::new(
            "--precision tf32: the CPU has no such products: write f32 or bf16, or take --device cuda.",
        ));
    }
    Ok(())
}

/// Refuses settings whose kernels a profile does not count.
///
/// # Errors
/// The setting, its value and what to do.
pub fn check(settings: &Config) -> Result<()> {
    match settings.precision {
        Precision::F32 => Ok(()),
        other => Err(Error::new(format!("precision={other}: kernels are counted in f32; take --precision f32."))),
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(choice: config::Device, precision: Option<args::Precision>) -> Result<Device> {
    let precision = match precision {
        None | Some(args::Precision::F32) => cuda::Precision::F32,
        Some(args::Precision::Tf32) => cuda::Precision::Tf32,
        Some(args::Precision::Bf16) => cuda::Precision::Bf16,
        Some(args::Precision::F64) => {
            return Err(Error::new(format!(
                "--precision f64: kernels compute in f32: write f32, tf32 or bf16 with --device {choice}."
            )));
        }
    };
    let device = match choice {
        config::Device::Cuda(number) => cuda::Device::Gpu(number),
        config::Device::Emulated => cuda::Device::Emulated,
        config::Device::Auto | config::Device::Cpu => unreachable!("{choice} is opened by Device::open"),
    };
    let stream = Context::new(device)?.stream()?;
    Ok(Device::Cuda(Arc::new(Kernels::load_in(precision, &Compiler::find()?, &stream)?)))
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(choice: config::Device, _precision: Option<args::Precision>) -> Result<Device> {
    Err(Error::new(format!(
        "--device {choice}: this program was built without CUDA; build it with --features cuda, or take cpu."
    )))
}
