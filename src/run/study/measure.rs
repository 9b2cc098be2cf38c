//! What a trained cell is worth: greedy, sampled and random play and the shortest way, over the same fresh episodes.

use super::plan::Cell;
use super::record::{Folder, Record, Score, Unseen, training};
use crate::base::{Philox, Result, files, philox::stream};
use crate::dreamer::policy::Choice;
use crate::env::Action;
use crate::report::picture;
use crate::run::agent::Agent;
use crate::run::collect::{act, random_action};
use crate::run::dream;
use crate::run::eval::trained;
use crate::run::evaluate::{Scores, evaluate, layout_seed};
use crate::run::world::{Split, World};

/// Which fresh episodes all cells are judged by.
const SEED: u64 = 0;

/// Steps of a dream that the picture shows: the last that the model sees, and two that it dreams.
const SHOWN: [usize; 3] = [4, 7, 14];

/// Measures a cell whose run is complete, and draws what it imagines.
///
/// # Errors
/// The run cannot be loaded, or the picture cannot be written.
pub fn measure(folder: &Folder, cell: &Cell, episodes: usize) -> Result<Record> {
    let logdir = folder.run(&cell.name);
    let (mut agent, steps) = trained(&logdir, None)?;
    let goal = agent.world.model.actions.discrete();
    let split = agent.world.judged_by();
    let greedy = evaluate(&mut agent, episodes, SEED, split, Choice::Mode, None)?;
    let sampled = evaluate(&mut agent, episodes, SEED, split, Choice::Sample, None)?;
    let random = play_at_random(&agent, episodes, split)?;
    let shortest = shortest_paths(&agent.world, episodes, split)?;
    let on_unseen = match split {
        Split::Any => unseen(&mut agent, episodes)?,
        _ => None,
    };
    let (curve, train_seconds) = training(&logdir)?;
    if !matches!(agent.world.model.observation, crate::dreamer::Observation::Vector { .. }) {
        draw(folder, cell, &mut agent)?;
    }
    Ok(Record {
        cell: cell.name.clone(),
        command: cell.command(&logdir),
        checksum: cell.checksum.clone(),
        steps,
        train_seconds,
        episodes,
        layouts: greedy.layouts,
        unseen: greedy.unseen,
        greedy: score(&greedy, goal),
        sampled: score(&sampled, goal),
        random: score(&random, goal),
        shortest_path: shortest.as_deref().map(Scores::mean),
        excess_path: shortest.as_deref().and_then(|shortest| excess(&greedy, shortest)),
        on_unseen,
        curve,
    })
}

/// The greedy policy on layouts that training never saw; `None` where the task has too few to keep any.
fn unseen(agent: &mut Agent, episodes: usize) -> Result<Option<Unseen>> {
    let greedy = evaluate(agent, episodes, SEED, Split::Test, Choice::Mode, None)?;
    if !greedy.unseen {
        return Ok(None);
    }
    let shortest = shortest_paths(&agent.world, episodes, Split::Test)?;
    Ok(Some(Unseen {
        layouts: greedy.layouts,
        greedy: score(&greedy, agent.world.model.actions.discrete()),
        shortest_path: shortest.as_deref().map(Scores::mean),
        excess_path: shortest.as_deref().and_then(|shortest| excess(&greedy, shortest)),
    }))
}

fn score(scores: &Scores, goal: bool) -> Score {
    Score {
        success: goal.then(|| Scores::mean(&scores.successes)),
        total: Scores::mean(&scores.returns),
        length: Scores::mean(&scores.lengths),
    }
}

/// Mean steps beyond the shortest way, over the episodes that were solved; `None` if none was.
fn excess(scores: &Scores, shortest: &[f64]) -> Option<f64> {
    let solved = (0..shortest.len()).filter(|&k| scores.successes[k] == 1.0);
    let beyond: Vec<f64> = solved.map(|k| scores.lengths[k] - shortest[k]).collect();
    (!beyond.is_empty()).then(|| Scores::mean(&beyond))
}

/// The episodes of [`evaluate`], played by uniformly random actions.
fn play_at_random(agent: &Agent, episodes: usize, split: Split) -> Result<Scores> {
    let mut envs = agent.world.envs(1)?;
    let env = envs.env_mut(0);
    let actions = agent.world.model.actions;
    let mut action = vec![0.0; actions.size()];
    let mut scores = Scores::default();
    for k in 0..episodes {
        agent.world.reset(env, Some(layout_seed(SEED, k)), split);
        let mut rng = Philox::new(SEED, stream::ROLLOUT, k as u64);
        let (mut total, mut length) = (0.0, 0);
        let success = loop {
            random_action(&actions, &mut rng, &mut action);
            let outcome = act(&agent.world, env, &action);
            total += outcome.reward;
            length += 1;
            if outcome.ended() {
                break outcome.success;
            }
        };
        scores.returns.push(total);
        scores.lengths.push(f64::from(length));
        scores.successes.push(f64::from(u8::from(success)));
    }
    Ok(scores)
}

/// Steps of the expert in the episodes of [`evaluate`]; `None` where there is no expert, or an episode that it does not solve.
fn shortest_paths(world: &World, episodes: usize, split: Split) -> Result<Option<Vec<f64>>> {
    // A plan is in steps of the world, not in repeated actions.
    if world.config().action_repeat > 1 {
        return Ok(None);
    }
    let mut envs = world.envs(1)?;
    let env = envs.env_mut(0);
    let mut paths = Vec::with_capacity(episodes);
    for k in 0..episodes {
        world.reset(env, Some(layout_seed(SEED, k)), split);
        let mut length = 0;
        loop {
            let Some(action) = env.expert() else { return Ok(None) };
            let outcome = env.step(Action::Discrete(action));
            length += 1;
            if outcome.ended() {
                if !outcome.success {
                    return Ok(None);
                }
                break;
            }
        }
        paths.push(f64::from(length));
    }
    Ok(Some(paths))
}

/// Draws moments of a dream, side by side: truth, model, error.
fn draw(folder: &Folder, cell: &Cell, agent: &mut Agent) -> Result<()> {
    let frames = dream::open_loop(agent, SEED)?;
    let moments: Vec<_> = SHOWN.iter().filter_map(|&t| frames.get(t).cloned()).collect();
    let path = folder.picture(&cell.name);
    files::create_directory(path.parent().expect("a picture lies in a folder"))?;
    picture::write_png(&path, &crate::report::Canvas::row(&moments, 8, [128; 3]))
}
