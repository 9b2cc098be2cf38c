//! Operations of the modes of a training step, counted as the peers count them: two for each multiply-add of a product or a convolution,
//! nothing else.

use super::super::args::BenchMode;
use crate::dreamer::{Model, Observation, decoder, encoder};

/// Operations of a mode. Backward: weight gradients everywhere, input gradients everywhere but for observations and stopped features.
pub(super) fn flops(model: &Model, mode: BenchMode) -> f64 {
    let c = &model.config;
    let layout = model.layout();
    let (n, h) = ((c.batch_size * c.batch_length) as f64, c.horizon as f64);
    // Multiply-adds of one row through all layers of a name, and through the first of them.
    let macs = |prefix: &str| -> (f64, f64) {
        let sizes: Vec<f64> = layout
            .entries()
            .iter()
            .filter(|e| e.name.starts_with(prefix) && e.shape.len() > 1)
            .map(|e| e.len() as f64 * positions(model, &e.name))
            .collect();
        (sizes.iter().sum(), sizes.first().copied().unwrap_or(0.0))
    };
    let step = ["rssm.img1", "rssm.gru", "rssm.img2", "rssm.img3"].map(|p| macs(p).0).iter().sum::<f64>();
    let obs = macs("rssm.obs").0;
    let (enc, enc_first) = macs("enc.");
    let (dec, reward) = (macs("dec.").0, macs("reward.").0);
    let ((actor, actor_first), (value, value_first)) = (macs("actor."), macs("value."));
    let observe = n * (step + obs);
    let imagine = n * h * (actor + step);
    let world = 3.0 * (n * (enc + dec + reward) + observe) - n * enc_first;
    let m = n * h;
    let behave = imagine
        + m * (reward + value)
        + m * (2.0 * actor - actor_first)
        + m * step
        + m * (reward + value)
        + n * (h - 1.0) * (2.0 * value - value_first);
    2.0 * match mode {
        BenchMode::TrainStep => world + behave,
        BenchMode::Observe => observe,
        BenchMode::Imagine => imagine,
        BenchMode::ImagineTrain => behave,
        BenchMode::Act | BenchMode::Env => 0.0,
    }
}

/// How often a kernel is applied to one row: once, or at every window of a convolution.
fn positions(model: &Model, name: &str) -> f64 {
    let Observation::Image { height, channels, .. } = model.observation else { return 1.0 };
    let index = |prefix: &str| {
        let rest = name.strip_prefix(prefix)?;
        rest.split('.').next()?.parse::<usize>().ok().map(|i| i - 1)
    };
    if let Some(i) = index("enc.conv") {
        let layers = encoder::convolutions(height, model.config.cnn_depth);
        return (layers[i].size_out * layers[i].size_out) as f64;
    }
    if let Some(i) = index("dec.deconv") {
        let layers = decoder::transposed(height, channels, model.config.cnn_depth, model.embed());
        let size_in = if i == 0 { 1 } else { layers[i - 1].size_out };
        return (size_in * size_in) as f64;
    }
    1.0
}
