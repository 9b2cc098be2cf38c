//! Where the nanoseconds go: events to labels and parts, and what is left to waiting.

use std::collections::HashMap;

use super::label::{Label, Labels, pieces};
use super::rollout::rollouts;
use super::{Profile, Sections, Subject};
use crate::autodiff::record::{Recording, Work};

/// Nanoseconds of all workers together, and in how many calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Time of one update.
    pub nanoseconds: f64,
    /// Pieces of one update.
    pub pieces: f64,
}

/// A part of the time of all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Ops at work.
    Calls,
    /// Partial sums of weight gradients are added up.
    Sums,
    /// Weights are packed for the products.
    Pack,
    /// The gradients of the parameters are cleared.
    Clear,
    /// A batch is drawn and encoded.
    Batch,
    /// Norms of the gradients.
    Norms,
    /// Parameters and moments are moved.
    Optimizer,
    /// Waiting while one worker does what cannot be cut into pieces.
    WaitingForOne,
    /// Waiting at the end of a stage for the others, or at its beginning for the wake-up.
    WaitingForAll,
    /// What none of these explains.
    Rest,
}

impl Part {
    /// Every part, in the order of the tables.
    pub const ALL: [Part; 10] = [
        Part::Calls,
        Part::Sums,
        Part::Pack,
        Part::Clear,
        Part::Batch,
        Part::Norms,
        Part::Optimizer,
        Part::WaitingForOne,
        Part::WaitingForAll,
        Part::Rest,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Part::Calls => "ops",
            Part::Sums => "partial sums of weight gradients",
            Part::Pack => "packing of weights",
            Part::Clear => "clearing of parameter gradients",
            Part::Batch => "batch",
            Part::Norms => "gradient norms",
            Part::Optimizer => "optimizer",
            Part::WaitingForOne => "waiting, one piece of work",
            Part::WaitingForAll => "waiting, wake-up and barrier",
            Part::Rest => "unexplained",
        }
    }
}

/// Sums over updates.
pub(super) struct Account {
    labels: Labels,
    threads: u64,
    tallies: Vec<Vec<Tally>>,
    parts: HashMap<Part, f64>,
    wall: f64,
    updates: usize,
    dropped: usize,
}

impl Account {
    pub fn new(subject: &mut Subject) -> Self {
        let labels = subject.labels();
        let tallies = labels.iter().map(|stage| vec![Tally::default(); stage.len()]).collect();
        let threads = subject.threads() as u64;
        Account { labels, threads, tallies, parts: HashMap::new(), wall: 0.0, updates: 0, dropped: 0 }
    }

    /// Takes an update into account.
    pub fn add(&mut self, recording: &Recording, at: &Sections) {
        let caller = self.threads as u32;
        // What workers did within each stage; packing and clearing are two more.
        let stages = self.labels.len();
        let (packing, clearing) = (stages, stages + 1);
        let mut busy = vec![0; stages + 2];
        for event in recording.events.iter().filter(|event| event.lane < caller) {
            let time = event.end - event.start;
            let (part, stage) = match event.work {
                Work::Step { stage, step: item } | Work::Weights { stage, job: item } => {
                    let tally = &mut self.tallies[stage as usize][item as usize];
                    tally.nanoseconds += time as f64;
                    tally.pieces += 1.0;
                    (Part::Calls, stage as usize)
                }
                Work::Sums { stage, .. } => (Part::Sums, stage as usize),
                Work::Pack => (Part::Pack, packing),
                Work::Clear => (Part::Clear, clearing),
                Work::Stage { .. } | Work::Packing => continue,
            };
            self.part(part, time);
            busy[stage] += time;
        }
        let mut in_plan = 0;
        let mut ended = at.filled;
        for event in recording.events.iter().filter(|event| event.lane == caller) {
            let time = event.end - event.start;
            in_plan += time;
            ended = event.end;
            let (stage, alone) = match event.work {
                Work::Stage { stage } => (stage as usize, pieces(&self.labels[stage as usize]) <= 1),
                Work::Packing => (packing, false),
                _ => (clearing, true),
            };
            let waiting = (self.threads * time).saturating_sub(busy[stage]);
            // A single worker waits for nobody: what it lost lies between its pieces.
            let alone = alone && self.threads > 1;
            self.part(if alone { Part::WaitingForOne } else { Part::WaitingForAll }, waiting);
        }
        // One thread fills the batch; the norms and the optimizer are shared.
        let batch = at.filled - at.begun;
        self.part(Part::Batch, batch);
        self.part(Part::WaitingForOne, (self.threads - 1) * batch);
        let (norms, optimizer) = (at.differentiated - ended, at.updated - at.differentiated);
        self.part(Part::Norms, self.threads * norms);
        self.part(Part::Optimizer, self.threads * optimizer);
        let wall = at.updated - at.begun;
        self.part(Part::Rest, self.threads * (wall - batch - in_plan - norms - optimizer));
        self.wall += wall as f64;
        self.updates += 1;
        self.dropped += recording.dropped;
    }

    fn part(&mut self, part: Part, nanoseconds: u64) {
        *self.parts.entry(part).or_default() += nanoseconds as f64;
    }

    /// Means over the updates.
    pub fn finish(self, subject: &mut Subject, wall_unrecorded: f64, last: (Recording, Sections)) -> Profile {
        let n = self.updates as f64;
        let mean = |tally: Tally| Tally { nanoseconds: tally.nanoseconds / n, pieces: tally.pieces / n };
        let calls: Vec<(Label, Tally)> =
            self.labels.into_iter().flatten().zip(self.tallies.into_iter().flatten().map(mean)).collect();
        let parts = Part::ALL.map(|part| (part, self.parts.get(&part).copied().unwrap_or(0.0) / n)).to_vec();
        Profile {
            threads: subject.threads(),
            wall: self.wall / n,
            wall_unrecorded,
            rollouts: rollouts(subject, &calls),
            calls,
            parts,
            dropped: self.dropped,
            last,
        }
    }
}
