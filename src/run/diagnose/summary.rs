//! The table on standard output, and the same numbers as JSON.

use serde_json::{Map, Value, json};

use super::findings::findings;
use super::open_loop::Horizon;
use super::stats::{Ratio, mean};
use super::symbols::KINDS;
use super::{Diagnosis, Measured};
use crate::report::Table;
use crate::report::progress::grouped;

/// The horizons that the table shows.
pub const SHOWN: [usize; 4] = [0, 1, 5, 15];

/// A row of the table: its key in JSON, its label, and its numbers for each play; more than one where they are by horizon.
struct Line {
    key: String,
    label: String,
    /// For each play; `None` where there is nothing to count.
    numbers: Vec<Vec<Option<f64>>>,
    digits: usize,
}

fn lines(d: &Diagnosis) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |key: &str, label: &str, digits: usize, of: &dyn Fn(&Measured) -> Vec<Option<f64>>| {
        let numbers: Vec<Vec<Option<f64>>> = d.plays.iter().map(of).collect();
        if numbers.iter().flatten().any(Option::is_some) {
            lines.push(Line { key: key.into(), label: label.into(), numbers, digits });
        }
    };
    let of_episodes = |m: &Measured, f: &dyn Fn(&super::play::Episode) -> f64| {
        vec![Some(mean(&m.play.episodes.iter().map(f).collect::<Vec<_>>()))]
    };
    if d.has_goal {
        add("success", "success", 3, &|m| of_episodes(m, &|e| f64::from(u8::from(e.success))));
    }
    add("return", "return", 3, &|m| of_episodes(m, &|e| e.total));
    add("length", "length", 1, &|m| of_episodes(m, &|e| e.rows.len() as f64 - 1.0));
    add("excess_path", "  steps beyond the shortest plan", 2, &|m| vec![m.paths.excess()]);
    add("missed_chance", "  probability of the plan's action where left", 3, &|m| vec![m.paths.chance()]);
    let shown = |m: &Measured, f: &dyn Fn(&Horizon) -> Option<f64>| {
        SHOWN.iter().filter_map(|&h| m.open_loop.horizons.get(h)).map(f).collect::<Vec<_>>()
    };
    let at = |of: fn(&Horizon) -> &Ratio| move |m: &Measured| shown(m, &|h| of(h).value());
    add("cell_accuracy", "cells right *", 2, &at(|h| &h.cells));
    add("copy_cell_accuracy", "  a copy of the last frame *", 2, &at(|h| &h.copied));
    let kinds: std::collections::BTreeSet<u8> =
        d.plays.iter().flat_map(|m| m.open_loop.recalls().into_keys()).collect();
    for kind in kinds {
        let name = KINDS[usize::from(kind)];
        let recall = |h: &Horizon| h.recall.get(&kind).and_then(Ratio::value);
        add(&format!("recall_{name}"), &format!("  recall of {name} *"), 2, &|m| shown(m, &recall));
    }
    if d.plays.iter().any(|m| m.open_loop.pixels) {
        add("psnr", "PSNR, dB *", 1, &|m| shown(m, &|h| h.error.value().map(super::stats::psnr)));
        add("copy_psnr", "  a copy of the last frame *", 1, &|m| {
            shown(m, &|h| h.copied_error.value().map(super::stats::psnr))
        });
    } else {
        add("squared_error", "squared error *", 3, &at(|h| &h.error));
        add("copy_squared_error", "  a copy of the last frame *", 3, &at(|h| &h.copied_error));
    }
    add("reward_recall", "reward recall *", 2, &at(|h| &h.reward_recall));
    add("reward_precision", "reward precision *", 2, &at(|h| &h.reward_precision));
    add("continue_accuracy", "continue accuracy *", 3, &at(|h| &h.goes_on));
    add("end_recall", "  recall of ends *", 2, &at(|h| &h.end_recall));
    add("decoded_cell_accuracy", "agent's cell as decoded *", 2, &at(|h| &h.decoded_cell));
    add("decoded_direction_accuracy", "  its direction *", 2, &at(|h| &h.decoded_direction));
    add("probed_cell_accuracy", "agent's cell by a probe *", 2, &at(|h| &h.probed_cell));
    add("commonest_cell_accuracy", "  the commonest cell *", 2, &at(|h| &h.guessed_cell));
    add("probed_direction_accuracy", "  its direction by a probe *", 2, &at(|h| &h.probed_direction));
    let free = d.config.free_nats;
    add("kl", &format!("KL, nats (free: {free})"), 2, &|m| vec![m.latent.kl.value()]);
    add("below_free_nats", "  share of states below free nats", 2, &|m| vec![m.latent.below_free.value()]);
    add("prior_entropy", "entropy of the prior, nats", 2, &|m| vec![m.latent.prior_entropy.value()]);
    add("posterior_entropy", "entropy of the posterior, nats", 2, &|m| vec![m.latent.post_entropy.value()]);
    add("action_entropy", "entropy of the actor, nats", 2, &|m| vec![m.latent.action_entropy.value()]);
    add("mean_value", "mean value", 3, &|m| vec![Some(m.values.mean_value())]);
    add("mean_return", "  mean return that followed", 3, &|m| vec![Some(mean(&m.values.returns))]);
    add("largest_return", "  largest possible return", 3, &|m| vec![m.values.largest()]);
    add("regret", "  return lost to the optimum", 3, &|m| vec![m.values.regret()]);
    add("explained_variance", "  explained variance of returns", 2, &|m| vec![m.values.explained()]);
    add("explained_optimum", "  explained variance of optima", 2, &|m| vec![m.values.explained_optimum()]);
    add("imagined_best", "best action is the best imagined +", 2, &|m| m.choices.shown(|c| &c.imagined_best));
    add("chosen_best", "  is the actor's most probable +", 2, &|m| m.choices.shown(|c| &c.chosen_best));
    add("likely_short", "  imagined return short, likely actions +", 3, &|m| m.choices.shown(|c| &c.likely_short));
    add("unlikely_short", "  the same, unlikely actions +", 3, &|m| m.choices.shown(|c| &c.unlikely_short));
    add("goal_seen", "imagined rollouts that show a goal", 2, &|m| vec![m.imagination.goal_seen.value()]);
    add("imagined_success", "imagined rollouts with a reward", 2, &|m| vec![m.imagination.imagined.value()]);
    add("real_success", "  the same actions in the simulator", 2, &|m| vec![m.imagination.real.value()]);
    add("imagined_precision", "  imagined successes that are real", 2, &|m| vec![m.imagination.precision.value()]);
    add("imagined_recall", "  real successes that are imagined", 2, &|m| vec![m.imagination.recall.value()]);
    lines
}

/// The numbers of random play, as far as the table has them.
fn random(d: &Diagnosis) -> [(&'static str, f64); 3] {
    let of = |f: &dyn Fn(&(bool, f64, usize)) -> f64| mean(&d.random.iter().map(f).collect::<Vec<_>>());
    [("success", of(&|r| f64::from(u8::from(r.0)))), ("return", of(&|r| r.1)), ("length", of(&|r| r.2 as f64))]
}

/// The summary as text.
pub fn text(d: &Diagnosis) -> String {
    let episodes = d.random.len();
    let unseen =
        if d.plays.iter().all(|m| m.play.unseen) { "that training never saw" } else { "that training may have seen" };
    let mut out = format!(
        "{} after {} environment steps; {episodes} episodes each on layouts {unseen}\n\n",
        d.config.task,
        grouped(d.steps)
    );
    let mut header = vec![""];
    let names: Vec<String> = d.plays.iter().map(|m| format!(">{}", m.play.player.name())).collect();
    header.extend(names.iter().map(String::as_str));
    header.push(">random");
    let mut table = Table::new(&header);
    let baseline = random(d);
    for line in lines(d) {
        let digits = line.digits;
        let number = |x: &Option<f64>| x.map_or("-".to_string(), |x| format!("{x:.digits$}"));
        let cells = line.numbers.iter().map(|n| n.iter().map(number).collect::<Vec<_>>().join(" "));
        let other =
            baseline.iter().find(|(key, _)| *key == line.key).map_or(String::new(), |b| format!("{:.digits$}", b.1));
        table.row([line.label.clone()].into_iter().chain(cells).chain([other]));
    }
    if let Some(batches) = &d.batches {
        let shares =
            [("rows with a reward in batches", batches.drawn_reward()), ("  in the replay", batches.stored_reward)];
        for (label, share) in shares {
            let blank = vec![String::new(); d.plays.len()];
            table.row([label.to_string(), format!("{share:.4}")].into_iter().chain(blank));
        }
    }
    out += &table.to_string();
    let last = d.plays[0].open_loop.horizons.len() - 1;
    let horizons: Vec<String> = SHOWN.iter().filter(|&&h| h <= last).map(usize::to_string).collect();
    out +=
        &format!("\n* at horizons {}: 0 reconstructs, the others are predicted without looking\n", horizons.join(", "));
    if d.plays.iter().any(|m| m.choices.rows.iter().any(|rows| rows.imagined_best.total() > 0.0)) {
        out += "+ in the first states of episodes, and in later ones\n";
    }
    let found = findings(d);
    out += &match found.len() {
        0 => "\nNo threshold is crossed.\n".to_string(),
        _ => "\nWhat is wrong:\n".to_string(),
    };
    found.iter().for_each(|finding| out += &format!("- {finding}\n"));
    out
}

/// The summary as JSON.
pub fn json(d: &Diagnosis) -> Value {
    let mut measures = Map::new();
    for line in lines(d) {
        let plays = d.plays.iter().zip(&line.numbers).map(|(m, numbers)| {
            let value = if let [one] = numbers.as_slice() { json!(one) } else { json!(numbers) };
            (m.play.player.name().to_string(), value)
        });
        measures.insert(line.key.clone(), plays.collect::<Map<String, Value>>().into());
    }
    let baseline: Map<String, Value> = random(d).into_iter().map(|(key, x)| (key.to_string(), json!(x))).collect();
    let last = d.plays[0].open_loop.horizons.len() - 1;
    json!({
        "task": d.config.task,
        "seed": d.config.seed,
        "steps": d.steps,
        "episodes": d.random.len(),
        "unseen": d.plays.iter().all(|m| m.play.unseen),
        "horizons": SHOWN.iter().filter(|&&h| h <= last).collect::<Vec<_>>(),
        "random": baseline,
        "measures": measures,
        "reward_rate": d.batches.as_ref().map(|b| json!({ "batches": b.drawn_reward(), "replay": b.stored_reward })),
        "findings": findings(d),
    })
}
