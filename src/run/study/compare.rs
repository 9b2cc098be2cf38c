//! Seeds and tasks put together: means, worst seeds, interquartile means with intervals.

use super::plan::Cell;
use super::record::{Point, Record};
use crate::report::Interval;
use crate::report::interval::{iqm, mean, stratified};

/// A finished cell.
#[derive(Debug, Clone)]
pub struct Finished<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// Its record.
    pub record: Record,
}

/// What a curve or a table is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Share of episodes that reach the goal.
    Success,
    /// Sum of rewards.
    Return,
}

impl Measure {
    /// Success where every record has it, otherwise the return.
    pub fn of(records: &[&Record]) -> Measure {
        if records.iter().all(|r| r.greedy.success.is_some()) { Measure::Success } else { Measure::Return }
    }

    /// Its name on an axis.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Success => "success",
            Measure::Return => "return",
        }
    }

    /// Its value in a score.
    pub fn in_score(self, score: &super::record::Score) -> f64 {
        match self {
            Measure::Success => score.success.unwrap_or(f64::NAN),
            Measure::Return => score.total,
        }
    }
}

/// Seeds of one variant on one task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Number of seeds.
    pub seeds: usize,
    /// Mean over seeds.
    pub mean: f64,
    /// The worst seed.
    pub worst: f64,
    /// Interquartile mean with its 95 % interval over seeds.
    pub iqm: Interval,
}

/// Puts the values of seeds together; `None` without any.
pub fn summary(values: &[f64]) -> Option<Summary> {
    (!values.is_empty()).then(|| Summary {
        seeds: values.len(),
        mean: mean(values),
        worst: values.iter().copied().fold(f64::INFINITY, f64::min),
        iqm: stratified(&[values], 0, iqm),
    })
}

/// The curve of one variant on one task: step, and the interquartile mean over those seeds that were evaluated there. Steps at which
/// a seed is missing are left out, so that a curve does not change its seeds on the way.
pub fn curve(curves: &[&[Point]], measure: Measure) -> Vec<(f64, Interval)> {
    let Some(first) = curves.first() else { return Vec::new() };
    let at = |points: &[Point], step: u64| {
        points.iter().find(|p| p.step == step).map(|p| measure.in_score(&p.score)).filter(|x| x.is_finite())
    };
    first
        .iter()
        .filter_map(|point| {
            let values: Vec<f64> = curves.iter().map(|points| at(points, point.step)).collect::<Option<_>>()?;
            Some((point.step as f64, stratified(&[&values], 0, iqm)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::study::record::Score;

    #[test]
    fn a_summary_is_of_all_seeds() {
        let s = summary(&[0.5, 1.0, 0.9]).unwrap();
        assert_eq!((s.seeds, s.worst), (3, 0.5));
        assert!((s.mean - 0.8).abs() < 1e-12 && s.iqm.low >= 0.5 && s.iqm.high <= 1.0 && s.iqm.low < s.iqm.high);
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn a_curve_keeps_to_steps_that_all_seeds_have() {
        let point = |step, success| Point { step, score: Score { success: Some(success), total: 0.0, length: 1.0 } };
        let (a, b) = ([point(10, 0.0), point(20, 1.0), point(30, 1.0)], [point(10, 0.5), point(20, 0.5)]);
        let drawn = curve(&[&a, &b], Measure::Success);
        let means: Vec<(f64, f64)> = drawn.iter().map(|(step, i)| (*step, i.estimate)).collect();
        assert_eq!(means, [(10.0, 0.25), (20.0, 0.75)]);
        assert!(curve(&[], Measure::Return).is_empty());
    }
}
