//! The progress display of `train`: a bar with two lines on a terminal, a plain line every ten seconds elsewhere.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Speeds are measured over this much of the recent past: long enough to hold several turns of collecting and training.
const WINDOW: Duration = Duration::from_secs(30);

/// What the display shows. A value that is absent takes no room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Status<'a> {
    /// Environment steps done.
    pub step: u64,
    /// Updates of the model done.
    pub updates: u64,
    /// Share of recent training episodes that reached the goal, 0 to 1.
    pub train_success: Option<f64>,
    /// Share of the last evaluation's episodes that reached the goal, 0 to 1.
    pub test_success: Option<f64>,
    /// Mean return of recent training episodes.
    pub train_return: Option<f64>,
    /// Mean return of the last evaluation.
    pub test_return: Option<f64>,
    /// Losses and their names.
    pub losses: &'a [(&'a str, f64)],
}

/// The display. Everything goes to stderr, so stdout is left to results.
pub struct Progress {
    total: u64,
    begun: Instant,
    speed: Speed,
    output: Output,
}

enum Output {
    Bar(ProgressBar),
    Plain { out: Box<dyn Write + Send>, last: Option<Duration>, line: String },
}

impl Progress {
    /// A display for a run of `total` environment steps: a bar when stderr is a terminal, else plain lines.
    pub fn new(total: u64) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if std::io::stderr().is_terminal() && !dumb {
            Progress::with_bar(total, ProgressDrawTarget::stderr_with_hz(8))
        } else {
            Progress::plain(total, std::io::stderr())
        }
    }

    /// Plain lines to `out`.
    pub fn plain(total: u64, out: impl Write + Send + 'static) -> Self {
        Progress::with(total, Output::Plain { out: Box::new(out), last: None, line: String::new() })
    }

    /// No display at all.
    pub fn hidden(total: u64) -> Self {
        Progress::plain(total, std::io::sink())
    }

    fn with_bar(total: u64, target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style =
            ProgressStyle::with_template("{wide_bar} {prefix}\n{wide_msg}").expect("the template is well formed");
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏░"));
        Progress::with(total, Output::Bar(bar))
    }

    fn with(total: u64, output: Output) -> Self {
        Progress { total, begun: Instant::now(), speed: Speed::default(), output }
    }

    /// Shows the state of the run. Cheap: call it as often as something changes.
    pub fn update(&mut self, status: &Status) {
        let now = self.begun.elapsed();
        self.speed.note(now, status.step, status.updates);
        let (counts, values) = (self.counts(status), values(status));
        match &mut self.output {
            Output::Bar(bar) => {
                bar.set_position(status.step);
                bar.set_prefix(counts);
                bar.set_message(values);
            }
            Output::Plain { out, last, line } => {
                *line = format!("{counts}  {values}");
                if last.is_none_or(|last| now >= last + PLAIN_EVERY) {
                    *last = Some(now);
                    // A closed stderr must not end a training run.
                    let _ = writeln!(out, "{}", line.trim_end());
                    line.clear();
                }
            }
        }
    }

    /// Prints lines that stay: above the bar, or in their turn among the plain lines.
    pub fn println(&mut self, text: &str) {
        match &mut self.output {
            Output::Bar(bar) => bar.println(text),
            Output::Plain { out, .. } => {
                let _ = writeln!(out, "{text}");
            }
        }
    }

    /// Runs `f` with the bar taken off the screen: for code that writes to the terminal by itself.
    pub fn suspend<T>(&self, f: impl FnOnce() -> T) -> T {
        match &self.output {
            Output::Bar(bar) => bar.suspend(f),
            Output::Plain { .. } => f(),
        }
    }

    /// Ends the display; its last state stays on the screen.
    pub fn finish(&mut self) {
        match &mut self.output {
            Output::Bar(bar) => bar.abandon(),
            Output::Plain { out, line, .. } if !line.is_empty() => {
                let _ = writeln!(out, "{}", line.trim_end());
                line.clear();
            }
            Output::Plain { .. } => {}
        }
    }

    /// Time since the display began.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn counts(&self, status: &Status) -> String {
        let percent = 100 * status.step.min(self.total) / self.total.max(1);
        let mut text = format!("{percent:>3} %  {} / {} steps", grouped(status.step), grouped(self.total));
        if let Some(rate) = self.speed.updates_per_second() {
            text += &format!("  {rate:.1} updates/s");
        }
        if let Some(left) = self.speed.time_left(self.total.saturating_sub(status.step)) {
            text += &format!("  {} left", duration(left));
        }
        text
    }
}

fn values(status: &Status) -> String {
    // Rounded down, so that 100 % means every one.
    let percent = |x: f64| format!("{:.0} %", (100.0 * x + 1e-9).floor());
    let mut parts = Vec::new();
    parts.extend(train_and_test("success", status.train_success, status.test_success, percent));
    parts.extend(train_and_test("return", status.train_return, status.test_return, short));
    parts.extend(status.losses.iter().map(|(name, loss)| format!("{name} {}", short(*loss))));
    parts.join("  ")
}

/// `success 82 % (test 90 %)`, or the half that is known.
fn train_and_test(name: &str, train: Option<f64>, test: Option<f64>, show: impl Fn(f64) -> String) -> Option<String> {
    match (train, test) {
        (Some(train), Some(test)) => Some(format!("{name} {} (test {})", show(train), show(test))),
        (Some(train), None) => Some(format!("{name} {}", show(train))),
        (None, Some(test)) => Some(format!("test {name} {}", show(test))),
        (None, None) => None,
    }
}

/// Three significant digits for the sizes that losses have; the width does not jump about.
fn short(x: f64) -> String {
    // Minus zero becomes zero.
    let x = x + 0.0;
    match x.abs() {
        a if a >= 100_000.0 => format!("{x:.2e}"),
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        a if a >= 0.01 || a == 0.0 || !a.is_finite() => format!("{x:.2}"),
        _ => format!("{x:.1e}"),
    }
}

/// `12,500`
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `45 s`, `12 min 30 s`, `2 h 05 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// Steps and updates over the recent past.
#[derive(Debug, Default)]
struct Speed {
    /// Time, steps, updates; the oldest in front.
    notes: VecDeque<(Duration, u64, u64)>,
}

impl Speed {
    fn note(&mut self, now: Duration, step: u64, updates: u64) {
        // Notes closer together than a tenth of a second say no more than their first.
        let crowded = self.notes.len() > 1 && now < self.notes[self.notes.len() - 2].0 + Duration::from_millis(100);
        if crowded {
            self.notes.pop_back();
        }
        self.notes.push_back((now, step, updates));
        while self.notes.len() > 2 && now.saturating_sub(self.notes[1].0) >= WINDOW {
            self.notes.pop_front();
        }
    }

    /// Time, steps and updates between the oldest note and the latest, once half a second lies between.
    fn recent(&self) -> Option<(f64, u64, u64)> {
        let ((from, step, updates), (to, steps, all)) = (*self.notes.front()?, *self.notes.back()?);
        let seconds = to.saturating_sub(from).as_secs_f64();
        (seconds >= 0.5).then(|| (seconds, steps.saturating_sub(step), all.saturating_sub(updates)))
    }

    fn updates_per_second(&self) -> Option<f64> {
        let (seconds, _, updates) = self.recent()?;
        (updates > 0).then(|| updates as f64 / seconds)
    }

    fn time_left(&self, steps_left: u64) -> Option<Duration> {
        let (seconds, steps, _) = self.recent()?;
        (steps > 0 && steps_left > 0).then(|| Duration::from_secs_f64(seconds * steps_left as f64 / steps as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(
            ["12", "999", "1000", "1234567"].map(|n| grouped(n.parse().unwrap())),
            ["12", "999", "1,000", "1,234,567"]
        );
        let times = [0.4, 59.0, 59.6, 750.0, 7500.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(times, ["0 s", "59 s", "1 min 00 s", "12 min 30 s", "2 h 05 min"]);
        let numbers = [-0.0, 0.0012, 0.123, -1.234, 12.34, 11503.2, 1.5e7, f64::NAN].map(short);
        assert_eq!(numbers, ["0.00", "1.2e-3", "0.12", "-1.23", "12.3", "11503", "1.50e7", "NaN"]);
    }

    #[test]
    fn speed_is_that_of_the_recent_past() {
        let mut speed = Speed::default();
        let second = Duration::from_secs(1);
        speed.note(Duration::ZERO, 0, 0);
        assert_eq!(speed.updates_per_second(), None);
        // Prefill: 1,000 steps a second without an update; then 10 steps and 2 updates a second.
        for t in 1..=10 {
            speed.note(t * second, 1000 * u64::from(t), 0);
        }
        assert_eq!((speed.updates_per_second(), speed.time_left(500)), (None, Some(second / 2)));
        for t in 11..=50 {
            speed.note(t * second, 10_000 + 10 * u64::from(t - 10), 2 * u64::from(t - 10));
        }
        assert_eq!((speed.updates_per_second(), speed.time_left(100)), (Some(2.0), Some(10 * second)));
        assert_eq!(speed.time_left(0), None);
    }

    #[test]
    fn crowded_notes_are_merged() {
        let mut speed = Speed::default();
        for t in 0..10_000 {
            speed.note(Duration::from_millis(t), t, t);
        }
        assert!(speed.notes.len() < 110, "{} notes in ten seconds", speed.notes.len());
        assert_eq!(speed.updates_per_second().map(f64::round), Some(1000.0));
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_lines_come_seldom_and_the_last_state_is_shown() {
        let sink = Sink::default();
        let mut progress = Progress::plain(50_000, sink.clone());
        let losses = [("model", 12.345), ("actor", -0.5)];
        let status = |step| Status {
            step,
            train_success: Some(0.829),
            test_success: Some(1.0),
            test_return: Some(0.71),
            losses: &losses,
            ..Default::default()
        };
        for step in [0, 100, 12_500] {
            progress.update(&status(step));
        }
        progress.println("saved");
        progress.finish();
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let rest = "success 82 % (test 100 %)  test return 0.71  model 12.3  actor -0.50";
        let want = format!("  0 %  0 / 50,000 steps  {rest}\nsaved\n 25 %  12,500 / 50,000 steps  {rest}\n");
        assert_eq!(text, want);
    }
}
