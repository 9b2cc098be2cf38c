//! The kernels of `kernels/`: compiled, loaded, and launched by structs that `build.rs` makes from their declarations.
//!
//! Every kernel `name(const float *x, float *y, int n)` has a struct `Name { x: In<f32>, y: Out<f32>, n: usize }`. A launch names every
//! argument, so a parameter that is added, dropped, renamed or given another type in the `.cu` file is an error of the Rust compiler
//! at every launch of it.
//!
//! ```
//! use dreamer_fast::device::cuda::kernels::*;
//! let (x, y) = (In::<f32>::none(), Out::<f32>::none());
//! let launch = ActivationForward { y, x, n: 1, f: 0 };
//! ```
//! What is read cannot be written, and nothing can be forgotten:
//! ```compile_fail,E0308
//! # use dreamer_fast::device::cuda::kernels::*;
//! # let (x, y) = (In::<f32>::none(), Out::<f32>::none());
//! let launch = ActivationForward { y: x, x: y, n: 1, f: 0 };
//! ```
//! ```compile_fail,E0063
//! # use dreamer_fast::device::cuda::kernels::*;
//! # let (x, y) = (In::<f32>::none(), Out::<f32>::none());
//! let launch = ActivationForward { y, x, f: 0 };
//! ```

use std::fmt;
use std::marker::PhantomData;

use super::compile::{Compiler, Image, Target};
use super::kernel::{Arg, Kernel, Shape};
use super::stream::Stream;
use crate::base::{Error, Result};

/// A source as NVRTC gets it.
pub struct Source {
    /// `kernels/{op}.cu`.
    pub name: &'static str,
    /// The prelude and the file, each behind a `#line` mark.
    pub text: &'static str,
}

impl Source {
    /// Compiles it. NVRTC's messages name the file in `kernels/` and its line.
    ///
    /// # Errors
    /// Those of [`Compiler::compile`].
    pub fn compile(&self, compiler: &Compiler, target: Target, options: &[&str]) -> Result<Image> {
        compiler.compile(self.name, self.text, target, options)
    }
}

/// Address of device memory that a kernel reads; [`In::none`] where an optional operand is missing.
pub struct In<T>(u64, PhantomData<T>);

/// Address of device memory that a kernel writes, and may read; [`Out::none`] where nobody wants the result.
pub struct Out<T>(u64, PhantomData<T>);

macro_rules! address {
    ($name:ident, $word:literal) => {
        impl<T> $name<T> {
            /// Memory at an address: [`Buffer::address`](super::Buffer::address), [`Buffer::at`](super::Buffer::at).
            pub fn at(address: u64) -> Self {
                $name(address, PhantomData)
            }

            /// No memory: the null pointer.
            pub fn none() -> Self {
                $name(0, PhantomData)
            }

            /// Whether there is memory.
            pub fn is_some(self) -> bool {
                self.0 != 0
            }

            /// Where the memory begins; 0 where there is none.
            pub fn address(self) -> u64 {
                self.0
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $name<T> {}

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, "({:#x})"), self.0)
            }
        }
    };
}

address!(In, "In");
address!(Out, "Out");

impl<T> Out<T> {
    /// The same memory, to be read.
    pub fn read(self) -> In<T> {
        In::at(self.0)
    }
}

/// A launch of one kernel: its arguments by name.
pub trait Entry {
    /// Position among all kernels.
    const NUMBER: usize;
    /// Threads of a block, as the kernel's `__launch_bounds__` states them.
    const THREADS: u32;

    /// The arguments in the kernel's order.
    ///
    /// # Errors
    /// A size that does not fit an `int`.
    fn args(&self) -> Result<Vec<Arg>>;

    /// Launches a grid of blocks.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    fn blocks(&self, on: &Kernels, grid: [usize; 3]) -> Result<()>
    where
        Self: Sized,
    {
        let grid = grid.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let shape = Shape { grid, block: [Self::THREADS, 1, 1], shared_bytes: 0 };
        on.stream.launch(&on.loaded[Self::NUMBER], shape, &self.args()?)
    }

    /// Launches at least `n` threads.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    fn threads(&self, on: &Kernels, n: usize) -> Result<()>
    where
        Self: Sized,
    {
        self.blocks(on, [n.div_ceil(Self::THREADS as usize), 1, 1])
    }

    /// Launches at least `n` warps of 32 threads.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    fn warps(&self, on: &Kernels, n: usize) -> Result<()>
    where
        Self: Sized,
    {
        self.blocks(on, [n.div_ceil(Self::THREADS as usize / 32), 1, 1])
    }

    /// Launches one block for every tile of 64 x 64 elements of a product: `Tile` of the prelude.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    fn tiles(&self, on: &Kernels, rows: usize, columns: usize) -> Result<()>
    where
        Self: Sized,
    {
        self.blocks(on, [rows.div_ceil(64), columns.div_ceil(64), 1])
    }
}

/// A size as an `int`.
fn size(name: &str, n: usize) -> Result<Arg> {
    let fits = i32::try_from(n).map(Arg::I32);
    fits.map_err(|_| Error::new(format!("{name} is {n}, more than a kernel takes: use a smaller batch_size.")))
}

/// All kernels, loaded, and the stream that they are launched on.
pub struct Kernels {
    stream: Stream,
    loaded: Vec<Kernel>,
}

impl Kernels {
    /// Compiles and loads every source.
    ///
    /// # Errors
    /// A source that does not compile, with NVRTC's messages; those of [`Context::load`](super::Context::load).
    pub fn load(compiler: &Compiler, stream: &Stream) -> Result<Self> {
        let context = stream.context();
        let load = |source: &Source| context.load(&source.compile(compiler, context.target(), &[])?);
        let modules = SOURCES.iter().map(load).collect::<Result<Vec<_>>>()?;
        let loaded = NAMES.iter().map(|&(source, name)| modules[source].kernel(name)).collect::<Result<_>>()?;
        Ok(Kernels { stream: stream.clone(), loaded })
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
