//! The things a command does, one file each.

pub mod args;
pub mod checkpoint;
pub mod dream;
pub mod envs;
pub mod eval;
pub mod explain;
pub mod gradcheck;
pub mod parity;
pub mod train;
