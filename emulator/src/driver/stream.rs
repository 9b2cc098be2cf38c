//! Queues of work.
//!
//! A call puts work into its stream's queue, and nothing runs until a call has to wait for it. Then only that runs for
//! which it has to wait (order 0), or streams take turns that a seed decides. So a program that forgets to wait for an
//! event gets to see it: without a seed, what it should have waited for has not run yet.

use std::collections::VecDeque;
use std::time::Instant;

use super::code::{Code, Failure, Outcome};
use super::state::{NULL, State};
use super::work::Work;

/// Work in a queue above which a call first runs the queue, as a driver waits when its queue is full.
const FULL: usize = 4096;

/// A stream.
#[derive(Debug)]
pub struct Stream {
    /// Whether it keeps order with the null stream.
    pub blocking: bool,
    queue: VecDeque<Task>,
    /// Tasks ever put into the queue.
    issued: u64,
    /// Tasks done.
    done: u64,
    /// The capture that it takes part in.
    pub capture: Option<u64>,
}

/// What stands in a queue.
#[derive(Debug)]
enum Task {
    Work(Work),
    Wait(Mark),
    /// An event, and how often it had been recorded.
    Record(u64, u64),
}

/// A point in a stream: behind the first `issued` tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    stream: u64,
    issued: u64,
}

/// An event.
#[derive(Debug, Default)]
pub struct Event {
    /// Where it was recorded last.
    pub mark: Option<Mark>,
    /// The capture in which it was recorded last, and the nodes that it stands behind.
    pub captured: Option<(u64, Vec<usize>)>,
    recorded: u64,
    /// When the device came to where it was recorded last.
    time: Option<Instant>,
}

impl Stream {
    pub fn new(blocking: bool) -> Self {
        Stream { blocking, queue: VecDeque::new(), issued: 0, done: 0, capture: None }
    }
}

impl State {
    pub fn stream(&mut self, handle: u64) -> Outcome<&mut Stream> {
        self.streams.get_mut(&handle).ok_or_else(|| Code::InvalidHandle.into())
    }

    pub fn event(&mut self, handle: u64) -> Outcome<&mut Event> {
        self.events.get_mut(&handle).ok_or_else(|| Code::InvalidHandle.into())
    }

    /// Gives work to a stream, or to the capture that the stream takes part in.
    pub fn issue(&mut self, stream: u64, work: Work) -> Outcome {
        if self.stream(stream)?.capture.is_some() {
            return self.record_node(stream, work);
        }
        self.keep_order_with_null(stream)?;
        self.push(stream, Task::Work(work));
        if self.streams[&stream].queue.len() > FULL {
            let end = self.end_of(stream);
            self.run_until(&[end])?;
        }
        Ok(())
    }

    /// The null stream waits for all blocking streams, and they for it.
    fn keep_order_with_null(&mut self, stream: u64) -> Outcome {
        if !self.streams[&stream].blocking {
            return Ok(());
        }
        if stream != NULL {
            let end = self.end_of(NULL);
            self.push_wait(stream, end);
            return Ok(());
        }
        let blocking: Vec<u64> =
            self.streams.iter().filter(|(id, s)| **id != NULL && s.blocking).map(|(id, _)| *id).collect();
        for other in blocking {
            if let Some(capture) = self.streams[&other].capture {
                self.invalidate(capture);
                return Err(Code::CaptureImplicit.into());
            }
            let end = self.end_of(other);
            self.push_wait(NULL, end);
        }
        Ok(())
    }

    fn push(&mut self, stream: u64, task: Task) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.queue.push_back(task);
            stream.issued += 1;
        }
    }

    fn push_wait(&mut self, stream: u64, mark: Mark) {
        if mark.stream != stream && !self.is_done(mark) {
            self.push(stream, Task::Wait(mark));
        }
    }

    /// The point behind all work of a stream so far.
    pub fn end_of(&self, stream: u64) -> Mark {
        Mark { stream, issued: self.streams.get(&stream).map_or(0, |s| s.issued) }
    }

    /// A stream that is gone has done its work.
    pub fn is_done(&self, mark: Mark) -> bool {
        self.streams.get(&mark.stream).is_none_or(|stream| stream.done >= mark.issued)
    }

    /// Lets what follows in a stream wait for an event.
    pub fn wait_event(&mut self, stream: u64, event: u64) -> Outcome {
        let capture = self.stream(stream)?.capture;
        let event = self.event(event)?;
        match (event.captured.clone(), event.mark, capture) {
            (Some((id, nodes)), _, _) => self.join_capture(stream, id, nodes),
            (None, Some(_), Some(id)) => {
                self.invalidate(id);
                Err(Code::CaptureIsolation.into())
            }
            (None, Some(mark), None) => {
                self.push_wait(stream, mark);
                Ok(())
            }
            // An event that was never recorded is done.
            (None, None, _) => Ok(()),
        }
    }

    /// Records an event behind a stream's work so far.
    pub fn record_event(&mut self, event: u64, stream: u64) -> Outcome {
        let capture = self.stream(stream)?.capture;
        let mark = self.end_of(stream);
        let captured = match capture {
            Some(id) => Some((id, self.tails(id, stream)?)),
            None => None,
        };
        let event_state = self.event(event)?;
        event_state.recorded += 1;
        event_state.time = None;
        event_state.mark = captured.is_none().then_some(mark);
        event_state.captured = captured;
        let recorded = event_state.recorded;
        if capture.is_none() {
            self.push(stream, Task::Record(event, recorded));
        }
        Ok(())
    }

    /// Milliseconds of the host between two events. They say nothing about a GPU.
    pub fn elapsed(&mut self, start: u64, end: u64) -> Outcome<f32> {
        let mut times = [Instant::now(); 2];
        for (time, event) in times.iter_mut().zip([start, end]) {
            let event = self.event(event)?;
            if event.mark.is_none() {
                return Err(Code::InvalidHandle.into());
            }
            *time = event.time.ok_or(Code::NotReady)?;
        }
        Ok(times[1].saturating_duration_since(times[0]).as_secs_f32() * 1e3)
    }

    /// Runs until all these points are passed.
    pub fn run_until(&mut self, marks: &[Mark]) -> Outcome {
        while let Some(&mark) = marks.iter().find(|mark| !self.is_done(**mark)) {
            let stream = if self.order == 0 { self.needed(mark) } else { self.any_ready() };
            self.step(stream)?;
        }
        Ok(())
    }

    /// Runs everything.
    pub fn run_all(&mut self) -> Outcome {
        let ends: Vec<Mark> = self.streams.keys().map(|stream| self.end_of(*stream)).collect();
        self.run_until(&ends)
    }

    /// Runs one task, so that a program which asks again and again whether work is done gets an end.
    pub fn run_a_little(&mut self, mark: Mark) -> Outcome<bool> {
        if !self.is_done(mark) {
            let stream = self.needed(mark);
            self.step(stream)?;
        }
        Ok(self.is_done(mark))
    }

    /// The stream whose next task has to run before `mark` can be passed. A wait leads to a point that was issued before it,
    /// so this ends.
    fn needed(&self, mark: Mark) -> u64 {
        let mut stream = mark.stream;
        while let Some(Task::Wait(other)) = self.streams[&stream].queue.front() {
            if self.is_done(*other) {
                break;
            }
            stream = other.stream;
        }
        stream
    }

    /// A stream that the seed picks among those that can go on.
    fn any_ready(&mut self) -> u64 {
        let ready = |stream: &Stream| match stream.queue.front() {
            None => false,
            Some(Task::Wait(mark)) => self.is_done(*mark),
            Some(_) => true,
        };
        let ready: Vec<u64> = self.streams.iter().filter(|(_, stream)| ready(stream)).map(|(id, _)| *id).collect();
        ready[self.decide(ready.len())]
    }

    /// Runs the next task of a stream. A fault breaks the context.
    fn step(&mut self, stream: u64) -> Outcome {
        let Some(task) = self.streams.get_mut(&stream).and_then(|stream| stream.queue.pop_front()) else {
            return Ok(());
        };
        match task {
            Task::Wait(_) => {}
            Task::Record(event, recorded) => {
                if let Some(event) = self.events.get_mut(&event).filter(|event| event.recorded == recorded) {
                    event.time = Some(Instant::now());
                }
            }
            Task::Work(work) => self.perform(&work).map_err(|failure| self.break_context(failure))?,
        }
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.done += 1;
        }
        Ok(())
    }

    /// No call that would run more work gets past a broken context.
    fn break_context(&mut self, failure: Failure) -> Failure {
        eprintln!("emulated CUDA device: {}", if failure.why.is_empty() { "work failed" } else { &failure.why });
        self.broken = Some(failure.clone());
        failure
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
