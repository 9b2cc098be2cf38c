//! The contract of an op, said once.
//!
//! - An op works on independent **rows**. It is called with a range of rows, and sees only those rows of its inputs, outputs and
//!   gradients; the executor cuts the rows into pieces and runs them on the workers. An op that mixes rows has `rows() == 1`.
//! - Inputs that belong to no row (weights, a scalar) are [`whole`](Op::whole): every row sees all of them. Their gradients
//!   sum over rows and are computed apart, by [`backward_weights`](Op::backward_weights).
//! - `dx[i]` is an `Option`: `None` means nobody wants it (data, a frozen network, a stopped gradient); `Some` is always
//!   accumulated with `+=`.
//! - `backward` reads inputs, outputs and output gradients, and nothing else; which of the inputs and outputs, [`Op::reads`] says, so
//!   that the others can be forgotten early. What it needs beyond them, `forward` wrote as an extra output. It owns `dy`: it may overwrite it (a linear layer turns it into the gradient before the activation), and
//!   `backward_weights`, which always comes later, sees what it left there.
//! - `cost` gives floating point operations and bytes of one forward pass.
//!
//! On CUDA the same three functions launch kernels: `launch_forward`, `launch_backward`, `launch_weights`. They see all rows at once, and
//! addresses instead of slices. Device memory holds f32, whatever `R` is, so that a trace in f64 can be the oracle of its own kernels.

use std::ops::Range;
use std::sync::Arc;

use crate::base::Real;
#[cfg(feature = "cuda")]
use crate::base::{Error, Result};
#[cfg(feature = "cuda")]
use crate::device::cuda::kernels::{In, Kernels, Out};
use crate::device::gemm::Precision;

/// The most inputs, outputs or packed matrices an op may have.
pub const MAX_SLOTS: usize = 10;

/// Where the random numbers of this run of a plan stand: ops that draw noise address Philox by these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    /// Seed of the run.
    pub seed: u64,
    /// Number of this update, or of this acting step.
    pub step: u64,
}

/// A distribution to draw noise from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Standard normal.
    Normal,
    /// Standard Gumbel.
    Gumbel,
}

/// A place in a stream of noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drawn {
    /// What the numbers are for: `base::philox::stream`.
    pub stream: u32,
    /// The first element.
    pub first: usize,
}

/// Work of one call, forward.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Floating point operations; a fused multiply-add counts as two.
    pub flops: f64,
    /// Bytes read and written at least, in f32.
    pub bytes: f64,
}

/// A matrix among the whole inputs that the op wants in packed form (see `device::gemm`), made anew after every update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Which input.
    pub input: usize,
    /// Rows of the matrix that is packed.
    pub rows: usize,
    /// Columns of the matrix that is packed.
    pub columns: usize,
    /// How the input holds the matrix.
    pub order: Order,
    /// Of the product that it is packed for.
    pub precision: Precision,
    /// Whether only `backward` reads it; such a pack is made only where a gradient is wanted.
    pub backward: bool,
}

/// How an input holds a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Row by row.
    Rows,
    /// Column by column: the input is the transpose.
    Columns,
    /// Each element, row by row, stands at this index; `u32::MAX` marks a zero.
    Table(Arc<Vec<u32>>),
}

/// How the gradients of whole inputs are cut into pieces that run in parallel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightSplit {
    /// This many pieces, each of which writes its own part of the weight gradients, over all rows.
    Parts(usize),
    /// Pieces of this many rows, each of which sums into buffers of its own, which are then added in order.
    Rows(usize),
}

/// Inputs and outputs that `backward` reads, by their bits. The others are empty slices there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// Inputs.
    pub x: u16,
    /// Outputs.
    pub y: u16,
}

impl Reads {
    /// Everything.
    pub const ALL: Reads = Reads { x: u16::MAX, y: u16::MAX };
    /// No input, and outputs only if `y`: what is enough for a layer that ends in an activation.
    pub fn output(y: bool) -> Reads {
        Reads { x: 0, y: if y { 1 } else { 0 } }
    }
    /// Whether input `i` is read.
    pub fn input(self, i: usize) -> bool {
        self.x >> i & 1 == 1
    }
    /// Whether output `i` is read.
    pub fn out(self, i: usize) -> bool {
        self.y >> i & 1 == 1
    }
}

/// What `forward` works with. Slices hold the called rows only, but for whole inputs.
pub struct Forward<'a, R> {
    /// The called rows; slices begin at `rows.start`.
    pub rows: Range<usize>,
    /// Inputs.
    pub x: [&'a [R]; MAX_SLOTS],
    /// Outputs, to be taken with [`Forward::y`].
    pub y: [&'a mut [R]; MAX_SLOTS],
    /// Packed matrices, in the order of [`Op::packs`].
    pub packed: [&'a [R]; MAX_SLOTS],
    /// Memory of this worker, [`Op::scratch`] numbers, with arbitrary contents.
    pub scratch: &'a mut [R],
    /// Address of the random numbers.
    pub clock: Clock,
}

/// What `backward` works with. Slices hold the called rows only, but for whole inputs.
pub struct Backward<'a, R> {
    /// The called rows; slices begin at `rows.start`.
    pub rows: Range<usize>,
    /// Inputs.
    pub x: [&'a [R]; MAX_SLOTS],
    /// Outputs.
    pub y: [&'a [R]; MAX_SLOTS],
    /// Gradients of the outputs; `None` where the loss does not depend on the output.
    pub dy: [Option<&'a mut [R]>; MAX_SLOTS],
    /// Gradients of the inputs, to add to; `None` where nobody wants them, and for every whole input.
    pub dx: [Option<&'a mut [R]>; MAX_SLOTS],
    /// Packed matrices, in the order of [`Op::packs`].
    pub packed: [&'a [R]; MAX_SLOTS],
    /// Memory of this worker, [`Op::scratch`] numbers, with arbitrary contents.
    pub scratch: &'a mut [R],
}

/// What `backward_weights` works with: all rows (or, for [`WeightSplit::Rows`], those of the piece).
pub struct Weights<'a, R> {
    /// Number of rows in the slices below.
    pub rows: usize,
    /// Which piece of [`WeightSplit::Parts`]; 0 otherwise.
    pub part: usize,
    /// Inputs.
    pub x: [&'a [R]; MAX_SLOTS],
    /// Gradients of the outputs, as `backward` left them.
    pub dy: [&'a [R]; MAX_SLOTS],
    /// Gradients of the whole inputs, to add to.
    pub dw: [Option<Shared<'a, R>>; MAX_SLOTS],
    /// Memory of this worker, [`Op::scratch`] numbers, with arbitrary contents.
    pub scratch: &'a mut [R],
}

/// What the launches of an op work with: addresses on the device, of all rows. An operand that is not there, not wanted, or not to be read in
/// this pass is null.
#[cfg(feature = "cuda")]
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// All kernels, and the stream.
    pub on: &'a Kernels,
    /// Inputs.
    pub x: [In<f32>; MAX_SLOTS],
    /// Outputs: `launch_forward` writes them, `launch_backward` reads them.
    pub y: [Out<f32>; MAX_SLOTS],
    /// Gradients of the outputs, owned by `launch_backward`, then read by `launch_weights`.
    pub dy: [Out<f32>; MAX_SLOTS],
    /// Gradients of the inputs, to add to; null for every whole input.
    pub dx: [Out<f32>; MAX_SLOTS],
    /// Gradients of the whole inputs, to add to.
    pub dw: [Out<f32>; MAX_SLOTS],
    /// (seed, step) of the random numbers: on the device, since it changes from step to step.
    pub clock: In<u64>,
    /// Where the noise is that the kernels draw themselves; the input that it would be is null then.
    pub drawn: Drawn,
    /// The numbers of [`Op::constants`].
    pub constants: In<f32>,
}

/// The error of an op without kernels.
#[cfg(feature = "cuda")]
pub(crate) fn not_on_cuda(name: &str) -> Result<()> {
    Err(Error::new(format!("{name} has no kernel: use --device cpu.")))
}

/// A weight gradient whose parts are written by several workers at a time.
#[derive(Clone, Copy)]
pub struct Shared<'a, R> {
    pub(super) data: *mut R,
    pub(super) len: usize,
    pub(super) life: std::marker::PhantomData<&'a mut [R]>,
}

impl<'a, R: Real> Shared<'a, R> {
    /// The part `range` of the gradient. Parts of different pieces must not overlap: it is the op's business to cut them so,
    /// and `tests/plan.rs` checks every op for it.
    #[allow(unsafe_code)]
    pub fn part(self, range: Range<usize>) -> &'a mut [R] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {}", self.len);
        // SAFETY: in bounds by the assertion; data is valid for writes while 'a lives, and pieces cut disjoint parts.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(range.start), range.end - range.start) }
    }

    /// The whole gradient, for ops that run as one piece or split by rows.
    pub fn all(self) -> &'a mut [R] {
        self.part(0..self.len)
    }

    /// Number of elements.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// One coarse, hand-written operation on tensors. See the contract at the top of this file.
pub trait Op<R: Real>: Send + Sync {
    /// Base name of the op's room: `ops/{name}.rs`, `kernels/{name}.cu`.
    fn name(&self) -> &'static str;
    /// Number of independent rows; every input that is not whole, and every output, divides evenly into them.
    fn rows(&self) -> usize;
    /// Whether input `i` belongs to no row.
    fn whole(&self, _input: usize) -> bool {
        false
    }
    /// Work of one forward pass over all rows.
    fn cost(&self) -> Cost;
    /// Computes the called rows of every output.
    fn forward(&self, io: Forward<'_, R>);
    /// Adds the called rows' part of every wanted `dx`.
    fn backward(&self, io: Backward<'_, R>);
    /// What `backward` reads of the inputs and outputs; `backward_weights` may read all inputs.
    fn reads(&self) -> Reads {
        Reads::ALL
    }
    /// Adds one piece of the gradients of the whole inputs.
    fn backward_weights(&self, _io: Weights<'_, R>) {
        panic!("{}: gradients of weights are wanted, but this op has none", self.name());
    }
    /// How `backward_weights` is cut.
    fn weight_split(&self) -> WeightSplit {
        WeightSplit::Parts(1)
    }
    /// The same op over `rows` rows: calls that share their weights and stand side by side in memory become one for
    /// `backward_weights`. `None` where they cannot.
    fn with_rows(&self, _rows: usize) -> Option<Box<dyn Op<R>>> {
        None
    }
    /// Matrices wanted in packed form.
    fn packs(&self) -> Vec<Pack> {
        Vec::new()
    }
    /// Elements of scratch memory that one call needs, for a piece of `rows` rows.
    fn scratch(&self, _rows: usize) -> usize {
        0
    }
    /// `forward` on CUDA, for all rows.
    ///
    /// # Errors
    /// The op has no kernel, or the launch is refused.
    #[cfg(feature = "cuda")]
    fn launch_forward(&self, _io: &Launch<'_>) -> Result<()> {
        not_on_cuda(self.name())
    }
    /// `backward` on CUDA, for all rows.
    ///
    /// # Errors
    /// The op has no kernel, or the launch is refused.
    #[cfg(feature = "cuda")]
    fn launch_backward(&self, _io: &Launch<'_>) -> Result<()> {
        not_on_cuda(self.name())
    }
    /// `backward_weights` on CUDA, all pieces, for all rows.
    ///
    /// # Errors
    /// The op has no kernel, or the launch is refused.
    #[cfg(feature = "cuda")]
    fn launch_weights(&self, _io: &Launch<'_>) -> Result<()> {
        not_on_cuda(self.name())
    }
    /// What the first output is filled with, and its stream, if it is noise.
    #[cfg(feature = "cuda")]
    fn draws(&self) -> Option<(Noise, u32)> {
        None
    }
    /// The input that is noise of this distribution, if the op's kernels draw it themselves where they are given none.
    #[cfg(feature = "cuda")]
    fn noise(&self) -> Option<(usize, Noise)> {
        None
    }
    /// Numbers fixed at trace time that the op's kernels read from device memory, because they are too many for arguments.
    #[cfg(feature = "cuda")]
    fn constants(&self) -> Vec<f32> {
        Vec::new()
    }
}

/// Takes the first `N` output slices out of `io.y`.
pub fn take<R, const N: usize>(y: [&mut [R]; MAX_SLOTS]) -> [&mut [R]; N] {
    let mut slots = y.into_iter();
    std::array::from_fn(|_| slots.next().expect("fewer slots than MAX_SLOTS"))
}
