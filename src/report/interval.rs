//! What a sample says: mean, median, interquartile mean, each with a 95 % bootstrap interval.

use std::fmt;

use crate::base::Philox;
use crate::base::philox::stream;

/// Resamples behind every interval.
const RESAMPLES: u64 = 10_000;

/// An estimate and the bounds of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The statistic of the sample itself.
    pub estimate: f64,
    /// The 2.5 % quantile of the statistic over the resamples.
    pub low: f64,
    /// The 97.5 % quantile.
    pub high: f64,
}

impl fmt::Display for Interval {
    /// `0.962 [0.944, 0.978]`; a precision applies to all three numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "{:.digits$} [{:.digits$}, {:.digits$}]", self.estimate, self.low, self.high)
    }
}

/// Percentile bootstrap (Efron, 1979): the sample is drawn anew from itself, with replacement, 10,000 times, and the interval
/// holds the middle 95 % of the statistic. The same values and seed give the same bits.
///
/// A sample whose values are all equal gives an interval of width 0: 20 successes out of 20 do not prove a rate of 1.
/// Panics on an empty sample.
pub fn bootstrap(values: &[f64], seed: u64, statistic: impl Fn(&mut [f64]) -> f64) -> Interval {
    stratified(&[values], seed, statistic)
}

/// The same for values that fall into strata, such as the seeds of each of several tasks: every stratum is drawn anew from itself, and
/// the statistic is that of all together (Agarwal et al., 2021, "stratified bootstrap"). One stratum gives [`bootstrap`].
///
/// Panics on an empty stratum.
pub fn stratified(strata: &[&[f64]], seed: u64, statistic: impl Fn(&mut [f64]) -> f64) -> Interval {
    assert!(strata.iter().all(|s| !s.is_empty()) && !strata.is_empty(), "a bootstrap interval of 0 values");
    let all: Vec<f64> = strata.concat();
    let mut resample = all.clone();
    let mut statistics: Vec<f64> = (0..RESAMPLES)
        .map(|i| {
            let mut rng = Philox::new(seed, stream::BOOTSTRAP, i);
            let mut drawn = resample.iter_mut();
            for stratum in strata {
                stratum
                    .iter()
                    .for_each(|_| *drawn.next().expect("as many as values") = stratum[rng.below(stratum.len())]);
            }
            statistic(&mut resample)
        })
        .collect();
    statistics.sort_by(f64::total_cmp);
    resample.copy_from_slice(&all);
    Interval {
        estimate: statistic(&mut resample),
        low: quantile(&statistics, 0.025),
        high: quantile(&statistics, 0.975),
    }
}

/// The mean with its interval.
pub fn mean_interval(values: &[f64], seed: u64) -> Interval {
    bootstrap(values, seed, |sample| mean(sample))
}

/// The median with its interval.
pub fn median_interval(values: &[f64], seed: u64) -> Interval {
    bootstrap(values, seed, median)
}

/// The interquartile mean with its interval.
pub fn iqm_interval(values: &[f64], seed: u64) -> Interval {
    bootstrap(values, seed, iqm)
}

/// The mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The middle value, or the mean of the two middle ones. Sorts the slice.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(values, 0.5)
}

/// The mean of what is left when the lowest and the highest quarter, each rounded down, are removed (the aggregate of Agarwal
/// et al., "Deep reinforcement learning at the edge of the statistical precipice", 2021). Sorts the slice.
pub fn iqm(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    mean(&values[quarter..values.len() - quarter])
}

/// The `q`-quantile of sorted values, between neighbours by linear interpolation (numpy's default).
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    if above == below {
        sorted[below]
    } else {
        sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn statistics_of_small_samples() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [9.0, 1.0, 2.0, 4.0]), 3.0);
        // scipy.stats.trim_mean([1, 2, 3, 4, 10, 100], 0.25)
        assert_eq!(iqm(&mut [100.0, 2.0, 3.0, 4.0, 10.0, 1.0]), 4.75);
        assert_eq!(iqm(&mut [7.0]), 7.0);
        // numpy.quantile([0, 1, 5], [0.025, 0.975])
        assert!((quantile(&[0.0, 1.0, 5.0], 0.025) - 0.05).abs() < 1e-15);
        assert!((quantile(&[0.0, 1.0, 5.0], 0.975) - 4.8).abs() < 1e-15);
    }

    /// For a mean the bootstrap's interval is close to the normal one, mean +- 1.96 s / sqrt(n).
    #[test]
    fn the_interval_of_a_mean_is_near_the_normal_one() {
        let mut rng = Philox::new(3, stream::TEST, 0);
        let values: Vec<f64> = (0..400).map(|_| 5.0 + 2.0 * rng.normal()).collect();
        let interval = mean_interval(&values, 1);
        let deviation = (values.iter().map(|x| (x - interval.estimate).powi(2)).sum::<f64>() / 400.0).sqrt();
        let half = 1.96 * deviation / 20.0;
        assert_eq!(interval.estimate, mean(&values));
        assert!((interval.low - (interval.estimate - half)).abs() < 0.05 * half, "{interval:?}, half {half}");
        assert!((interval.high - (interval.estimate + half)).abs() < 0.05 * half, "{interval:?}, half {half}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_another_seed_another() {
        let values = [0.0, 1.0, 1.0, 0.5, 0.25, 0.7, 0.1];
        assert_eq!(mean_interval(&values, 5), mean_interval(&values, 5));
        assert_ne!(mean_interval(&values, 5), mean_interval(&values, 6));
        assert_eq!(format!("{:.1}", Interval { estimate: 0.96, low: 0.9, high: 1.0 }), "1.0 [0.9, 1.0]");
    }

    /// Between two strata that differ, but have no spread of their own, nothing is uncertain.
    #[test]
    fn strata_are_resampled_apart() {
        let of = |strata: &[&[f64]]| stratified(strata, 0, |sample| mean(sample));
        let apart = of(&[&[0.0, 0.0], &[1.0, 1.0]]);
        assert_eq!((apart.estimate, apart.low, apart.high), (0.5, 0.5, 0.5));
        let together = of(&[&[0.0, 0.0, 1.0, 1.0]]);
        assert!(together.low < 0.5 && together.high > 0.5);
    }

    /// Resamples draw from the whole sample and from nothing else, and differ from one another.
    #[test]
    fn resamples_are_draws_with_replacement() {
        let seen = RefCell::new(Vec::new());
        bootstrap(&[1.0, 2.0, 4.0], 1, |sample| {
            seen.borrow_mut().push(sample.to_vec());
            0.0
        });
        let seen = seen.into_inner();
        assert_eq!(seen.len() as u64, RESAMPLES + 1);
        let share = |x: f64| seen.iter().flatten().filter(|v| **v == x).count() as f64 / (3.0 * seen.len() as f64);
        for x in [1.0, 2.0, 4.0] {
            assert!((share(x) - 1.0 / 3.0).abs() < 0.01, "{x} has share {}", share(x));
        }
        assert!(seen.contains(&vec![4.0, 4.0, 4.0]) && seen.contains(&vec![1.0, 2.0, 4.0]));
    }
}
