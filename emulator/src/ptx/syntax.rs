//! What the parser makes of a module's text, before it is decoded.

use std::collections::HashMap;

/// An operand of an instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register or special register.
    Reg(String),
    /// An integer literal.
    Int(u64),
    /// A single-precision literal.
    F32(u32),
    /// A double-precision literal.
    F64(u64),
    /// The name of a variable, parameter, function or label, and an offset to it.
    Symbol(String, i64),
    /// `[base + offset]`; the base is a register, a symbol or an integer.
    Address(Box<Operand>, i64),
    /// `{a, b, ...}`.
    Vector(Vec<Operand>),
    /// `(a, b, ...)` of a call.
    List(Vec<Operand>),
    /// `p|q`.
    Pair(Box<Operand>, Box<Operand>),
    /// `!p`.
    Not(Box<Operand>),
    /// `_`.
    Discard,
}

/// An instruction as written.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Line of the PTX text.
    pub line: u32,
    /// File number and line of the CUDA source.
    pub source: Option<(u32, u32)>,
    /// Predicate register and whether it is negated.
    pub guard: Option<(String, bool)>,
    /// Opcode with its modifiers.
    pub op: String,
    /// Operands.
    pub args: Vec<Operand>,
}

/// An element of a function's body.
#[derive(Clone, Debug)]
pub enum Item {
    /// A label.
    Label(String),
    /// An instruction.
    Inst(Statement),
    /// `name: .branchtargets a, b, ...;`
    Targets(String, Vec<String>),
}

/// State spaces of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Device memory.
    Global,
    /// Constant memory, kept in device memory.
    Const,
    /// Shared memory of a block.
    Shared,
    /// Memory of a thread.
    Local,
    /// Parameters.
    Param,
}

/// A declared variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// State space.
    pub space: Space,
    /// Alignment in bytes.
    pub align: u32,
    /// Size in bytes; 0 for `extern .shared x[]`, which begins where static shared memory ends.
    pub bytes: u32,
    /// Initial contents of a `.global` or `.const` variable; shorter than `bytes` if the rest is zero.
    pub init: Vec<u8>,
}

/// A kernel or device function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Name.
    pub name: String,
    /// Whether it is a kernel.
    pub entry: bool,
    /// Parameters.
    pub params: Vec<Variable>,
    /// Return values.
    pub returns: Vec<Variable>,
    /// Registers: exact names, and prefixes of numbered ranges with their count. The value is the type (`b32`, `pred`, ...).
    pub registers: HashMap<String, (String, Option<u64>)>,
    /// Variables declared in the body.
    pub variables: Vec<Variable>,
    /// Body; empty for a declaration.
    pub body: Vec<Item>,
    /// `.maxntid` product.
    pub max_threads: Option<u32>,
}

/// A whole module.
#[derive(Debug, Default)]
pub struct Syntax {
    /// `.file` names by number.
    pub files: HashMap<u32, String>,
    /// Module-level variables.
    pub variables: Vec<Variable>,
    /// Kernels and device functions.
    pub functions: Vec<Function>,
}
