//! Bugs 1, 2, 5 and 6, as far as rows go: what is stored is lived again beside it, and what is trained on is compared with
//! the laws of the world.

use std::collections::BTreeSet;

use dreamer_fast::env::{Actions, Env};
use dreamer_fast::replay::{Obs, Replay, Row};
use dreamer_fast::run::agent::{Agent, Learner};
use dreamer_fast::run::collect::{Actor, Collector, as_action};
use dreamer_fast::run::world::Split;

use super::{action_of, beginner, config, life, observation_of};

/// What an environment shows, as floats whatever it is stored as.
fn shown(env: &dyn Env, size: usize) -> Vec<f32> {
    if let Actions::Continuous { .. } = env.spec().actions {
        let mut floats = vec![0.0; size];
        env.write_floats(&mut floats);
        return floats;
    }
    let mut bytes = vec![0; size];
    env.write_bytes(&mut bytes);
    bytes.into_iter().map(f32::from).collect()
}

/// Three environments, random at first, then with the policy.
fn collected(task: &str, changes: &[&str]) -> (Agent, Replay) {
    let all = [&["envs=3", "prefill=200", "time_limit=9", "seed=4"], changes].concat();
    let (mut agent, mut replay) = beginner(&config(task, &all));
    let mut collector = Collector::new(&agent).unwrap();
    for tick in 0..150 {
        let actor = if tick < 50 { Actor::Random } else { Actor::Policy { noise: 0.3 } };
        collector.step(&mut agent, &mut replay, actor).unwrap();
    }
    (agent, replay)
}

/// Worlds that end in every way: by lava and goal, by collision, at the goal, and never but by the clock.
const WORLDS: [(&str, &[&str]); 4] = [
    ("MiniGrid-LavaGapS5-v0", &["action_set=3"]),
    ("MiniGrid-Dynamic-Obstacles-5x5-v0", &[]),
    ("MiniGrid-Empty-Random-5x5-v0", &["action_set=3", "holdout=0"]),
    ("Pendulum-v1", &["observation=vector", "action_repeat=2"]),
];

/// Lives every stored episode again in a world of the same seed: calls `judge` for every row with what the row says and what
/// happens.
fn live_again(
    agent: &Agent,
    replay: &Replay,
    mut judge: impl FnMut(&[&dreamer_fast::replay::Episode], usize, usize, Again),
) {
    let c = agent.world.config();
    let (size, width) = (agent.world.layout.observation_size(), agent.world.model.actions.size());
    for i in 0..c.envs {
        let mut twin = agent.world.envs(1).unwrap();
        // The first reset takes the environment's seed; the collector resets once more to begin.
        let words =
            dreamer_fast::base::philox::block(c.seed, dreamer_fast::base::philox::stream::TRAIN_LAYOUT, i as u64, 0);
        twin.reset(0, Some(u64::from(words[0]) | u64::from(words[1]) << 32));
        let episodes = life(replay, i);
        for (e, episode) in episodes.iter().enumerate() {
            agent.world.reset(twin.env_mut(0), None, Split::Train);
            judge(&episodes, e, 0, Again { shown: shown(twin.env(0), size), ..Again::default() });
            for row in 1..episode.rows() {
                let action = action_of(episode, row, width);
                let mut again = Again::default();
                for _ in 0..c.action_repeat {
                    let outcome = twin.env_mut(0).step(as_action(&agent.world.model.actions, &action));
                    again.reward += outcome.reward;
                    (again.terminated, again.ended) = (outcome.terminated, outcome.ended());
                    if outcome.ended() {
                        break;
                    }
                }
                again.shown = shown(twin.env(0), size);
                judge(&episodes, e, row, again);
            }
        }
    }
}

/// What happens when a row is lived again.
#[derive(Default)]
struct Again {
    shown: Vec<f32>,
    reward: f64,
    terminated: bool,
    ended: bool,
}

/// Fails when `Collector::step` stores the observation from before the action, or the reward or action of another step.
#[test]
fn bug_01_stored_rows_are_not_one_step_off() {
    for (task, changes) in WORLDS {
        let (agent, replay) = collected(task, changes);
        let (size, width) = (agent.world.layout.observation_size(), agent.world.model.actions.size());
        let mut rewards = BTreeSet::new();
        live_again(&agent, &replay, |episodes, e, row, again| {
            let episode = episodes[e];
            let text = format!("{task}, row {row} of an episode of {}", episode.rows());
            assert_eq!(observation_of(episode, row, size), again.shown, "the observation of {text}");
            assert_eq!(episode.rewards()[row], again.reward as f32, "the reward of {text}");
            if row == 0 {
                assert!(action_of(episode, 0, width).iter().all(|&a| a == 0.0), "{text} has an action");
            }
            rewards.insert(episode.rewards()[row].to_bits());
        });
        assert!(rewards.len() > 1, "{task}: all rewards are alike, so nothing was tested");
    }
}

/// Fails when `Collector::step` begins the next episode before it stores what this one ended with.
#[test]
fn bug_02_the_terminal_observation_is_stored() {
    for (task, changes) in WORLDS {
        let (agent, replay) = collected(task, changes);
        let size = agent.world.layout.observation_size();
        let mut ends = 0;
        live_again(&agent, &replay, |episodes, e, row, again| {
            let (episode, finished) = (episodes[e], e + 1 < episodes.len());
            let last = row + 1 == episode.rows();
            assert!(!again.ended || last, "{task}: an episode of {} rows ended at row {row}", episode.rows());
            if finished && last {
                assert!(again.ended, "{task}: an episode is finished after row {row}, but its world goes on");
                assert_eq!(observation_of(episode, row, size), again.shown, "{task}: what the episode ended with");
                ends += 1;
            }
        });
        assert!(ends >= 20, "{task}: {ends} ends");
    }
}

/// Fails when `Collector::store` sets the discount to 0 at every end.
#[test]
fn bug_06_only_a_true_end_has_no_discount() {
    for (task, changes) in WORLDS {
        let (agent, replay) = collected(task, changes);
        let mut kinds = BTreeSet::new();
        live_again(&agent, &replay, |episodes, e, row, again| {
            let discount = episodes[e].discounts()[row];
            assert_eq!(discount, if again.terminated { 0.0 } else { 1.0 }, "{task}, row {row}: {}", again.ended);
            kinds.insert((again.terminated, again.ended));
        });
        assert!(kinds.contains(&(false, true)), "{task}: no episode was cut by the clock");
        assert!(kinds.contains(&(true, true)) || task == "Pendulum-v1", "{task}: no episode truly ended");
    }
}

/// Fails when `Learner::fill` or `Replay::fill` shifts rewards or actions against observations.
#[test]
fn bug_01_batches_obey_the_law_of_the_pendulum() {
    for chunks in ["within", "across"] {
        let (mut agent, replay) =
            collected("Pendulum-v1", &["observation=vector", "time_limit=20", &format!("chunks={chunks}")]);
        let mut learner = Learner::new(&agent);
        let b = agent.world.config().batch_size;
        let mut judged = 0;
        for _ in 0..10 {
            learner.update(&mut agent, &replay).unwrap();
            let (batch, plan) = (learner.step.batch, &learner.step.plan);
            let [obs, action, reward, keep] =
                [batch.obs, batch.action, batch.reward, batch.keep].map(|v| plan.value(v).to_vec());
            for at in (b..keep.len()).filter(|&at| keep[at] == 1.0) {
                let (before, after) = (&obs[3 * (at - b)..][..3], &obs[3 * at..][..3]);
                let (angle, speed) = (f64::from(before[1]).atan2(before[0].into()), f64::from(before[2]));
                let torque = 2.0 * f64::from(action[at]);
                let cost = angle * angle + 0.1 * speed * speed + 0.001 * torque * torque;
                assert!((f64::from(reward[at]) + cost).abs() < 1e-3, "row {at}: reward {}, cost {cost}", reward[at]);
                let faster = (speed + (15.0 * angle.sin() + 3.0 * torque) * 0.05).clamp(-8.0, 8.0);
                assert!((f64::from(after[2]) - faster).abs() < 1e-3, "row {at}: speed {}, not {faster}", after[2]);
                judged += 1;
            }
        }
        assert!(judged > 200, "{judged} rows");
    }
}

/// An untrained agent for the pendulum, and made-up episodes of these numbers of rows. Rows can be told by their observation
/// (episode / 8, row / 8, 0); the odd episodes truly end, the even ones are cut by the clock.
fn made_up(lengths: &[u8], chunks: &str) -> (Agent, Replay) {
    let chunks = format!("chunks={chunks}");
    let (agent, mut replay) =
        beginner(&config("Pendulum-v1", &["observation=vector", "envs=1", "pcont=true", &chunks]));
    for (serial, &rows) in lengths.iter().enumerate() {
        for row in 0..rows {
            let (first, last) = (row == 0, row + 1 == rows);
            let row = Row {
                observation: Obs::Floats(&[serial as f32 / 8.0, f32::from(row) / 8.0, 0.0]),
                action: &[if first { 0.0 } else { 0.5 }],
                reward: 0.0,
                discount: if last && serial % 2 == 1 { 0.0 } else { 1.0 },
                is_first: first,
                is_last: last,
            };
            replay.add(0, &row).unwrap();
        }
    }
    (agent, replay)
}

/// A row of a batch: (episode, row), the continue target, and the mask.
fn rows_of_batch(learner: &Learner) -> Vec<((usize, usize), f32, f32)> {
    let (batch, plan) = (learner.step.batch, &learner.step.plan);
    let (obs, target, keep) = (plan.value(batch.obs), plan.value(batch.pcont_target), plan.value(batch.keep));
    let place = |obs: &[f32]| ((8.0 * obs[0]) as usize, (8.0 * obs[1]) as usize);
    obs.chunks_exact(3).zip(target).zip(keep).map(|((obs, &target), &keep)| (place(obs), target, keep)).collect()
}

/// Rows of the made-up episodes: some are shorter than a chunk (8 rows), some longer.
const LENGTHS: [u8; 6] = [3, 2, 12, 9, 5, 8];

/// Fails when `draw_within` or `draw_across` leaves out the last start of a window (`below(rows - length)`), or episodes
/// shorter than a chunk.
#[test]
fn bug_02_every_row_is_trained_on() {
    for chunks in ["within", "across"] {
        let (mut agent, replay) = made_up(&LENGTHS, chunks);
        let mut learner = Learner::new(&agent);
        let mut seen = BTreeSet::new();
        for _ in 0..60 {
            learner.update(&mut agent, &replay).unwrap();
            seen.extend(rows_of_batch(&learner).into_iter().map(|r| r.0));
        }
        for (serial, &rows) in LENGTHS.iter().enumerate() {
            for row in 0..usize::from(rows) {
                assert!(seen.contains(&(serial, row)), "chunks {chunks}: row {row} of {rows} is never drawn");
            }
        }
    }
}

/// Fails when `Learner::fill` masks the last row of an episode instead of the first of the next.
#[test]
fn bug_05_the_mask_is_at_the_reset_and_not_before() {
    for chunks in ["within", "across"] {
        let (mut agent, replay) = made_up(&LENGTHS, chunks);
        let mut learner = Learner::new(&agent);
        let b = agent.world.config().batch_size;
        let mut resets = 0;
        for _ in 0..20 {
            learner.update(&mut agent, &replay).unwrap();
            let rows = rows_of_batch(&learner);
            for (at, &((serial, row), _, keep)) in rows.iter().enumerate() {
                let before = at.checked_sub(b).map(|at| rows[at].0);
                let goes_on = row > 0 && before == Some((serial, row - 1));
                assert_eq!(keep, f32::from(u8::from(goes_on)), "row {row} of episode {serial} after {before:?}");
                resets += usize::from(!goes_on && before.is_some());
            }
        }
        assert!(resets > 50, "{resets} resets within chunks");
    }
}

/// Fails when `Replay::fill` takes the discount of the next row, or when `Learner::fill` does not fold the discount of
/// returns into the target.
#[test]
fn bug_06_the_continue_head_learns_true_ends_alone() {
    for chunks in ["within", "across"] {
        let (mut agent, replay) = made_up(&LENGTHS, chunks);
        let mut learner = Learner::new(&agent);
        let discount = agent.world.config().discount as f32;
        let mut kinds = BTreeSet::new();
        for _ in 0..20 {
            learner.update(&mut agent, &replay).unwrap();
            for ((serial, row), target, _) in rows_of_batch(&learner) {
                let last = row + 1 == usize::from(LENGTHS[serial]);
                let ends = last && serial % 2 == 1;
                assert_eq!(target, if ends { 0.0 } else { discount }, "row {row} of episode {serial}");
                kinds.insert((last, ends));
            }
        }
        assert_eq!(kinds.len(), 3, "rows in the middle, true ends and cuts were all drawn");
    }
}
