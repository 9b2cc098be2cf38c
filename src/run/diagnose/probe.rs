//! A linear probe: what a latent state knows of the agent's place, read out by ridge regression.
//!
//! The targets are one-hot: the cell that the agent stands on, and its direction. With features X (a 1 appended) and targets Y of the rows to
//! fit on, `W = (X' X + ridge I)^-1 X' Y`; the answer for a state x is the largest entry of `x W`. The probe is no part of the agent: a place that it
//! reads is in the state, one that it cannot read may still be there in a form that is not linear. Nor can more be read than was ever seen.

use std::collections::BTreeMap;

use super::play::{Place, Play};

/// Weight of the penalty, for features of the order of 1.
const RIDGE: f64 = 1.0;

/// A fitted probe.
#[derive(Debug, Clone)]
pub struct Probe {
    cells: Linear<(u8, u8)>,
    directions: Linear<u8>,
}

impl Probe {
    /// Fits on the posterior states of every other episode, those with an even number. `None` where there are no places, or fewer than two
    /// episodes.
    pub fn fit(play: &Play) -> Option<Self> {
        let rows = play.rows().filter(|(episode, ..)| !Self::tests(*episode));
        let known: Vec<(Vec<f64>, Place)> = rows.filter_map(|(_, _, row)| Some((row.feat(), row.place?))).collect();
        if known.is_empty() || play.episodes.len() < 2 {
            return None;
        }
        let features: Vec<&[f64]> = known.iter().map(|k| k.0.as_slice()).collect();
        Some(Probe {
            cells: Linear::fit(&features, &known.iter().map(|k| (k.1.x, k.1.y)).collect::<Vec<_>>()),
            directions: Linear::fit(&features, &known.iter().map(|k| k.1.direction).collect::<Vec<_>>()),
        })
    }

    /// Whether the probe may be judged by an episode: it was not fitted on it.
    pub fn tests(episode: usize) -> bool {
        episode % 2 == 1
    }

    /// The place that a state with these features `[F]` tells of.
    pub fn read(&self, feat: &[f64]) -> Place {
        let (x, y) = self.cells.read(feat);
        Place { x, y, direction: self.directions.read(feat) }
    }

    /// The cell that the rows which it was fitted on name most often: the guess of one who sees nothing.
    pub fn commonest_cell(&self) -> (u8, u8) {
        self.cells.commonest
    }
}

/// One-hot ridge regression onto classes.
#[derive(Debug, Clone)]
struct Linear<C> {
    classes: Vec<C>,
    /// [F + 1, classes]
    weights: Vec<f64>,
    commonest: C,
}

impl<C: Copy + Ord> Linear<C> {
    fn fit(features: &[&[f64]], targets: &[C]) -> Self {
        let mut counts: BTreeMap<C, usize> = BTreeMap::new();
        targets.iter().for_each(|&t| *counts.entry(t).or_default() += 1);
        let classes: Vec<C> = counts.keys().copied().collect();
        let commonest = *counts.iter().max_by_key(|c| c.1).expect("at least one target").0;
        let (n, k) = (features[0].len() + 1, classes.len());
        let (mut gram, mut cross) = (vec![0.0; n * n], vec![0.0; n * k]);
        for (feature, target) in features.iter().zip(targets) {
            let class = classes.binary_search(target).expect("every target is a class");
            let x: Vec<f64> = feature.iter().copied().chain([1.0]).collect();
            for i in 0..n {
                // The lower half; categorical latents are mostly zeros.
                if x[i] != 0.0 {
                    gram[i * n..=i * n + i].iter_mut().zip(&x).for_each(|(g, x_j)| *g += x[i] * x_j);
                    cross[i * k + class] += x[i];
                }
            }
        }
        (0..n).for_each(|i| gram[i * n + i] += RIDGE);
        solve(&mut gram, n, &mut cross, k);
        Linear { classes, weights: cross, commonest }
    }

    fn read(&self, feature: &[f64]) -> C {
        let k = self.classes.len();
        let mut scores = vec![0.0; k];
        for (x, row) in feature.iter().chain(&[1.0]).zip(self.weights.chunks_exact(k)) {
            scores.iter_mut().zip(row).for_each(|(s, w)| *s += x * w);
        }
        let best = (0..k).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).expect("at least one class");
        self.classes[best]
    }
}

/// Solves `A X = B` in place of B [n, k], for a symmetric positive definite A [n, n] of which the lower half is given, by its Cholesky factor.
fn solve(a: &mut [f64], n: usize, b: &mut [f64], k: usize) {
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|m| a[i * n + m] * a[j * n + m]).sum();
            let rest = a[i * n + j] - dot;
            a[i * n + j] = if i == j { rest.sqrt() } else { rest / a[j * n + j] };
        }
    }
    for column in 0..k {
        for i in 0..n {
            let dot: f64 = (0..i).map(|m| a[i * n + m] * b[m * k + column]).sum();
            b[i * k + column] = (b[i * k + column] - dot) / a[i * n + i];
        }
        for i in (0..n).rev() {
            let dot: f64 = (i + 1..n).map(|m| a[m * n + i] * b[m * k + column]).sum();
            b[i * k + column] = (b[i * k + column] - dot) / a[i * n + i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_of_equations_is_solved() {
        // A = [[4, 2], [2, 3]], x = [1, -2] and [0, 5].
        let (mut a, mut b) = (vec![4.0, 0.0, 2.0, 3.0], vec![0.0, 10.0, -4.0, 15.0]);
        solve(&mut a, 2, &mut b, 2);
        for (x, want) in b.iter().zip([1.0, 0.0, -2.0, 5.0]) {
            assert!((x - want).abs() < 1e-12, "{b:?}");
        }
    }

    #[test]
    fn what_is_in_the_features_is_read_and_what_is_not_is_guessed() {
        let feature = |class: usize| (0..5).map(|i| f64::from(u8::from(i == class))).collect::<Vec<_>>();
        let rows: Vec<(Vec<f64>, u8)> = (0..50).map(|i| (feature(i % 5), [30, 10, 20, 10, 50][i % 5])).collect();
        let features: Vec<&[f64]> = rows.iter().map(|r| r.0.as_slice()).collect();
        let linear = Linear::fit(&features, &rows.iter().map(|r| r.1).collect::<Vec<_>>());
        assert_eq!([0, 1, 2, 3, 4].map(|c| linear.read(&feature(c))), [30, 10, 20, 10, 50]);
        let blind: Vec<&[f64]> = rows.iter().map(|_| [0.0; 5].as_slice()).collect();
        let linear = Linear::fit(&blind, &rows.iter().map(|r| r.1).collect::<Vec<_>>());
        assert_eq!((linear.read(&feature(0)), linear.commonest), (10, 10));
    }
}
