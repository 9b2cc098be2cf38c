//! What a run of a plan did, on which worker, and when: the measurements of `profile`.
//!
//! Each worker writes into a buffer of its own that was made beforehand; what does not fit is counted and dropped. Within a piece the end of
//! one event is the beginning of the next, so an event costs one look at the clock. A plan that is not recorded pays for a test of an
//! `Option` instead.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::plan::Plan;
use super::resolve::Stage;
use crate::base::Real;

/// What an event was. Stages, steps and jobs are counted as in [`Plan::stages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// One piece of a step of a region.
    Step {
        /// The region.
        stage: u32,
        /// The step within it.
        step: u32,
    },
    /// One piece of the gradient of a layer's weights.
    Weights {
        /// The stage.
        stage: u32,
        /// The layer within it.
        job: u32,
    },
    /// The partial sums of a layer's weight gradient are added up.
    Sums {
        /// The stage.
        stage: u32,
        /// The layer within it.
        job: u32,
    },
    /// One matrix is packed.
    Pack,
    /// The gradients of the parameters are cleared.
    Clear,
    /// All pieces of a stage, as the caller of the workers sees it: from its beginning until the last piece is done.
    Stage {
        /// The stage.
        stage: u32,
    },
    /// All packing, as the caller sees it.
    Packing,
}

/// A stretch of time of one worker, or of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What was done.
    pub work: Work,
    /// Who did it: a worker, or the number of workers for the caller, whose events span those of the workers.
    pub lane: u32,
    /// Rows of the piece; 0 where there are none.
    pub rows: u32,
    /// Nanoseconds since the recorder was made.
    pub start: u64,
    /// As `start`.
    pub end: u64,
}

/// Everything that was recorded since the last look.
#[derive(Debug, Default)]
pub struct Recording {
    /// Events, lane by lane, in order of time within a lane.
    pub events: Vec<Event>,
    /// Events that found no room.
    pub dropped: usize,
}

struct Lane {
    events: Vec<Event>,
    dropped: usize,
}

/// Buffers for the events of each worker and of the caller.
pub(super) struct Recorder {
    origin: Instant,
    lanes: Vec<Mutex<Lane>>,
}

/// Most events of one lane: 64 MiB.
const MOST: usize = (64 << 20) / size_of::<Event>();

impl Recorder {
    fn new(workers: usize, events: usize) -> Self {
        let lane = || Mutex::new(Lane { events: Vec::with_capacity(events.min(MOST)), dropped: 0 });
        Recorder { origin: Instant::now(), lanes: (0..=workers).map(|_| lane()).collect() }
    }

    fn lane(&self, lane: usize) -> MutexGuard<'_, Lane> {
        self.lanes[lane].lock().expect("no worker panicked")
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

/// The events of one lane in a row. Does nothing where nobody records.
pub(super) struct Lap<'a>(Option<Open<'a>>);

struct Open<'a> {
    recorder: &'a Recorder,
    lane: MutexGuard<'a, Lane>,
    number: u32,
    last: u64,
}

impl<'a> Lap<'a> {
    /// Begins on the lane of a worker.
    #[inline]
    pub fn worker(recorder: &'a Option<Recorder>, worker: usize) -> Self {
        Lap(recorder.as_ref().map(|recorder| Open::new(recorder, worker)))
    }

    /// Begins on the lane of the caller.
    #[inline]
    pub fn caller(recorder: &'a Option<Recorder>) -> Self {
        Lap(recorder.as_ref().map(|recorder| Open::new(recorder, recorder.lanes.len() - 1)))
    }

    /// What was done since the beginning, or since the last note, was this.
    #[inline]
    pub fn note(&mut self, work: Work, rows: usize) {
        if let Some(open) = &mut self.0 {
            open.note(work, rows);
        }
    }
}

impl<'a> Open<'a> {
    #[cold]
    fn new(recorder: &'a Recorder, lane: usize) -> Self {
        Open { recorder, lane: recorder.lane(lane), number: lane as u32, last: recorder.now() }
    }

    #[cold]
    fn note(&mut self, work: Work, rows: usize) {
        let end = self.recorder.now();
        let start = std::mem::replace(&mut self.last, end);
        if self.lane.events.len() < self.lane.events.capacity() {
            self.lane.events.push(Event { work, lane: self.number, rows: rows as u32, start, end });
        } else {
            self.lane.dropped += 1;
        }
    }
}

impl<R: Real> Plan<R> {
    /// Records what the following runs do, with room for the events of one run. The numbers that a run computes stay the same to the bit.
    pub fn record(&mut self) {
        let events: usize = self
            .stages
            .iter()
            .map(|stage| match stage {
                Stage::Region { rows, chunk, steps, .. } => rows.div_ceil(*chunk) * steps.len(),
                Stage::Weights { jobs, pieces } => pieces + jobs.len(),
            })
            .sum();
        // Beside them: clearing, packing, and the caller's stages.
        let room = events + self.packs.len() + self.stages.len() + 2;
        self.recorder = Some(Recorder::new(self.pool.threads(), room));
    }

    /// Stops recording.
    pub fn stop_recording(&mut self) {
        self.recorder = None;
    }

    /// Nanoseconds on the clock of the recorder, to set other events beside those of the plan; 0 where nobody records.
    pub fn recorder_now(&self) -> u64 {
        self.recorder.as_ref().map_or(0, Recorder::now)
    }

    /// Takes out what was recorded since the last call, so that there is room for the next run.
    pub fn recorded(&mut self) -> Recording {
        let mut all = Recording::default();
        for lane in self.recorder.iter_mut().flat_map(|recorder| &mut recorder.lanes) {
            let lane = lane.get_mut().expect("no worker panicked");
            all.events.append(&mut lane.events);
            all.dropped += std::mem::take(&mut lane.dropped);
        }
        all
    }
}
