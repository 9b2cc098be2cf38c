//! `dreamer-fast envs search`: what a searcher needs that sees only what an agent sees, beside the shortest paths.

use std::process::ExitCode;

use super::args::SearchArgs;
use super::envs;
use super::evaluate::{Scores, layout_seed};
use super::world::{Split, World};
use crate::base::{Error, Failure, Result};
use crate::config::{Request, resolve};
use crate::env::minigrid::cell::Kind;
use crate::env::minigrid::searcher::Searcher;
use crate::env::{Action, Observation};
use crate::report::Table;
use crate::report::stdout::{self, say};

/// Runs the command.
///
/// # Errors
/// Those of [`searches`]; a world that does not exist.
pub fn command(args: &SearchArgs) -> std::result::Result<ExitCode, Failure> {
    let request = Request { flags: vec![("task", args.task.clone())], ..Request::default() };
    let world = resolve(&request).and_then(|settings| World::new(&settings.config)).map_err(Failure::Usage)?;
    let searches = searches(&world, args.episodes, args.seed)?;
    let column = |of: fn(&Search) -> f64| searches.iter().map(of).collect::<Vec<_>>();
    say!("{}: a searcher on the {} episodes of seed {}", args.task, args.episodes, args.seed);
    let mut table = Table::new(&["", ">mean", ">95 % interval"]);
    for (name, values) in [
        ("success", column(|s| f64::from(u8::from(s.success)))),
        ("return", column(|s| s.total)),
        ("length", column(|s| s.length)),
        ("shortest path", column(|s| s.shortest)),
        ("steps beyond it", searches.iter().filter(|s| s.success).map(|s| s.length - s.shortest).collect()),
    ] {
        let i = Scores::interval(&values);
        table.row([name.into(), format!("{:.3}", i.estimate), format!("{:.3} .. {:.3}", i.low, i.high)]);
    }
    stdout::write(table)?;
    Ok(ExitCode::SUCCESS)
}

/// What the searcher did in an episode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Whether it reached the goal.
    pub success: bool,
    /// Sum of rewards.
    pub total: f64,
    /// Its steps.
    pub length: f64,
    /// Steps of the shortest path.
    pub shortest: f64,
}

/// Plays the episodes that an evaluation with this seed plays, on unseen layouts.
///
/// # Errors
/// The world is no single room that hides its goal from nobody who looks.
pub fn searches(world: &World, episodes: usize, seed: u64) -> Result<Vec<Search>> {
    let mut envs = world.envs(1)?;
    let env = envs.env_mut(0);
    if !matches!(world.spec.observation, Observation::Symbolic { .. }) {
        return Err(Error::new(format!("{} is no gridworld: there is nothing to search", world.spec.id)));
    }
    let mut observation = vec![0; world.layout.observation_size()];
    (0..episodes)
        .map(|episode| {
            world.reset(env, Some(layout_seed(seed, episode)), Split::Test);
            let shortest = envs::solve(env, world.spec.max_steps);
            let layout = env.layout().expect("a gridworld has a layout");
            let cells = &layout[..layout.len() - 3];
            let plain = [Kind::Empty as u8, Kind::Wall as u8, Kind::Goal as u8];
            let Some(shortest) = shortest.filter(|_| cells.chunks_exact(3).all(|cell| plain.contains(&cell[0]))) else {
                let why = "the searcher knows one room with walls and a goal, nothing else";
                return Err(Error::new(format!("{}: {why}; try Simple-10x10", world.spec.id)));
            };
            let (width, height) = envs::size(env, cells.len() / 3);
            let mut searcher = Searcher::new(width, height);
            let (mut total, mut length) = (0.0, 0.0);
            loop {
                env.write_bytes(&mut observation);
                let outcome = env.step(Action::Discrete(searcher.act(&observation)));
                total += outcome.reward;
                length += 1.0;
                if outcome.ended() {
                    let shortest = f64::from(shortest);
                    return Ok(Search { success: outcome.success, total, length, shortest });
                }
            }
        })
        .collect()
}
