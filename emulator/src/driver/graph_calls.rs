//! Capture and graphs.

use std::ffi::{c_int, c_ulonglong};
use std::sync::Arc;

use super::call::{exports, put};
use super::code::{Code, Outcome};
use super::state::State;
use super::work::Work;

/// The handle of a node is the graph's handle, moved up, plus the node's number.
const NODE_BITS: u32 = 24;

impl State {
    fn instantiate(&mut self, graph: u64) -> Outcome<u64> {
        let graph = self.graphs.get(&graph).ok_or(Code::InvalidHandle)?.clone();
        let handle = self.handle();
        self.execs.insert(handle, graph);
        Ok(handle)
    }
}

exports! {
    Health [cuStreamBeginCapture_v2 cuStreamBeginCapture](stream: u64, mode: c_int) |s| { s.begin_capture(stream, mode) }

    Health [cuStreamEndCapture](stream: u64, graph: *mut u64) |s| {
        let captured = s.end_capture(stream);
        put(graph, 0)?;
        let handle = s.handle();
        s.graphs.insert(handle, Arc::new(captured?));
        put(graph, handle)
    }

    Health [cuStreamIsCapturing](stream: u64, status: *mut c_int) |s| { put(status, s.capture_status(stream)?) }

    Health [cuGraphInstantiateWithFlags](exec: *mut u64, graph: u64, flags: c_ulonglong) |s| { put(exec, s.instantiate(graph)?) }

    // Nothing has to be sent anywhere.
    Health [cuGraphUpload](exec: u64, stream: u64) |s| {
        s.stream(stream)?;
        s.execs.get(&exec).map(drop).ok_or_else(|| Code::InvalidHandle.into())
    }

    Health [cuGraphLaunch](exec: u64, stream: u64) |s| {
        let graph = s.execs.get(&exec).ok_or(Code::InvalidHandle)?.clone();
        s.issue(stream, Work::Graph(graph))
    }

    Health [cuGraphExecDestroy](exec: u64) |s| { s.execs.remove(&exec).map(drop).ok_or_else(|| Code::InvalidHandle.into()) }

    Health [cuGraphDestroy](graph: u64) |s| { s.graphs.remove(&graph).map(drop).ok_or_else(|| Code::InvalidHandle.into()) }

    // Without an array for the nodes, only their number is wanted.
    Health [cuGraphGetNodes](graph: u64, nodes: *mut u64, count: *mut usize) |s| {
        let held = s.graphs.get(&graph).ok_or(Code::InvalidHandle)?.nodes.len();
        if nodes.is_null() {
            return put(count, held);
        }
        let wanted = count.as_ref().copied().ok_or(Code::InvalidValue)?.min(held);
        for node in 0..wanted {
            nodes.add(node).write(graph << NODE_BITS | node as u64);
        }
        put(count, wanted)
    }

    Health [cuGraphNodeGetType](node: u64, node_type: *mut c_int) |s| {
        let graph = s.graphs.get(&(node >> NODE_BITS)).ok_or(Code::InvalidHandle)?;
        let node = graph.nodes.get((node & ((1 << NODE_BITS) - 1)) as usize).ok_or(Code::InvalidHandle)?;
        put(node_type, node.work.node_type())
    }
}
