//! The commands: their names, their help, and who answers them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use crate::base::Failure;
use crate::device::simd;
use crate::run::args::{
    BenchArgs, DiagnoseArgs, DreamArgs, EnvsArgs, EvalArgs, ExplainArgs, GradcheckArgs, ParityArgs, ProbesArgs,
    ProfileArgs, StudyArgs, TrainArgs,
};
use crate::run::{bench, diagnose, dream, envs, eval, explain, gradcheck, parity, probes, profile, study, train};

/// The command line of `dreamer-fast`.
#[derive(Debug, Parser)]
#[command(name = "dreamer-fast", version, about = ABOUT, after_help = START, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const ABOUT: &str = "\
Learn behaviour inside a learned model of the world: Dreamer, written without an ML framework.";

const START: &str = "\
Start here:
  dreamer-fast train

It learns to fetch a key, open a door and reach the goal of a small gridworld, and prints where to look next. \
`dreamer-fast COMMAND --help` explains a command.";

/// One command and what it takes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train an agent, or resume one that was stopped
    #[command(after_help = TRAIN)]
    Train(TrainArgs),
    /// Play a trained agent on fresh layouts: success, return and length, with 95 % intervals
    #[command(after_help = EVAL)]
    Eval(EvalArgs),
    /// Make a video of what a trained agent imagines, beside what really happened
    #[command(after_help = DREAM)]
    Dream(DreamArgs),
    /// Measure what a trained agent's model knows, against the true simulator, and say what is wrong
    #[command(after_help = DIAGNOSE)]
    Diagnose(DiagnoseArgs),
    /// Compare one whole training step with golden files of independent implementations
    #[command(after_help = PARITY)]
    Parity(ParityArgs),
    /// Compare every hand-written gradient with central differences, in f64
    #[command(after_help = GRADCHECK)]
    Gradcheck(GradcheckArgs),
    /// Train on tiny worlds with known answers: return and value must be right
    #[command(after_help = PROBES)]
    Probes(ProbesArgs),
    /// Run many trainings by a plan, and write one report
    #[command(after_help = STUDY)]
    Study(StudyArgs),
    /// List, show and play the built-in environments
    #[command(after_help = ENVS)]
    Envs(EnvsArgs),
    /// Time the parts of a training step, worlds, and acting in them
    #[command(after_help = BENCH)]
    Bench(BenchArgs),
    /// Show where the time of an update goes: by op, by layer, by time step
    #[command(after_help = PROFILE)]
    Profile(ProfileArgs),
    /// Show how the machine works inside: a plan call by call, or one op
    #[command(after_help = EXPLAIN)]
    Explain(ExplainArgs),
}

const BENCH: &str = "\
The sizes of --config are those that other implementations are measured on. With one thread the time is that of the processor, which other \
programs do not stretch; with more it is wall time, of the blocks without other programs on the machine where there are two of them.

Examples:
  dreamer-fast bench --config small --mode train_step --threads 2
  dreamer-fast bench --mode env --task MiniGrid-DoorKey-6x6-v0 --threads 1
  dreamer-fast bench --mode act --batch 16
  dreamer-fast bench --config official --device cuda";

const PROFILE: &str = "\
Every piece of every call is timed on its worker. Shares are of the time of all workers, waiting included, so that they add up to 100 %; \
times are those shares of an update. What the machine can do at most is measured first: multiply-adds on registers, and memory read and written in streams.

With --device emulated nothing is timed: the emulated CUDA driver counts what each kernel does, memory traffic behind a model of the second-level cache \
included, beside the least that the ops need, and the floor of an update on a stated GPU (by default an H100 SXM5 by NVIDIA's data sheet).

Examples:
  dreamer-fast profile
  dreamer-fast profile --device emulated --config official
  dreamer-fast profile --device emulated --sm-count 108 --bandwidth 2039 --peak 19500
  dreamer-fast profile --config small --updates 5 --trace trace.json";

const TRAIN: &str = "\
Every setting is a key: --print-config lists them all with what they mean. \
Later wins: defaults, preset, --config file, the flags above, --set. \
The logdir's config.toml says where each value came from.

Stopping is safe at any time: the same command goes on from the last checkpoint.

Examples:
  dreamer-fast train
  dreamer-fast train --task Pendulum-v1 --seed 1
  dreamer-fast train --task MiniGrid-FourRooms-v0 --steps 1e5 --set horizon=10 --set disclam=0.9
  dreamer-fast train --preset v1 --device cuda
  dreamer-fast train --preset v1 --print-config";

const EVAL: &str = "\
Plays every episode twice: greedily, with the most probable action, and with sampled actions.

Example:
  dreamer-fast eval --logdir runs/MiniGrid-DoorKey-6x6-v0-gridworld-seed0 --episodes 100";

const DREAM: &str = "\
Six episodes side by side. From top to bottom: the truth; the model; the difference, where grey is none. While the model's frames \
are blue it sees the truth and reconstructs it, for five steps; once they are orange it gets nothing but the actions, and dreams.

Example:
  dreamer-fast dream --logdir runs/MiniGrid-DoorKey-6x6-v0-gridworld-seed0 --out dream.gif";

const DIAGNOSE: &str = "\
Writes a JSON file and plots for each instrument: open-loop error by horizon, divergence and entropies, values against returns and the optimum, \
imagined success against real success, and rewards in batches. docs/diagnose.md explains every number.

Example:
  dreamer-fast diagnose --logdir runs/MiniGrid-DoorKey-6x6-v0-gridworld-seed0";

const PARITY: &str = "\
Prints the worst error of every loss, gradient and updated parameter, relative to the largest entry of its tensor. \
Exits with 1 when one is above the bound of the precision.

Example:
  dreamer-fast parity tests/golden/tiny.safetensors --precision f32";

const GRADCHECK: &str = "\
Exits with 1 when an error is above 1e-7.

Example:
  dreamer-fast gradcheck --op gru_cell";

const PROBES: &str = "\
Exits with 1 when a training fails: an episode of the greedy policy below the best return, or a value further from the exact one \
than the probe allows.

Examples:
  dreamer-fast probes
  dreamer-fast probes --only Probe-Continue-v0 --set pcont=false";

const STUDY: &str = "\
Stopping is safe at any time: the same command goes on. Results are small files in DIR/cells, a run's own files are in DIR/runs. \
After a change of the plan, only what is missing or changed runs.

Examples:
  dreamer-fast study --plan docs/study/plans/failure.toml --out docs/study/failure
  dreamer-fast study --plan docs/study/plans/failure.toml --out docs/study/failure --list
  dreamer-fast study --plan docs/study/plans/failure.toml --out docs/study/failure --report-only";

const ENVS: &str = "\
Examples:
  dreamer-fast envs list
  dreamer-fast envs show MiniGrid-DoorKey-5x5-v0
  dreamer-fast envs rollout --task MiniGrid-DoorKey-5x5-v0 --policy expert --steps 50";

const EXPLAIN: &str = "\
Examples:
  dreamer-fast explain --plan train_step --preset v1
  dreamer-fast explain --op gru_cell";

/// Runs a command. What its flags and settings ask for is checked before it starts: what is impossible by itself is a [`Failure::Usage`], what
/// the machine or a file does not allow a [`Failure::Run`].
pub fn run(cli: Cli) -> std::result::Result<ExitCode, Failure> {
    simd::check().map_err(Failure::Usage)?;
    let done = match &cli.command {
        Command::Train(args) => return train::command(args),
        Command::Explain(args) => return explain::command(args),
        Command::Gradcheck(args) => return gradcheck::command(args),
        Command::Probes(args) => return probes::command(args),
        Command::Study(args) => return study::command(args),
        Command::Envs(args) => return envs::command(args),
        Command::Eval(args) => eval::command(args),
        Command::Dream(args) => dream::command(args),
        Command::Diagnose(args) => diagnose::command(args),
        Command::Parity(args) => parity::command(args),
        Command::Bench(args) => {
            args.check().map_err(Failure::Usage)?;
            bench::command(args)
        }
        Command::Profile(args) => {
            args.check().map_err(Failure::Usage)?;
            let settings = args.settings().map_err(Failure::Usage)?;
            profile::command(args, settings.as_ref())
        }
    };
    Ok(done?)
}
