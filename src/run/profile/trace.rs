//! A profile in the format of Chrome's tracing: one lane for each worker, one for the caller.

use serde_json::{Value, json};

use super::label::{Label, Labels};
use super::{Profile, Sections};
use crate::autodiff::record::{Event, Work};

/// The last update as JSON: an object with `traceEvents`, times in microseconds, one event a line.
pub fn trace(profile: &Profile, labels: &Labels) -> String {
    let (recording, sections) = &profile.last;
    let origin = sections.begun;
    let names = (0..=profile.threads).map(|lane| {
        let name = if lane == profile.threads { "caller".to_string() } else { format!("worker {lane}") };
        json!({ "name": "thread_name", "ph": "M", "pid": 0, "tid": lane, "args": { "name": name } })
    });
    let events = recording.events.iter().map(|event| of_event(event, labels, origin));
    let sections = of_sections(sections, profile.threads);
    let lines: Vec<String> = names.chain(sections).chain(events).map(|event| event.to_string()).collect();
    format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}\n", lines.join(",\n"))
}

/// A complete event: `ph` X.
fn complete(name: &str, kind: &str, lane: usize, start: u64, end: u64, origin: u64, args: Value) -> Value {
    let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    let (ts, dur) = (us(start.saturating_sub(origin)), us(end - start));
    json!({ "name": name, "cat": kind, "ph": "X", "ts": ts, "dur": dur, "pid": 0, "tid": lane, "args": args })
}

fn of_event(event: &Event, labels: &Labels, origin: u64) -> Value {
    let lane = event.lane as usize;
    let whole = |name: &str, args: Value| complete(name, name, lane, event.start, event.end, origin, args);
    let called = |label: &Label, share: f64| {
        let name = if label.op.is_empty() { label.name.clone() } else { format!("{} {}", label.op, label.name) };
        let args = json!({ "rows": event.rows, "flops": (label.flops * share).round() });
        complete(&name, label.pass.name(), lane, event.start, event.end, origin, args)
    };
    match event.work {
        Work::Step { stage, step } => {
            let label = &labels[stage as usize][step as usize];
            called(label, f64::from(event.rows) / label.rows as f64)
        }
        Work::Weights { stage, job } => {
            let label = &labels[stage as usize][job as usize];
            called(label, 1.0 / label.pieces as f64)
        }
        Work::Sums { stage, job } => {
            whole("partial sums", json!({ "layer": labels[stage as usize][job as usize].name }))
        }
        Work::Pack => whole("pack", json!({})),
        Work::Packing => whole("packing", json!({})),
        Work::Clear => whole("clear", json!({})),
        Work::Stage { stage } => whole("stage", json!({ "stage": stage })),
    }
}

/// The sections of the update on the caller's lane; the plan's stages lie within that of the gradients.
fn of_sections(at: &Sections, lane: usize) -> Vec<Value> {
    let section = |name: &str, start: u64, end: u64| complete(name, "section", lane, start, end, at.begun, json!({}));
    vec![
        section("batch", at.begun, at.filled),
        section("gradients", at.filled, at.differentiated),
        section("optimizer", at.differentiated, at.updated),
    ]
}
