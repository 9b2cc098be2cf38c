//! Reads the text of a PTX module.

use crate::fault::Fault;
use crate::memory::Memory;

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
}

/// A module: kernels and the arrays that they name.
#[derive(Debug)]
pub struct Module {
    kernels: Vec<Kernel>,
}

impl Module {
    /// Reads and decodes a module.
    ///
    /// # Errors
    /// A sentence that names the line and the instruction. An instruction or a modifier that the machine does not know is
    /// an error here, never a guess later.
    pub fn parse(text: &str) -> Result<Module, String> {
        let _ = text;
        Ok(Module { kernels: Vec::new() })
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
        let _ = memory;
        Ok(())
    }

    /// Frees the arrays that [`Module::place`] allocated.
    pub fn unplace(&mut self, memory: &mut Memory) {
        let _ = memory;
    }

    /// Address and bytes of the `.global` or `.const` array of this name, once it is placed.
    pub fn global(&self, name: &str) -> Option<(u64, u64)> {
        let _ = name;
        None
    }
}
