//! In words what crosses a threshold. The thresholds are judgements, not laws; docs/diagnose.md gives the reason of each.

use super::open_loop::{Horizon, OpenLoop};
use super::play::Player;
use super::stats::{Ratio, mean};
use super::summary::SHOWN;
use super::symbols::KINDS;
use super::{Diagnosis, Measured};

/// Below this a ratio (recall, precision, explained variance) counts as poor.
const POOR: f64 = 0.5;
/// Cells, or rewards, below which a ratio is not judged.
const LEAST_CELLS: f64 = 20.0;
const LEAST_EVENTS: f64 = 5.0;
/// Accuracy by which a copy of the last frame must be better.
const MARGIN: f64 = 0.01;
/// Nats below which an actor that fails has stopped trying.
const COLLAPSED: f64 = 0.2;
/// Success from which on an actor may be as sure of itself as it likes.
const SOLVED: f64 = 0.95;
/// Steps beyond the shortest plan from which on a path is a detour, and the probability of the plan's action below which it is no longer tried.
const DETOUR: f64 = 0.5;
const UNTRIED: f64 = 0.02;
/// Share of states below free nats from which on the prior can be said to learn nothing.
const MOST: f64 = 0.95;

/// Types of cells that matter to a task: doors to lava.
const OBJECTS: std::ops::RangeInclusive<u8> = 4..=9;

/// Collects sentences. What holds for both plays is said once.
#[derive(Default)]
struct Findings {
    /// Subject and sentence.
    found: Vec<(String, String)>,
    /// Where the measures that are judged at the moment come from, for a sentence.
    place: &'static str,
}

impl Findings {
    fn add(&mut self, subject: &str, sentence: String) {
        if !self.found.iter().any(|(known, _)| known == subject) {
            self.found.push((subject.into(), format!("{}{sentence}", self.place)));
        }
    }
}

/// What is wrong with a run, a sentence each; empty if nothing is.
pub fn findings(d: &Diagnosis) -> Vec<String> {
    let mut found = Findings::default();
    for measured in &d.plays {
        found.place = match measured.play.player {
            Player::Sampled => "",
            Player::Greedy => "in greedy play, ",
            Player::Expert => "along the expert's paths, ",
        };
        let before = found.found.len();
        observations(&mut found, &measured.open_loop);
        let blind = found.found.len() > before;
        divergence(&mut found, d, measured, blind);
        rewards(&mut found, &measured.open_loop);
        values(&mut found, measured);
        if measured.play.player != Player::Expert {
            behaviour(&mut found, d, measured);
        }
        imagination(&mut found, measured);
    }
    found.place = "";
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

fn observations(found: &mut Findings, open_loop: &OpenLoop) {
    for kind in OBJECTS {
        let name = KINDS[usize::from(kind)];
        let subject = format!("recall of {name}");
        match first_poor(open_loop, LEAST_CELLS, |h| h.recall.get(&kind).cloned()) {
            Some((0, recall)) => {
                let text =
                    format!("{name} recall is {recall:.2} in reconstructions: the latent state does not hold it");
                found.add(&subject, text);
            }
            Some((h, recall)) => {
                let seen = open_loop.horizons[0].recall.get(&kind).and_then(Ratio::value).unwrap_or(0.0);
                let text = format!("{name} recall falls to {recall:.2} at horizon {h} (reconstruction: {seen:.2})");
                found.add(&subject, text);
            }
            None => {}
        }
    }
    for h in SHOWN.into_iter().skip(1) {
        let Some(horizon) = open_loop.horizons.get(h) else { continue };
        if let (Some(model), Some(copy)) = (horizon.cells.value(), horizon.copied.value())
            && model < copy - MARGIN
        {
            let text = format!(
                "open loop is worse than a copy of the last frame at horizon {h}: {model:.2} of the cells against {copy:.2}"
            );
            found.add("copy", text);
        }
        if let (Some(model), Some(copy)) = (horizon.error.value(), horizon.copied_error.value())
            && model > copy
        {
            let text = format!(
                "open loop is worse than a copy of the last frame at horizon {h}: squared error {model:.4} against {copy:.4}"
            );
            found.add("copied numbers", text);
        }
    }
}

fn divergence(found: &mut Findings, d: &Diagnosis, m: &Measured, blind: bool) {
    let free = d.config.free_nats;
    let (Some(kl), Some(below)) = (m.latent.kl.value(), m.latent.below_free.value()) else { return };
    if !d.config.free_nats_each && kl < free {
        found.add("kl", format!("the prior gets no gradient: KL {kl:.2} is below free nats {free}"));
    }
    // In a world that the model foresees well most states are below, and rightly so.
    if d.config.free_nats_each && below > MOST && blind {
        let text = format!(
            "the prior gets no gradient in {:.0} % of the states: their KL is below free nats {free}",
            100.0 * below
        );
        found.add("kl", text);
    }
}

fn rewards(found: &mut Findings, open_loop: &OpenLoop) {
    if let Some((h, recall)) = first_poor(open_loop, LEAST_EVENTS, |h| Some(h.reward_recall.clone())) {
        let text = match h {
            0 => format!("rewards are not predicted where they are seen: recall {recall:.2}"),
            _ => format!("reward recall falls to {recall:.2} at horizon {h}"),
        };
        found.add("reward recall", text);
    }
    if let Some((h, precision)) = first_poor(open_loop, LEAST_EVENTS, |h| Some(h.reward_precision.clone())) {
        found.add("reward precision", format!("only {precision:.2} of the rewards predicted at horizon {h} come"));
    }
    if let Some((h, recall)) = first_poor(open_loop, LEAST_EVENTS, |h| Some(h.end_recall.clone())) {
        found.add("ends", format!("the continue head foresees only {recall:.2} of the ends at horizon {h}"));
    }
}

fn behaviour(found: &mut Findings, d: &Diagnosis, m: &Measured) {
    let success = mean(&m.play.episodes.iter().map(|e| f64::from(u8::from(e.success))).collect::<Vec<_>>());
    if d.has_goal {
        let random = mean(&d.random.iter().map(|r| f64::from(u8::from(r.0))).collect::<Vec<_>>());
        if success <= random && success < SOLVED {
            let text = format!("success {success:.2} is no better than that of random actions, {random:.2}");
            found.add("success", text);
        }
    }
    if let (Some(entropy), Some(actions)) = (m.latent.action_entropy.value(), d.actions) {
        if entropy < COLLAPSED && success < SOLVED {
            found.add("entropy", format!("the actor's entropy is {entropy:.2} at success {success:.2}: collapsed"));
        }
        let most = (actions as f64).ln();
        if entropy > 0.95 * most {
            found.add("entropy", format!("the actor is all but uniform: entropy {entropy:.2} of at most {most:.2}"));
        }
    }
    if let (Some(excess), Some(chance)) = (m.paths.excess(), m.paths.chance())
        && excess > DETOUR
        && chance < UNTRIED
    {
        let text = format!(
            "the actor has settled on detours of {excess:.1} steps: where it leaves the shortest plan, that plan's action has probability {chance:.4}"
        );
        found.add("detours", text);
    }
    if let Some(explained) = m.values.explained().filter(|&explained| explained < POOR) {
        found.add("explained", format!("values explain {explained:.2} of the variance of the returns that followed"));
    }
}

fn values(found: &mut Findings, m: &Measured) {
    let value = m.values.mean_value();
    if let Some(largest) = m.values.largest().filter(|&largest| value > largest) {
        found.add("value", format!("the mean value {value:.2} is above the largest possible return {largest:.2}"));
    }
}

fn imagination(found: &mut Findings, m: &Measured) {
    let i = &m.imagination;
    if i.precision.total() >= LEAST_EVENTS
        && let Some(precision) = i.precision.value().filter(|&p| p < POOR)
    {
        found.add("imagined", format!("only {precision:.2} of the imagined successes are real"));
    }
    if i.recall.total() >= LEAST_EVENTS
        && let Some(recall) = i.recall.value().filter(|&r| r < POOR)
    {
        found.add("unimagined", format!("only {recall:.2} of the real successes are imagined"));
    }
    if i.imagined.value() == Some(0.0) && m.play.rows().all(|(.., row)| row.reward >= 0.0) {
        let text =
            format!("no imagined rollout of {} steps holds a reward: the actor has nothing to follow", i.horizon);
        found.add("unrewarded", text);
    }
}

fn batches(found: &mut Findings, d: &Diagnosis) {
    let Some(batches) = d.batches.as_ref().filter(|_| d.has_goal) else { return };
    let (stored, drawn) = (batches.stored_reward, batches.drawn_reward());
    if stored == 0.0 {
        found.add("batches", "no reward was ever stored".into());
    } else if drawn < 0.5 * stored {
        let text = format!(
            "rewards are {stored:.4} of the stored rows, but {drawn:.4} of those in batches: they are seldom drawn"
        );
        found.add("batches", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::run::diagnose::batches::Batches;
    use crate::run::diagnose::choices::Choices;
    use crate::run::diagnose::imagination::Imagination;
    use crate::run::diagnose::latent::Latent;
    use crate::run::diagnose::paths::{Path, Paths};
    use crate::run::diagnose::play::{Episode, Play};
    use crate::run::diagnose::value::Values;

    fn ratio(hits: f64, of: f64) -> Ratio {
        let mut ratio = Ratio::default();
        ratio.add(0, hits, of);
        ratio
    }

    /// A run of which nothing bad can be said.
    fn healthy() -> Diagnosis {
        let horizon = Horizon {
            cells: ratio(95.0, 100.0),
            copied: ratio(60.0, 100.0),
            recall: [(8, ratio(90.0, 100.0)), (1, ratio(10.0, 100.0))].into(),
            reward_recall: ratio(9.0, 10.0),
            reward_precision: ratio(9.0, 10.0),
            end_recall: ratio(9.0, 10.0),
            ..Horizon::default()
        };
        let open_loop = OpenLoop { horizons: vec![horizon; 16], threshold: 0.5, windows: 100, pixels: false };
        let latent = Latent {
            kl: ratio(50.0, 10.0),
            below_free: ratio(1.0, 10.0),
            action_entropy: ratio(8.0, 10.0),
            ..Latent::default()
        };
        let values = Values {
            values: vec![0.1, 0.5, 0.9],
            returns: vec![0.0, 0.5, 1.0],
            planned: vec![(0.1, 0.0, 0.9), (0.9, 1.0, 1.0)],
        };
        let mut imagination = Imagination { horizon: 15, ..Imagination::default() };
        (0..10).for_each(|i| imagination.add(i, Some(1), Some(1)));
        let episodes = vec![Episode { success: true, total: 1.0, ..Episode::default() }; 3];
        let play = Play { player: Player::Sampled, episodes, unseen: true };
        Diagnosis {
            config: Config { free_nats: 3.0, ..Config::default() },
            steps: 1000,
            has_goal: true,
            actions: Some(7),
            plays: vec![Measured {
                play,
                open_loop,
                latent,
                values,
                paths: Paths::default(),
                choices: Choices::default(),
                imagination,
            }],
            random: vec![(true, 1.0, 5), (false, 0.0, 9)],
            batches: Some(Batches { rows: 100, stored_reward: 0.01, stored_end: 0.01, drawn: vec![(0.02, 0.02)] }),
        }
    }

    /// What is found after a change of the run, and of its only play.
    fn after(change: impl FnOnce(&mut Diagnosis)) -> Vec<String> {
        let mut d = healthy();
        change(&mut d);
        findings(&d)
    }

    #[test]
    fn nothing_is_found_where_nothing_is_wrong() {
        assert_eq!(findings(&healthy()), Vec::<String>::new());
    }

    #[test]
    fn each_threshold_has_its_sentence() {
        let cases: Vec<(Vec<String>, &str)> = vec![
            (
                after(|d| d.plays[0].latent.kl = ratio(26.0, 10.0)),
                "the prior gets no gradient: KL 2.60 is below free nats 3",
            ),
            (
                after(|d| _ = d.plays[0].open_loop.horizons[0].recall.insert(8, ratio(1.0, 100.0))),
                "goal recall is 0.01 in reconstructions: the latent state does not hold it",
            ),
            (
                after(|d| _ = d.plays[0].open_loop.horizons[5].recall.insert(8, ratio(4.0, 40.0))),
                "goal recall falls to 0.10 at horizon 5 (reconstruction: 0.90)",
            ),
            (
                after(|d| d.plays[0].open_loop.horizons[5].copied = ratio(97.0, 100.0)),
                "open loop is worse than a copy of the last frame at horizon 5: 0.95 of the cells against 0.97",
            ),
            (
                after(|d| {
                    d.plays[0].open_loop.horizons[1].error = ratio(2.0, 100.0);
                    d.plays[0].open_loop.horizons[1].copied_error = ratio(1.0, 100.0);
                }),
                "open loop is worse than a copy of the last frame at horizon 1: squared error 0.0200 against 0.0100",
            ),
            (
                after(|d| d.plays[0].open_loop.horizons[0].reward_recall = ratio(0.0, 10.0)),
                "rewards are not predicted where they are seen: recall 0.00",
            ),
            (
                after(|d| d.plays[0].open_loop.horizons[1].reward_recall = ratio(4.0, 10.0)),
                "reward recall falls to 0.40 at horizon 1",
            ),
            (
                after(|d| d.plays[0].open_loop.horizons[5].reward_precision = ratio(2.0, 10.0)),
                "only 0.20 of the rewards predicted at horizon 5 come",
            ),
            (
                after(|d| d.plays[0].open_loop.horizons[0].end_recall = ratio(2.0, 10.0)),
                "the continue head foresees only 0.20 of the ends at horizon 0",
            ),
            (
                after(|d| {
                    d.plays[0].latent.action_entropy = ratio(0.3, 10.0);
                    d.plays[0].play.episodes[0].success = false;
                }),
                "the actor's entropy is 0.03 at success 0.67: collapsed",
            ),
            (
                after(|d| {
                    let path = Path { episode: 0, actions: vec![0, 2], waste: vec![2, 0], chance: vec![0.001, 1.0] };
                    d.plays[0].paths = Paths { paths: vec![path], actions: 7 };
                }),
                "the actor has settled on detours of 2.0 steps: where it leaves the shortest plan, that plan's action has probability 0.0010",
            ),
            (
                after(|d| d.plays[0].latent.action_entropy = ratio(19.4, 10.0)),
                "the actor is all but uniform: entropy 1.94 of at most 1.95",
            ),
            (
                after(|d| d.plays[0].play.episodes.iter_mut().for_each(|e| e.success = false)),
                "success 0.00 is no better than that of random actions, 0.50",
            ),
            (
                after(|d| d.plays[0].values.values.iter_mut().for_each(|v| *v += 2.7)),
                "the mean value 3.20 is above the largest possible return 1.00",
            ),
            (
                after(|d| d.plays[0].values.values = vec![0.5; 3]),
                "values explain 0.00 of the variance of the returns that followed",
            ),
            (
                after(|d| (20..50).for_each(|i| d.plays[0].imagination.add(i, Some(1), None))),
                "only 0.25 of the imagined successes are real",
            ),
            (
                after(|d| (20..50).for_each(|i| d.plays[0].imagination.add(i, None, Some(1)))),
                "only 0.25 of the real successes are imagined",
            ),
            (
                after(|d| {
                    d.plays[0].imagination = Imagination { horizon: 15, ..Imagination::default() };
                    d.plays[0].imagination.add(0, None, None);
                }),
                "no imagined rollout of 15 steps holds a reward: the actor has nothing to follow",
            ),
            (
                after(|d| d.batches.as_mut().unwrap().drawn = vec![(0.0, 0.0)]),
                "rewards are 0.0100 of the stored rows, but 0.0000 of those in batches: they are seldom drawn",
            ),
            (after(|d| d.batches.as_mut().unwrap().stored_reward = 0.0), "no reward was ever stored"),
        ];
        for (found, sentence) in cases {
            assert_eq!(found, [sentence]);
        }
    }

    #[test]
    fn free_nats_of_each_state_are_blamed_only_where_the_model_is_blind() {
        let low = |d: &mut Diagnosis| {
            d.config.free_nats_each = true;
            d.plays[0].latent.kl = ratio(5.0, 10.0);
            d.plays[0].latent.below_free = ratio(99.0, 100.0);
        };
        assert_eq!(after(low), Vec::<String>::new());
        let found = after(|d| {
            low(d);
            d.plays[0].open_loop.horizons[0].recall.insert(8, ratio(1.0, 100.0));
        });
        assert_eq!(found[1], "the prior gets no gradient in 99 % of the states: their KL is below free nats 3");
    }

    #[test]
    fn what_few_trials_say_is_not_believed_and_what_two_plays_share_is_said_once() {
        let few = after(|d| d.plays[0].open_loop.horizons[0].reward_recall = ratio(0.0, 4.0));
        assert_eq!(few, Vec::<String>::new());
        let found = after(|d| {
            let mut greedy = healthy().plays.remove(0);
            greedy.play.player = Player::Greedy;
            greedy.latent.kl = ratio(20.0, 10.0);
            greedy.imagination = Imagination::default();
            (0..9).for_each(|i| greedy.imagination.add(i, Some(1), None));
            d.plays[0].latent.kl = ratio(10.0, 10.0);
            d.plays.push(greedy);
        });
        assert_eq!(
            found,
            [
                "the prior gets no gradient: KL 1.00 is below free nats 3",
                "in greedy play, only 0.00 of the imagined successes are real",
            ]
        );
    }
}
