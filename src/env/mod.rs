//! (floor under construction)

pub mod numpy_rng;
pub mod render;
