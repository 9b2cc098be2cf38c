//! Axes of plots: round ticks and their labels.

/// The range of an axis and the distance between its ticks: 1, 2 or 5 times a power of ten.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    pub low: f64,
    pub high: f64,
    pub step: f64,
}

impl Axis {
    /// An axis over these values with about `count` ticks; `whole` widens it to whole steps.
    pub fn over(values: &[f64], count: f64, whole: bool) -> Self {
        let (mut low, mut high) =
            values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low <= 1e-12 * low.abs().max(high.abs()).max(1e-9) {
            let half = if low == 0.0 { 0.5 } else { 0.1 * low.abs() };
            (low, high) = (low - half, high + half);
        }
        let rough = (high - low) / count;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = power * [1.0, 2.0, 5.0].into_iter().find(|m| m * power >= rough * (1.0 - 1e-9)).unwrap_or(10.0);
        if whole {
            (low, high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        }
        Axis { low, high, step }
    }

    pub fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let Axis { low, high, step } = *self;
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        (first..=last).map(move |i| i as f64 * step)
    }

    /// A tick in as few letters as tell it from its neighbours: 0.25, 40, 300k, 1.5M.
    pub fn label(&self, tick: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        let (unit, suffix) = if largest >= 1e6 {
            (1e6, "M")
        } else if largest >= 1e4 {
            (1e3, "k")
        } else {
            (1.0, "")
        };
        let step = self.step / unit;
        if tick == 0.0 {
            "0".into()
        } else if step < 1e-4 {
            format!("{tick:.1e}")
        } else {
            let decimals = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
            format!("{:.decimals$}{suffix}", tick / unit)
        }
    }

    /// Where a value lies between the ends, 0 to 1.
    pub fn at(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], whole: bool) -> Vec<String> {
        let axis = Axis::over(values, 5.0, whole);
        axis.ticks().map(|tick| axis.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_the_data() {
        assert_eq!(labels(&[0.03, 0.97], true), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&[0.03, 0.97], false), ["0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(&[-3.0, 7.5], true), ["-5", "0", "5", "10"]);
        assert_eq!(labels(&[0.0, 300_000.0], true), ["0", "100k", "200k", "300k"]);
        assert_eq!(labels(&[0.0, 1_502_000.0], true), ["0", "0.5M", "1.0M", "1.5M", "2.0M"]);
        assert_eq!(labels(&[0.0, 1e-5], true), ["0", "2.0e-6", "4.0e-6", "6.0e-6", "8.0e-6", "1.0e-5"]);
    }

    #[test]
    fn an_axis_has_a_length_whatever_the_data() {
        for values in [&[][..], &[0.0], &[5.0, 5.0], &[-2e9], &[1e-30, 1e-30]] {
            let axis = Axis::over(values, 5.0, true);
            assert!(axis.low < axis.high && axis.ticks().count() >= 2, "{values:?} {axis:?}");
            assert!(values.iter().all(|v| (0.0..=1.0).contains(&axis.at(*v)) && axis.low <= *v && *v <= axis.high));
        }
    }

    #[test]
    fn a_value_stands_between_the_ends() {
        let axis = Axis { low: -1.0, high: 3.0, step: 1.0 };
        assert_eq!([-2.0, -1.0, 0.0, 3.0, 9.0].map(|v| axis.at(v)), [0.0, 0.0, 0.25, 1.0, 1.0]);
    }
}
