//! `dreamer-fast envs`: the built-in worlds.

use std::process::ExitCode;

use super::args::{EnvsArgs, EnvsCommand, RolloutObs, RolloutPolicy};
use crate::base::{Failure, Result};
use crate::env::{self, Actions, Env, Observation, Options, Policy, View};
use crate::report::Table;
use crate::report::stdout::{self, say};

/// Runs the command.
///
/// # Errors
/// A world that does not exist, or that has not what is asked of it.
pub fn command(args: &EnvsArgs) -> std::result::Result<ExitCode, Failure> {
    match &args.command {
        EnvsCommand::List => Ok(list()?),
        EnvsCommand::Show { id } => {
            let mut env = env::make(id, &Options::default()).map_err(Failure::Usage)?;
            Ok(show(&mut *env)?)
        }
        EnvsCommand::Search(search) => super::search::command(search),
        EnvsCommand::Rollout(rollout) => {
            let options = Options {
                view: match rollout.obs {
                    RolloutObs::Symbolic => View::Symbolic,
                    RolloutObs::Rgb => View::RgbPartial,
                },
                tile_size: rollout.tile_size,
                ..Options::default()
            };
            let mut env = env::make(&rollout.task, &options).map_err(Failure::Usage)?;
            let policy = match rollout.policy {
                RolloutPolicy::Random => Policy::Random,
                RolloutPolicy::Expert => Policy::Expert,
            };
            stdout::stream(|out| {
                env::rollout(&mut *env, rollout.seed, policy, rollout.policy_seed, rollout.steps as u64, out)
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn shape(observation: &Observation) -> String {
    match observation {
        Observation::Symbolic { height, width, .. } => format!("{height}x{width} cells"),
        Observation::Image { height, width, channels } => format!("{height}x{width}x{channels} pixels"),
        Observation::Vector { size } => format!("{size} numbers"),
    }
}

fn actions(actions: &Actions) -> String {
    match actions {
        Actions::Discrete { n } => format!("{n}"),
        Actions::Continuous { size } => format!("{size} in -1..1"),
    }
}

fn list() -> Result<ExitCode> {
    let mut table = Table::new(&["id", "observation", ">actions", ">step limit", "what it asks for"]);
    for id in env::ids() {
        let env = env::make(id, &Options::default())?;
        let spec = env.spec();
        table.row([
            id.to_string(),
            shape(&spec.observation),
            actions(&spec.actions),
            spec.max_steps.to_string(),
            spec.summary.clone(),
        ]);
    }
    stdout::write(&table)?;
    say!("\n`dreamer-fast envs show ID` draws one; gridworlds also give pixels (--set observation=rgb_partial).");
    Ok(ExitCode::SUCCESS)
}

/// Letters of the object types in a drawn layout.
const LETTERS: [char; 11] = ['?', ' ', '#', '.', 'D', 'K', 'O', 'B', 'G', '~', 'A'];

fn show(env: &mut dyn Env) -> Result<ExitCode> {
    let spec = env.spec().clone();
    say!("{}: {}", spec.id, spec.summary);
    say!("observation: {}", shape(&spec.observation));
    say!("actions:     {}", actions(&spec.actions));
    say!("step limit:  {}", spec.max_steps);
    for seed in 0..2 {
        env.reset(Some(seed));
        let Some(layout) = env.layout() else { return Ok(ExitCode::SUCCESS) };
        // Columns of (type, colour, state), then the agent's x, y and direction.
        let (cells, agent) = layout.split_at(layout.len() - 3);
        let steps = solve(env, spec.max_steps);
        let plan = steps.map_or(String::new(), |n| format!(", solved in {n} steps at best"));
        say!("\nseed {seed}{plan}");
        let (width, height) = size(env, cells.len() / 3);
        for y in 0..height {
            let line: String = (0..width)
                .map(|x| {
                    if (usize::from(agent[0]), usize::from(agent[1])) == (x, y) {
                        ['>', 'v', '<', '^'][usize::from(agent[2]) % 4]
                    } else {
                        LETTERS[usize::from(cells[3 * (x * height + y)]).min(10)]
                    }
                })
                .collect();
            say!("  {}", line.trim_end());
        }
    }
    say!("\n> v < ^ agent   # wall   D door   K key   O ball   B box   G goal   ~ lava");
    Ok(ExitCode::SUCCESS)
}

/// Columns and rows of a grid of so many cells. A picture has square tiles, so its aspect is that of the grid.
pub(super) fn size(env: &dyn env::Env, area: usize) -> (usize, usize) {
    let picture = env.picture();
    let height = (1..=area)
        .find(|&h| area.is_multiple_of(h) && h * picture.width == area / h * picture.height)
        .expect("a layout is a rectangle");
    (area / height, height)
}

/// Steps of the expert from here to the end, on a copy of the state that is put back.
pub(super) fn solve(env: &mut dyn env::Env, limit: u32) -> Option<u32> {
    let state = env.save();
    let mut steps = None;
    for step in 1..=limit {
        let Some(action) = env.expert() else { break };
        if env.step(env::Action::Discrete(action)).ended() {
            steps = Some(step);
            break;
        }
    }
    env.load(&state).expect("a state that was just saved loads");
    steps
}
