//! Initial parameters.
//!
//! Kernels are Glorot-uniform, U(-l, l) with l = sqrt(6 / (fan_in + fan_out)), where a convolution's fans count its window; the recurrent
//! kernel of the GRU is orthogonal as one matrix [D, 3 D]; biases and offsets of norms are 0 and their scales 1 (Keras' defaults, which
//! danijar/dreamer leaves in place); what a head begins with that plans on a map says `lookahead.rs`.
//! Parameter number i draws from Philox at (seed, INIT, i), so a parameter does not depend on which others exist before it
//! being drawn, only on its position.

use super::lookahead;
use super::model::{Model, SLOW};
use crate::autodiff::Params;
use crate::base::{Philox, Real, philox::stream};

/// Fills `params` with initial values; moments and gradients stay zero.
pub fn init<R: Real>(model: &Model, params: &mut Params<R>, seed: u64) {
    let layout = params.layout.clone();
    for (index, entry) in layout.entries().iter().enumerate() {
        let mut rng = Philox::new(seed, stream::INIT, index as u64);
        let zero_head = model.config.zero_init_heads && ["reward.out.w", "value.out.w"].contains(&entry.name.as_str());
        let mut values: Vec<f64> = if entry.name.ends_with(".scale") {
            vec![1.0; entry.len()]
        } else if entry.shape.len() == 1 || zero_head {
            vec![0.0; entry.len()]
        } else if entry.name == "rssm.gru.wh" {
            orthogonal(entry.shape[0], entry.shape[1], &mut rng)
        } else {
            glorot(&entry.name, &entry.shape, &mut rng)
        };
        lookahead::begin(model, entry, &mut values);
        params.value_mut(&entry.name).iter_mut().zip(values).for_each(|(p, x)| *p = R::of(x));
    }
    if model.config.slow_value > 0.0 {
        follow_value(params, 1.0);
    }
}

/// Moves the slow copy of the value head towards it by this share.
pub fn follow_value<R: Real>(params: &mut Params<R>, rate: f64) {
    let (from, to) = (params.layout.group_range("value"), params.layout.group_range(SLOW));
    let rate = R::of(rate);
    let value = params.value.all_mut();
    assert_eq!(from.len(), to.len(), "the slow copy has the layout of the value head");
    assert!(from.end <= to.start, "the slow copy lies behind the value head");
    let (head, tail) = value.split_at_mut(to.start);
    for (slow, &fast) in tail[..to.len()].iter_mut().zip(&head[from]) {
        // At a rate of 1 this is a copy, bit for bit.
        *slow = if rate == R::ONE { fast } else { *slow + rate * (fast - *slow) };
    }
    params.changed();
}

fn glorot(name: &str, shape: &[usize], rng: &mut Philox) -> Vec<f64> {
    let (fan_in, fan_out) = match *shape {
        [i, o] => (i, o),
        // A transposed convolution is stored [c_in, k, k, c_out], a convolution [k, k, c_in, c_out].
        [i, k, l, o] if name.contains("deconv") => (i * k * l, k * l * o),
        [k, l, i, o] => (k * l * i, k * l * o),
        _ => panic!("{name}: a kernel of shape {shape:?}"),
    };
    let limit = (6.0 / (fan_in + fan_out) as f64).sqrt();
    (0..shape.iter().product()).map(|_| limit * (2.0 * rng.uniform() - 1.0)).collect()
}

/// Orthonormal rows (or columns, if there are fewer of them) from normal draws, by Gram and Schmidt, twice for accuracy.
fn orthogonal(rows: usize, columns: usize, rng: &mut Philox) -> Vec<f64> {
    let (short, long) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = (0..short).map(|_| (0..long).map(|_| rng.normal()).collect()).collect();
    for i in 0..short {
        for _ in 0..2 {
            for j in 0..i {
                let (done, rest) = vectors.split_at_mut(i);
                let along: f64 = done[j].iter().zip(&rest[0]).map(|(a, b)| a * b).sum();
                rest[0].iter_mut().zip(&done[j]).for_each(|(x, d)| *x -= along * d);
            }
            let norm = vectors[i].iter().map(|x| x * x).sum::<f64>().sqrt();
            vectors[i].iter_mut().for_each(|x| *x /= norm);
        }
    }
    let at = |r: usize, c: usize| if rows <= columns { vectors[r][c] } else { vectors[c][r] };
    (0..rows * columns).map(|i| at(i / columns, i % columns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recurrent_kernels_are_orthogonal() {
        let (rows, columns) = (20, 60);
        let w = orthogonal(rows, columns, &mut Philox::new(1, stream::TEST, 0));
        for i in 0..rows {
            for j in 0..rows {
                let dot: f64 = (0..columns).map(|c| w[i * columns + c] * w[j * columns + c]).sum();
                assert!((dot - if i == j { 1.0 } else { 0.0 }).abs() < 1e-12);
            }
        }
    }
}
