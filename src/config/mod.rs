//! Settings: flat keys, presets, and one resolved configuration that says where each value came from.
//!
//! [`keys`] is the table; everything else is derived from it. [`resolve`](resolve()) settles what the user said,
//! [`Config`] is read by field (`config.deter_size`), and [`check_resume`] compares a stored run with a new command.

pub mod check;
pub mod choices;
pub mod keys;
mod nearest;
pub mod place;
pub mod presets;
pub mod resolve;
pub mod resume;
pub mod value;

pub use choices::*;
pub use keys::{Config, KEYS, Key};
pub use nearest::nearest;
pub use place::Device;
pub use presets::{PRESETS, Preset};
pub use resolve::{Origin, Request, Resolved, resolve};
pub use resume::{Difference, check_resume};
