//! The ground floor: numbers, random numbers, errors, files.

pub mod error;
pub mod files;
pub mod philox;
pub mod real;

pub use error::{Error, Failure, Result};
pub use philox::Philox;
pub use real::Real;
