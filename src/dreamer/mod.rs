//! DreamerV1 as graphs. This floor does not know which device it runs on.
//!
//! | room | part of the paper |
//! |---|---|
//! | [`model`] | sizes of a model, and where its parameters lie |
//! | `layer`, [`encoder`], [`decoder`], [`rssm`], [`heads`], [`actor`] | the networks |
//! | `cells` | the same with a map of what was seen |
//! | `lookahead` | heads that plan on that map |
//! | [`world_loss`] | learning the dynamics: eq. (10) |
//! | [`behavior`] | learning actor and value in imagination: eqs. (4) to (8) |
//! | [`step`] | one training step: three losses, three sweeps, three updates |
//! | [`policy`] | acting |
//! | [`readout`] | one step with every head's answer, for instruments |
//! | [`checks`] | whether the gradients of whole losses are their slopes |

pub mod actor;
pub mod behavior;
mod cells;
pub mod checks;
pub mod decoder;
pub mod encoder;
pub mod heads;
pub mod init;
mod layer;
mod lookahead;
pub mod model;
pub mod policy;
pub mod readout;
pub mod rssm;
pub mod step;
pub mod world_loss;

pub use model::{Actions, Model, Observation};
