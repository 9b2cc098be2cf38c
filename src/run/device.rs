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

    /// The device that a run trains on. What cannot be known before there is a training step, [`Learner::move_to`](super::agent::Learner::move_to)
    /// says.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and of [`check`].
    pub fn of_run(settings: &Config) -> Result<Self> {
        match (settings.device, check(settings)) {
            (config::Device::Cpu, _) => Ok(Device::Cpu),
            (config::Device::Auto, Err(error)) => {
                eprintln!("{}", instead(&error));
                Ok(Device::Cpu)
            }
            (choice, checked) => checked.and_then(|()| Device::open(choice)),
        }
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

/// Refuses settings that kernels do not compute by. Ops without a kernel are refused by name when a training step is placed on a device.
///
/// # Errors
/// The setting, its value and what to do.
pub fn check(settings: &Config) -> Result<()> {
    match settings.precision {
        Precision::F32 => Ok(()),
        other => Err(Error::new(format!(
            "precision={other}: kernels compute in f32; take --precision f32, or --device cpu for {other}."
        ))),
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
