//! One op = one room: the equations, the method on `Graph`, the sizes, forward, backward.

pub mod activation;
pub mod adam;
pub mod bernoulli_nll;
pub mod categorical_entropy;
pub mod categorical_nll;
pub mod conv2d;
pub mod conv_transpose2d;
mod convolve;
pub mod cumulative_discount;
pub mod ego_map;
pub mod gaussian;
pub mod gru_cell;
pub mod kl_categorical;
pub mod kl_gaussian;
pub mod lambda_return;
pub mod linear;
pub mod map_view;
pub mod mean;
pub mod noise;
pub mod norm;
pub mod norm_gru_cell;
pub mod normal_nll;
pub mod outer;
mod patches;
mod phases;
pub mod pointwise;
pub mod registry;
pub mod sample_onehot;
pub mod sample_tanh_normal;
pub mod silu;
mod softmax;
pub mod symlog;
pub mod twohot;
pub mod unimix;

pub use activation::Activation;
