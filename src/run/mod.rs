//! The things a command does.

pub mod checkpoint;
