//! `dreamer-fast profile`: where the time of an update goes, by op, by layer and by time step, beside what the machine can do at most.
//!
//! Every event of every worker is counted into exactly one part, and what is left of `workers * wall time` is either waiting within a stage or
//! the rest that nothing explains. So the shares of [`Profile::parts`] add up to 1.

mod account;
#[cfg(feature = "cuda")]
pub mod counters;
#[cfg(feature = "cuda")]
pub mod emulated;
mod label;
mod machine;
mod rollout;
#[cfg(feature = "cuda")]
pub mod roofline;
mod subject;
mod tables;
mod trace;

use std::process::ExitCode;
use std::sync::Arc;

pub use self::account::{Part, Tally};
pub use self::label::{Label, Labels, Pass};
pub use self::machine::Machine;
pub use self::rollout::Rollout;
pub use self::subject::Subject;
pub use self::trace::trace;

use self::account::Account;
use super::args::{BenchConfig, ProfileArgs};
use super::device::Device;
#[cfg(feature = "cuda")]
use super::{bench::work, device::check, world::World};
use crate::autodiff::record::Recording;
#[cfg(feature = "cuda")]
use crate::base::Error;
use crate::base::{Result, files};
use crate::config::{Precision, Resolved};
#[cfg(feature = "cuda")]
use crate::device::cuda::kernels::Kernels;
use crate::device::{Pool, simd};
use crate::report::stdout::{self, say};

/// Updates before the first one that counts: caches fill, and the processor settles on a clock.
const WARM_UP: usize = 3;

/// Where the time of an update went. Times are nanoseconds of one update; those of a [`Tally`] are sums over all workers.
#[derive(Debug)]
pub struct Profile {
    /// Workers.
    pub threads: usize,
    /// Wall time of an update with the recorder.
    pub wall: f64,
    /// Wall time of an update without.
    pub wall_unrecorded: f64,
    /// Calls of ops: what each step and each layer's weight gradient took.
    pub calls: Vec<(Label, Tally)>,
    /// Everything, in parts that exclude each other: the time of all workers. The first is the calls of ops together.
    pub parts: Vec<(Part, f64)>,
    /// The scans of the world model, step by step.
    pub rollouts: Vec<Rollout>,
    /// Events that found no room in the recorder's buffers.
    pub dropped: usize,
    /// The events of the last update, and when its sections began and ended.
    pub last: (Recording, Sections),
}

/// When the sections of an update were over, in nanoseconds on the recorder's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sections {
    /// The update began: drawing and encoding a batch.
    pub begun: u64,
    /// The batch stood in its inputs: the plan runs, and the norms of the gradients are taken.
    pub filled: u64,
    /// Gradients and norms were there: the optimizer moves the parameters.
    pub differentiated: u64,
    /// The parameters were moved.
    pub updated: u64,
}

/// Records `updates` updates, as many without the recorder for comparison, and counts.
///
/// # Errors
/// Those of an update.
pub fn profile(subject: &mut Subject, updates: usize) -> Result<Profile> {
    (0..WARM_UP).try_for_each(|_| subject.update().map(drop))?;
    let mut unrecorded = Vec::with_capacity(updates);
    for _ in 0..updates {
        let begun = std::time::Instant::now();
        subject.update()?;
        unrecorded.push(begun.elapsed().as_nanos() as f64);
    }
    subject.step().plan.record();
    // The first recorded update brings the recorder's buffers into memory.
    subject.update()?;
    subject.step().plan.recorded();
    let mut account = Account::new(subject);
    let mut last = (Recording::default(), Sections::default());
    for _ in 0..updates {
        let sections = subject.update()?;
        let recording = subject.step().plan.recorded();
        account.add(&recording, &sections);
        last = (recording, sections);
    }
    subject.step().plan.stop_recording();
    unrecorded.sort_by(f64::total_cmp);
    Ok(account.finish(subject, unrecorded[updates / 2], last))
}

/// Runs the command on the updates of a run of these settings, or without settings on the sizes of `--config`.
pub fn command(args: &ProfileArgs, settings: Option<&Resolved>) -> Result<ExitCode> {
    let pool = Arc::new(Pool::new(args.threads)?);
    match Device::open(args.device)? {
        Device::Cpu => on_cpu(args, settings, &pool),
        #[cfg(feature = "cuda")]
        Device::Cuda(kernels) => on_emulator(args, settings, &pool, &kernels),
    }
}

/// Counts instead of times, and the floor on a GPU.
#[cfg(feature = "cuda")]
fn on_emulator(
    args: &ProfileArgs,
    settings: Option<&Resolved>,
    pool: &Arc<Pool>,
    kernels: &Arc<Kernels>,
) -> Result<ExitCode> {
    let (title, model) = match settings {
        Some(settings) => {
            (format!("{} ({})", settings.preset, settings.config.task), World::new(&settings.config)?.model)
        }
        None => {
            let config = args.config.unwrap_or(BenchConfig::Grid);
            let mut model = work::model(config)?;
            model.config.precision = args.precision.unwrap_or(Precision::F32);
            (config.name().to_string(), model)
        }
    };
    check(&model.config)?;
    let context = kernels.stream().context();
    let emulator = context.emulator().ok_or_else(|| {
        Error::new("only the emulated driver counts: take --device emulated; bench --device cuda times a GPU.")
    })?;
    let (batch, work) =
        (model.config.batch_size, emulated::count(&model, emulated::BUDGET, &args.gpu, pool, kernels, emulator)?);
    say!("An update of {title} on {}, {}", context.info(), model.config.precision);
    stdout::write(emulated::tables(&work, batch, &args.gpu))?;
    Ok(ExitCode::SUCCESS)
}

fn on_cpu(args: &ProfileArgs, settings: Option<&Resolved>, pool: &Arc<Pool>) -> Result<ExitCode> {
    let machine = Machine::measure(pool.threads());
    let (title, mut subject) = match settings {
        Some(settings) => {
            (format!("{} ({})", settings.preset, settings.config.task), Subject::run(&settings.config, pool)?)
        }
        None => {
            let config = args.config.unwrap_or(BenchConfig::Grid);
            (config.name().to_string(), Subject::sizes(config, args.precision.unwrap_or(Precision::F32), pool)?)
        }
    };
    let profile = profile(&mut subject, args.updates)?;
    say!(
        "An update of {title} on {} workers, {:?}, {}; means of {} updates",
        pool.threads(),
        simd::level(),
        subject.model().config.precision,
        args.updates
    );
    say!("{}", machine.in_words());
    stdout::write(tables::tables(&profile, &machine))?;
    if let Some(path) = &args.trace {
        let text = trace(&profile, &subject.labels());
        files::write_atomic(path, text.as_bytes())?;
        say!("\nThe last update is in {}: open it in chrome://tracing or ui.perfetto.dev.", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
