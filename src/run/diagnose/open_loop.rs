//! How well the model foresees without looking: at every horizon what it decodes and predicts against the true simulator.
//!
//! A window begins after at least [`CONTEXT`] observations of an episode, at its last row at the latest. Its horizon 0 is the posterior state itself, the reconstruction; from there
//! the prior runs under the actions that were really taken, and horizon h is compared with what the simulator showed h steps later.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::play::{NOISE, Play, Row, see};
use super::probe::Probe;
use super::stats::{Ratio, json_list, psnr, spread};
use super::symbols::{KINDS, Symbol, Symbols};
use crate::autodiff::Clock;
use crate::base::Result;
use crate::dreamer::Observation;
use crate::dreamer::readout::{Readout, Step};
use crate::env::VecEnv;
use crate::run::agent::Agent;

/// Observations of an episode that the model has seen, at least, when a window begins.
pub const CONTEXT: usize = 3;

/// Windows of one play, spread evenly over its rows.
const WINDOWS: usize = 512;

/// What the heads predict at one row, and what was true there.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// The expected reward, as it is learned.
    pub reward: f64,
    /// The probability that the episode goes on; `None` without a continue head.
    pub goes_on: Option<f64>,
    /// The true reward.
    pub true_reward: f64,
    /// Whether the world truly ended there.
    pub terminated: bool,
}

/// What is measured at one horizon.
#[derive(Debug, Clone, Default)]
pub struct Horizon {
    /// Cells whose type, colour and state are all right, of all cells.
    pub cells: Ratio,
    /// The same for a copy of the last frame that was observed.
    pub copied: Ratio,
    /// By type: cells of this type that are decoded as it, of all that are truly it.
    pub recall: BTreeMap<u8, Ratio>,
    /// By type: cells that are truly it, of all that are decoded as it.
    pub precision: BTreeMap<u8, Ratio>,
    /// Squared error a number: pixels in 0 .. 1, vectors in their own unit.
    pub error: Ratio,
    /// The same for a copy of the last frame that was observed.
    pub copied_error: Ratio,
    /// Rewards above 0 that are predicted, of all that come.
    pub reward_recall: Ratio,
    /// Rewards above 0 that come, of all that are predicted.
    pub reward_precision: Ratio,
    /// Squared error of the reward.
    pub reward_error: Ratio,
    /// Rows where the continue head is right.
    pub goes_on: Ratio,
    /// True ends that the continue head predicts, of all.
    pub end_recall: Ratio,
    /// The agent's cell as the probe reads it.
    pub probed_cell: Ratio,
    /// The agent's direction as the probe reads it.
    pub probed_direction: Ratio,
    /// The commonest cell instead of the probe's.
    pub guessed_cell: Ratio,
    /// The agent's cell as decoded, where the observation shows it.
    pub decoded_cell: Ratio,
    /// The agent's direction as decoded.
    pub decoded_direction: Ratio,
}

impl Horizon {
    /// Compares cells: decoded, true, and those of the last frame that was observed.
    pub fn add_cells(&mut self, episode: usize, decoded: &[Symbol], truth: &[Symbol], last: &[Symbol]) {
        for ((decoded, truth), last) in decoded.iter().zip(truth).zip(last) {
            self.cells.count(episode, decoded == truth);
            self.copied.count(episode, last == truth);
            self.recall.entry(truth[0]).or_default().count(episode, decoded[0] == truth[0]);
            self.precision.entry(decoded[0]).or_default().count(episode, decoded[0] == truth[0]);
        }
    }

    /// Compares numbers: decoded, true, and those of the last frame that was observed.
    pub fn add_numbers(&mut self, episode: usize, decoded: &[f32], truth: &[f32], last: &[f32]) {
        let error = |a: &[f32]| a.iter().zip(truth).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        self.error.add(episode, error(decoded), truth.len() as f64);
        self.copied_error.add(episode, error(last), truth.len() as f64);
    }

    /// Compares heads; a reward counts as predicted from `threshold` on, an end below one half.
    pub fn add_heads(&mut self, episode: usize, heads: Heads, threshold: f64) {
        let (comes, predicted) = (heads.true_reward > 0.0, heads.reward >= threshold);
        if comes {
            self.reward_recall.count(episode, predicted);
        }
        if predicted {
            self.reward_precision.count(episode, comes);
        }
        self.reward_error.add(episode, (heads.reward - heads.true_reward).powi(2), 1.0);
        if let Some(goes_on) = heads.goes_on {
            let ends = goes_on < 0.5;
            self.goes_on.count(episode, ends == heads.terminated);
            if heads.terminated {
                self.end_recall.count(episode, ends);
            }
        }
    }
}

/// The measurements of one play by horizon, 0 the reconstruction.
#[derive(Debug, Clone)]
pub struct OpenLoop {
    /// By horizon.
    pub horizons: Vec<Horizon>,
    /// The predicted reward from which on a reward counts as predicted.
    pub threshold: f64,
    /// Windows.
    pub windows: usize,
    /// Whether decoded numbers are pixels in 0 .. 1.
    pub pixels: bool,
}

/// Half the median of the rewards above 0 among these rows; half of 1, as it is learned, where there are none.
pub fn reward_threshold(agent: &Agent, play: &Play) -> f64 {
    let mut rewards: Vec<f64> = play.rows().map(|(.., row)| row.reward).filter(|&r| r > 0.0).collect();
    if rewards.is_empty() {
        return 0.5 * f64::from(agent.world.reward(1.0));
    }
    0.5 * crate::report::interval::median(&mut rewards)
}

/// Runs the windows of a play to `horizon`.
pub fn measure(agent: &mut Agent, play: &Play, mut symbols: Option<&mut Symbols>, horizon: usize) -> Result<OpenLoop> {
    let starts: Vec<(usize, usize)> = play.rows().map(|(e, t, _)| (e, t)).filter(|&(_, t)| t + 1 >= CONTEXT).collect();
    let starts: Vec<(usize, usize)> = spread(starts.len(), WINDOWS).into_iter().map(|i| starts[i]).collect();
    let threshold = reward_threshold(agent, play);
    let pixels = matches!(agent.world.model.observation, Observation::Image { .. });
    let mut measured =
        OpenLoop { horizons: vec![Horizon::default(); horizon + 1], threshold, windows: starts.len(), pixels };
    if starts.is_empty() {
        return Ok(measured);
    }
    let n = starts.len();
    let probe = Probe::fit(play);
    let mut frames = Frames { envs: agent.world.envs(1)?, size: agent.world.model.observation.size() };
    let last: Vec<Shown> = starts
        .iter()
        .map(|&(e, t)| frames.show(agent, symbols.as_deref_mut(), &play.episodes[e].rows[t]))
        .collect::<Result<_>>()?;
    let (stoch, deter) = play.states(&starts);
    let mut still = Readout::new(&agent.world.model, &agent.params, n, Step::Stay, &agent.pool);
    let mut ahead = Readout::new(&agent.world.model, &agent.params, n, Step::Prior, &agent.pool);
    [&mut still, &mut ahead].into_iter().for_each(|readout| readout.begin(&stoch, &deter));
    let mut actions = vec![0.0; n * agent.world.model.actions.size()];
    for (h, measures) in measured.horizons.iter_mut().enumerate() {
        let rows: Vec<Option<&Row>> = starts.iter().map(|&(e, t)| play.episodes[e].rows.get(t + h)).collect();
        let width = agent.world.model.actions.size();
        for (action, row) in actions.chunks_exact_mut(width).zip(&rows) {
            // Windows whose episode is over run on under their last action, and nobody looks at them.
            if let Some(row) = row {
                action.copy_from_slice(&row.action);
            }
        }
        let readout = if h == 0 { &mut still } else { &mut ahead };
        readout.step(&mut agent.params, &actions, &[], Clock { seed: NOISE, step: 1 << 60 | h as u64 });
        for (i, row) in rows.iter().enumerate() {
            let (Some(row), (episode, _)) = (row, starts[i]) else { continue };
            let truth = frames.show(agent, symbols.as_deref_mut(), row)?;
            compare(agent, readout, i, (episode, row), (&truth, &last[i]), symbols.as_deref(), measures, threshold);
            if let (Some(probe), Some(place), true) = (&probe, row.place, Probe::tests(episode)) {
                let read = probe.read(&feat(agent, readout, i));
                measures.probed_cell.count(episode, (read.x, read.y) == (place.x, place.y));
                measures.probed_direction.count(episode, read.direction == place.direction);
                measures.guessed_cell.count(episode, probe.commonest_cell() == (place.x, place.y));
            }
        }
    }
    Ok(measured)
}

/// The true observation of a row: as the network sees it, and its symbols.
struct Shown {
    numbers: Vec<f32>,
    symbols: Option<Vec<Symbol>>,
}

/// Draws what rows showed.
struct Frames {
    envs: VecEnv,
    size: usize,
}

impl Frames {
    fn show(&mut self, agent: &Agent, symbols: Option<&mut Symbols>, row: &Row) -> Result<Shown> {
        let mut numbers = vec![0.0; self.size];
        let env = self.envs.env_mut(0);
        env.load(&row.snapshot)?;
        see(&agent.world, env, &mut numbers);
        let symbols = symbols.map(|symbols| symbols.truth(&row.snapshot)).transpose()?;
        Ok(Shown { numbers, symbols })
    }
}

/// The features of sequence `i` after a step.
fn feat(agent: &Agent, readout: &Readout<f32>, i: usize) -> Vec<f64> {
    let (s, d) = (agent.world.model.stoch(), agent.world.model.deter());
    let (stoch, deter) = readout.state();
    stoch[i * s..(i + 1) * s].iter().chain(&deter[i * d..(i + 1) * d]).map(|&x| f64::from(x)).collect()
}

#[expect(clippy::too_many_arguments, reason = "a prediction, the truth, the copy, and where the comparison is counted")]
fn compare(
    agent: &Agent,
    readout: &Readout<f32>,
    i: usize,
    (episode, row): (usize, &Row),
    (truth, last): (&Shown, &Shown),
    symbols: Option<&Symbols>,
    measures: &mut Horizon,
    threshold: f64,
) {
    let world = &agent.world;
    let size = world.model.observation.size();
    let decoded = &readout.decoded()[i * size..(i + 1) * size];
    if let (Some(symbols), Some(cells), Some(last)) = (symbols, &truth.symbols, &last.symbols) {
        let read = symbols.read(world, decoded);
        measures.add_cells(episode, &read, cells, last);
        if let (true, Some(place)) = (symbols.shows_place(), row.place) {
            let shown = symbols.place(&read);
            measures.decoded_cell.count(episode, shown.is_some_and(|p| (p.x, p.y) == (place.x, place.y)));
            measures.decoded_direction.count(episode, shown.is_some_and(|p| p.direction == place.direction));
        }
    }
    if !matches!(world.model.observation, Observation::Symbolic { .. }) {
        measures.add_numbers(episode, decoded, &truth.numbers, &last.numbers);
    }
    let goes_on = readout.pcont().map(|p| f64::from(p[i]) / world.config().discount);
    let reward = f64::from(readout.reward()[i]);
    let heads = Heads { reward, goes_on, true_reward: row.reward, terminated: row.terminated };
    measures.add_heads(episode, heads, threshold);
}

impl OpenLoop {
    /// One ratio at every horizon.
    pub fn curve(&self, of: impl Fn(&Horizon) -> &Ratio) -> Vec<Ratio> {
        self.horizons.iter().map(|h| of(h).clone()).collect()
    }

    /// The types of cells that were ever truly there, and the recall of each at every horizon.
    pub fn recalls(&self) -> BTreeMap<u8, Vec<Ratio>> {
        Self::by_type(&self.horizons, |h| &h.recall)
    }

    fn by_type(horizons: &[Horizon], of: impl Fn(&Horizon) -> &BTreeMap<u8, Ratio>) -> BTreeMap<u8, Vec<Ratio>> {
        let kinds: std::collections::BTreeSet<u8> = horizons.iter().flat_map(|h| of(h).keys().copied()).collect();
        let curve = |kind| horizons.iter().map(|h| of(h).get(&kind).cloned().unwrap_or_default()).collect();
        kinds.into_iter().map(|kind| (kind, curve(kind))).collect()
    }

    /// Everything, each measure a list by horizon.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("windows".into(), json!(self.windows));
        object.insert("context".into(), json!(CONTEXT));
        object.insert("reward_threshold".into(), json!(self.threshold));
        let measures: [(&str, fn(&Horizon) -> &Ratio); 14] = [
            ("cell_accuracy", |h| &h.cells),
            ("copy_cell_accuracy", |h| &h.copied),
            ("squared_error", |h| &h.error),
            ("copy_squared_error", |h| &h.copied_error),
            ("reward_recall", |h| &h.reward_recall),
            ("reward_precision", |h| &h.reward_precision),
            ("reward_squared_error", |h| &h.reward_error),
            ("continue_accuracy", |h| &h.goes_on),
            ("end_recall", |h| &h.end_recall),
            ("probed_cell_accuracy", |h| &h.probed_cell),
            ("probed_direction_accuracy", |h| &h.probed_direction),
            ("commonest_cell_accuracy", |h| &h.guessed_cell),
            ("decoded_cell_accuracy", |h| &h.decoded_cell),
            ("decoded_direction_accuracy", |h| &h.decoded_direction),
        ];
        for (name, of) in measures {
            let curve = self.curve(of);
            if curve.iter().any(|r| r.total() > 0.0) {
                object.insert(name.into(), json_list(&curve));
            }
        }
        if self.pixels {
            let decibels = |of: fn(&Horizon) -> &Ratio| json!(self.decibels(of));
            object.insert("psnr".into(), decibels(|h| &h.error));
            object.insert("copy_psnr".into(), decibels(|h| &h.copied_error));
        }
        let named = |types: BTreeMap<u8, Vec<Ratio>>| -> Map<String, Value> {
            types.into_iter().map(|(kind, curve)| (KINDS[usize::from(kind)].to_string(), json_list(&curve))).collect()
        };
        let recalls = self.recalls();
        if !recalls.is_empty() {
            object.insert("recall".into(), named(recalls).into());
            object.insert("precision".into(), named(Self::by_type(&self.horizons, |h| &h.precision)).into());
        }
        object.into()
    }

    /// The PSNR in dB of a mean squared error at every horizon; `None` where there was nothing to compare.
    pub fn decibels(&self, of: impl Fn(&Horizon) -> &Ratio) -> Vec<Option<f64>> {
        self.horizons.iter().map(|h| of(h).value().map(psnr)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Symbol = [1, 0, 0];
    const GOAL: Symbol = [8, 1, 0];
    const OPEN: Symbol = [4, 4, 0];
    const CLOSED: Symbol = [4, 4, 1];

    #[test]
    fn an_oracle_is_always_right_and_a_copy_is_as_good_as_the_world_stands_still() {
        let (last, truth) = ([EMPTY, GOAL, CLOSED, EMPTY], [EMPTY, EMPTY, OPEN, GOAL]);
        let mut horizon = Horizon::default();
        horizon.add_cells(0, &truth, &truth, &last);
        assert_eq!((horizon.cells.value(), horizon.copied.value()), (Some(1.0), Some(0.25)));
        assert!(horizon.recall.values().chain(horizon.precision.values()).all(|r| r.value() == Some(1.0)));
    }

    #[test]
    fn recall_and_precision_count_what_they_say() {
        let truth = [GOAL, EMPTY, EMPTY, OPEN];
        let decoded = [EMPTY, GOAL, GOAL, CLOSED];
        let mut horizon = Horizon::default();
        horizon.add_cells(0, &decoded, &truth, &truth);
        horizon.add_cells(1, &truth, &truth, &truth);
        let (recall, precision) = (&horizon.recall, &horizon.precision);
        assert_eq!(horizon.cells.value(), Some(0.5));
        assert_eq!((recall[&8].value(), precision[&8].value()), (Some(0.5), Some(1.0 / 3.0)));
        assert_eq!((recall[&1].value(), precision[&1].value()), (Some(0.5), Some(2.0 / 3.0)));
        // A door in the wrong state is a door, though not the right cell.
        assert_eq!(recall[&4].value(), Some(1.0));
    }

    #[test]
    fn heads_are_judged_by_what_came() {
        let mut horizon = Horizon::default();
        let heads = |reward, goes_on, true_reward, terminated| Heads {
            reward,
            goes_on: Some(goes_on),
            true_reward,
            terminated,
        };
        // Foreseen, missed, false alarm, nothing; the third end is a surprise and the last is invented.
        horizon.add_heads(0, heads(0.9, 0.1, 1.0, true), 0.5);
        horizon.add_heads(0, heads(0.4, 0.2, 1.0, true), 0.5);
        horizon.add_heads(1, heads(0.5, 0.9, 0.0, true), 0.5);
        horizon.add_heads(1, heads(0.0, 0.1, 0.0, false), 0.5);
        assert_eq!((horizon.reward_recall.value(), horizon.reward_precision.value()), (Some(0.5), Some(0.5)));
        assert_eq!((horizon.goes_on.value(), horizon.end_recall.value()), (Some(0.5), Some(2.0 / 3.0)));
        let error = horizon.reward_error.value().unwrap();
        assert!((error - (0.01 + 0.36 + 0.25) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn the_error_of_pixels_is_their_mean_square() {
        let mut horizon = Horizon::default();
        horizon.add_numbers(0, &[0.5, 0.0], &[0.0, 0.0], &[0.0, 1.0]);
        assert_eq!((horizon.error.value(), horizon.copied_error.value()), (Some(0.125), Some(0.5)));
    }
}
