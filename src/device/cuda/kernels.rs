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

use super::buffer::Buffer;
use super::compile::{Compiler, Image, Target};
use super::kernel::{Arg, Kernel, Shape};
use super::product::{self, Parts, Precision, TILES, Tile};
use super::stream::Stream;
use crate::base::{Error, Result};

/// A source as NVRTC gets it.
pub struct Source {
    /// `kernels/{op}.cu`.
    pub name: &'static str,
    /// The headers and the file, each behind a `#line` mark.
    pub text: &'static str,
    /// Whether its kernels compute tiles of a product, in the tile and precision that options of the compiler name.
    pub product: bool,
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
        Ok(Listed { number: Self::NUMBER, tile: Tile::SMALL, shape, args: self.args()?, items })
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

    /// Launches `n` blocks with so many bytes of dynamic shared memory.
    ///
    /// # Errors
    /// Those of [`Stream::launch`]; more bytes than a block can have.
    fn blocks_with(&self, on: &Kernels, n: usize, bytes: usize) -> Result<()>
    where
        Self: Sized,
    {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes > UNASKED {
            on.kernel::<Self>().allow_shared(bytes)?;
        }
        on.take(self.listed([n, 1, 1], bytes, None)?)
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
        assert!(n <= MOST_ELEMENTS / 32, "{n} warps: a kernel numbers its threads in 31 bits");
        on.take(self.listed([n.div_ceil(Self::THREADS as usize / 32), 1, 1], 0, Some(n))?)
    }

    /// Launches one block for every tile of a product: `Tile` of `kernels/tile.cuh`.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    fn tiles(&self, on: &Kernels, rows: usize, columns: usize) -> Result<()>
    where
        Self: Sized,
    {
        self.tiled(on, product::tile(rows, columns), rows, columns, 1)
    }

    /// Launches one block for every tile and every part of its sum.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    fn tiled(&self, on: &Kernels, tile: Tile, rows: usize, columns: usize, parts: usize) -> Result<()>
    where
        Self: Sized,
    {
        let grid = [tile.cover(rows, columns), 1, parts];
        on.take(Listed { tile, ..self.listed(grid, 0, None)? })
    }
}

/// Bytes of shared memory that a block may have without asking.
const UNASKED: u32 = 48 << 10;

/// The most elements of a tensor that a kernel counts in an `int`: a thread or a tile beyond the last element still has a number of its own.
pub const MOST_ELEMENTS: usize = i32::MAX as usize - (1 << 16);

/// A size as an `int`.
fn size(name: &str, n: usize) -> Result<Arg> {
    match i32::try_from(n) {
        Ok(size) if n <= MOST_ELEMENTS => Ok(Arg::I32(size)),
        _ => Err(Error::new(format!("{name} is {n}, more than a kernel takes: use a smaller batch_size."))),
    }
}

/// A launch that can be looked at, and made any number of times.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Position of the kernel among all.
    pub number: usize,
    /// Of a product, its tile: it is compiled for each of [`TILES`].
    pub tile: Tile,
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
    /// All kernels, once for each of [`TILES`].
    loaded: Vec<Vec<Kernel>>,
    /// The parts of a product that is summed in parts. Launches that use it stand in one stream, so it serves all of them.
    partial: Buffer<f32>,
    precision: Precision,
    /// Where launches go while they are listed.
    list: Mutex<Option<Vec<Listed>>>,
}

impl Kernels {
    /// Compiles and loads every source, with products in f32.
    ///
    /// # Errors
    /// A source that does not compile, with NVRTC's messages; those of [`Context::load`](super::Context::load).
    pub fn load(compiler: &Compiler, stream: &Stream) -> Result<Self> {
        Self::load_in(Precision::F32, compiler, stream)
    }

    /// Compiles and loads every source, with products in this precision.
    ///
    /// # Errors
    /// Those of [`Kernels::load`]; the memory for sums in parts is not there.
    pub fn load_in(precision: Precision, compiler: &Compiler, stream: &Stream) -> Result<Self> {
        let context = stream.context();
        let compile = |source: &Source, tile| {
            let options = product::options(tile, precision);
            let options: Vec<&str> = options.iter().filter(|_| source.product).map(String::as_str).collect();
            context.load(&source.compile(compiler, context.target(), &options)?)
        };
        let small = SOURCES.iter().map(|source| compile(source, Tile::SMALL)).collect::<Result<Vec<_>>>()?;
        let load = |tile| {
            let modules = SOURCES.iter().zip(&small).map(|(source, small)| {
                if source.product && tile != Tile::SMALL { compile(source, tile) } else { Ok(small.clone()) }
            });
            let modules = modules.collect::<Result<Vec<_>>>()?;
            NAMES.iter().map(|&(source, name)| modules[source].kernel(name)).collect::<Result<Vec<_>>>()
        };
        let loaded = TILES.map(load).into_iter().collect::<Result<Vec<_>>>()?;
        let partial = Buffer::new(context, product::MOST_PARTIAL)?;
        let list = Mutex::new(None);
        Ok(Kernels { stream: stream.clone(), loaded, partial, precision, list })
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
        self.stream.launch(&self.of_tile(listed.tile)[listed.number], listed.shape, &listed.args)
    }

    /// The kernel `E`, in the smallest of [`TILES`] if it is a product.
    pub fn kernel<E: Entry>(&self) -> &Kernel {
        &self.of_tile(Tile::SMALL)[E::NUMBER]
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

    /// What products multiply.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    fn of_tile(&self, tile: Tile) -> &[Kernel] {
        let at = TILES.iter().position(|&other| other == tile).expect("one of the tiles");
        &self.loaded[at]
    }

    /// Adds to `d` [rows, columns] a product that is summed over `terms`, in parts if its tiles alone would leave a device idle: `entry` makes the
    /// launch, given where the parts go, if there are several, and the terms of each. The parts are added up in order.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    pub fn sum_products<E: Entry>(
        &self,
        d: Out<f32>,
        [rows, columns]: [usize; 2],
        terms: usize,
        entry: impl FnOnce(Out<f32>, usize) -> E,
    ) -> Result<()> {
        let tile = product::tile_of_sum(rows, columns);
        let Parts { parts, each } = Parts::of(tile.cover(rows, columns), terms);
        let partial = if parts > 1 { Out::at(self.partial.address()) } else { Out::none() };
        entry(partial, each).tiled(self, tile, rows, columns, parts)?;
        if parts > 1 { self.add_parts(d, parts, rows * columns) } else { Ok(()) }
    }

    /// Adds to `d` `[n]` the sum of the rows of `x` [rows, n], in parts likewise.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    pub fn add_rows(&self, d: Out<f32>, x: In<f32>, rows: usize, n: usize) -> Result<()> {
        let blocks = n.div_ceil(ADDED_COLUMNS);
        let Parts { parts, each } = Parts::of(blocks, rows);
        let partial = if parts > 1 { Out::at(self.partial.address()) } else { Out::none() };
        AddRows { d, partial, x, rows, n, each }.blocks(self, [blocks, 1, parts])?;
        if parts > 1 { self.add_parts(d, parts, n) } else { Ok(()) }
    }

    fn add_parts(&self, d: Out<f32>, parts: usize, n: usize) -> Result<()> {
        let x = In::at(self.partial.address());
        let all = AddRows { d, partial: Out::none(), x, rows: parts, n, each: parts };
        all.blocks(self, [n.div_ceil(ADDED_COLUMNS), 1, 1])
    }
}

/// Columns of a block of `add_rows`.
const ADDED_COLUMNS: usize = 32;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
