//! The things a command does, one file or folder each.

pub mod agent;
pub mod args;
pub mod bench;
pub mod checkpoint;
pub mod collect;
#[cfg(feature = "cuda")]
pub mod cuda_batch;
#[cfg(feature = "cuda")]
pub mod cuda_update;
pub mod device;
pub mod diagnose;
pub mod dream;
pub mod envs;
pub mod eval;
pub mod evaluate;
pub mod explain;
pub mod gradcheck;
pub mod logdir;
mod objects;
pub mod parity;
pub mod probes;
pub mod profile;
pub mod rooms;
pub mod search;
pub mod study;
pub mod train;
pub mod world;
