//! What the commands that measure take: `bench` and `profile`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{SettingsArgs, choice, count, device, preset_names};
use crate::base::{Error, Result};
use crate::config::value::Value;
use crate::config::{self, Device, Resolved};
use crate::env;
use crate::run::world::World;

/// `dreamer-fast bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Sizes of model and batch [default: grid; for act: those of the preset]
    #[arg(long, value_enum)]
    pub config: Option<BenchConfig>,

    /// What is measured
    #[arg(long, value_enum, default_value_t = BenchMode::TrainStep)]
    pub mode: BenchMode,

    /// World to step or to act in, for env and act [default: the preset's]
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,

    /// Settings of the policy, for act [default: pendulum for Pendulum-v1, probe for Probe-*, gridworld otherwise]
    #[arg(long, value_name = "NAME", value_parser = preset_names(), conflicts_with = "config")]
    pub preset: Option<String>,

    /// Worlds that the policy acts in at a time, for act
    #[arg(long, value_name = "N", default_value = "1", value_parser = count)]
    pub batch: usize,

    /// Worker threads [default: all cores]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,

    /// The numbers that matrix products multiply; on CUDA those within a scan of the world model stay f32
    #[arg(long, default_value = "f32", value_parser = choice::<config::Precision>())]
    pub precision: config::Precision,

    /// Where it runs: auto, cpu, cuda, cuda:N or emulated; parts of a training step only
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: Device,

    /// On CUDA, launch kernel by kernel instead of replaying a captured graph
    #[arg(long)]
    pub eager: bool,

    /// Blocks of at least half a second that are measured
    #[arg(long, value_name = "N", default_value = "9", value_parser = count)]
    pub blocks: usize,

    /// Print one JSON object instead
    #[arg(long)]
    pub json: bool,
}

impl BenchArgs {
    /// The settings that `--mode act` plays with.
    pub fn settings(&self) -> Result<Resolved> {
        let flags = SettingsArgs { task: self.task.clone(), preset: self.preset.clone(), ..SettingsArgs::default() };
        flags.resolve()
    }

    /// Refuses flags that the mode has no use for, and settings that do not exist.
    pub fn check(&self) -> Result<()> {
        let refuse = |flag: &str, modes: &str| {
            Err(Error::new(format!("{flag} goes with {modes}, not with --mode {}", self.mode.name())))
        };
        if matches!(self.mode, BenchMode::Env | BenchMode::Act) && !matches!(self.device, Device::Cpu | Device::Auto) {
            return refuse("--device", "parts of a training step");
        }
        match self.mode {
            BenchMode::Env if self.config.is_some() => refuse("--config", "a model"),
            BenchMode::Env if self.preset.is_some() => refuse("--preset", "--mode act"),
            BenchMode::Act if self.config.is_some() && self.task.is_some() => {
                Err(Error::new("--config acts on given observations, without a world: take --preset with --task"))
            }
            BenchMode::Act if self.config.is_none() => World::new(&self.settings()?.config).map(drop),
            BenchMode::Act => Ok(()),
            BenchMode::Env => {
                self.task.as_deref().map_or(Ok(()), |id| env::make(id, &env::Options::default()).map(drop))
            }
            _ if self.task.is_some() => refuse("--task", "--mode env or --mode act"),
            _ if self.preset.is_some() => refuse("--preset", "--mode act"),
            _ => Ok(()),
        }
    }
}

/// Sizes of model and batch in a bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchConfig {
    /// vectors of 147, 7 discrete actions, states of 128 and 32, batch 32 x 32
    Grid,
    /// 64x64 images, depth 16, states of 128 and 16, batch 16 x 32
    Small,
    /// DreamerV1 as published: 64x64 images, depth 32, states of 200 and 30, batch 50 x 50
    Official,
}

impl BenchConfig {
    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BenchConfig::Grid => "grid",
            BenchConfig::Small => "small",
            BenchConfig::Official => "official",
        }
    }
}

/// What a bench measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum BenchMode {
    /// three losses, three backward sweeps, three updates
    TrainStep,
    /// the posterior rollout over T steps, forward
    Observe,
    /// imagination over H steps with the actor, forward
    Imagine,
    /// actor and value: imagination, losses, two backward sweeps, two updates
    ImagineTrain,
    /// environment steps with the policy in the loop; with --config the policy alone
    Act,
    /// environment steps with random actions
    Env,
}

impl BenchMode {
    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BenchMode::TrainStep => "train_step",
            BenchMode::Observe => "observe",
            BenchMode::Imagine => "imagine",
            BenchMode::ImagineTrain => "imagine_train",
            BenchMode::Act => "act",
            BenchMode::Env => "env",
        }
    }
}

/// `dreamer-fast profile`.
#[derive(Debug, Clone, Args)]
pub struct ProfileArgs {
    /// Sizes of model and batch as in `bench`, instead of the settings of a run
    #[arg(long, value_enum, conflicts_with_all = ["task", "preset", "set"])]
    pub config: Option<BenchConfig>,

    /// Environment whose random play the updates learn from [default: the preset's]
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,

    /// Named starting point for all settings [default: pendulum for Pendulum-v1, probe for Probe-*, gridworld otherwise]
    #[arg(long, value_name = "NAME", value_parser = preset_names())]
    pub preset: Option<String>,

    /// Change one setting; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// The numbers that matrix products multiply, with `--config`; a run has a setting for it
    #[arg(long, value_parser = choice::<config::Precision>(), requires = "config")]
    pub precision: Option<config::Precision>,

    /// Where the update runs: cpu, whose time is measured, or emulated, where what kernels do is counted
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: Device,

    #[command(flatten, next_help_heading = "The GPU whose roofline is drawn, with --device emulated")]
    #[allow(missing_docs)]
    pub gpu: Gpu,

    /// Updates that are recorded
    #[arg(long, value_name = "N", default_value = "10", value_parser = count)]
    pub updates: usize,

    /// Worker threads [default: all cores]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,

    /// Write the last update as a Chrome trace, for chrome://tracing or ui.perfetto.dev
    #[arg(long, value_name = "FILE.json")]
    pub trace: Option<PathBuf>,
}

impl ProfileArgs {
    /// Refuses flags that the device has no use for.
    pub fn check(&self) -> Result<()> {
        self.precision.map_or(Ok(()), refuse_tf32)?;
        if self.trace.is_some() && self.device != Device::Cpu {
            return Err(Error::new(format!(
                "--trace is a record of times: it goes with --device cpu, not {}.",
                self.device
            )));
        }
        Ok(())
    }

    /// The settings of the run whose updates are profiled; `None` where `--config` names sizes instead.
    pub fn settings(&self) -> Result<Option<Resolved>> {
        if self.config.is_some() {
            return Ok(None);
        }
        let (task, preset, set) = (self.task.clone(), self.preset.clone(), self.set.clone());
        let settings = SettingsArgs { task, preset, config: None, set }.resolve()?;
        refuse_tf32(settings.config.precision)?;
        World::new(&settings.config)?;
        Ok(Some(settings))
    }
}

fn refuse_tf32(precision: config::Precision) -> Result<()> {
    if precision == config::Precision::Tf32 {
        return Err(Error::new(
            "precision=tf32: a profile takes f32 or bf16 on the CPU, and f32 on the emulated device.",
        ));
    }
    Ok(())
}

/// What a GPU can do at most. The defaults are those of an H100 SXM5: NVIDIA, "H100 Tensor Core GPU" (data sheet): 67 TFLOP/s in f32 without
/// tensor cores, 3.35 TB/s; NVIDIA, "H100 Tensor Core GPU Architecture" (white paper): 132 multiprocessors, 50 MB of second-level cache. The cost of a launch within a graph is
/// an assumption.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct Gpu {
    /// Multiprocessors
    #[arg(long, value_name = "N", default_value = "132", value_parser = count)]
    pub sm_count: usize,

    /// Memory bandwidth in GB/s
    #[arg(long, value_name = "GB/S", default_value = "3350", value_parser = rate)]
    pub bandwidth: f64,

    /// Second-level cache in MiB, by whose model bytes at memory are counted
    #[arg(long, value_name = "MIB", default_value = "50", value_parser = count)]
    pub l2_mib: usize,

    /// Bandwidth of the second-level cache in GB/s; without it, its traffic has no floor
    #[arg(long, value_name = "GB/S", value_parser = rate)]
    pub l2_bandwidth: Option<f64>,

    /// Floating point operations in GFLOP/s, of the precision that the kernels compute in
    #[arg(long, value_name = "GFLOP/S", default_value = "67000", value_parser = rate)]
    pub peak: f64,

    /// What a launch within a captured graph costs beside its work, in microseconds
    #[arg(long, value_name = "US", default_value = "0.5", value_parser = rate)]
    pub launch_us: f64,
}

/// A number above 0.
fn rate(text: &str) -> std::result::Result<f64, String> {
    f64::parse(text).filter(|&x| x > 0.0).ok_or_else(|| "it takes a number above 0".to_string())
}
