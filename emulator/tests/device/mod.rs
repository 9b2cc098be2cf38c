//! A device for tests: memory, launches and arrays of numbers.

#![allow(dead_code)]

use cuda::counters::Counters;
use cuda::fault::Fault;
use cuda::machine::{self, Launch};
use cuda::memory::Memory;
use cuda::ptx::Module;

/// A parameter of a launch.
pub enum Arg {
    Pointer(u64),
    Int(u32),
    Long(u64),
}

/// Memory and the counts of the last launch.
pub struct Device {
    pub memory: Memory,
    pub counters: Counters,
    pub order: u64,
}

impl Device {
    pub fn new() -> Self {
        Device { memory: Memory::new(1 << 30), counters: Counters::default(), order: 0 }
    }

    pub fn empty(&mut self, bytes: usize) -> u64 {
        self.memory.alloc(bytes as u64).expect("memory")
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let at = self.empty(bytes.len());
        self.memory.write(at, bytes).unwrap();
        at
    }

    pub fn words(&mut self, words: &[u32]) -> u64 {
        self.bytes(&words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>())
    }

    pub fn floats(&mut self, floats: &[f32]) -> u64 {
        self.bytes(&floats.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>())
    }

    pub fn read_words(&self, at: u64, n: usize) -> Vec<u32> {
        let mut bytes = vec![0; 4 * n];
        self.memory.read(at, &mut bytes).unwrap();
        bytes.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub fn read_floats(&self, at: u64, n: usize) -> Vec<f32> {
        self.read_words(at, n).into_iter().map(f32::from_bits).collect()
    }

    /// Launches the module's kernel `name`.
    pub fn launch(
        &mut self,
        module: &Module,
        name: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared: u32,
        args: &[Arg],
    ) -> Result<(), Fault> {
        let mut params = Vec::new();
        for arg in args {
            let bytes = match arg {
                Arg::Pointer(v) | Arg::Long(v) => v.to_le_bytes().to_vec(),
                Arg::Int(v) => v.to_le_bytes().to_vec(),
            };
            params.resize(params.len().next_multiple_of(bytes.len()), 0);
            params.extend(bytes);
        }
        self.counters = Counters::default();
        let launch = Launch { grid, block, shared_bytes: shared, params, order: self.order, ..Default::default() };
        machine::launch(module, name, &launch, &mut self.memory, &mut self.counters)
    }
}

/// A module of tests/fixtures.
pub fn fixture(name: &str) -> Module {
    let path = format!("{}/tests/fixtures/{name}.ptx", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    Module::parse(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Numbers in [-1, 1) that look random and are the same every time.
pub fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}
