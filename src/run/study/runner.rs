//! Running what is missing: each cell a process of its own, so that a crash stays there, several at a time.
//!
//! A child holds the reading end of a pipe as its standard input and ends when the pipe does (`train --while-stdin`). The study holds
//! the other end until the child has ended. So children end with the study, however it ends, and what they saved is there to go on from.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use super::measure::measure;
use super::plan::Cell;
use super::record::{Folder, Record};
use crate::base::{Error, Result, files};
use crate::config::{Config, Resolved, check_resume};
use crate::run::args::CONFIG_FILE;
use crate::run::checkpoint;

/// Lines of a child's standard error that are shown when it fails.
const LAST_LINES: usize = 8;

/// What runs cells.
pub struct Runner<'a> {
    /// Where results go.
    pub folder: &'a Folder,
    /// This program.
    pub program: PathBuf,
    /// Cores to keep busy.
    pub cores: usize,
    /// Episodes of each evaluation.
    pub episodes: usize,
}

impl Runner<'_> {
    /// Trains and measures these cells. One that fails says why and does not stop the others; the names of those that did are returned.
    pub fn run(&self, cells: &[&Cell]) -> Vec<String> {
        let workers = self.cores.min(cells.len());
        let waiting = Mutex::new(cells.iter().copied().collect::<VecDeque<&Cell>>());
        let failed = Mutex::new(Vec::new());
        let take = || waiting.lock().expect("no worker panics while it holds the lock").pop_front();
        std::thread::scope(|scope| {
            for worker in 0..workers {
                // What a division leaves over goes to the first workers.
                let threads = self.cores / workers + usize::from(worker < self.cores % workers);
                let (take, failed) = (&take, &failed);
                scope.spawn(move || {
                    while let Some(cell) = take() {
                        match self.one(cell, threads) {
                            Ok(record) => eprintln!("{}: {}", cell.name, in_words(&record)),
                            Err(error) => {
                                eprintln!("{}: failed. {error}", cell.name);
                                let mut failed = failed.lock().expect("no worker panics while it holds the lock");
                                failed.push(cell.name.clone());
                            }
                        }
                    }
                });
            }
        });
        failed.into_inner().expect("every worker has ended")
    }

    fn one(&self, cell: &Cell, threads: usize) -> Result<Record> {
        let logdir = self.folder.run(&cell.name);
        set_aside_another(&logdir, cell)?;
        eprintln!("{}: {}", cell.name, cell.command(&logdir));
        self.train(cell, &logdir, threads)?;
        let record = measure(self.folder, cell, self.episodes)?;
        record.save(self.folder)?;
        Ok(record)
    }

    /// Trains in a child, from its last checkpoint if there is one. What it says on standard error is passed on with the cell's name in front.
    fn train(&self, cell: &Cell, logdir: &Path, threads: usize) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(&cell.words).arg("--logdir").arg(logdir).args(["--threads", &threads.to_string()]);
        // The study judges by episodes of its own.
        command.args(["--set", "final_eval_episodes=1", "--while-stdin"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = command.spawn();
        let mut child = started.map_err(|cause| Error::file("start", &self.program, cause))?;
        let last = pass_on(&mut child, &cell.name);
        // `wait` would close the pipe first, and the child would end with it.
        let pipe = child.stdin.take();
        let status = child.wait().map_err(|cause| Error::new(format!("cannot wait for the training: {cause}")))?;
        drop(pipe);
        if status.success() {
            return Ok(());
        }
        let last: Vec<String> = last.into();
        Err(Error::new(format!("Its training ended with {status}. The last lines it wrote:\n{}", last.join("\n"))))
    }
}

/// Reads a child's standard error to its end; returns the last lines.
fn pass_on(child: &mut Child, name: &str) -> VecDeque<String> {
    let mut last = VecDeque::new();
    let lines = BufReader::new(child.stderr.take().expect("standard error is piped")).lines();
    for line in lines.map_while(std::result::Result::ok) {
        eprintln!("{name}: {line}");
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}

/// A run under this name that other settings made, or that has gone further than the plan says, is renamed, so that this one begins anew and nothing is lost.
fn set_aside_another(logdir: &Path, cell: &Cell) -> Result<()> {
    let path = logdir.join(CONFIG_FILE);
    if !files::exists(&path) {
        return Ok(());
    }
    let stored = Resolved::load(&path);
    let trained = checkpoint::load(logdir)?.and_then(|saved| saved.state["steps"].as_u64());
    if stored.is_ok_and(|stored| is_begun_by(&stored.config, trained.unwrap_or(0), &cell.config)) {
        return Ok(());
    }
    let name = |n: u32| logdir.with_file_name(format!("{}.before{n}", cell.name));
    let free = (1..).map(name).find(|path| !files::exists(path)).expect("there are more numbers than folders");
    files::rename(logdir, &free)?;
    eprintln!("{}: the plan has changed its settings; the run by the former ones is now {}", cell.name, free.display());
    Ok(())
}

/// Whether a run of these settings that has trained for so many steps is the beginning of what is `asked`: by the same settings, no further than
/// that goes, and with the learning rates of a run of that many steps.
fn is_begun_by(stored: &Config, trained: u64, asked: &Config) -> bool {
    let stride = (asked.envs * asked.action_repeat) as u64;
    let same_rates = asked.lr_anneal == 0.0 || stored.steps == asked.steps;
    check_resume(stored, asked).is_ok() && trained < asked.steps + stride && same_rates
}

fn in_words(record: &Record) -> String {
    let success = record.greedy.success.map_or(String::new(), |s| format!("success {:.1} %, ", 100.0 * s));
    let path = record.excess_path.map_or(String::new(), |e| format!(", {e:.1} steps beyond the shortest path"));
    format!("finished: {success}return {:.3}, length {:.1}{path}", record.greedy.total, record.greedy.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_only_where_a_new_one_would_come_to_the_same() {
        // Stopped at 304, the first multiple of 16 from 300 on.
        let stored = Config { steps: 300, envs: 16, ..Config::default() };
        let begins = |trained, asked: &Config| is_begun_by(&stored, trained, asked);
        let asked = |steps| Config { steps, ..stored.clone() };
        assert!(begins(304, &asked(300)) && begins(304, &asked(400)) && begins(200, &asked(250)));
        assert!(!begins(304, &asked(288)), "it has trained for more than is asked");
        assert!(!begins(0, &Config { seed: 1, ..asked(300) }));
        // The rates fall by the end of the run, so one of another length has had others.
        let annealed = |steps| Config { lr_anneal: 0.5, ..asked(steps) };
        assert!(is_begun_by(&annealed(300), 304, &annealed(300)) && !is_begun_by(&annealed(300), 304, &annealed(400)));
    }
}
