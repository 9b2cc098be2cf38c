//! What each command takes from the command line. Their help texts are the manual.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};

use crate::base::Result;
use crate::config::value::Value;
use crate::config::{self, Device, PRESETS, Request, Resolved, resolve};
use crate::env::probe::PROBES;

mod measured;

pub use self::measured::{BenchArgs, BenchConfig, BenchMode, Gpu, ProfileArgs};

/// The resolved settings of a run, in its logdir.
pub const CONFIG_FILE: &str = "config.toml";

/// The flags that choose settings, shared by the commands that build a model.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsArgs {
    /// Environment to learn; `dreamer-fast envs list` shows all [default: the preset's]
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,

    /// Named starting point for all settings [default: pendulum for Pendulum-v1, probe for Probe-*, gridworld otherwise]
    #[arg(long, value_name = "NAME", value_parser = preset_names())]
    pub preset: Option<String>,

    /// TOML file of `key = value` lines, over the preset; a run's own config.toml is one
    #[arg(long, value_name = "FILE", display_order = 90)]
    pub config: Option<PathBuf>,

    /// Change one setting, over everything else; may be repeated
    #[arg(long, value_name = "KEY=VALUE", display_order = 91)]
    pub set: Vec<String>,
}

impl SettingsArgs {
    fn request(&self) -> Request {
        let mut flags = Vec::new();
        flags.extend(self.task.clone().map(|task| ("task", task)));
        Request { preset: self.preset.clone(), file: self.config.clone(), flags, set: self.set.clone() }
    }

    /// The configuration that these flags ask for, checked.
    pub fn resolve(&self) -> Result<Resolved> {
        resolve(&self.request())
    }
}

/// `dreamer-fast train`.
#[derive(Debug, Clone, Default, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub settings: SettingsArgs,

    /// Folder for everything the run writes; a run that is there already is resumed [default: runs/TASK-PRESET-seedN]
    #[arg(long, value_name = "DIR")]
    pub logdir: Option<PathBuf>,

    /// Environment steps to train for, such as 40000 or 1e5 [default: the preset's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<String>,

    /// Seed of every random number: same seed, same device, same result to the last bit [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<String>,

    /// Where the network trains: auto, cpu, cuda, cuda:N or emulated; acting stays on the CPU [default: auto]
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub device: Option<Device>,

    /// On CUDA, launch kernel by kernel instead of replaying a captured graph; the result is the same
    #[arg(long)]
    pub eager: bool,

    /// The numbers that matrix products multiply; the rest is f32, on CUDA also products within a scan of the world model [default: f32]
    #[arg(long, value_name = "PRECISION", value_parser = names::<config::Precision>())]
    pub precision: Option<String>,

    /// Worker threads; the result does not depend on it [default: all cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,

    /// Print every setting with its meaning, value and origin, and exit
    #[arg(long, display_order = 92)]
    pub print_config: bool,

    /// End when standard input ends; `study` holds the other end, so that its runs end with it, however it ends
    #[arg(long, hide = true)]
    pub while_stdin: bool,
}

impl TrainArgs {
    /// The configuration that the command asks for, checked by itself.
    pub fn resolve(&self) -> Result<Resolved> {
        let mut request = self.settings.request();
        for (key, text) in [
            ("steps", self.steps.clone()),
            ("seed", self.seed.clone()),
            ("device", self.device.map(|device| device.to_string())),
            ("precision", self.precision.clone()),
            ("threads", self.threads.clone()),
        ] {
            request.flags.extend(text.map(|text| (key, text)));
        }
        resolve(&request)
    }

    /// `--logdir`, or a name that the same command gives again, so that it resumes: `runs/TASK-PRESET-seedN`.
    pub fn logdir(&self, settings: &Resolved) -> PathBuf {
        self.logdir.clone().unwrap_or_else(|| {
            let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
            let task: String = settings.config.task.chars().map(plain).collect();
            Path::new("runs").join(format!("{task}-{}-seed{}", settings.preset, settings.config.seed))
        })
    }
}

/// Of the commands that go back to a run.
#[derive(Debug, Clone, Args)]
pub struct Workers {
    /// Worker threads; the result does not depend on it [default: those of the run]
    #[arg(long, value_name = "N", value_parser = count)]
    pub threads: Option<usize>,
}

/// `dreamer-fast eval`.
#[derive(Debug, Clone, Args)]
pub struct EvalArgs {
    /// Folder that `dreamer-fast train` wrote to
    #[arg(long, value_name = "DIR")]
    pub logdir: PathBuf,

    /// Episodes to play
    #[arg(long, value_name = "N", default_value = "500", value_parser = count)]
    pub episodes: usize,

    /// Which episodes: another seed, other layouts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Layouts to play [default: eval_layouts of the run]
    #[arg(long, value_parser = choice::<config::EvalLayouts>())]
    pub layouts: Option<config::EvalLayouts>,

    /// Begin the agent's state anew every N steps of an episode: what memory is worth to it
    #[arg(long, value_name = "N", value_parser = count)]
    pub forget: Option<usize>,

    /// How the agent is run
    #[command(flatten)]
    pub workers: Workers,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `dreamer-fast dream`.
#[derive(Debug, Clone, Args)]
pub struct DreamArgs {
    /// Folder that `dreamer-fast train` wrote to
    #[arg(long, value_name = "DIR")]
    pub logdir: PathBuf,

    /// Where to write the animation
    #[arg(long, value_name = "FILE.gif")]
    pub out: PathBuf,

    /// How the agent is run
    #[command(flatten)]
    pub workers: Workers,
}

/// `dreamer-fast diagnose`.
#[derive(Debug, Clone, Args)]
pub struct DiagnoseArgs {
    /// Folder that `dreamer-fast train` wrote to; its newest checkpoint is measured
    #[arg(long, value_name = "DIR")]
    pub logdir: PathBuf,

    /// Episodes of each player: the policy's samples, its most probable actions, shortest plans, random actions
    #[arg(long, value_name = "N", default_value = "64", value_parser = count)]
    pub episodes: usize,

    /// Longest open-loop prediction, in steps
    #[arg(long, value_name = "N", default_value = "50", value_parser = count)]
    pub horizon: usize,

    /// How the agent is run
    #[command(flatten)]
    pub workers: Workers,

    /// Where to write the JSON files and plots [default: LOGDIR/diagnose]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Print the summary as one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `dreamer-fast probes`.
#[derive(Debug, Clone, Args)]
pub struct ProbesArgs {
    /// Only this probe, such as Probe-Memory5-v0; may be repeated [default: all]
    #[arg(long, value_name = "ID", value_parser = probe_names(), hide_possible_values = true)]
    pub only: Vec<String>,

    /// Trainings of each probe, with seeds from 0 on
    #[arg(long, value_name = "N", default_value = "5", value_parser = count)]
    pub seeds: usize,

    /// Trainings at once, one thread each [default: all cores]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,

    /// Change one setting, to see which probes notice; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `dreamer-fast study`.
#[derive(Debug, Clone, Args)]
pub struct StudyArgs {
    /// TOML file that says which cells there are; docs/study/plans holds some
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,

    /// Folder for results (cells/), runs (runs/) and report.html; what is finished there is not run again
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Cores to keep busy: as many cells at once, or more threads for each where there are fewer cells at the start [default: all]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub cores: usize,

    /// Only this cell, by the name that --list prints; may be repeated
    #[arg(long, value_name = "CELL")]
    pub only: Vec<String>,

    /// Print the cells, their state and their commands, and exit
    #[arg(long)]
    pub list: bool,

    /// Write report.html from the results that are there, and exit
    #[arg(long)]
    pub report_only: bool,
}

/// `dreamer-fast parity`.
#[derive(Debug, Clone, Args)]
pub struct ParityArgs {
    /// Golden files: one whole training step each, parameters, batch and noise included
    #[arg(required = true, value_name = "FILE.safetensors")]
    pub files: Vec<PathBuf>,

    /// Arithmetic to compute in [default: f64; on CUDA f32]
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,

    /// Where the step runs: cpu, cuda, cuda:N, or emulated, a CUDA driver for machines without a GPU
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: Device,
}

/// The arithmetic of a parity run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// losses, gradients and updated weights within 1e-10; on the CPU only
    F64,
    /// losses within 1e-5, gradients within 1e-3; updated weights are printed, not judged
    F32,
    /// f32 with matrix products of tf32, on CUDA only: losses within 1e-3, gradients within 5e-3 or three times of what rounding only the
    /// weights moves them by
    Tf32,
    /// f32 with matrix products of bf16: losses within 1e-2, gradients within 2e-2 or three times of what rounding only the weights
    /// to bf16 moves them by; updated weights are printed, not judged
    Bf16,
}

impl From<config::Precision> for Precision {
    fn from(products: config::Precision) -> Self {
        match products {
            config::Precision::F32 => Precision::F32,
            config::Precision::Tf32 => Precision::Tf32,
            config::Precision::Bf16 => Precision::Bf16,
        }
    }
}

/// `dreamer-fast gradcheck`.
#[derive(Debug, Clone, Args)]
pub struct GradcheckArgs {
    /// Only this op, such as gru_cell [default: every op and every whole loss]
    #[arg(long, value_name = "NAME")]
    pub op: Option<String>,

    /// What is checked: on the CPU gradients, by differences; on cuda, cuda:N or emulated the kernels, by the CPU
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: Device,

    /// What products multiply on CUDA [default: f32]; in tf32 and bf16 only ops are checked, since a sample may fall the other way
    #[arg(long, value_parser = choice::<config::Precision>())]
    pub precision: Option<config::Precision>,
}

/// `dreamer-fast envs`.
#[derive(Debug, Clone, Args)]
pub struct EnvsArgs {
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: EnvsCommand,
}

/// What `dreamer-fast envs` does.
#[derive(Debug, Clone, Subcommand)]
pub enum EnvsCommand {
    /// List every environment: id, size, actions, step limit
    #[command(after_help = "Example:\n  dreamer-fast envs list")]
    List,
    /// Show one environment: what it asks for, its observations and actions, some layouts
    #[command(after_help = "Example:\n  dreamer-fast envs show MiniGrid-DoorKey-5x5-v0")]
    Show {
        /// Environment, as `envs list` names it
        id: String,
    },
    /// Play an environment and print each step as one line of JSON
    #[command(after_help = ROLLOUT_HELP)]
    Rollout(RolloutArgs),
    /// How many steps more than the shortest path a searcher needs that sees only what an agent sees
    #[command(after_help = "Example:\n  dreamer-fast envs search --task Simple-10x10")]
    Search(SearchArgs),
}

/// `dreamer-fast envs search`.
#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    /// Environment, as `envs list` names it: one room without doors and objects
    #[arg(long, value_name = "ID")]
    pub task: String,

    /// Episodes to play
    #[arg(long, value_name = "N", default_value = "500", value_parser = count)]
    pub episodes: usize,

    /// Which episodes: those that `eval` plays with this seed, on layouts that training never sees
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

const ROLLOUT_HELP: &str = "\
A line has the keys action, reward, terminated, truncated, direction and observation (flattened, row by row), \
and tile_size when the observation is rgb. A reset is a line whose action is null. Replaying the actions in the Python \
package with the same seed gives the same lines.

Example:
  dreamer-fast envs rollout --task MiniGrid-FourRooms-v0 --seed 7 --policy expert --steps 100";

/// `dreamer-fast envs rollout`.
#[derive(Debug, Clone, Args)]
pub struct RolloutArgs {
    /// Environment, as `envs list` names it
    #[arg(long, value_name = "ID")]
    pub task: String,

    /// Seed of the first reset; later episodes go on from the same generator
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,

    /// Who plays
    #[arg(long, value_enum, default_value_t = RolloutPolicy::Random)]
    pub policy: RolloutPolicy,

    /// Seed of the random policy's choices
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub policy_seed: u64,

    /// Steps to play, resets not counted
    #[arg(long, value_name = "N", default_value = "100", value_parser = count)]
    pub steps: usize,

    /// What each line observes
    #[arg(long, value_enum, default_value_t = RolloutObs::Symbolic)]
    pub obs: RolloutObs,

    /// Side of a tile in pixels, for --obs rgb
    #[arg(long, value_name = "PIXELS", default_value = "8", value_parser = count)]
    pub tile_size: usize,

    /// How lines are written
    #[arg(long, value_enum, default_value_t = RolloutFormat::Jsonl)]
    pub format: RolloutFormat,
}

/// Who plays a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RolloutPolicy {
    /// every action equally likely
    Random,
    /// the shortest way, found by breadth-first search
    Expert,
}

/// What a rollout observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RolloutObs {
    /// object, colour and state of the 7x7 cells in view
    Symbolic,
    /// the same view as a picture
    Rgb,
}

/// How a rollout is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RolloutFormat {
    /// one JSON object per line
    Jsonl,
}

/// `dreamer-fast explain`.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct ExplainArgs {
    /// Every call of a plan in order: name, shapes, offsets, flops
    #[arg(long, value_name = "PLAN", group = "what", num_args = 0..=1, default_missing_value = "train_step")]
    pub plan: Option<String>,

    /// One op: its equations, its code, and its gradient check, run now
    #[arg(long, value_name = "NAME", group = "what")]
    pub op: Option<String>,

    #[command(flatten, next_help_heading = "Settings of the plan")]
    #[allow(missing_docs)]
    pub settings: SettingsArgs,
}

/// A whole number above 0, in the notations that settings have too (`1e5`, `100_000`).
fn count(text: &str) -> std::result::Result<usize, String> {
    usize::parse(text).filter(|&n| n > 0).ok_or_else(|| "it takes a whole number above 0".to_string())
}

fn preset_names() -> PossibleValuesParser {
    PRESETS.iter().map(|preset| PossibleValue::new(preset.name).help(preset.about)).collect::<Vec<_>>().into()
}

fn probe_names() -> PossibleValuesParser {
    PROBES.iter().map(|probe| probe.0).collect::<Vec<_>>().into()
}

/// A device by its name.
fn device(text: &str) -> std::result::Result<Device, String> {
    Device::parse(text).ok_or_else(|| format!("it takes {}", Device::expects()))
}

/// The words of a choice.
fn names<T: Value>() -> PossibleValuesParser {
    T::CHOICES.iter().map(|(word, doc)| PossibleValue::new(*word).help(doc.trim())).collect::<Vec<_>>().into()
}

/// A choice by one of its words.
fn choice<T: Value + Send + Sync + 'static>() -> impl TypedValueParser<Value = T> {
    names::<T>().map(|word| T::parse(&word).expect("one of its words"))
}
