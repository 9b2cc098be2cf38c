//! Work recorded into graphs instead of being run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::ThreadId;

use super::code::{Code, Outcome};
use super::state::{NULL, State};
use super::work::Work;

/// A capture under way.
#[derive(Debug)]
pub struct Capture {
    /// The stream on which it began.
    origin: u64,
    /// `CUstreamCaptureMode`: 0 forbids unsafe calls to all threads, 1 to the thread that began it, 2 to none.
    mode: i32,
    thread: ThreadId,
    nodes: Vec<Node>,
    /// For each stream that takes part, the nodes that its next one stands behind.
    tails: BTreeMap<u64, Vec<usize>>,
    invalid: bool,
}

/// A piece of work and the nodes that come before it.
#[derive(Clone, Debug)]
pub struct Node {
    pub work: Work,
    after: Vec<usize>,
}

/// A graph: nodes, each behind those it comes after.
#[derive(Debug)]
pub struct Graph {
    pub nodes: Vec<Node>,
}

impl Graph {
    /// Runs all nodes in an order that their edges allow: of those that are ready, the one that was captured last, or one
    /// that the seed picks.
    pub fn run(self: Arc<Self>, state: &mut State) -> Outcome {
        let mut waits: Vec<usize> = self.nodes.iter().map(|node| node.after.len()).collect();
        let mut followers = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            node.after.iter().for_each(|&before| followers[before].push(index));
        }
        let mut ready: Vec<usize> = (0..waits.len()).filter(|&node| waits[node] == 0).collect();
        while !ready.is_empty() {
            let last = ready.len() - 1;
            let picked = last - state.decide(ready.len());
            let node = ready.remove(picked);
            state.perform(&self.nodes[node].work)?;
            for &next in &followers[node] {
                waits[next] -= 1;
                if waits[next] == 0 {
                    let place = ready.partition_point(|&other| other < next);
                    ready.insert(place, next);
                }
            }
        }
        Ok(())
    }
}

impl State {
    pub fn begin_capture(&mut self, stream: u64, mode: i32) -> Outcome {
        // The null stream cannot be captured.
        if stream == NULL {
            return Err(Code::CaptureUnsupported.into());
        }
        if !(0..=2).contains(&mode) {
            return Err(Code::InvalidValue.into());
        }
        if self.stream(stream)?.capture.is_some() {
            return Err(Code::IllegalState.into());
        }
        let id = self.handle();
        let thread = std::thread::current().id();
        let tails = BTreeMap::from([(stream, Vec::new())]);
        self.captures.insert(id, Capture { origin: stream, mode, thread, nodes: Vec::new(), tails, invalid: false });
        self.stream(stream)?.capture = Some(id);
        Ok(())
    }

    pub fn end_capture(&mut self, stream: u64) -> Outcome<Graph> {
        let id = self.stream(stream)?.capture.ok_or(Code::IllegalState)?;
        let capture = &self.captures[&id];
        if capture.mode != 2 && capture.thread != std::thread::current().id() {
            return Err(Code::CaptureWrongThread.into());
        }
        if capture.origin != stream {
            self.invalidate(id);
            return Err(Code::CaptureUnmatched.into());
        }
        let capture = self.captures.remove(&id).ok_or(Code::IllegalState)?;
        self.streams.values_mut().filter(|stream| stream.capture == Some(id)).for_each(|stream| stream.capture = None);
        if capture.invalid {
            return Err(Code::CaptureInvalidated.into());
        }
        let joined = capture.before(&capture.tails[&stream]);
        if capture.tails.values().flatten().any(|&tail| !joined[tail]) {
            return Err(Code::CaptureUnjoined.into());
        }
        Ok(Graph { nodes: capture.nodes })
    }

    /// `CUstreamCaptureStatus`: 0 none, 1 active, 2 invalidated.
    pub fn capture_status(&mut self, stream: u64) -> Outcome<i32> {
        let capture = self.stream(stream)?.capture;
        Ok(capture.map_or(0, |id| if self.captures[&id].invalid { 2 } else { 1 }))
    }

    pub fn invalidate(&mut self, id: u64) {
        if let Some(capture) = self.captures.get_mut(&id) {
            capture.invalid = true;
        }
    }

    /// The capture of this id, if it can still take nodes.
    fn valid_capture(&mut self, id: u64) -> Outcome<&mut Capture> {
        match self.captures.get_mut(&id) {
            Some(capture) if !capture.invalid => Ok(capture),
            Some(_) => Err(Code::CaptureInvalidated.into()),
            // The capture has ended: its events mean nothing any more.
            None => Err(Code::CapturedEvent.into()),
        }
    }

    /// What a stream's next node would stand behind.
    pub fn tails(&mut self, id: u64, stream: u64) -> Outcome<Vec<usize>> {
        Ok(self.valid_capture(id)?.tails.get(&stream).cloned().unwrap_or_default())
    }

    pub fn record_node(&mut self, stream: u64, work: Work) -> Outcome {
        let id = self.stream(stream)?.capture.ok_or(Code::IllegalState)?;
        let capture = self.valid_capture(id)?;
        let node = capture.nodes.len();
        let after = capture.tails.insert(stream, vec![node]).unwrap_or_default();
        capture.nodes.push(Node { work, after });
        Ok(())
    }

    /// Lets a stream wait for nodes of a capture, and so take part in it.
    pub fn join_capture(&mut self, stream: u64, id: u64, nodes: Vec<usize>) -> Outcome {
        let own = self.stream(stream)?.capture;
        if let Some(own) = own.filter(|own| *own != id) {
            self.invalidate(own);
            self.invalidate(id);
            return Err(Code::CaptureMerge.into());
        }
        let tails = self.valid_capture(id)?.tails.entry(stream).or_default();
        tails.extend(nodes);
        tails.sort_unstable();
        tails.dedup();
        self.stream(stream)?.capture = Some(id);
        Ok(())
    }

    /// A call that would have to wait for a stream cannot be made while that stream is captured.
    pub fn refuse_captured(&mut self, stream: u64) -> Outcome {
        match self.stream(stream)?.capture {
            None => Ok(()),
            Some(id) => {
                self.invalidate(id);
                Err(Code::CaptureUnsupported.into())
            }
        }
    }

    /// A call that may wait for the whole device cannot be made during a capture that forbids it.
    pub fn refuse_unsafe(&mut self) -> Outcome {
        let thread = std::thread::current().id();
        let forbids = |c: &Capture| c.mode == 0 || (c.mode == 1 && c.thread == thread);
        let id = self.captures.iter().find(|(_, capture)| forbids(capture)).map(|(id, _)| *id);
        match id {
            None => Ok(()),
            Some(id) => {
                self.invalidate(id);
                Err(Code::CaptureUnsupported.into())
            }
        }
    }
}

impl Capture {
    /// Which nodes come before these or are among them.
    fn before(&self, nodes: &[usize]) -> Vec<bool> {
        let mut seen = vec![false; self.nodes.len()];
        let mut left = nodes.to_vec();
        while let Some(node) = left.pop() {
            if !std::mem::replace(&mut seen[node], true) {
                left.extend(&self.nodes[node].after);
            }
        }
        seen
    }
}
