//! `dreamer-fast eval`: a trained agent on fresh layouts, or on all.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::agent::Agent;
use super::args::{CONFIG_FILE, EvalArgs};
use super::checkpoint::{self, Loaded};
use super::evaluate::{Scores, evaluate};
use super::world::{Split, World};
use crate::base::{Error, Result, files};
use crate::config::Resolved;
use crate::device::Pool;
use crate::dreamer::policy::Choice;
use crate::report::Table;
use crate::report::stdout::{self, say};

/// Runs the command.
pub fn command(args: &EvalArgs) -> Result<ExitCode> {
    let (mut agent, steps) = trained(&args.logdir, args.workers.threads)?;
    let split = args.layouts.map_or(agent.world.judged_by(), Split::of);
    let scores = evaluate(&mut agent, args.episodes, args.seed, split, Choice::Mode, args.forget)?;
    let sampled = evaluate(&mut agent, args.episodes, args.seed, split, Choice::Sample, args.forget)?;
    let goal = agent.world.model.actions.discrete();
    if args.json {
        let entry = |scores: &Scores| {
            let interval = |values: &[f64]| {
                let i = Scores::interval(values);
                json!({ "mean": i.estimate, "low": i.low, "high": i.high })
            };
            let mut entry = json!({ "return": interval(&scores.returns), "length": interval(&scores.lengths) });
            if goal {
                entry["success"] = interval(&scores.successes);
            }
            entry
        };
        let object = json!({
            "task": agent.world.config().task,
            "steps": steps,
            "episodes": args.episodes,
            "seed": args.seed,
            "forget": args.forget,
            "layouts": scores.layouts,
            "unseen": scores.unseen,
            "greedy": entry(&scores),
            "sampled": entry(&sampled),
        });
        say!("{object}");
    } else {
        let memory = args.forget.map_or(String::new(), |steps| format!(", forgetting every {steps} steps"));
        say!("{} after {steps} environment steps, greedy{memory}", agent.world.config().task);
        stdout::write(summary(&scores, goal))?;
        say!("\nand with sampled actions");
        stdout::write(summary(&sampled, goal))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The agent that a log directory holds, and the environment steps that it was trained for; threads as in [`restored`].
pub fn trained(logdir: &Path, threads: Option<usize>) -> Result<(Agent, u64)> {
    let (agent, loaded) = restored(logdir, threads)?;
    Ok((agent, loaded.state["steps"].as_u64().unwrap_or(0)))
}

/// The agent that a log directory holds, and the whole checkpoint that it comes from. It has this many threads; as many as the run, if none are
/// given.
pub fn restored(logdir: &Path, threads: Option<usize>) -> Result<(Agent, Loaded)> {
    let path = logdir.join(CONFIG_FILE);
    if !files::exists(&path) {
        return Err(Error::new(format!(
            "{} holds no run: there is no {CONFIG_FILE}. Pass the directory that `dreamer-fast train` wrote to.",
            logdir.display()
        )));
    }
    let settings = Resolved::load(&path)?;
    let pool = Pool::new(threads.unwrap_or(settings.config.threads))?;
    let mut agent = Agent::new(World::new(&settings.config)?, Arc::new(pool));
    let loaded = checkpoint::load(logdir)?.ok_or_else(|| {
        Error::new(format!(
            "{} has no checkpoint yet; the first is written after save_every={} environment steps",
            logdir.display(),
            settings.config.save_every
        ))
    })?;
    loaded.notices.iter().for_each(|notice| eprintln!("{notice}"));
    agent.load(&loaded, false)?;
    Ok((agent, loaded))
}

/// Scores as a table.
pub fn summary(scores: &Scores, goal: bool) -> String {
    let mut table = Table::new(&["", ">mean", ">95 % interval"]);
    let mut row = |name: &str, values: &[f64], scale: f64, digits: usize, unit: &str| {
        let i = Scores::interval(values);
        table.row([
            name.to_string(),
            format!("{:.digits$}{unit}", scale * i.estimate),
            format!("{:.digits$} .. {:.digits$}{unit}", scale * i.low, scale * i.high),
        ]);
    };
    if goal {
        row("success", &scores.successes, 100.0, 1, " %");
    }
    row("return", &scores.returns, 1.0, 3, "");
    row("length", &scores.lengths, 1.0, 1, "");
    let mut text = table.to_string();
    let episodes = scores.returns.len();
    text += &match (scores.layouts, scores.unseen) {
        (0, _) => format!("over {episodes} episodes\n"),
        (n, true) => format!("over {episodes} episodes on {n} different layouts, none of them ever trained on\n"),
        (n, false) => format!("over {episodes} episodes on {n} different layouts, which training may have seen, too\n"),
    };
    text
}
