//! A CUDA driver for machines without a GPU.
//!
//! It interprets the PTX that NVRTC makes from CUDA kernels, one warp at a time (32 lanes as arrays that the compiler
//! vectorises), and checks what hardware does not: accesses out of bounds, reads of memory nobody wrote, races in shared
//! memory, barriers in divergent code, asynchronous copies that are used before they are waited for. It counts what a
//! profiler would: instructions, bytes, sectors per request, bank conflicts. It proves what a kernel means and says nothing
//! about its speed. Approximate functions (`ex2.approx`, `tanh.approx`, ...) are computed in f64 and rounded; tensor-core
//! products are summed in f64. Hardware differs from both in the last bits.
//!
//! - [`ptx`] reads the text of a module;
//! - [`memory`] is the device's memory and knows which bytes were written;
//! - [`machine`] runs a kernel;
//! - [`fault`] is what a check reports, with kernel, block, warp, lane and source line;
//! - [`counters`] is what a launch cost;
//! - `driver` exports the functions of `libcuda` that a CUDA program calls.

pub mod counters;
mod driver;
pub mod fault;
pub mod machine;
pub mod memory;
pub mod ptx;
