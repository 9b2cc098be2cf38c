//! Feature -> observation.
//!
//! Images: a dense layer without activation to 1x1, then transposed convolutions of stride 2. Going back from the image, a layer has kernel
//! 6 where its output is even and 5 where it is odd, until at most 6 pixels are left, which the first layer makes from 1x1 in one
//! window: 64x64 gives the published kernels 5, 5, 6, 6 and 28x28 gives 4, 6, 6. The dense layer is as wide as the
//! embedding; channels fall ..., 4d, 2d, d to those of the image. Vectors and symbolic planes: a multi-layer perceptron. Source:
//! danijar/dreamer `models.py`, `ConvDecoder`.

use super::cells;
use super::encoder::Convolution;
use super::layer::{dense, finished, hidden};
use super::model::{Model, Observation, Table};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::ops::Activation;

/// The decoder's transposed convolutions for a square image of `channels`, from a 1x1 map of `input` channels.
pub fn transposed(size: usize, channels: usize, depth: usize, input: usize) -> Vec<Convolution> {
    let mut layers: Vec<Convolution> = Vec::new();
    let mut size = size;
    while size > 1 {
        let kernel = if size <= 6 { size } else { 6 - size % 2 };
        let channels_out = if layers.is_empty() { channels } else { depth << (layers.len() - 1) };
        layers.push(Convolution { channels_in: 0, channels_out, kernel, size_out: size });
        size = (size - kernel) / 2 + 1;
    }
    layers.reverse();
    let mut channels_in = input;
    for layer in &mut layers {
        layer.channels_in = channels_in;
        channels_in = layer.channels_out;
    }
    layers
}

fn layers(model: &Model) -> Vec<Convolution> {
    let Observation::Image { height, channels, .. } = model.observation else { return Vec::new() };
    transposed(height, channels, model.config.cnn_depth, model.embed())
}

pub(super) fn params(model: &Model, table: &mut Table) {
    if let Some(map) = model.map {
        return cells::decoder_params(model, map, table);
    }
    if matches!(model.observation, Observation::Image { .. }) {
        table.dense("dec.dense", model.feat(), model.embed());
        let layers = layers(model);
        for (i, layer) in layers.iter().enumerate() {
            let name = format!("dec.deconv{}", i + 1);
            table.push(&format!("{name}.w"), &[layer.channels_in, layer.kernel, layer.kernel, layer.channels_out]);
            table.push(&format!("{name}.b"), &[layer.channels_out]);
            if i + 1 < layers.len() {
                table.norm(model.config.cnn_norm, &name, layer.channels_out);
            }
        }
    } else {
        let mut width = model.feat();
        for (i, &units) in model.config.decoder_units.iter().enumerate() {
            table.hidden(model, &format!("dec.h{i}"), width, units);
            width = units;
        }
        table.dense("dec.out", width, model.observation.size());
    }
}

/// The mean of observations [n, ...], or their logits, from features given as parts [n, ..] of [n, F].
pub fn decode<R: Real>(g: &mut Graph<R>, model: &Model, feat: &[Var]) -> Var {
    g.scope("decoder");
    if let Some(map) = model.map {
        return cells::decode(g, model, map, feat[0]);
    }
    if matches!(model.observation, Observation::Image { .. }) {
        let x = dense(g, "dec.dense", feat);
        let n = g.height(x);
        let mut x = g.reshape(x, &[n, 1, 1, model.embed()]);
        let layers = layers(model);
        let (norm, act) = (model.config.cnn_norm, model.config.cnn_act);
        for i in 0..layers.len() {
            let name = format!("dec.deconv{}", i + 1);
            let (w, b) = (g.param(&format!("{name}.w")), g.param(&format!("{name}.b")));
            x = if i + 1 == layers.len() {
                g.conv_transpose2d(x, w, b, 2, 0, Activation::Identity)
            } else {
                finished(g, &name, norm, act, |g, f| g.conv_transpose2d(x, w, b, 2, 0, f))
            };
        }
        x
    } else {
        let mut x = feat.to_vec();
        for i in 0..model.config.decoder_units.len() {
            x = vec![hidden(g, model, &format!("dec.h{i}"), &x)];
        }
        dense(g, "dec.out", &x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dreamer::encoder::convolutions;

    #[test]
    fn published_shapes() {
        let sizes: Vec<usize> = convolutions(64, 32).iter().map(|l| l.size_out).collect();
        assert_eq!(sizes, [31, 14, 6, 2]);
        let layers = transposed(64, 3, 32, 1024);
        assert_eq!(layers.iter().map(|l| l.kernel).collect::<Vec<_>>(), [5, 5, 6, 6]);
        assert_eq!(layers.iter().map(|l| l.size_out).collect::<Vec<_>>(), [5, 13, 30, 64]);
        assert_eq!(layers.iter().map(|l| l.channels_out).collect::<Vec<_>>(), [128, 64, 32, 3]);
    }

    #[test]
    fn every_size_of_image_is_met() {
        for size in 4..130 {
            let layers = transposed(size, 3, 8, 64);
            let reached = layers.iter().fold(1, |s, l| (s - 1) * 2 + l.kernel);
            assert_eq!(reached, size);
        }
        assert_eq!(transposed(28, 3, 8, 64).iter().map(|l| l.kernel).collect::<Vec<_>>(), [4, 6, 6]);
    }
}
