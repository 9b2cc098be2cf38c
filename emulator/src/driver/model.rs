//! What the device says about itself: the sizes of a T4, an A100 or an H100, without their speed.

use super::code::{Code, Outcome};
use crate::machine;

/// Bytes of dynamic shared memory that a launch may have without asking, static shared memory included.
pub const SHARED_WITHOUT_ASKING: u32 = 48 * 1024;

/// A device.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Compute capability: 75, 80 or 90.
    pub sm: u32,
    pub multiprocessors: u32,
    pub shared_per_multiprocessor: u32,
    pub shared_per_block: u32,
    /// Bytes.
    pub memory: u64,
}

impl Model {
    /// The device that the environment asks for, or a sentence about what it asks for.
    pub fn from_environment() -> Result<Model, String> {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text.parse::<u64>().map_err(|_| format!("{name} is `{text}`, which is no number")),
            Err(_) => Ok(default),
        };
        let model = match number("DREAMER_EMULATED_SM", 90)? {
            75 => Model::T4,
            80 => Model::A100,
            90 => Model::H100,
            other => return Err(format!("DREAMER_EMULATED_SM is {other}: the emulated driver knows 75, 80 and 90")),
        };
        Ok(Model { memory: number("DREAMER_EMULATED_MEMORY", model.memory)?, ..model })
    }

    /// Too old for kernels that copy asynchronously: to see what a program says of it.
    const T4: Model = Model {
        sm: 75,
        multiprocessors: 40,
        shared_per_multiprocessor: 64 * 1024,
        shared_per_block: 64 * 1024,
        memory: 8 << 30,
    };

    const A100: Model = Model {
        sm: 80,
        multiprocessors: 108,
        shared_per_multiprocessor: 164 * 1024,
        shared_per_block: 163 * 1024,
        memory: 8 << 30,
    };

    pub const H100: Model = Model {
        sm: 90,
        multiprocessors: machine::MULTIPROCESSORS,
        shared_per_multiprocessor: machine::SHARED_PER_MULTIPROCESSOR,
        shared_per_block: machine::MAX_SHARED_PER_BLOCK,
        memory: 8 << 30,
    };

    /// Blocks of this many threads and bytes of shared memory, static and dynamic, that one multiprocessor holds. Registers
    /// would bound it, too, but PTX has no real registers.
    pub fn blocks_per_multiprocessor(&self, threads: u32, shared: u32) -> u32 {
        let warps = threads.div_ceil(32).max(1);
        (machine::MAX_THREADS_PER_MULTIPROCESSOR / 32 / warps)
            .min(self.shared_per_multiprocessor / shared.saturating_add(RESERVED_SHARED))
            .min(machine::MAX_BLOCKS_PER_MULTIPROCESSOR)
    }

    /// The value of a `CUdevice_attribute`.
    pub fn attribute(&self, attribute: i32) -> Outcome<i32> {
        let value = match attribute {
            1 => machine::MAX_THREADS_PER_BLOCK,
            2 | 3 => 1024,        // block in x, y
            4 => 64,              // block in z
            5 => i32::MAX as u32, // grid in x
            6 | 7 => 65535,       // grid in y, z
            8 => SHARED_WITHOUT_ASKING,
            9 => 64 * 1024,   // constant memory
            10 => 32,         // lanes of a warp
            12 | 82 => 65536, // registers of a block, of a multiprocessor
            16 => self.multiprocessors,
            31 | 41 | 95 | 115 => 1, // concurrent kernels, unified addresses, cooperative launch, memory pools
            39 => machine::MAX_THREADS_PER_MULTIPROCESSOR,
            40 => 2, // copies beside kernels
            75 => self.sm / 10,
            76 => self.sm % 10,
            81 => self.shared_per_multiprocessor,
            97 => self.shared_per_block,
            106 => machine::MAX_BLOCKS_PER_MULTIPROCESSOR,
            111 => RESERVED_SHARED,
            // Clock rates, bus widths and whatever else would describe a speed or a feature that is not there.
            _ if (1..=150).contains(&attribute) => 0,
            _ => return Err(Code::InvalidValue.into()),
        };
        Ok(value as i32)
    }
}

/// Bytes of shared memory that every block costs beyond its own.
const RESERVED_SHARED: u32 = 1024;
