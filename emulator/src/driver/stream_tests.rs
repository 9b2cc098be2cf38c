//! Does work run in an order that the calls allow, and as late as they allow?

use super::*;
use crate::driver::code::Outcome;
use crate::driver::model::Model;
use crate::driver::work::Host;
use std::sync::Arc;

/// A state with three cells of 4 bytes, all 0, and two streams that keep no order with the null stream.
struct Rig {
    state: State,
    x: u64,
    y: u64,
    z: u64,
    a: u64,
    b: u64,
}

fn rig(order: u64) -> Rig {
    let mut state = State::new(Ok(Model { memory: 1 << 20, ..Model::H100 }));
    state.order = order;
    let x = state.memory.alloc(12).unwrap();
    state.memory.fill(x, 0, 12).unwrap();
    let [a, b] = [state.handle(), state.handle()];
    state.streams.insert(a, Stream::new(false));
    state.streams.insert(b, Stream::new(false));
    Rig { state, x, y: x + 4, z: x + 8, a, b }
}

impl Rig {
    fn write(&mut self, stream: u64, to: u64, value: u8) {
        let from = Host::Taken(vec![value, 0, 0, 0]);
        self.state.issue(stream, Work::Upload { to, from }).unwrap();
    }

    fn copy(&mut self, stream: u64, to: u64, from: u64) {
        self.state.issue(stream, Work::Copy { to, from, bytes: 4 }).unwrap();
    }

    fn event(&mut self) -> u64 {
        let handle = self.state.handle();
        self.state.events.insert(handle, Event::default());
        handle
    }

    /// What follows in `to` waits for what stands in `from`.
    fn order(&mut self, from: u64, to: u64) {
        let event = self.event();
        self.state.record_event(event, from).unwrap();
        self.state.wait_event(to, event).unwrap();
    }

    fn finish(&mut self, stream: u64) -> Outcome {
        let end = self.state.end_of(stream);
        self.state.run_until(&[end])
    }

    fn value(&self, at: u64) -> u8 {
        let mut bytes = [0; 4];
        self.state.memory.read(at, &mut bytes).unwrap();
        bytes[0]
    }
}

#[test]
fn nothing_runs_before_someone_waits_for_it() {
    let mut rig = rig(0);
    rig.write(rig.a, rig.x, 1);
    assert_eq!(rig.value(rig.x), 0);
    rig.finish(rig.b).unwrap();
    assert_eq!(rig.value(rig.x), 0, "waiting for one stream ran another");
    rig.state.run_all().unwrap();
    assert_eq!(rig.value(rig.x), 1);
}

#[test]
fn an_event_orders_two_streams_for_every_seed() {
    for order in 0..20 {
        let mut rig = rig(order);
        rig.write(rig.a, rig.x, 1);
        rig.order(rig.a, rig.b);
        rig.copy(rig.b, rig.y, rig.x);
        rig.finish(rig.b).unwrap();
        assert_eq!(rig.value(rig.y), 1, "order {order}");
    }
}

/// A missing event shows at order 0, and so does the one that is missing in the other direction, by some seed.
#[test]
fn a_missing_event_shows() {
    let mut early = rig(0);
    early.write(early.a, early.x, 1);
    early.copy(early.b, early.y, early.x);
    early.finish(early.b).unwrap();
    assert_eq!(early.value(early.y), 0);

    let late = (1..20).any(|order| {
        let mut rig = rig(order);
        rig.copy(rig.b, rig.y, rig.x);
        rig.write(rig.a, rig.x, 1);
        rig.finish(rig.b).unwrap();
        rig.value(rig.y) == 1
    });
    assert!(late, "no seed lets the write overtake the read");
}

#[test]
fn recording_an_event_again_moves_later_waits_only() {
    let mut rig = rig(0);
    let event = rig.event();
    rig.write(rig.a, rig.x, 1);
    rig.state.record_event(event, rig.a).unwrap();
    rig.state.wait_event(rig.b, event).unwrap();
    rig.write(rig.a, rig.x, 2);
    rig.state.record_event(event, rig.a).unwrap();
    rig.copy(rig.b, rig.y, rig.x);
    rig.finish(rig.b).unwrap();
    assert_eq!(rig.value(rig.y), 1);
    // It moves the next one.
    rig.state.wait_event(rig.b, event).unwrap();
    rig.copy(rig.b, rig.y, rig.x);
    rig.finish(rig.b).unwrap();
    assert_eq!(rig.value(rig.y), 2);
}

#[test]
fn the_null_stream_keeps_order_with_blocking_streams_only() {
    for blocking in [true, false] {
        let mut rig = rig(0);
        rig.state.stream(rig.a).unwrap().blocking = blocking;
        rig.write(rig.a, rig.x, 1);
        rig.copy(NULL, rig.y, rig.x);
        rig.finish(NULL).unwrap();
        assert_eq!(rig.value(rig.y), blocking as u8);
    }
}

#[test]
fn pageable_memory_is_read_by_the_call_and_page_locked_memory_in_its_turn() {
    for pinned in [false, true] {
        let mut rig = rig(0);
        let mut host = vec![1_u8, 0, 0, 0];
        let at = host.as_mut_ptr() as usize;
        if pinned {
            rig.state.pinned.insert(at, std::alloc::Layout::array::<u8>(4).unwrap());
        }
        rig.state.upload(rig.a, rig.x, at, 4).unwrap();
        host[0] = 2;
        rig.finish(rig.a).unwrap();
        assert_eq!(rig.value(rig.x), if pinned { 2 } else { 1 });

        // In the other direction the call waits for a copy to pageable memory.
        rig.write(rig.a, rig.y, 3);
        rig.state.download(rig.a, at, rig.y, 4).unwrap();
        assert_eq!(host[0], if pinned { 2 } else { 3 });
        rig.finish(rig.a).unwrap();
        assert_eq!(host[0], 3);
    }
}

/// Captures x = 1 on a, y = x on b, z = y on a, with an event each way, or without.
fn fork_and_join(rig: &mut Rig, fork: bool) -> Outcome<Arc<crate::driver::capture::Graph>> {
    rig.state.begin_capture(rig.a, 1)?;
    if !fork {
        rig.order(rig.a, rig.b);
    }
    rig.write(rig.a, rig.x, 1);
    if fork {
        rig.order(rig.a, rig.b);
    }
    rig.copy(rig.b, rig.y, rig.x);
    rig.order(rig.b, rig.a);
    rig.copy(rig.a, rig.z, rig.y);
    rig.state.end_capture(rig.a).map(Arc::new)
}

#[test]
fn a_captured_fork_runs_only_when_launched_and_in_order() {
    for order in 0..20 {
        let mut rig = rig(order);
        let graph = fork_and_join(&mut rig, true).unwrap();
        rig.state.run_all().unwrap();
        assert_eq!((graph.nodes.len(), rig.value(rig.z)), (3, 0));
        for _ in 0..2 {
            rig.state.memory.fill(rig.x, 0, 12).unwrap();
            rig.state.issue(rig.a, Work::Graph(graph.clone())).unwrap();
            rig.finish(rig.a).unwrap();
            assert_eq!(rig.value(rig.z), 1, "order {order}");
        }
    }
}

#[test]
fn a_missing_edge_of_a_graph_shows() {
    let mut rig = rig(0);
    let graph = fork_and_join(&mut rig, false).unwrap();
    rig.state.issue(rig.a, Work::Graph(graph)).unwrap();
    rig.finish(rig.a).unwrap();
    assert_eq!(rig.value(rig.z), 0);
}

#[test]
fn impossible_captures_are_refused() {
    let code = |outcome: Outcome| outcome.unwrap_err().code;

    let mut unjoined = rig(0);
    unjoined.state.begin_capture(unjoined.a, 1).unwrap();
    unjoined.order(unjoined.a, unjoined.b);
    unjoined.write(unjoined.b, unjoined.x, 1);
    assert_eq!(code(unjoined.state.end_capture(unjoined.a).map(drop)), Code::CaptureUnjoined);
    // Both streams are free again.
    unjoined.write(unjoined.b, unjoined.x, 2);
    unjoined.finish(unjoined.b).unwrap();
    assert_eq!(unjoined.value(unjoined.x), 2);

    let mut isolated = rig(0);
    let event = isolated.event();
    isolated.state.record_event(event, isolated.b).unwrap();
    isolated.state.begin_capture(isolated.a, 1).unwrap();
    assert_eq!(code(isolated.state.wait_event(isolated.a, event)), Code::CaptureIsolation);
    assert_eq!(isolated.state.capture_status(isolated.a).unwrap(), 2);
    assert_eq!(code(isolated.state.end_capture(isolated.a).map(drop)), Code::CaptureInvalidated);

    let mut waiting = rig(0);
    waiting.state.begin_capture(waiting.a, 1).unwrap();
    assert_eq!(code(waiting.state.refuse_captured(waiting.a)), Code::CaptureUnsupported);
    assert_eq!(code(waiting.state.end_capture(waiting.a).map(drop)), Code::CaptureInvalidated);

    let mut modes = rig(0);
    modes.state.begin_capture(modes.a, 2).unwrap();
    modes.state.refuse_unsafe().unwrap();
    modes.state.end_capture(modes.a).unwrap();
    modes.state.begin_capture(modes.a, 1).unwrap();
    assert_eq!(code(modes.state.refuse_unsafe()), Code::CaptureUnsupported);

    assert_eq!(code(rig(0).state.begin_capture(NULL, 1)), Code::CaptureUnsupported);
}

#[test]
fn a_fault_breaks_the_context_until_it_is_destroyed() {
    let mut rig = rig(0);
    rig.write(rig.a, rig.x + 1000, 1);
    rig.write(rig.a, rig.x, 1);
    let failure = rig.finish(rig.a).unwrap_err();
    assert_eq!(failure.code, Code::IllegalAddress);
    assert!(!failure.why.is_empty());
    assert_eq!(rig.state.broken, Some(failure));
    // What stood behind the fault did not run.
    assert_eq!(rig.value(rig.x), 0);
    rig.state.destroy_context();
    assert_eq!((&rig.state.broken, rig.state.memory.used()), (&None, 0));
}
