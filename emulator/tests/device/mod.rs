//! A device for tests: memory, launches and arrays of numbers.

#![allow(dead_code)]

use dreamer_emulator::counters::Counters;
use dreamer_emulator::fault::Fault;
use dreamer_emulator::machine::{self, Launch};
use dreamer_emulator::memory::Memory;
use dreamer_emulator::ptx::Module;

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
    pub sample: u32,
}

impl Device {
    pub fn new() -> Self {
        Device { memory: Memory::new(1 << 30), counters: Counters::default(), order: 0, sample: 0 }
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
        let launch = Launch {
            grid,
            block,
            shared_bytes: shared,
            params,
            order: self.order,
            sample: self.sample,
            ..Default::default()
        };
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

/// Runs PTX once per row, with the row in %a, %b, %c (of `bits_in` bits, 16 to 64, and cut to 32 bits in %x, %y, %z) and the
/// result taken from %d (of `bits_out` bits). Further registers: %p, %q, %t32, %t64, %t16.
pub fn eval(bits_in: u32, bits_out: u32, code: &str, rows: &[[u64; 3]]) -> Vec<u64> {
    let narrow = |from: &str, to: &str| match bits_in {
        64 => format!("cvt.u32.u64 {to}, {from};"),
        32 => format!("mov.b32 {to}, {from};"),
        _ => format!("cvt.u32.u16 {to}, {from};"),
    };
    let n = rows.len();
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n)\n{{\n\
         .reg .pred %p, %q, %last;\n.reg .b{bits_in} %a, %b, %c;\n.reg .b{bits_out} %d;\n.reg .b32 %x, %y, %z, %i, %n, %t32;\n\
         .reg .b64 %in, %out, %t64;\n.reg .b16 %t16, %u16;\n\
         ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\nld.param.u32 %n, [n];\n\
         mov.u32 %i, %ctaid.x;\nmov.u32 %t32, %ntid.x;\nmov.u32 %x, %tid.x;\nmad.lo.u32 %i, %i, %t32, %x;\n\
         setp.ge.u32 %last, %i, %n;\n@%last ret;\n\
         mul.wide.u32 %t64, %i, 24;\nadd.u64 %in, %in, %t64;\nmul.wide.u32 %t64, %i, 8;\nadd.u64 %out, %out, %t64;\n\
         ld.global.b{bits_in} %a, [%in];\nld.global.b{bits_in} %b, [%in+8];\nld.global.b{bits_in} %c, [%in+16];\n\
         {}\n{}\n{}\n{code}\nst.global.b{bits_out} [%out], %d;\nret;\n}}\n",
        narrow("%a", "%x"),
        narrow("%b", "%y"),
        narrow("%c", "%z"),
    );
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{e} in {code}"));
    let mut gpu = Device::new();
    let input = gpu.bytes(&rows.iter().flatten().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
    let out = gpu.bytes(&vec![0; 8 * n]);
    let args = [Arg::Pointer(input), Arg::Pointer(out), Arg::Int(n as u32)];
    gpu.launch(&module, "k", [n.div_ceil(64) as u32, 1, 1], [64, 1, 1], 0, &args)
        .unwrap_or_else(|e| panic!("{e} in {code}"));
    let mut bytes = vec![0; 8 * n];
    gpu.memory.read(out, &mut bytes).unwrap();
    bytes.chunks(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Every pair of the values, and a third that varies.
pub fn pairs(values: &[u64]) -> Vec<[u64; 3]> {
    let n = values.len();
    (0..n * n).map(|i| [values[i / n], values[i % n], values[(i * 7 + i / n) % n]]).collect()
}

/// Checks an instruction against a function of its operands.
pub fn check(bits_in: u32, bits_out: u32, code: &str, rows: &[[u64; 3]], want: impl Fn(u64, u64, u64) -> u64) {
    for (row, got) in rows.iter().zip(eval(bits_in, bits_out, code, rows)) {
        let [a, b, c] = *row;
        assert_eq!(got, want(a, b, c), "{code} of {a:#x}, {b:#x}, {c:#x}: {got:#x}");
    }
}

/// A module with one kernel, `k(.param .u64 p)`. Registers: %p0 to %p9, %h, %r, %f and %rd of 16, 32, 32 and 64 bits; %rd0 holds
/// the parameter, %r0 the thread of the block. `shared` bytes of shared memory are named s.
pub fn kernel(shared: u32, body: &str) -> Module {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p)\n{{\n.reg .pred %p<10>;\n.reg .b16 %h<20>;\n\
         .reg .b32 %r<60>;\n.reg .f32 %f<40>;\n.reg .b64 %rd<20>;\n.shared .align 16 .b8 s[{shared}];\n\
         ld.param.u64 %rd0, [p];\nmov.u32 %r0, %tid.x;\n{body}\nret;\n}}\n"
    );
    Module::parse(&text).unwrap_or_else(|e| panic!("{e} in\n{body}"))
}

/// Runs one block of such a kernel on `words` and returns what they are then.
pub fn run_block(threads: u32, shared: u32, words: &[u32], body: &str) -> (Vec<u32>, Counters) {
    let mut gpu = Device::new();
    let at = gpu.words(words);
    gpu.launch(&kernel(shared, body), "k", [1, 1, 1], [threads, 1, 1], 0, &[Arg::Pointer(at)])
        .unwrap_or_else(|e| panic!("{e} in\n{body}"));
    (gpu.read_words(at, words.len()), gpu.counters)
}

/// PTX that sets %rd1 to the address of the thread's word, which has `bytes` bytes.
pub fn my_word(bytes: u32) -> String {
    format!("mul.wide.u32 %rd1, %r0, {bytes};\nadd.s64 %rd1, %rd0, %rd1;\n")
}
