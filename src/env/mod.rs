//! (floor under construction)

pub mod numpy_rng;
pub mod pendulum;
pub mod render;
