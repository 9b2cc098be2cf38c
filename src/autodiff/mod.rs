//! The engine: a trace of coarse ops, a plan that places every tensor once, an executor that runs it.

pub mod audit;
#[cfg(feature = "cuda")]
pub mod cuda_check;
#[cfg(feature = "cuda")]
pub mod cuda_exec;
#[cfg(feature = "cuda")]
mod cuda_noise;
#[cfg(feature = "cuda")]
mod cuda_rollout;
pub mod describe;
#[allow(unsafe_code)]
mod exec;
pub mod gradcheck;
pub mod graph;
pub mod op;
pub mod params;
mod place;
pub mod plan;
pub mod record;
mod resolve;
mod scans;
mod schedule;
pub mod surrogate;
pub mod sweep;

pub use graph::{Graph, Var};
pub use op::{Clock, Cost, Op};
pub use params::{Entry, Layout, Params};
pub use plan::Plan;
pub use sweep::Sweep;
