//! Numbers far from 0: what overflows, or is lost, where a formula is computed as it is written.

use dreamer_fast::ops::Activation;

use super::{Tensors, close, eval, gradients};

#[test]
fn far_logits_stay_finite() {
    let (a, target) = ([-1000.0, -50.0, 50.0, 1000.0], [0.0, 1.0, 0.0, 1.0]);
    let got = eval(&[(&[4], &a), (&[4], &target), (&[1, 4], &[1.0, 0.0, 0.0, 0.0])], |g, t| {
        let logits = g.reshape(t[0], &[1, 4]);
        vec![
            g.bernoulli_nll(t[0], t[1]),
            g.activation(t[0], Activation::Softplus),
            g.activation(t[0], Activation::Sigmoid),
            g.categorical_nll(logits, t[2], None, &[4]),
            g.categorical_entropy(logits, 4),
            g.kl_categorical(logits, logits, 4, 0.0),
        ]
    });
    close(&got[0], &[0.0, 50.0, 50.0, 0.0]);
    close(&got[1], &[0.0, 0.0, 50.0, 1000.0]);
    close(&got[2], &[0.0, 0.0, 1.0, 1.0]);
    // The first class lies 2000 below the highest.
    close(&got[3], &[2000.0]);
    close(&got[4], &[0.0]);
    close(&got[5], &[0.0]);
}

/// Without a uniform share, of classes whose probabilities are too small for numbers: in the first row the same class leads, in the second another.
#[test]
fn a_divergence_of_far_logits_stays_finite_and_so_does_its_gradient() {
    let q = [3000.0, 0.0, -1000.0, 0.0, 2000.0, -950.0];
    let p = [3000.0, 500.0, -4000.0, 3000.0, 0.0, -900.0];
    let tensors: Tensors = &[(&[2, 3], &q), (&[2, 3], &p)];
    let got = eval(tensors, |g, t| vec![g.kl_categorical(t[0], t[1], 3, 0.0)]);
    close(&got[0], &[0.0, 3000.0]);
    let got = gradients(tensors, |g, t| {
        let kl = g.kl_categorical(t[0], t[1], 3, 0.0);
        g.mean(kl)
    });
    // Q (ln Q - ln P - kl) and P - Q, of a mean over two rows.
    close(&got[0], &[0.0; 6]);
    close(&got[1], &[0.0, 0.0, 0.0, 0.5, -0.5, 0.0]);
}
