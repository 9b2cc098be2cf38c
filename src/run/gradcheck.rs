//! `dreamer-fast gradcheck`: gradients by differences; with a CUDA device, kernels by the CPU.

use std::process::ExitCode;
use std::sync::Arc;

use super::args::GradcheckArgs;
use super::device::Device;
#[cfg(feature = "cuda")]
use crate::autodiff::cuda_check;
use crate::autodiff::gradcheck::{BOUND, Case, Outcome, check};
use crate::base::{Error, Failure, Result};
use crate::config::nearest;
use crate::device::Pool;
#[cfg(feature = "cuda")]
use crate::device::cuda::{self, kernels::Kernels};
use crate::dreamer::checks;
use crate::ops::registry::{OPS, cases};
use crate::report::Table;
use crate::report::stdout::say;

/// Runs the command.
///
/// # Errors
/// An op that does not exist, a precision on the CPU, a device that is not there.
pub fn command(args: &GradcheckArgs) -> std::result::Result<ExitCode, Failure> {
    let cases = args.op.as_deref().map(cases_of).transpose().map_err(Failure::Usage)?;
    let pool = Arc::new(Pool::new(0)?);
    let judged = match Device::open_in(args.device, args.precision.map(Into::into))? {
        Device::Cpu if args.precision.is_some() => {
            return Err(Failure::Usage(Error::new(
                "--precision: on the CPU gradients are checked in f64; it is for --device cuda, cuda:N or emulated.",
            )));
        }
        Device::Cpu => gradients(cases, &pool),
        #[cfg(feature = "cuda")]
        Device::Cuda(kernels) => same_function(cases, &pool, &kernels),
    };
    Ok(judged?)
}

/// Gradients against central differences: of these cases, or of every op and every whole loss.
fn gradients(chosen: Option<Vec<Case>>, pool: &Arc<Pool>) -> Result<ExitCode> {
    let mut judged: Vec<(Outcome, f64)> = Vec::new();
    let all = chosen.is_none();
    judged.extend(chosen.unwrap_or_else(cases).iter().map(|case| (check(case, pool), BOUND)));
    if all {
        for case in checks::whole_losses() {
            judged.extend(checks::check(&case, pool).into_iter().map(|outcome| (outcome, checks::BOUND)));
        }
    }
    print(&judged, "An error is the distance between gradient and slope over the largest gradient of the tensor.")
}

/// Kernels against the CPU: these cases, or every op forward and backward, then whole training steps.
#[cfg(feature = "cuda")]
fn same_function(chosen: Option<Vec<Case>>, pool: &Arc<Pool>, kernels: &Arc<Kernels>) -> Result<ExitCode> {
    let mut judged: Vec<(Outcome, f64)> = Vec::new();
    let all = chosen.is_none();
    for case in chosen.unwrap_or_else(cases) {
        judged.push((cuda_check::check(&case, pool, kernels)?.outcome, cuda_check::bound(kernels.precision())));
    }
    if all && kernels.precision() == cuda::Precision::F32 {
        for case in checks::whole_losses() {
            let outcome = checks::check_kernels(&case, pool, kernels)?.outcome;
            judged.push((outcome, checks::KERNEL_BOUND));
        }
    }
    print(&judged, "An error is the distance between device and CPU (f64) over the largest number of the tensor.")
}

fn print(judged: &[(Outcome, f64)], meaning: &str) -> Result<ExitCode> {
    let passed = judged.iter().all(|(outcome, bound)| outcome.passes(*bound));
    say!("{}", table(judged));
    let verdict = if passed { "All are within their bounds." } else { "FAILED: see the rows marked FAIL." };
    say!("{meaning} {verdict}");
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The gradient checks of one op; an unknown name is refused and the nearest named.
pub(super) fn check_op(name: &str, pool: &Arc<Pool>) -> Result<Vec<Outcome>> {
    Ok(cases_of(name)?.iter().map(|case| check(case, pool)).collect())
}

fn cases_of(name: &str) -> Result<Vec<Case>> {
    if !OPS.contains(&name) {
        let hint = nearest(name, OPS).map(|near| format!("; did you mean {near}?")).unwrap_or_else(|| ".".into());
        return Err(Error::new(format!("there is no op {name} with a gradient{hint} Ops: {}.", OPS.join(", "))));
    }
    Ok(cases().into_iter().filter(|case| case.name.split(' ').next() == Some(name)).collect())
}

/// One row for every outcome and its bound.
pub(super) fn table(judged: &[(Outcome, f64)]) -> Table {
    let mut table = Table::new(&["checked", ">elements", ">worst error", ">bound", "at", ""]);
    for (outcome, bound) in judged {
        table.row([
            outcome.name.clone(),
            outcome.checked.to_string(),
            format!("{:.1e}", outcome.worst),
            format!("{bound:.0e}"),
            outcome.at.clone(),
            if outcome.passes(*bound) { String::new() } else { "FAIL".into() },
        ]);
    }
    table
}
