//! Decoded instructions: what the machine executes.
//!
//! A warp has three register files, each an array of 32 lanes: predicates (a bit mask), 32-bit registers (16-bit ones live
//! zero-extended in their low half) and 64-bit registers. Literals are registers that hold their value from the start, so an
//! operand is always an index.

pub use super::syntax::Space;

/// Index of a register in the file that the instruction implies.
pub type R = u32;

/// A predicate operand and whether it is negated.
#[derive(Clone, Copy, Debug)]
pub struct P {
    /// Predicate register.
    pub r: R,
    /// Whether its negation is meant.
    pub not: bool,
}

/// One instruction.
#[derive(Clone, Debug)]
pub struct Inst {
    /// Lanes that execute it; all active ones if absent.
    pub guard: Option<P>,
    /// Index into [`Program::places`].
    pub place: u32,
    /// What it does.
    pub op: Op,
}

/// Integer functions of up to three operands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Int {
    Add,
    Sub,
    AddSat,
    SubSat,
    MulLo,
    MulHiS,
    MulHiU,
    MadLo,
    MadHiS,
    MadHiU,
    Mul24S,
    Mul24U,
    DivS,
    DivU,
    RemS,
    RemU,
    MinS,
    MinU,
    MaxS,
    MaxU,
    SadS,
    SadU,
    Neg,
    Abs,
    And,
    Or,
    Xor,
    Not,
    Cnot,
    Shl,
    ShrS,
    ShrU,
    Brev,
    BfeS,
    BfeU,
    Prmt,
    Lop3(u8),
    ShfLClamp,
    ShfLWrap,
    ShfRClamp,
    ShfRWrap,
    Popc,
    Clz,
    BfindU,
    BfindS,
    BfindShiftU,
    BfindShiftS,
}

/// Floating-point functions of up to three operands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Float {
    Add,
    Sub,
    Mul,
    Fma,
    Div,
    Rcp,
    Sqrt,
    Rsqrt,
    Ex2,
    Lg2,
    Sin,
    Cos,
    Tanh,
    Abs,
    Neg,
    Min,
    Max,
    MinNan,
    MaxNan,
    Copysign,
}

/// Rounding of a floating-point result, or to an integral value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To nearest, ties to even (`rn`, `rni`).
    Nearest,
    /// Toward zero (`rz`, `rzi`).
    Zero,
    /// Down (`rm`, `rmi`).
    Down,
    /// Up (`rp`, `rpi`).
    Up,
    /// To nearest, ties away from zero (`rna`).
    Away,
}

/// How a floating-point instruction treats its result.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// Rounding.
    pub round: Round,
    /// Subnormal inputs and results count as zeros of their sign.
    pub ftz: bool,
    /// The result is clamped to [0, 1], NaN to 0.
    pub sat: bool,
}

/// Types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Num {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
}

impl Num {
    /// Bits of the type.
    pub fn bits(self) -> u32 {
        match self {
            Num::U8 | Num::S8 => 8,
            Num::U16 | Num::S16 | Num::F16 | Num::Bf16 => 16,
            Num::U32 | Num::S32 | Num::F32 | Num::Tf32 => 32,
            Num::U64 | Num::S64 | Num::F64 => 64,
        }
    }

    /// Whether it is a signed integer.
    pub fn signed(self) -> bool {
        matches!(self, Num::S8 | Num::S16 | Num::S32 | Num::S64)
    }

    /// Whether it is a floating-point type.
    pub fn float(self) -> bool {
        matches!(self, Num::F16 | Num::Bf16 | Num::Tf32 | Num::F32 | Num::F64)
    }
}

/// Comparisons; the `U` forms are also true if an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    EqU,
    NeU,
    LtU,
    LeU,
    GtU,
    GeU,
    Num,
    Nan,
}

/// Boolean functions of predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Logic {
    And,
    Or,
    Xor,
}

/// The base of an address.
#[derive(Clone, Copy, Debug)]
pub enum Base {
    /// None: the offset is the address.
    Zero,
    /// A 32-bit register.
    Word(R),
    /// A 64-bit register.
    Wide(R),
}

/// An address operand.
#[derive(Clone, Copy, Debug)]
pub struct Addr {
    /// State space; `None` is a generic address.
    pub space: Option<Space>,
    /// Base.
    pub base: Base,
    /// Constant offset in bytes.
    pub offset: i64,
}

/// What distinguishes an access from a plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Weak: racing is a fault.
    Plain,
    /// `ld.global.nc`: the bytes must not be written during the launch.
    NonCoherent,
    /// Of a slice, which stores nothing to global memory: the value decides an address, so the launch must not have stored it.
    Deciding,
    /// Volatile, relaxed, acquire or release: how threads talk to each other.
    Synchronising,
}

impl Order {
    /// Whether it is a fault to load what the launch itself has stored.
    #[inline(always)]
    pub fn frozen(self) -> bool {
        matches!(self, Order::NonCoherent | Order::Deciding)
    }
}

/// Registers that an access fills or empties.
#[derive(Clone, Debug)]
pub struct Values {
    /// Registers, one per element.
    pub regs: Vec<R>,
    /// Whether they are 64-bit registers.
    pub wide: bool,
    /// Bits of the registers: 16, 32 or 64.
    pub bits: u32,
    /// Bytes of an element in memory.
    pub bytes: u32,
    /// Whether a loaded element is sign-extended.
    pub signed: bool,
}

/// Atomic functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Atom {
    Add,
    Min,
    Max,
    Exch,
    Cas,
    Inc,
    Dec,
    And,
    Or,
    Xor,
}

/// Shuffles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// Votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Vote {
    All,
    Any,
    Uniform,
    Ballot,
}

/// Special registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NWarpId,
    SmId,
    NSmId,
    LaneMask(Cmp),
    Clock,
}

/// Element types of a tensor-core product; sums are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// IEEE half precision, two in a register.
    F16,
    /// bfloat16, two in a register.
    Bf16,
    /// TF32, one in a register.
    Tf32,
}

/// What an instruction does. `d` is the destination.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
#[rustfmt::skip]
pub enum Op {
    Int32 { f: Int, d: R, a: R, b: R, c: R },
    Int16 { f: Int, signed: bool, d: R, a: R, b: R, c: R },
    Int64 { f: Int, d: R, a: R, b: R, c: R },
    /// Functions of a 64-bit operand with a 32-bit result.
    Count64 { f: Int, d: R, a: R },
    /// `mul.wide`, `mad.wide` of 16-bit operands into 32 bits.
    Wide16 { signed: bool, d: R, a: R, b: R, c: R },
    /// `mul.wide`, `mad.wide` of 32-bit operands into 64 bits.
    Wide32 { signed: bool, d: R, a: R, b: R, c: R },
    Carry { f: Carry, d: R, a: R, b: R, c: R },
    Bfi32 { d: R, a: R, b: R, pos: R, len: R },
    Bfi64 { d: R, a: R, b: R, pos: R, len: R },
    F32 { f: Float, mode: Mode, d: R, a: R, b: R, c: R },
    F64 { f: Float, d: R, a: R, b: R, c: R },
    /// Arithmetic of two 16-bit floats in a register, or of one.
    Half { f: Float, ty: Num, pair: bool, mode: Mode, d: R, a: R, b: R, c: R },
    SetP { ty: Num, cmp: Cmp, ftz: bool, d: R, not_d: Option<R>, a: R, b: R, with: Option<(Logic, P)> },
    /// `testp`: classes of floats by name.
    TestP { test: Test, wide: bool, d: R, a: R },
    PredLogic { f: Logic, d: R, a: P, b: P },
    PredMov { d: R, a: P },
    Select32 { d: R, a: R, b: R, p: P },
    Select64 { d: R, a: R, b: R, p: P },
    /// `slct`: `a` where `c >= 0`, otherwise `b`.
    Slct { wide: bool, float: bool, d: R, a: R, b: R, c: R },
    Cvt { from: Num, to: Num, round: Option<Round>, ftz: bool, sat: bool, relu: bool, d: R, a: R, from_wide: bool },
    /// Two f32 into the halves of a register: `a` into the upper one.
    CvtPair { to: Num, round: Round, relu: bool, d: R, a: R, b: R },
    Mov32 { d: R, a: R },
    Mov64 { d: R, a: R },
    MovSpecial { d: R, wide: bool, what: Special },
    /// Elements of `bits` bits into one register, the first into the lowest bits.
    Pack { d: R, wide: bool, bits: u32, parts: Vec<R> },
    Unpack { a: R, wide: bool, bits: u32, parts: Vec<Option<R>> },
    /// `cvta`: to a generic address, or from one.
    Cvta { space: Space, from_generic: bool, d: R, a: R },
    IsSpace { space: Space, d: R, a: R },
    Ld { addr: Addr, order: Order, v: Values },
    St { addr: Addr, order: Order, v: Values },
    Atomic { addr: Addr, f: Atom, ty: Num, d: Option<R>, b: R, c: R },
    CpAsync { dst: Addr, src: Addr, bytes: u32, src_bytes: Option<R> },
    CpAsyncCommit,
    /// Waits until at most this many of the thread's latest groups are pending.
    CpAsyncWait(u32),
    /// Waits for all copies, committed or not.
    CpAsyncWaitAll,
    LdMatrix { addr: Addr, trans: bool, d: Vec<R> },
    /// `d = a b + c` of 16 x k and k x 8.
    Mma { ty: Matrix, k: u32, d: [R; 4], a: Vec<R>, b: Vec<R>, c: [R; 4] },
    Shfl { how: Shuffle, d: R, p: Option<R>, a: R, b: R, c: R, mask: R },
    Vote { how: Vote, d: R, a: P, mask: R },
    /// `match.any` (`all` false) or `match.all`; `p` says whether all agree.
    Match { all: bool, wide: bool, d: R, p: Option<R>, a: R, mask: R },
    ActiveMask { d: R },
    Redux { f: Int, d: R, a: R, mask: R },
    /// `bar.sync`, `bar.arrive` and `bar.red` on a block barrier; `threads` absent means the whole block.
    Bar { id: R, threads: Option<R>, arrive: bool, reduce: Option<BarReduce> },
    BarWarp { mask: R },
    Bra { target: u32 },
    BrxIdx { index: R, targets: Vec<u32> },
    Exit,
    Trap,
    /// Fences and hints: the machine's memory is sequentially consistent.
    Nop,
    Nanosleep,
}

/// An addition, subtraction or multiply-add with carry.
#[derive(Clone, Copy, Debug)]
pub struct Carry {
    /// 64 bits instead of 32.
    pub wide: bool,
    /// Whether the factors are signed.
    pub signed: bool,
    /// Which half of the product of `a` and `b` is added to `c`; `None` adds `a` and `b`.
    pub high: Option<bool>,
    /// Whether `b` is subtracted from `a`.
    pub subtracts: bool,
    /// Whether the carry flag is added (or subtracted) too.
    pub takes: bool,
    /// Whether the carry flag is written.
    pub gives: bool,
}

/// The reduction of `bar.red` over the predicate `a`.
#[derive(Clone, Copy, Debug)]
pub struct BarReduce {
    /// `None` counts the threads whose predicate is true.
    pub logic: Option<Logic>,
    /// A predicate, or a 32-bit register for the count.
    pub d: R,
    /// Predicate of the thread.
    pub a: P,
}

/// Classes of `testp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Test {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// Where an instruction stands: PTX line, and `(file, line)` of the CUDA source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Line of the PTX text.
    pub line: u32,
    /// File number and line of the CUDA source.
    pub source: Option<(u32, u32)>,
}

/// The code of a kernel.
#[derive(Debug, Default)]
pub struct Program {
    /// Instructions.
    pub code: Vec<Inst>,
    /// For a branch, where its lanes meet again (the immediate postdominator); [`NOWHERE`] if only at the exit.
    pub meet: Vec<u32>,
    /// Where instructions stand.
    pub places: Vec<At>,
    /// Sizes of the register files: predicates, 32-bit, 64-bit.
    pub registers: [u32; 3],
    /// Literals: register and value, for each file.
    pub literals: [Vec<(R, u64)>; 3],
    /// The narrowest access to shared memory, in bytes (4 if there is none narrower).
    pub shared_width: u32,
}

/// The reconvergence point of lanes that meet only at the exit.
pub const NOWHERE: u32 = u32::MAX;
