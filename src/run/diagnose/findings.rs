//! In words what crosses a threshold. The thresholds are judgements, not laws; docs/diagnose.md gives the reason of each.

use super::open_loop::{Horizon, OpenLoop};
use super::stats::{Ratio, mean};
use super::summary::SHOWN;
use super::symbols::KINDS;
use super::{Diagnosis, Measured};

/// Below this a ratio (recall, precision, explained variance) counts as poor.
const POOR: f64 = 0.5;
/// Cells, or rewards, below which a ratio is not judged.
const LEAST_CELLS: f64 = 20.0;
const LEAST_EVENTS: f64 = 5.0;
/// Nats below which an actor that fails has stopped trying.
const COLLAPSED: f64 = 0.2;
/// Success from which on an actor may be as sure of itself as it likes.
const SOLVED: f64 = 0.95;
/// Share of states below free nats from which on the prior can be said to learn nothing.
const MOST: f64 = 0.95;

/// Types of cells that matter to a task: doors to lava.
const OBJECTS: std::ops::RangeInclusive<u8> = 4..=9;

/// Collects sentences. What holds for both plays is said once.
#[derive(Default)]
struct Findings {
    /// Subject and sentence.
    found: Vec<(String, String)>,
}

impl Findings {
    fn add(&mut self, play: usize, subject: &str, sentence: String) {
        if !self.found.iter().any(|(known, _)| known == subject) {
            let sentence = if play == 0 { sentence } else { format!("in greedy play, {sentence}") };
            self.found.push((subject.into(), sentence));
        }
    }
}

/// What is wrong with a run, a sentence each; empty if nothing is.
pub fn findings(d: &Diagnosis) -> Vec<String> {
    let mut found = Findings::default();
    for (play, measured) in d.plays.iter().enumerate() {
        let before = found.found.len();
        observations(&mut found, play, &measured.open_loop);
        let blind = found.found.len() > before;
        divergence(&mut found, play, d, measured, blind);
        rewards(&mut found, play, &measured.open_loop);
        behaviour(&mut found, play, d, measured);
        imagination(&mut found, play, measured);
    }
    batches(&mut found, d);
    found.found.into_iter().map(|(_, sentence)| sentence).collect()
}

/// The first of the shown horizons at which a ratio of enough trials is poor.
fn first_poor(open_loop: &OpenLoop, least: f64, of: impl Fn(&Horizon) -> Option<Ratio>) -> Option<(usize, f64)> {
    SHOWN.into_iter().find_map(|h| {
        let ratio = of(open_loop.horizons.get(h)?)?;
        let value = ratio.value().filter(|_| ratio.total() >= least)?;
        (value < POOR).then_some((h, value))
    })
}

fn observations(found: &mut Findings, play: usize, open_loop: &OpenLoop) {
    for kind in OBJECTS {
        let name = KINDS[usize::from(kind)];
        let subject = format!("recall of {name}");
        match first_poor(open_loop, LEAST_CELLS, |h| h.recall.get(&kind).cloned()) {
            Some((0, recall)) => {
                let text =
                    format!("{name} recall is {recall:.2} in reconstructions: the latent state does not hold it");
                found.add(play, &subject, text);
            }
            Some((h, recall)) => {
                let seen = open_loop.horizons[0].recall.get(&kind).and_then(Ratio::value).unwrap_or(0.0);
                let text = format!("{name} recall falls to {recall:.2} at horizon {h} (reconstruction: {seen:.2})");
                found.add(play, &subject, text);
            }
            None => {}
        }
    }
    for h in SHOWN.into_iter().skip(1) {
        let Some(horizon) = open_loop.horizons.get(h) else { continue };
        if let (Some(model), Some(copy)) = (horizon.cells.value(), horizon.copied.value())
            && model < copy
        {
            let text = format!(
                "open loop is worse than a copy of the last frame at horizon {h}: {model:.2} of the cells against {copy:.2}"
            );
            found.add(play, "copy", text);
        }
        if let (Some(model), Some(copy)) = (horizon.error.value(), horizon.copied_error.value())
            && model > copy
        {
            let text = format!(
                "open loop is worse than a copy of the last frame at horizon {h}: squared error {model:.4} against {copy:.4}"
            );
            found.add(play, "copied numbers", text);
        }
    }
}

fn divergence(found: &mut Findings, play: usize, d: &Diagnosis, m: &Measured, blind: bool) {
    let free = d.config.free_nats;
    let (Some(kl), Some(below)) = (m.latent.kl.value(), m.latent.below_free.value()) else { return };
    if !d.config.free_nats_each && kl < free {
        found.add(play, "kl", format!("the prior gets no gradient: KL {kl:.2} is below free nats {free}"));
    }
    // In a world that the model foresees well most states are below, and rightly so.
    if d.config.free_nats_each && below > MOST && blind {
        let text = format!(
            "the prior gets no gradient in {:.0} % of the states: their KL is below free nats {free}",
            100.0 * below
        );
        found.add(play, "kl", text);
    }
}

fn rewards(found: &mut Findings, play: usize, open_loop: &OpenLoop) {
    if let Some((h, recall)) = first_poor(open_loop, LEAST_EVENTS, |h| Some(h.reward_recall.clone())) {
        let text = match h {
            0 => format!("rewards are not predicted where they are seen: recall {recall:.2}"),
            _ => format!("reward recall falls to {recall:.2} at horizon {h}"),
        };
        found.add(play, "reward recall", text);
    }
    if let Some((h, precision)) = first_poor(open_loop, LEAST_EVENTS, |h| Some(h.reward_precision.clone())) {
        found.add(
            play,
            "reward precision",
            format!("only {precision:.2} of the rewards predicted at horizon {h} come"),
        );
    }
    if let Some((h, recall)) = first_poor(open_loop, LEAST_EVENTS, |h| Some(h.end_recall.clone())) {
        found.add(play, "ends", format!("the continue head foresees only {recall:.2} of the ends at horizon {h}"));
    }
}

fn behaviour(found: &mut Findings, play: usize, d: &Diagnosis, m: &Measured) {
    let success = mean(&m.play.episodes.iter().map(|e| f64::from(u8::from(e.success))).collect::<Vec<_>>());
    if d.has_goal {
        let random = mean(&d.random.iter().map(|r| f64::from(u8::from(r.0))).collect::<Vec<_>>());
        if success <= random && success < SOLVED {
            let text = format!("success {success:.2} is no better than that of random actions, {random:.2}");
            found.add(play, "success", text);
        }
    }
    if let (Some(entropy), Some(actions)) = (m.latent.action_entropy.value(), d.actions) {
        if entropy < COLLAPSED && success < SOLVED {
            found.add(
                play,
                "entropy",
                format!("the actor's entropy is {entropy:.2} at success {success:.2}: collapsed"),
            );
        }
        let most = (actions as f64).ln();
        if entropy > 0.95 * most {
            found.add(
                play,
                "entropy",
                format!("the actor is all but uniform: entropy {entropy:.2} of at most {most:.2}"),
            );
        }
    }
    let value = m.values.mean_value();
    if let Some(largest) = m.values.largest().filter(|&largest| value > largest) {
        found.add(
            play,
            "value",
            format!("the mean value {value:.2} is above the largest possible return {largest:.2}"),
        );
    }
    if let Some(explained) = m.values.explained().filter(|&explained| explained < POOR) {
        found.add(
            play,
            "explained",
            format!("values explain {explained:.2} of the variance of the returns that followed"),
        );
    }
}

fn imagination(found: &mut Findings, play: usize, m: &Measured) {
    let i = &m.imagination;
    if i.precision.total() >= LEAST_EVENTS
        && let Some(precision) = i.precision.value().filter(|&p| p < POOR)
    {
        found.add(play, "imagined", format!("only {precision:.2} of the imagined successes are real"));
    }
    if i.recall.total() >= LEAST_EVENTS
        && let Some(recall) = i.recall.value().filter(|&r| r < POOR)
    {
        found.add(play, "unimagined", format!("only {recall:.2} of the real successes are imagined"));
    }
    if i.imagined.value() == Some(0.0) && m.play.rows().all(|(.., row)| row.reward >= 0.0) {
        let text =
            format!("no imagined rollout of {} steps holds a reward: the actor has nothing to follow", i.horizon);
        found.add(play, "unrewarded", text);
    }
}

fn batches(found: &mut Findings, d: &Diagnosis) {
    let Some(batches) = d.batches.as_ref().filter(|_| d.has_goal) else { return };
    let (stored, drawn) = (batches.stored_reward, batches.drawn_reward());
    if stored == 0.0 {
        found.add(0, "batches", "no reward was ever stored".into());
    } else if drawn < 0.5 * stored {
        let text = format!(
            "rewards are {stored:.4} of the stored rows, but {drawn:.4} of those in batches: they are seldom drawn"
        );
        found.add(0, "batches", text);
    }
}
