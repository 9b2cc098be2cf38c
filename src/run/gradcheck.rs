//! `dreamer-fast gradcheck`.

use std::process::ExitCode;
use std::sync::Arc;

use super::args::GradcheckArgs;
use crate::autodiff::gradcheck::{BOUND, Outcome, check};
use crate::base::{Error, Result};
use crate::config::nearest;
use crate::device::Pool;
use crate::dreamer::checks;
use crate::ops::registry::{OPS, cases};
use crate::report::Table;
use crate::report::stdout::say;

/// Runs the command.
pub fn command(args: &GradcheckArgs) -> Result<ExitCode> {
    let pool = Arc::new(Pool::new(0)?);
    let mut judged: Vec<(Outcome, f64)> = Vec::new();
    match &args.op {
        Some(name) => judged.extend(check_op(name, &pool)?.into_iter().map(|outcome| (outcome, BOUND))),
        None => {
            judged.extend(cases().iter().map(|case| (check(case, &pool), BOUND)));
            for case in checks::whole_losses() {
                judged.extend(checks::check(&case, &pool).into_iter().map(|outcome| (outcome, checks::BOUND)));
            }
        }
    }
    let passed = judged.iter().all(|(outcome, bound)| outcome.passes(*bound));
    say!("{}", table(&judged));
    say!(
        "An error is the distance between gradient and slope over the largest gradient of the tensor. {}",
        if passed { "All are within their bounds." } else { "FAILED: see the rows marked FAIL." }
    );
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The gradient checks of one op; an unknown name is refused and the nearest named.
pub(super) fn check_op(name: &str, pool: &Arc<Pool>) -> Result<Vec<Outcome>> {
    if !OPS.contains(&name) {
        let hint = nearest(name, OPS).map(|near| format!("; did you mean {near}?")).unwrap_or_else(|| ".".into());
        return Err(Error::new(format!("there is no op {name} with a gradient{hint} Ops: {}.", OPS.join(", "))));
    }
    let of_op = cases().into_iter().filter(|case| case.name.split(' ').next() == Some(name));
    Ok(of_op.map(|case| check(&case, pool)).collect())
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
