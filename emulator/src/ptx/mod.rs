//! Reads the text of a PTX module.
//!
//! The text is cut into tokens (`lexer`), read into statements (`parser`, `syntax`) and decoded into the machine's
//! instructions (`inst`); `cfg` finds where divergent lanes meet, `slice` what decides which memory is accessed.
//!
//! # What is understood
//!
//! Anything else is an error of [`Module::parse`].
//!
//! - Integers of 16, 32 and 64 bits: `add sub mul{.lo .hi .wide} mad{.lo .hi .wide} mul24 div rem min max abs neg sad`, `.sat` of
//!   s32 sums, carries (`add.cc addc sub.cc subc mad.cc madc`), `and or xor not cnot shl shr shf lop3 prmt bfe bfi bfind popc clz
//!   brev`.
//! - f32 and f64: `add sub mul fma div rcp sqrt rsqrt ex2 lg2 sin cos tanh abs neg min max copysign testp`; f32 with `.ftz`,
//!   `.sat` and the roundings `.rn .rz .rm .rp`, f64 with `.rn`. f16, bf16 and their pairs with `.rn`.
//! - `setp` with all comparisons, `selp`, `slct`, logic of predicates; `cvt` among integers of 8 to 64 bits, f16, bf16, tf32, f32,
//!   f64 and into pairs, with roundings, `.ftz`, `.sat`, `.relu`.
//! - `mov` (also of vectors, special registers and addresses of variables), `cvta`, `isspacep`.
//! - `ld` and `st` of 1 to 16 bytes, `.v2`, `.v4`, all state spaces and generic addresses, plain, `.nc`, `.volatile`, `.relaxed`,
//!   `.acquire`, `.release`; cache hints and `prefetch` do nothing. `atom` and `red` on global and shared memory: `add min max exch
//!   cas inc dec and or xor` of 32 and 64 bits, `add` of f32 and f64. `membar`, `fence`.
//! - `bra`, `brx.idx`, `call` of device functions (expanded; no recursion, no pointers), `ret`, `exit`, `trap`.
//! - `bar`, `barrier` (`.sync .arrive .red`), `bar.warp.sync`, `shfl.sync`, `vote.sync`, `match.sync`, `redux.sync`, `activemask`,
//!   `nanosleep`.
//! - `cp.async` with `commit_group`, `wait_group` and `wait_all`; `ldmatrix` x1, x2, x4, `.trans`; `mma.sync` with f32 sums:
//!   m16n8k16 and m16n8k8 of bf16 and f16, m16n8k8 and m16n8k4 of tf32.

mod cfg;
mod decode;
pub mod inst;
mod lexer;
mod parser;
pub(crate) mod slice;
mod syntax;

use crate::fault::{Fault, Kind};
use crate::memory::Memory;
use inst::{At, Program, R};
use slice::Slice;
use std::collections::HashMap;
use std::sync::OnceLock;
use syntax::Variable;

/// A parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Name in the PTX text.
    pub name: String,
    /// Offset in [`crate::machine::Launch::params`], in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// Alignment in bytes.
    pub align: u32,
}

/// A kernel (`.entry`) of a module.
#[derive(Debug)]
pub struct Kernel {
    /// Name in the PTX text.
    pub name: String,
    /// Parameters, in order.
    pub params: Vec<Param>,
    /// Bytes of [`crate::machine::Launch::params`]: the end of the last parameter.
    pub param_bytes: u32,
    /// Bytes of statically declared shared memory.
    pub shared_bytes: u32,
    /// Bytes of local memory of one thread.
    pub local_bytes: u32,
    /// `.maxntid`: the most threads of a block, if the kernel declares it (`__launch_bounds__`).
    pub max_threads: Option<u32>,
    /// Its code.
    pub(crate) program: Program,
    /// What of it decides which global memory is accessed, once somebody asks.
    slice: OnceLock<Slice>,
    /// Literals that hold addresses of the module's arrays: register, index of the array, offset.
    pub(crate) relocations: Vec<(R, usize, i64)>,
}

impl Kernel {
    /// 32-bit registers of a thread: predicates count as none, 64-bit registers as two. The PTX is not register-allocated,
    /// so that this says how many names there are, not what a GPU would use.
    pub fn registers(&self) -> u32 {
        let [_, words, wide] = self.program.registers;
        words + 2 * wide
    }

    /// What of its code decides which global memory is accessed.
    pub(crate) fn slice(&self) -> &Slice {
        self.slice.get_or_init(|| Slice::of(&self.program))
    }
}

/// A module: kernels and the arrays that they name.
#[derive(Debug)]
pub struct Module {
    kernels: Vec<Kernel>,
    files: HashMap<u32, String>,
    variables: Vec<Variable>,
    /// Addresses of the `.global` and `.const` arrays, once they are placed.
    placed: Vec<Option<u64>>,
}

impl Module {
    /// Reads and decodes a module.
    ///
    /// # Errors
    /// A sentence that names the line and the instruction. An instruction or a modifier that the machine does not know is
    /// an error here, never a guess later.
    pub fn parse(text: &str) -> Result<Module, String> {
        let syntax = parser::parse(&lexer::tokens(text)?)?;
        let mut kernels = Vec::new();
        for f in syntax.functions.iter().filter(|f| f.entry) {
            let (mut params, mut end) = (Vec::new(), 0u32);
            for p in &f.params {
                let offset = end.next_multiple_of(p.align.max(1));
                end = offset + p.bytes;
                params.push(Param { name: p.name.clone(), offset, size: p.bytes, align: p.align });
            }
            let offsets: Vec<_> = params.iter().map(|p| (p.name.clone(), p.offset)).collect();
            let d = decode::decode(&syntax, f, &offsets)?;
            kernels.push(Kernel {
                name: f.name.clone(),
                params,
                param_bytes: end,
                shared_bytes: d.shared_bytes,
                local_bytes: d.local_bytes,
                max_threads: f.max_threads,
                program: d.program,
                slice: OnceLock::new(),
                relocations: d.relocations,
            });
        }
        let placed = vec![None; syntax.variables.len()];
        Ok(Module { kernels, files: syntax.files, variables: syntax.variables, placed })
    }

    /// The kernel of this name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|k| k.name == name)
    }

    /// All kernels, in the order of the text.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// Allocates and initialises the module's `.global` and `.const` arrays. To be called once, when the module is loaded and
    /// before its first launch; a module without such arrays does not need it.
    ///
    /// # Errors
    /// `memory` is full.
    pub fn place(&mut self, memory: &mut Memory) -> Result<(), Fault> {
        for (v, placed) in self.variables.iter().zip(&mut self.placed) {
            if matches!(v.space, syntax::Space::Global | syntax::Space::Const) && v.bytes > 0 {
                let full = || Fault::new(Kind::Launch, format!("no memory is left for {} ({} bytes)", v.name, v.bytes));
                let at = memory.alloc(u64::from(v.bytes)).ok_or_else(full)?;
                // CUDA zeroes what has no initial value.
                memory.fill(at, 0, u64::from(v.bytes))?;
                memory.write(at, &v.init)?;
                *placed = Some(at);
            }
        }
        Ok(())
    }

    /// Frees the arrays that [`Module::place`] allocated.
    pub fn unplace(&mut self, memory: &mut Memory) {
        for at in self.placed.iter_mut().filter_map(Option::take) {
            memory.free(at);
        }
    }

    /// Address and bytes of the `.global` or `.const` array of this name, once it is placed.
    pub fn global(&self, name: &str) -> Option<(u64, u64)> {
        let i = self.variables.iter().position(|v| v.name == name)?;
        Some((self.placed[i]?, u64::from(self.variables[i].bytes)))
    }

    /// The address of the array of this index, or the name of the array that is not placed.
    pub(crate) fn address(&self, index: usize) -> Result<u64, &str> {
        self.placed[index].ok_or(&self.variables[index].name)
    }

    /// `file:line` of an instruction, or its PTX line.
    pub(crate) fn source(&self, at: At) -> String {
        match at.source.and_then(|(file, line)| Some((self.files.get(&file)?, line))) {
            Some((file, line)) => format!("{file}:{line}"),
            None => format!("PTX line {}", at.line),
        }
    }
}
