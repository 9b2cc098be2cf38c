//! dreamer-fast: DreamerV1 without an ML framework.
//!
//! # The floors
//!
//! Imports go down only; `tests/floors.rs` reads the `use crate::` lines and fails on an upward edge.
//!
//! | floor | what it holds |
//! |---|---|
//! | [`base`] | `Real` (f32, f64), the counter-based random numbers, the error type, all file access |
//! | [`device`] | the arena, the packed matrix product, the choice of vector instructions at run time, CUDA |
//! | [`autodiff`] | `Graph` and `Var`, the contract of an op, `Plan`, the executor, gradient checks |
//! | [`ops`] | one file per op: equations, forward, backward |
//! | [`dreamer`] | the model as graphs: encoder, RSSM, decoder, heads, actor, losses, the training step |
//! | [`mod@env`] | worlds: MiniGrid by seed, the random-obstacle room, Pendulum |
//! | [`replay`] | episodes in memory and on disk, and how chunks are drawn from them |
//! | [`report`] | metrics, TensorBoard files, pictures |
//! | [`config`], [`run`], [`cli`] | settings, the things a command does, the commands |
//!
//! `env`, `replay` and `report` stand on `base` alone and are met by `run`.
//!
//! # The legend of sizes
//!
//! One letter means one size everywhere, in code, comments and tables.
//!
//! | letter | size |
//! |---|---|
//! | `T` | time steps of a replayed chunk (`batch_length`) |
//! | `B` | chunks in a batch (`batch_size`) |
//! | `N` | start states of imagination, `N = T * B` unless said otherwise |
//! | `H` | steps of imagination (`horizon`) |
//! | `A` | size of an action: dimensions, or number of discrete actions |
//! | `S` | stochastic state (`stoch_size`) |
//! | `D` | deterministic state (`deter_size`) |
//! | `F` | feature, `F = S + D`, stochastic part first |
//! | `E` | embedding of an observation |
//! | `U` | hidden units of a head (`num_units`) |
//! | `K` | classes of one categorical variable |

pub mod autodiff;
pub mod base;
pub mod cli;
pub mod config;
pub mod device;
pub mod dreamer;
pub mod env;
pub mod ops;
pub mod replay;
pub mod report;
pub mod run;
