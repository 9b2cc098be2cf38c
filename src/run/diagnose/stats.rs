//! Statistics of the instruments: ratios with intervals over episodes, explained variance, PSNR.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A ratio of two sums, such as right cells of all cells. Rows of one episode resemble each other, so the sums are kept by episode and the interval
/// takes episodes as the independent units.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ratio {
    episodes: BTreeMap<usize, (f64, f64)>,
}

impl Ratio {
    /// Adds `hit` above the line and `of` below it.
    pub fn add(&mut self, episode: usize, hit: f64, of: f64) {
        let entry = self.episodes.entry(episode).or_default();
        entry.0 += hit;
        entry.1 += of;
    }

    /// Adds one trial.
    pub fn count(&mut self, episode: usize, hit: bool) {
        self.add(episode, f64::from(u8::from(hit)), 1.0);
    }

    /// The sum below the line: how many were counted.
    pub fn total(&self) -> f64 {
        self.episodes.values().map(|e| e.1).sum()
    }

    /// The ratio; `None` where nothing was counted.
    pub fn value(&self) -> Option<f64> {
        let total = self.total();
        (total > 0.0).then(|| self.episodes.values().map(|e| e.0).sum::<f64>() / total)
    }

    /// The 95 % interval `value -+ 1.96 s`, `s^2 = n / (n - 1) sum (a_i - value b_i)^2 / (sum b_i)^2` over the n episodes with a part in it (the
    /// linearised variance of a ratio of cluster totals; Cochran, "Sampling techniques", section 6.3). `None` for fewer than two episodes.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let value = self.value()?;
        let parts: Vec<(f64, f64)> = self.episodes.values().copied().filter(|e| e.1 > 0.0).collect();
        let n = parts.len() as f64;
        if n < 2.0 {
            return None;
        }
        let spread: f64 = parts.iter().map(|(a, b)| (a - value * b).powi(2)).sum();
        let half = 1.96 * (n / (n - 1.0) * spread).sqrt() / self.total();
        Some((value - half, value + half))
    }

    /// `{"value", "low", "high", "count"}`, with nulls for what there is not.
    pub fn json(&self) -> Value {
        let interval = self.interval();
        json!({
            "value": self.value(),
            "low": interval.map(|i| i.0),
            "high": interval.map(|i| i.1),
            "count": self.total(),
        })
    }
}

/// A ratio at each place of an axis as a list of JSON objects.
pub fn json_list(ratios: &[Ratio]) -> Value {
    ratios.iter().map(Ratio::json).collect()
}

/// A ratio at each of 0, 1, 2 ... as points of a plot.
pub fn line(ratios: &[Ratio]) -> Vec<(f64, f64)> {
    ratios.iter().enumerate().map(|(x, r)| (x as f64, r.value().unwrap_or(f64::NAN))).collect()
}

/// The intervals around [`line()`].
pub fn band(ratios: &[Ratio]) -> Vec<(f64, f64, f64)> {
    let bounds = |r: &Ratio| r.interval().unwrap_or((f64::NAN, f64::NAN));
    ratios.iter().enumerate().map(|(x, r)| (x as f64, bounds(r).0, bounds(r).1)).collect()
}

/// `1 - Var(target - prediction) / Var(target)`: 1 for a prediction that is right up to a constant, 0 for a constant, below 0 for one that adds
/// variance. `None` where targets do not vary.
pub fn explained_variance(targets: &[f64], predictions: &[f64]) -> Option<f64> {
    assert_eq!(targets.len(), predictions.len(), "a prediction for every target");
    let errors: Vec<f64> = targets.iter().zip(predictions).map(|(t, p)| t - p).collect();
    let total = variance(targets);
    (total > 1e-12).then(|| 1.0 - variance(&errors) / total)
}

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn variance(values: &[f64]) -> f64 {
    let middle = mean(values);
    mean(&values.iter().map(|v| (v - middle).powi(2)).collect::<Vec<_>>())
}

/// Peak signal-to-noise ratio in dB of numbers in 0 .. 1, `10 log10(1 / mse)`; at most 100, which stands for no error at all.
pub fn psnr(mse: f64) -> f64 {
    (-10.0 * mse.log10()).min(100.0)
}

/// At most `most` of `0..count`, evenly spread.
pub fn spread(count: usize, most: usize) -> Vec<usize> {
    let kept = count.min(most);
    (0..kept).map(|i| i * count / kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_the_sums() {
        let mut ratio = Ratio::default();
        assert_eq!((ratio.value(), ratio.interval()), (None, None));
        ratio.add(7, 1.0, 2.0);
        assert_eq!((ratio.value(), ratio.interval()), (Some(0.5), None));
        ratio.add(9, 1.0, 6.0);
        ratio.add(9, 1.0, 0.0);
        // Episodes (1, 2) and (2, 6): 3 / 8, residuals 0.25 and -0.25, s = sqrt(2 * 0.125) / 8.
        assert_eq!(ratio.value(), Some(0.375));
        let (low, high) = ratio.interval().unwrap();
        assert!((low - (0.375 - 1.96 * 0.0625)).abs() < 1e-15 && (high - (0.375 + 1.96 * 0.0625)).abs() < 1e-15);
    }

    /// With one trial an episode it is the interval of a proportion, `p -+ 1.96 sqrt(p (1 - p) / (n - 1))`.
    #[test]
    fn the_interval_of_single_trials_is_the_binomial_one() {
        let mut ratio = Ratio::default();
        (0..40).for_each(|i| ratio.count(i, i % 4 == 0));
        let half = 1.96 * (0.25_f64 * 0.75 / 39.0).sqrt();
        let (low, high) = ratio.interval().unwrap();
        assert!((low - (0.25 - half)).abs() < 1e-12 && (high - (0.25 + half)).abs() < 1e-12);
    }

    #[test]
    fn explained_variance_of_known_predictions() {
        let targets = [0.0, 1.0, 2.0, 3.0];
        assert_eq!(explained_variance(&targets, &[5.0, 6.0, 7.0, 8.0]), Some(1.0));
        assert_eq!(explained_variance(&targets, &[9.0; 4]), Some(0.0));
        assert_eq!(explained_variance(&targets, &[0.0, 0.5, 1.0, 1.5]), Some(0.75));
        assert_eq!(explained_variance(&targets, &[3.0, 2.0, 1.0, 0.0]), Some(-3.0));
        assert_eq!(explained_variance(&[1.0, 1.0], &[0.0, 1.0]), None);
    }

    #[test]
    fn psnr_of_known_errors() {
        assert_eq!(psnr(0.01), 20.0);
        assert_eq!(psnr(1.0), 0.0);
        assert_eq!(psnr(0.0), 100.0);
    }

    #[test]
    fn what_is_kept_is_spread_evenly() {
        assert_eq!(spread(3, 10), [0, 1, 2]);
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert!(spread(0, 4).is_empty());
    }
}
