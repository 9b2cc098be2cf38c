//! The things a command does, one file each.

pub mod agent;
pub mod args;
pub mod bench;
pub mod checkpoint;
pub mod collect;
pub mod device;
pub mod dream;
pub mod envs;
pub mod eval;
pub mod evaluate;
pub mod explain;
pub mod gradcheck;
pub mod parity;
pub mod rooms;
pub mod train;
pub mod world;
