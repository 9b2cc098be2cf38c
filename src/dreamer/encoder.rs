//! Observation -> embedding.
//!
//! Images: convolutions of stride 2 without padding, channels d, 2d, 4d, ..., as many as fit. 64x64 has the published four layers of kernel 4
//! (31, 14, 6, 2). Over an odd map such a kernel leaves out the last row and the last column. In 64x64 these are two rows of pixels, but in 28x28
//! (13, 5, 1) it would be the row of tiles in which the agent stands: so in other images an odd map has kernel 3, and 28x28 gives 13, 6, 2. The
//! last map, flattened in (h, w, c) order, is the embedding. Vectors and symbolic planes: a multi-layer perceptron whose last layer is the
//! embedding. With a map, cell by cell, `cells.rs`. Source: danijar/dreamer `models.py`, `ConvEncoder`.

use super::cells;
use super::layer::{finished, hidden};
use super::model::{Model, Observation, Table};
use crate::autodiff::{Graph, Var};
use crate::base::Real;

/// One convolution, or one transposed convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels of the output.
    pub channels_out: usize,
    /// Side of the window.
    pub kernel: usize,
    /// Side of the output.
    pub size_out: usize,
}

/// Side of the images that the published encoder was made for.
const PUBLISHED: usize = 64;

/// Kernel over a map of even side; the stride is 2.
const KERNEL: usize = 4;

/// The encoder's convolutions over a square image; the first has as many input channels as the image, which is left 0 here.
pub fn convolutions(size: usize, depth: usize) -> Vec<Convolution> {
    let mut layers: Vec<Convolution> = Vec::new();
    let image = size;
    let mut size = size;
    while size >= KERNEL {
        let kernel = if size.is_multiple_of(2) || image == PUBLISHED { KERNEL } else { KERNEL - 1 };
        size = (size - kernel) / 2 + 1;
        let channels_in = layers.last().map_or(0, |l| l.channels_out);
        let channels_out = depth << layers.len();
        layers.push(Convolution { channels_in, channels_out, kernel, size_out: size });
    }
    layers
}

pub(super) fn params(model: &Model, table: &mut Table) {
    if let Some(map) = model.map {
        return cells::encoder_params(model, map, table);
    }
    match model.observation {
        Observation::Image { height, channels, .. } => {
            for (i, layer) in convolutions(height, model.config.cnn_depth).iter().enumerate() {
                let channels_in = if i == 0 { channels } else { layer.channels_in };
                let name = format!("enc.conv{}", i + 1);
                table.push(&format!("{name}.w"), &[layer.kernel, layer.kernel, channels_in, layer.channels_out]);
                table.push(&format!("{name}.b"), &[layer.channels_out]);
                table.norm(model.config.cnn_norm, &name, layer.channels_out);
            }
        }
        _ => {
            let mut width = model.observation.size();
            for (i, &units) in model.config.encoder_units.iter().enumerate() {
                table.hidden(model, &format!("enc.h{i}"), width, units);
                width = units;
            }
        }
    }
}

/// The embedding [n, E] of observations [n, ...].
pub fn encode<R: Real>(g: &mut Graph<R>, model: &Model, obs: Var) -> Var {
    g.scope("encoder");
    if let Some(map) = model.map {
        return cells::encode(g, model, map, obs);
    }
    let n = g.shape(obs)[0];
    match model.observation {
        Observation::Image { height, .. } => {
            let mut x = obs;
            let (norm, act) = (model.config.cnn_norm, model.config.cnn_act);
            for i in 0..convolutions(height, model.config.cnn_depth).len() {
                let name = format!("enc.conv{}", i + 1);
                let (w, b) = (g.param(&format!("{name}.w")), g.param(&format!("{name}.b")));
                x = finished(g, &name, norm, act, |g, f| g.conv2d(x, w, b, 2, 0, f));
            }
            g.reshape(x, &[n, model.embed()])
        }
        _ => {
            let mut x = g.reshape(obs, &[n, model.observation.size()]);
            for i in 0..model.config.encoder_units.len() {
                x = hidden(g, model, &format!("enc.h{i}"), &[x]);
            }
            x
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of an image of this side that reach the embedding.
    fn seen(size: usize) -> usize {
        let layers = convolutions(size, 8);
        layers.iter().rev().fold(layers.last().expect("a layer").size_out, |side, layer| (side - 1) * 2 + layer.kernel)
    }

    #[test]
    fn no_row_of_an_image_is_left_out() {
        let sizes = |size| convolutions(size, 8).iter().map(|l| l.size_out).collect::<Vec<_>>();
        assert_eq!((sizes(28), sizes(56)), (vec![13, 6, 2], vec![27, 13, 6, 2]));
        assert!((4..130).filter(|&size| size != 64).all(|size| seen(size) == size));
        // As published.
        assert_eq!((sizes(64), seen(64)), (vec![31, 14, 6, 2], 62));
    }
}
