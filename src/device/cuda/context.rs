//! Which device, what it is, and its context.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUresult};
use cudarc::driver::{CudaContext, DriverError, result};

use super::compile::{Format, Image, Target};
use super::emulator::Emulator;
use super::find;
use super::kernel::Module;
use super::stream::Stream;
use crate::base::{Error, Result};

/// The choice of a CUDA device, as the command line spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// `cuda` or `cuda:N`: a GPU by its number.
    Gpu(usize),
    /// `emulated`: the emulated driver.
    Emulated,
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = match text.split_once(':') {
            None if text == "emulated" => return Ok(Device::Emulated),
            None if text == "cuda" => Some(0),
            Some(("cuda", number)) => number.parse().ok(),
            _ => None,
        };
        number
            .map(Device::Gpu)
            .ok_or_else(|| Error::new(format!("`{text}` is no CUDA device: write cuda, cuda:N or emulated.")))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Gpu(number) => write!(f, "cuda:{number}"),
            Device::Emulated => f.write_str("emulated"),
        }
    }
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its compute capability, major times ten plus minor: 90 for sm_90.
    pub sm: u32,
    /// Number of multiprocessors.
    pub multiprocessors: u32,
    /// Memory, in bytes.
    pub memory: u64,
    /// Most shared memory of one block, in bytes; above 48 KiB only after
    /// [`Kernel::allow_shared`](super::Kernel::allow_shared).
    pub shared_per_block: u32,
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.memory as f64 / f64::from(1 << 30);
        write!(f, "{}, sm_{}, {} multiprocessors, {gib:.1} GiB", self.name, self.sm, self.multiprocessors)
    }
}

/// A context on a device. Clones are the same context, which lives until the last clone and everything made from it is
/// dropped.
#[derive(Clone, Debug)]
pub struct Context {
    inner: Arc<CudaContext>,
    info: Arc<Info>,
    emulator: Option<Emulator>,
}

impl Context {
    /// Opens the driver and makes a context.
    ///
    /// # Errors
    /// No driver ([`find::driver`]), no such device, a device older than sm_80.
    pub fn new(device: Device) -> Result<Self> {
        find::driver(device == Device::Emulated)?;
        let (number, emulator) = match device {
            Device::Gpu(number) => (number, None),
            Device::Emulated => (0, Some(Emulator::open()?)),
        };
        let failed = |error: DriverError| {
            let advice = match (emulator.and_then(|emulator| emulator.fault()), error.0) {
                (Some(fault), _) => fault,
                (None, CUresult::CUDA_ERROR_NO_DEVICE) => {
                    "No GPU is visible: see nvidia-smi and CUDA_VISIBLE_DEVICES.".into()
                }
                (None, CUresult::CUDA_ERROR_INVALID_DEVICE) => "Name one that nvidia-smi lists.".into(),
                (None, CUresult::CUDA_ERROR_OUT_OF_MEMORY) => {
                    "Its memory is full: end other programs that use it.".into()
                }
                (
                    None,
                    CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH | CUresult::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE,
                ) => format!("Install NVIDIA's driver {} or later, and restart the machine.", find::FIRST_DRIVER),
                _ => "See what nvidia-smi says about it.".into(),
            };
            Error::new(format!("cannot use the device {device}: {}. {advice}", words(error)))
        };
        let inner = CudaContext::new(number).map_err(failed)?;
        // cudarc would tie an event to every buffer, which a captured graph cannot wait for. Order is the callers'
        // business: see `Stream`.
        // SAFETY: this module makes no `CudaSlice`, so there is nothing whose order cudarc would have to keep.
        unsafe { inner.disable_event_tracking() };
        let info = Arc::new(describe(&inner).map_err(failed)?);
        if info.sm < 80 {
            return Err(Error::new(format!(
                "{device} is {info}: the kernels need sm_80 (Ampere) or later. Choose another device or --device cpu."
            )));
        }
        Ok(Context { inner, info, emulator })
    }

    /// What the device is.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// What kernels are to be compiled to: machine code for a GPU, PTX for the emulated driver.
    pub fn target(&self) -> Target {
        let format = if self.emulator.is_some() { Format::Ptx } else { Format::Cubin };
        Target { sm: self.info.sm, format }
    }

    /// The emulated driver's own functions; `None` on a GPU.
    pub fn emulator(&self) -> Option<&Emulator> {
        self.emulator.as_ref()
    }

    /// Bytes of device memory that are free now.
    ///
    /// # Errors
    /// The context is broken.
    pub fn free_memory(&self) -> Result<u64> {
        self.bound("ask for the free memory", result::mem_get_info).map(|(free, _)| free as u64)
    }

    /// A new stream. Streams run side by side; what has to be in order across streams needs an event.
    ///
    /// # Errors
    /// The context is broken.
    pub fn stream(&self) -> Result<Stream> {
        // The default stream cannot be captured.
        let inner = self.inner.new_stream().map_err(|e| self.error("make a stream", e))?;
        Ok(Stream::wrap(self, inner))
    }

    /// Loads compiled kernels.
    ///
    /// # Errors
    /// The driver refuses the image: it is for another architecture, or holds an instruction that the emulated driver does
    /// not know.
    pub fn load(&self, image: &Image) -> Result<Module> {
        Module::load(self, image)
    }

    /// Waits for all work on the device.
    ///
    /// # Errors
    /// What that work did wrong.
    pub fn synchronize(&self) -> Result<()> {
        self.inner.synchronize().map_err(|e| self.error("wait for the device", e))
    }

    /// The context that cudarc's calls take.
    pub(super) fn inner(&self) -> &Arc<CudaContext> {
        &self.inner
    }

    /// Makes this context the thread's and calls `work`, whose failure becomes the sentence `cannot {doing} ...`.
    pub(super) fn bound<T>(
        &self,
        doing: impl fmt::Display,
        work: impl FnOnce() -> std::result::Result<T, DriverError>,
    ) -> Result<T> {
        self.inner.bind_to_thread().and_then(|()| work()).map_err(|e| self.error(doing, e))
    }

    /// `cannot {doing} on {device}: ...`, with the emulated driver's own sentence if it has one.
    pub(super) fn error(&self, doing: impl fmt::Display, error: DriverError) -> Error {
        let advice = match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let gib = self.info.memory as f64 / f64::from(1 << 30);
                format!(
                    " The device has {gib:.1} GiB in all: use a smaller batch_size or model, or end other programs on it."
                )
            }
            CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => {
                format!(" The device is sm_{}: compile the kernels for that.", self.info.sm)
            }
            CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION | CUresult::CUDA_ERROR_INVALID_IMAGE => {
                " The driver does not know what this NVRTC makes: install a newer driver, or let DREAMER_NVRTC name NVRTC 12."
                    .into()
            }
            _ => String::new(),
        };
        let fault =
            self.emulator.and_then(|emulator| emulator.fault()).map(|fault| format!(" {fault}")).unwrap_or_default();
        Error::new(format!("cannot {doing} on {}: {}.{fault}{advice}", self.info.name, words(error)))
    }
}

/// `CUDA_ERROR_X (what the driver says about it)`.
fn words(error: DriverError) -> String {
    let string = error.error_string().map(|text| text.to_string_lossy().into_owned());
    format!("{:?} ({})", error.0, string.unwrap_or_else(|_| "the driver does not know this error".into()))
}

fn describe(context: &CudaContext) -> std::result::Result<Info, DriverError> {
    let ask = |attribute| context.attribute(attribute).map(|value| value.max(0) as u32);
    let (major, minor) = context.compute_capability()?;
    Ok(Info {
        name: context.name()?,
        sm: (10 * major + minor).max(0) as u32,
        multiprocessors: ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        memory: context.total_mem()? as u64,
        shared_per_block: ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
    })
}
