//! Modules, kernels and their arguments.

use std::ffi::{CString, c_int, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{self, CUfunction_attribute as Attribute, CUresult};
use cudarc::driver::{CudaFunction, CudaModule, DriverError};
use cudarc::nvrtc::Ptx;

use super::compile::{Format, Image};
use super::context::Context;
use crate::base::{Error, Result};

/// Compiled kernels, loaded into a context.
#[derive(Clone, Debug)]
pub struct Module {
    context: Context,
    inner: Arc<CudaModule>,
}

impl Module {
    pub(super) fn load(context: &Context, image: &Image) -> Result<Self> {
        let bytes = image.bytes.clone();
        let refused = || {
            Error::new(format!(
                "the compiled kernels of {} are no PTX: remove the cache and compile again.",
                image.name
            ))
        };
        let ptx = match image.format {
            Format::Cubin => Ptx::from_binary(bytes),
            Format::Ptx => {
                let text = CString::new(bytes).ok().and_then(|text| text.into_string().ok());
                Ptx::from_src(text.ok_or_else(refused)?)
            }
        };
        let doing = format!("load the kernels of {}", image.name);
        let inner = context.inner().load_module(ptx).map_err(|e| context.error(&doing, e))?;
        Ok(Module { context: context.clone(), inner })
    }

    /// The kernel of this name (`extern "C"`).
    ///
    /// # Errors
    /// The module has no such kernel.
    pub fn kernel(&self, name: &str) -> Result<Kernel> {
        let doing = format!("find the kernel {name}");
        // A name with a zero byte is the name of no kernel; cudarc would panic.
        let name = if name.contains('\0') { "" } else { name };
        let inner = self.inner.load_function(name).map_err(|e| self.context.error(&doing, e))?;
        let sizes = parameter_sizes(&inner).map_err(|e| self.context.error(&doing, e))?;
        Ok(Kernel { name: name.into(), context: self.context.clone(), inner, sizes: sizes.into() })
    }
}

fn parameter_sizes(function: &CudaFunction) -> std::result::Result<Vec<usize>, DriverError> {
    let mut sizes = Vec::new();
    loop {
        let (mut offset, mut size) = (0, 0);
        // SAFETY: the function is alive, and the two numbers are written.
        match unsafe { sys::cuFuncGetParamInfo(function.cu_function(), sizes.len(), &mut offset, &mut size) }.result() {
            Ok(()) => sizes.push(size),
            // There is no parameter of this number.
            Err(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE)) => return Ok(sizes),
            Err(other) => return Err(other),
        }
    }
}

/// A kernel. Keeps its module alive.
#[derive(Clone, Debug)]
pub struct Kernel {
    name: Arc<str>,
    context: Context,
    inner: CudaFunction,
    sizes: Arc<[usize]>,
}

/// What a kernel takes of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Registers of a thread; 0 on the emulated driver, since PTX has no real registers.
    pub registers: u32,
    /// Bytes of local memory of a thread: spilled registers and local arrays.
    pub local: u32,
    /// Bytes of static shared memory of a block.
    pub shared: u32,
    /// Most threads of a block.
    pub threads: u32,
}

impl Kernel {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it takes of a multiprocessor.
    ///
    /// # Errors
    /// The context is broken.
    pub fn resources(&self) -> Result<Resources> {
        let ask = |attribute| {
            let value = self.inner.get_attribute(attribute);
            value
                .map(|value| value.max(0) as u32)
                .map_err(|e| self.context.error(format_args!("ask about {}", self.name), e))
        };
        Ok(Resources {
            registers: ask(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
            local: ask(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
            shared: ask(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
            threads: ask(Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
        })
    }

    /// Allows launches with up to `bytes` of dynamic shared memory. Needed above 48 KiB.
    ///
    /// # Errors
    /// More than [`Info::shared_per_block`](super::Info::shared_per_block) less the static shared memory.
    pub fn allow_shared(&self, bytes: u32) -> Result<()> {
        let attribute = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let doing = format!("give {} {bytes} bytes of shared memory", self.name);
        self.context.bound(&doing, || self.inner.set_attribute(attribute, c_int::try_from(bytes).unwrap_or(c_int::MAX)))
    }

    /// How many blocks of `threads` threads and `shared_bytes` of dynamic shared memory are resident on one multiprocessor
    /// at once. A cooperative launch may have this many times [`Info::multiprocessors`](super::Info::multiprocessors)
    /// blocks.
    ///
    /// # Errors
    /// Impossible sizes.
    pub fn blocks_per_multiprocessor(&self, threads: u32, shared_bytes: u32) -> Result<u32> {
        let doing = format!("find how many blocks of {} fit a multiprocessor", self.name);
        self.context.bound(&doing, || {
            self.inner.occupancy_max_active_blocks_per_multiprocessor(threads, shared_bytes as usize, None)
        })
    }

    /// Where the bytes of the arguments are.
    ///
    /// # Panics
    /// If number or sizes are not those of the kernel's parameters: the driver would read past them.
    pub(super) fn pointers(&self, args: &[Arg]) -> Vec<*mut c_void> {
        let fits =
            args.len() == self.sizes.len() && args.iter().zip(&*self.sizes).all(|(arg, &size)| arg.size() == size);
        assert!(fits, "{} takes parameters of {:?} bytes, but the arguments are {args:?}", self.name, self.sizes);
        args.iter().map(Arg::bytes).collect()
    }

    pub(super) fn inner(&self) -> &CudaFunction {
        &self.inner
    }
}

/// Blocks, threads and dynamic shared memory of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
}

impl Shape {
    /// `grid` blocks of `threads` threads in x, without dynamic shared memory.
    pub fn new(grid: u32, threads: u32) -> Self {
        Shape { grid: [grid, 1, 1], block: [threads, 1, 1], shared_bytes: 0 }
    }

    /// As many blocks of `threads` threads as `n` threads need.
    pub fn rows(n: usize, threads: u32) -> Self {
        let blocks = n.div_ceil(threads as usize);
        Shape::new(u32::try_from(blocks).unwrap_or(u32::MAX), threads)
    }

    /// The same with this much dynamic shared memory.
    pub fn shared(self, bytes: u32) -> Self {
        Shape { shared_bytes: bytes, ..self }
    }
}

/// An argument of a kernel. It must have the size that the kernel declares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// A device address: [`Buffer::address`](super::Buffer::address), [`Buffer::at`](super::Buffer::at).
    Ptr(u64),
    /// `unsigned int`.
    U32(u32),
    /// `int`.
    I32(i32),
    /// `float`.
    F32(f32),
    /// `unsigned long long`.
    U64(u64),
}

impl Arg {
    fn size(&self) -> usize {
        match self {
            Arg::Ptr(_) | Arg::U64(_) => 8,
            Arg::U32(_) | Arg::I32(_) | Arg::F32(_) => 4,
        }
    }

    fn bytes(&self) -> *mut c_void {
        match self {
            Arg::Ptr(value) | Arg::U64(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Arg::U32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Arg::I32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Arg::F32(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}
