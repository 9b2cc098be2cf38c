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
use std::sync::{Mutex, MutexGuard, PoisonError};

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

    /// The launch of a grid of blocks.
    ///
    /// # Errors
    /// Those of [`Entry::args`].
    fn listed(&self, grid: [usize; 3], shared_bytes: u32, items: Option<usize>) -> Result<Listed>
    where
        Self: Sized,
    {
        let grid = grid.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let shape = Shape { grid, block: [Self::THREADS, 1, 1], shared_bytes };
        Ok(Listed { number: Self::NUMBER, shape, args: self.args()?, items })
    }

    /// Launches a grid of blocks.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    fn blocks(&self, on: &Kernels, grid: [usize; 3]) -> Result<()>
    where
        Self: Sized,
    {
        on.take(self.listed(grid, 0, None)?)
    }

    /// Launches at least `n` threads.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    fn threads(&self, on: &Kernels, n: usize) -> Result<()>
    where
        Self: Sized,
    {
        on.take(self.listed([n.div_ceil(Self::THREADS as usize), 1, 1], 0, Some(n))?)
    }

    /// Launches at least `n` warps of 32 threads.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    fn warps(&self, on: &Kernels, n: usize) -> Result<()>
    where
        Self: Sized,
    {
        on.take(self.listed([n.div_ceil(Self::THREADS as usize / 32), 1, 1], 0, Some(n))?)
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

/// A launch that can be looked at, and made any number of times.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Position of the kernel among all.
    pub number: usize,
    /// Blocks and threads.
    pub shape: Shape,
    /// The arguments in the kernel's order.
    pub args: Vec<Arg>,
    /// How many threads or warps have an element each, where the launch was asked for by their number.
    pub items: Option<usize>,
}

impl Listed {
    /// The kernel's name.
    pub fn name(&self) -> &'static str {
        NAMES[self.number].1
    }
}

/// All kernels, loaded, and the stream that they are launched on.
pub struct Kernels {
    stream: Stream,
    loaded: Vec<Kernel>,
    /// Where launches go while they are listed.
    list: Mutex<Option<Vec<Listed>>>,
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
        Ok(Kernels { stream: stream.clone(), loaded, list: Mutex::new(None) })
    }

    /// The launches that `work` asks for, none of which is made. What other threads ask for meanwhile would be listed, too: one thread
    /// launches at a time.
    ///
    /// # Errors
    /// Those of `work`.
    ///
    /// # Panics
    /// If it is called within `work`.
    pub fn list(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<Listed>> {
        let before = self.listing().replace(Vec::new());
        assert!(before.is_none(), "launches are being listed already");
        let worked = work();
        let listed = self.listing().take().unwrap_or_default();
        worked.map(|()| listed)
    }

    /// Makes a launch.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    pub fn launch(&self, listed: &Listed) -> Result<()> {
        self.stream.launch(&self.loaded[listed.number], listed.shape, &listed.args)
    }

    /// The kernel `E`.
    pub fn kernel<E: Entry>(&self) -> &Kernel {
        &self.loaded[E::NUMBER]
    }

    fn listing(&self) -> MutexGuard<'_, Option<Vec<Listed>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a launch where launches are listed, and makes it otherwise.
    fn take(&self, launch: Listed) -> Result<()> {
        match &mut *self.listing() {
            Some(list) => list.push(launch),
            None => return self.launch(&launch),
        }
        Ok(())
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
