//! The figures of a diagnosis.

use super::open_loop::Horizon;
use super::stats::{Ratio, band, line};
use super::symbols::KINDS;
use super::{Diagnosis, Measured};
use crate::report::svg::Plot;

/// Cells of a type below which its recall is not drawn.
const LEAST_CELLS: f64 = 20.0;

/// Every figure that there are numbers for, by the name of its file.
pub fn all(d: &Diagnosis) -> Vec<(String, Plot)> {
    let mut plots = Vec::new();
    open_loop(d, &mut plots);
    latent(d, &mut plots);
    value(d, &mut plots);
    imagination(d, &mut plots);
    if let Some(batches) = &d.batches {
        let bars = |reward, end| [("reward above 0", reward), ("true end", end)];
        let plot = figure(d, "Rewards and ends in the replay and in batches", "rows with", "share of rows")
            .bars("replay", &bars(batches.stored_reward, batches.stored_end))
            .bars("batches", &bars(batches.drawn_reward(), batches.drawn_end()));
        plots.push(("batches".into(), plot));
    }
    plots
}

fn figure(d: &Diagnosis, title: &str, x_label: &str, y_label: &str) -> Plot {
    let note = format!(
        "{}, seed {}, after {} environment steps; {} episodes",
        d.config.task,
        d.config.seed,
        d.steps,
        d.random.len()
    );
    Plot::new(title, x_label, y_label).note(&note)
}

/// A curve with its band, if anything was counted.
fn with_curve(plot: Plot, name: &str, curve: &[Ratio]) -> Plot {
    if curve.iter().all(|r| r.total() == 0.0) {
        return plot;
    }
    plot.line(name, &line(curve)).band(name, &band(curve))
}

type Measure = fn(&Horizon) -> &Ratio;

fn open_loop(d: &Diagnosis, plots: &mut Vec<(String, Plot)>) {
    let steps = "steps predicted without looking";
    // One measure of every play, beside what one would reach without a model.
    let mut shares = |file: &str, title: &str, of: Measure, without: Option<(&str, Measure)>| {
        let mut plot = figure(d, title, steps, "share").y_range(0.0, 1.0);
        let mut any = false;
        for m in &d.plays {
            let curve = m.open_loop.curve(of);
            any |= curve.iter().any(|r| r.total() > 0.0);
            plot = with_curve(plot, m.play.player.name(), &curve);
        }
        for m in d.plays.iter().filter(|_| any) {
            if let Some((name, of)) = without {
                plot = plot.line(&format!("{}: {name}", m.play.player.name()), &line(&m.open_loop.curve(of)));
            }
        }
        if any {
            plots.push((format!("open_loop_{file}"), plot));
        }
    };
    shares("cells", "Cells decoded right, open loop", |h| &h.cells, Some(("copy", |h| &h.copied)));
    shares("reward_recall", "Recall of rewards above 0, open loop", |h| &h.reward_recall, None);
    shares("reward_precision", "Precision of rewards above 0, open loop", |h| &h.reward_precision, None);
    shares("continue", "Accuracy of the continue head, open loop", |h| &h.goes_on, None);
    shares("ends", "Recall of true ends, open loop", |h| &h.end_recall, None);
    let commonest: (&str, Measure) = ("commonest", |h| &h.guessed_cell);
    shares("probed_cell", "Agent's cell by a linear probe, open loop", |h| &h.probed_cell, Some(commonest));
    shares("probed_direction", "Agent's direction by a linear probe, open loop", |h| &h.probed_direction, None);
    shares("decoded_cell", "Agent's cell as decoded, open loop", |h| &h.decoded_cell, None);
    shares("decoded_direction", "Agent's direction as decoded, open loop", |h| &h.decoded_direction, None);
    for m in &d.plays {
        let recalls = m.open_loop.recalls();
        if recalls.is_empty() {
            continue;
        }
        let title = format!("Recall by type of cell, open loop, {} play", m.play.player.name());
        let mut plot = figure(d, &title, steps, "recall").y_range(0.0, 1.0);
        for (kind, curve) in &recalls {
            if curve[0].total() >= LEAST_CELLS {
                plot = with_curve(plot, KINDS[usize::from(*kind)], curve);
            }
        }
        plots.push((format!("open_loop_recall_{}", m.play.player.name()), plot));
    }
    numbers(d, steps, plots);
}

/// Pixels in dB, vectors as squared errors.
fn numbers(d: &Diagnosis, steps: &str, plots: &mut Vec<(String, Plot)>) {
    if d.plays.iter().all(|m| m.open_loop.horizons[0].error.total() == 0.0) {
        return;
    }
    let pixels = d.plays[0].open_loop.pixels;
    let y_label = if pixels { "PSNR, dB" } else { "mean squared error" };
    let mut plot = figure(d, "Decoded observations, open loop", steps, y_label);
    for m in &d.plays {
        let measures: [(&str, Measure); 2] = [("", |h| &h.error), (": copy", |h| &h.copied_error)];
        for (name, of) in measures {
            let name = format!("{}{name}", m.play.player.name());
            plot = if pixels {
                let decibels = m.open_loop.decibels(of).into_iter().enumerate();
                plot.line(&name, &decibels.map(|(x, y)| (x as f64, y.unwrap_or(f64::NAN))).collect::<Vec<_>>())
            } else {
                with_curve(plot, &name, &m.open_loop.curve(of))
            };
        }
    }
    plots.push(("open_loop_numbers".into(), plot));
}

fn latent(d: &Diagnosis, plots: &mut Vec<(String, Plot)>) {
    let step = "step of the episode";
    let mut plot = figure(d, "KL(post || prior) by step", step, "nats");
    for m in &d.plays {
        plot = with_curve(plot, m.play.player.name(), &m.latent.kl_by_step);
    }
    plots.push(("latent_kl".into(), plot.level("free nats", d.config.free_nats)));
    if let Some(actions) = d.actions {
        let mut plot = figure(d, "Entropy of the actor by step", step, "nats").y_range(0.0, (actions as f64).ln());
        for m in &d.plays {
            plot = with_curve(plot, m.play.player.name(), &m.latent.action_entropy_by_step);
        }
        plots.push(("latent_actor".into(), plot));
    }
}

fn value(d: &Diagnosis, plots: &mut Vec<(String, Plot)>) {
    let mut against = |file: &str, title: &str, x: &str, points: &dyn Fn(&Measured) -> Vec<(f64, f64)>| {
        let all: Vec<f64> = d.plays.iter().flat_map(points).map(|p| p.0).collect();
        let (Some(low), Some(high)) = (all.iter().copied().reduce(f64::min), all.iter().copied().reduce(f64::max))
        else {
            return;
        };
        let mut plot = figure(d, title, x, "value");
        for m in &d.plays {
            let points = points(m);
            let kept = super::stats::spread(points.len(), 1000);
            plot = plot.points(m.play.player.name(), &kept.into_iter().map(|i| points[i]).collect::<Vec<_>>());
        }
        plots.push((file.into(), plot.line("equal", &[(low, low), (high, high)])));
    };
    against("value_return", "Values against the returns that followed", "discounted return", &|m| {
        m.values.returns.iter().copied().zip(m.values.values.iter().copied()).collect()
    });
    against("value_optimum", "Values against the optimum", "discounted return of a shortest plan", &|m| {
        m.values.planned.iter().map(|p| (p.2, p.0)).collect()
    });
}

fn imagination(d: &Diagnosis, plots: &mut Vec<(String, Plot)>) {
    let title = format!("Rollouts of {} steps, imagined and real", d.config.horizon);
    let mut plot = figure(d, &title, "", "share").y_range(0.0, 1.0);
    for m in &d.plays {
        let i = &m.imagination;
        let bars: Vec<(&str, &Ratio)> = vec![
            ("imagine a goal", &i.goal_seen),
            ("imagine a reward", &i.imagined),
            ("truly earn one", &i.real),
            ("precision", &i.precision),
            ("recall", &i.recall),
        ];
        let heights: Vec<(&str, f64)> =
            bars.iter().map(|(name, ratio)| (*name, ratio.value().unwrap_or(f64::NAN))).collect();
        let bounds: Vec<(&str, f64, f64)> =
            bars.iter().filter_map(|(name, ratio)| ratio.interval().map(|(low, high)| (*name, low, high))).collect();
        plot = plot.bars(m.play.player.name(), &heights).whiskers(m.play.player.name(), &bounds);
    }
    plots.push(("imagination".into(), plot));
}
