//! CUDA: how a kernel is compiled, loaded, launched and captured, on an NVIDIA GPU or on the emulated driver of `emulator/`.
//!
//! This is the only module that names cudarc. What it holds, in the order in which a program meets it:
//!
//! | file | holds |
//! |---|---|
//! | [`find`] | the two shared libraries, NVRTC and the driver, opened by path, or a sentence about what was looked for |
//! | [`context`] | which device, what it is, its context |
//! | [`compile`] | CUDA C to PTX or machine code, cached on disk |
//! | [`kernel`] | modules, kernels, arguments |
//! | [`kernels`] | the kernels of `kernels/`, and a struct for every launch |
//! | [`product`] | how a matrix product is cut into blocks, and what it multiplies |
//! | [`buffer`] | memory on the device, and page-locked memory of the host |
//! | [`stream`] | order: launches, copies, events |
//! | [`graph`] | a captured sequence of launches, replayed |
//! | [`emulator`] | what the emulated driver knows beyond a real one: faults in words, counters, the order of warps |
//!
//! Nothing here panics when a library, a device or memory is missing: each of these is an [`Error`](crate::base::Error)
//! that says what to do.
//!
//! ```no_run
//! use dreamer_fast::device::cuda::*;
//! # fn main() -> dreamer_fast::base::Result<()> {
//! let context = Context::new(Device::Emulated)?;
//! let stream = context.stream()?;
//! let source = r#"extern "C" __global__ void twice(float *x, int n) {
//!     int i = blockIdx.x * blockDim.x + threadIdx.x;
//!     if (i < n) x[i] *= 2.0f;
//! }"#;
//! let image = Compiler::find()?.compile("twice.cu", source, context.target(), &[])?;
//! let twice = context.load(&image)?.kernel("twice")?;
//! let mut x = Buffer::<f32>::new(&context, 100)?;
//! x.upload(&stream, &[1.0; 100])?;
//! stream.launch(&twice, Shape::rows(100, 128), &[Arg::Ptr(x.address()), Arg::I32(100)])?;
//! assert_eq!(x.to_vec(&stream)?, [2.0; 100]);
//! # Ok(())
//! # }
//! ```
#![allow(unsafe_code)]

pub mod buffer;
pub mod compile;
pub mod context;
pub mod emulator;
pub mod find;
pub mod graph;
pub mod kernel;
pub mod kernels;
pub mod product;
pub mod stream;

pub use buffer::{Buffer, Pinned};
pub use compile::{Compiler, Format, Image, Target};
pub use context::{Context, Device, Info};
pub use emulator::Emulator;
pub use graph::Graph;
pub use kernel::{Arg, Kernel, Module, Resources, Shape};
pub use product::Precision;
pub use stream::{Event, Stream};
