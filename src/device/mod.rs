//! What stands between the mathematics and the machine: vector instructions chosen at run time and the packed matrix product.

pub mod gemm;
pub mod simd;
