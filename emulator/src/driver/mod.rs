//! The functions of `libcuda` that a CUDA program calls, on emulated hardware.
//!
//! A handle (stream, event, module, function, graph) is a number that is looked up, so a stale one is an error and never a
//! crash. One lock guards everything; a call that panics all the same answers `CUDA_ERROR_UNKNOWN`.
//!
//! | file | holds |
//! |---|---|
//! | `code` | error codes, their names and sentences |
//! | `model` | what the device says about itself |
//! | `state` | everything that a context owns |
//! | `work` | one piece of work, and how it runs |
//! | `stream` | queues of work, run as late as the calls allow, or in an order that a seed decides |
//! | `capture` | work recorded into graphs |
//! | `call` | the way from a C call to the state and back |
//! | `device_calls`, `memory_calls`, `module_calls`, `stream_calls`, `graph_calls` | the exported functions |
//! | `own_calls` | exported functions that no real driver has: faults in words, counters, order |
//!
//! The environment decides what the device is: `DREAMER_EMULATED_SM` (75, 80 or 90, the default), `DREAMER_EMULATED_MEMORY` in
//! bytes (8 GiB).

mod call;
mod capture;
mod code;
mod device_calls;
mod graph_calls;
mod memory_calls;
mod model;
mod module_calls;
mod own_calls;
mod state;
mod stream;
mod stream_calls;
mod work;
