//! What the engine runs on: memory, worker threads, vector instructions, the packed matrix product; CUDA.

#[allow(unsafe_code)]
pub mod arena;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod gemm;
pub mod pool;
pub mod simd;

pub use arena::Arena;
pub use pool::Pool;
