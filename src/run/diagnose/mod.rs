//! `dreamer-fast diagnose`: what a trained agent's model knows, against the true simulator, and what is wrong with it.
//!
//! | file | instrument |
//! |---|---|
//! | [`play`] | episodes on held-out layouts, with every exact state of the simulator |
//! | [`open_loop`] | prediction by horizon; [`symbols`] reads cells, [`probe`] the agent's place |
//! | [`latent`] | divergence, entropies |
//! | [`value`] | values against returns and the optimum |
//! | [`paths`] | steps that a shortest plan would not take |
//! | [`choices`] | what imagination says of each action against the best that can come of it |
//! | [`imagination`] | imagined success against real success |
//! | [`batches`] | rewards in the replay and in batches |
//! | [`stats`] | ratios with intervals, explained variance, PSNR |
//! | [`summary`], [`findings`] | the table, and in words what crosses a threshold |
//! | [`plots`] | the figures |
//!
//! docs/diagnose.md gives the formula of every number.

pub mod batches;
pub mod choices;
pub mod findings;
pub mod imagination;
pub mod latent;
pub mod open_loop;
pub mod paths;
pub mod play;
pub mod plots;
pub mod probe;
pub mod stats;
pub mod summary;
pub mod symbols;
pub mod value;

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::agent::Agent;
use super::args::DiagnoseArgs;
use super::checkpoint::Loaded;
use super::eval::restored;
use crate::base::{Result, files};
use crate::config::Config;
use crate::report::stdout::{self, say};
use batches::Batches;
use choices::Choices;
use imagination::Imagination;
use latent::Latent;
use open_loop::OpenLoop;
use paths::Paths;
use play::{Play, Player};
use symbols::Symbols;
use value::Values;

/// All measurements of one player's episodes.
pub struct Measured {
    /// The episodes.
    pub play: Play,
    /// Prediction by horizon.
    pub open_loop: OpenLoop,
    /// Divergence and entropies.
    pub latent: Latent,
    /// Values.
    pub values: Values,
    /// Steps against shortest plans.
    pub paths: Paths,
    /// Each action against the best that can come of it.
    pub choices: Choices,
    /// Imagined success.
    pub imagination: Imagination,
}

/// All measurements of a run.
pub struct Diagnosis {
    /// Settings of the run.
    pub config: Config,
    /// Environment steps that it was trained for.
    pub steps: u64,
    /// Whether episodes of the task can succeed; where they cannot, only returns are judged.
    pub has_goal: bool,
    /// Number of actions; `None` for continuous ones.
    pub actions: Option<usize>,
    /// The policy's samples first, then its most probable actions, then the expert where there is one.
    pub plays: Vec<Measured>,
    /// Success, return and length of random episodes on the same layouts.
    pub random: Vec<(bool, f64, usize)>,
    /// Rewards in the replay, if the log directory holds it.
    pub batches: Option<Batches>,
}

/// Runs the command.
pub fn command(args: &DiagnoseArgs) -> Result<ExitCode> {
    let (mut agent, loaded) = restored(&args.logdir, args.workers.threads)?;
    let diagnosis = diagnose(&mut agent, &loaded, &args.logdir, args.episodes, args.horizon)?;
    let out = args.out.clone().unwrap_or_else(|| args.logdir.join("diagnose"));
    write(&diagnosis, &out)?;
    if args.json {
        say!("{}", summary::json(&diagnosis));
    } else {
        stdout::write(summary::text(&diagnosis))?;
        say!("\nJSON files and plots: {}", out.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures the agent of a log directory over `episodes` episodes of each player, open loop to `horizon`.
pub fn diagnose(
    agent: &mut Agent,
    loaded: &Loaded,
    logdir: &Path,
    episodes: usize,
    horizon: usize,
) -> Result<Diagnosis> {
    // First, since an episode file that cannot be read is better known at once.
    let batches = batches::measure(agent, logdir, loaded)?;
    let mut plays = Vec::new();
    for player in [Player::Sampled, Player::Greedy, Player::Expert] {
        if player.exists(&agent.world)? {
            plays.push(play::play(agent, episodes, player)?);
        }
    }
    let random = play::play_at_random(&agent.world, episodes)?;
    let mut symbols = Symbols::new(&agent.world, &plays)?;
    let mut measured = Vec::new();
    for play in plays {
        let open_loop = open_loop::measure(agent, &play, symbols.as_mut(), horizon)?;
        let latent = latent::measure(agent.world.config(), &play);
        let values = value::measure(agent, &play)?;
        let paths = paths::measure(agent, &play)?;
        let choices = choices::measure(agent, &play)?;
        let imagination = imagination::measure(agent, &play, symbols.as_ref())?;
        measured.push(Measured { play, open_loop, latent, values, paths, choices, imagination });
    }
    let actions = agent.world.model.actions;
    Ok(Diagnosis {
        config: agent.world.config().clone(),
        steps: loaded.state["steps"].as_u64().unwrap_or(0),
        has_goal: actions.discrete(),
        actions: actions.discrete().then(|| actions.size()),
        plays: measured,
        random,
        batches,
    })
}

/// Writes a JSON file for each instrument, the summary, and the plots.
pub fn write(diagnosis: &Diagnosis, out: &Path) -> Result<()> {
    files::create_directory(out)?;
    let by_play = |of: &dyn Fn(&Measured) -> Value| -> Value {
        let entries = diagnosis.plays.iter().map(|m| (m.play.player.name().to_string(), of(m)));
        entries.collect::<Map<String, Value>>().into()
    };
    let config = &diagnosis.config;
    let instruments = [
        ("open_loop", by_play(&|m| m.open_loop.json())),
        ("latent", by_play(&|m| m.latent.json(config))),
        ("value", by_play(&|m| m.values.json())),
        ("paths", by_play(&|m| m.paths.json())),
        ("choices", by_play(&|m| m.choices.json())),
        ("imagination", by_play(&|m| m.imagination.json())),
        ("batches", diagnosis.batches.as_ref().map_or(json!(null), Batches::json)),
        ("summary", summary::json(diagnosis)),
    ];
    for (name, value) in instruments {
        files::write_lazily(&out.join(format!("{name}.json")), format!("{value:#}\n").as_bytes())?;
    }
    for (name, plot) in plots::all(diagnosis) {
        files::write_lazily(&out.join(format!("{name}.svg")), plot.to_svg().as_bytes())?;
    }
    Ok(())
}
