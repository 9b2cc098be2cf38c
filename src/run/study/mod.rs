//! `dreamer-fast study`: many trainings by a plan, resumable, and one report.
//!
//! | file | what it does |
//! |---|---|
//! | [`plan`] | the plan, and the cells that it stands for |
//! | [`runner`] | each missing cell as a process of its own, several at a time |
//! | [`measure`] | what a trained cell is worth |
//! | [`record`] | the small file that is kept of a finished cell |
//! | [`report`] | the page |
//! | [`compare`] | means, worst seeds and intervals over seeds and tasks |

pub mod compare;
pub mod measure;
pub mod plan;
pub mod record;
pub mod report;
pub mod runner;

use std::process::ExitCode;

use self::plan::{Cell, Plan};
use self::record::{Folder, Record};
use self::runner::Runner;
use super::args::StudyArgs;
use crate::base::{Error, Failure, Result, files};
use crate::report::Table;
use crate::report::stdout::{self, say};

/// Runs the command.
///
/// # Errors
/// A plan that cannot be read or that names what does not exist; results that cannot be read or written. A training that fails is none.
pub fn command(args: &StudyArgs) -> std::result::Result<ExitCode, Failure> {
    let (plan, cells) = understood(args).map_err(Failure::Usage)?;
    let folder = Folder(args.out.clone());
    let chosen: Vec<&Cell> = cells.iter().filter(|c| args.only.is_empty() || args.only.contains(&c.name)).collect();
    if args.list {
        return Ok(list(&plan, &chosen, &folder)?);
    }
    let mut failed = 0;
    if !args.report_only {
        let _lock = files::Lock::take(&folder.0)?;
        failed = train(args, &plan, &chosen, &folder)?;
    }
    report::write(&plan, &cells, &folder, &args.plan)?;
    say!("{}", folder.report().display());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The plan and its cells, when everything exists that plan and flags name.
fn understood(args: &StudyArgs) -> Result<(Plan, Vec<Cell>)> {
    let plan = Plan::load(&args.plan)?;
    let cells = plan.cells().map_err(|error| error.context(args.plan.display()))?;
    if let Some(name) = args.only.iter().find(|name| cells.iter().all(|cell| cell.name != **name)) {
        return Err(Error::new(format!("--only {name}: the plan has no such cell; --list shows those that it has")));
    }
    Ok((plan, cells))
}

/// Runs what is missing; returns how many cells failed.
fn train(args: &StudyArgs, plan: &Plan, chosen: &[&Cell], folder: &Folder) -> Result<usize> {
    let mut missing = Vec::new();
    for &cell in chosen {
        if Record::load(folder, cell, plan.episodes)?.is_none() {
            missing.push(cell);
        }
    }
    eprintln!("{} cells, {} of them finished", chosen.len(), chosen.len() - missing.len());
    let cores = match args.cores {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    };
    let program = std::env::current_exe().map_err(|cause| Error::new(format!("cannot find this program: {cause}")))?;
    let failed = Runner { folder, program, cores, episodes: plan.episodes }.run(&missing);
    if !failed.is_empty() {
        eprintln!("failed, with the reasons above: {}. The same command tries again.", failed.join(", "));
    }
    Ok(failed.len())
}

fn list(plan: &Plan, cells: &[&Cell], folder: &Folder) -> Result<ExitCode> {
    let mut table = Table::new(&["cell", "state", "command"]);
    for cell in cells {
        let state = match Record::load(folder, cell, plan.episodes)? {
            Some(_) => "finished",
            None if files::exists(&folder.run(&cell.name)) => "begun",
            None => "missing",
        };
        table.row([cell.name.clone(), state.to_string(), cell.command(&folder.run(&cell.name))]);
    }
    stdout::write(table)?;
    Ok(ExitCode::SUCCESS)
}
