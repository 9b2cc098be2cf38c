//! Does the profile tell the truth: is every nanosecond counted once, every layer named, and no number changed by looking?

use std::collections::BTreeSet;
use std::sync::Arc;

use dreamer_fast::config::{Config, Request, resolve};
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::model::GROUPS;
use dreamer_fast::run::profile::{Part, Pass, Profile, Subject, profile, trace};
use serde_json::Value;

/// The tiny preset of a gridworld, with regions that are cut into pieces.
fn settings() -> Config {
    let request = Request { preset: Some("debug".into()), set: vec!["batch_size=16".into()], ..Request::default() };
    resolve(&request).unwrap().config
}

fn subject(threads: usize) -> Subject {
    Subject::run(&settings(), &Arc::new(Pool::new(threads).unwrap())).unwrap()
}

fn profiled(threads: usize, updates: usize) -> (Profile, Subject) {
    let mut subject = subject(threads);
    (profile(&mut subject, updates).unwrap(), subject)
}

/// Values and moments.
fn bits(subject: &Subject) -> Vec<u32> {
    let params = subject.params();
    [&params.value, &params.adam_m, &params.adam_v].iter().flat_map(|arena| arena.all()).map(|x| x.to_bits()).collect()
}

#[test]
fn the_shares_add_up_and_nothing_is_dropped() {
    for threads in [1, 2] {
        let (profile, _) = profiled(threads, 3);
        assert_eq!(profile.dropped, 0);
        let all: f64 = profile.parts.iter().map(|(_, time)| time).sum();
        let share = all / (threads as f64 * profile.wall);
        assert!((share - 1.0).abs() < 1e-6, "{threads} threads: {share}, {:?}", profile.parts);
        let calls: f64 = profile.calls.iter().map(|(_, tally)| tally.nanoseconds).sum();
        let part = |part: Part| profile.parts.iter().find(|(p, _)| *p == part).unwrap().1;
        assert!((calls / part(Part::Calls) - 1.0).abs() < 1e-6);
        for worked in [Part::Calls, Part::Pack, Part::Clear, Part::Batch, Part::Norms, Part::Optimizer] {
            assert!(part(worked) > 0.0, "{threads} threads: no {worked:?}");
        }
        if threads == 1 {
            assert_eq!(part(Part::WaitingForOne), 0.0, "a single worker waits for nobody");
        }
        // Every piece of every step ran once in each update.
        for (label, tally) in &profile.calls {
            assert_eq!(tally.pieces, label.pieces as f64, "{label:?}");
        }
    }
}

#[test]
fn every_layer_appears_by_its_dotted_name() {
    let (profile, subject) = profiled(2, 1);
    let layout = subject.model().layout();
    let names = |pass: Pass| -> BTreeSet<&str> {
        profile.calls.iter().filter(|(label, _)| label.pass == pass).map(|(label, _)| label.name.as_str()).collect()
    };
    let (forward, weights) = (names(Pass::Forward), names(Pass::Weights));
    let mut layers = 0;
    for entry in GROUPS.iter().flat_map(|group| layout.group_entries(group)) {
        let layer = entry.name.rsplit_once('.').unwrap().0;
        assert!(forward.contains(layer), "no call reads {}", entry.name);
        assert!(weights.contains(layer), "no gradient of {}", entry.name);
        layers += 1;
    }
    assert!(layers > 20, "{layers} parameters");
    assert!(forward.contains("observe.gru_cell") && forward.contains("imagine.gru_cell"), "{forward:?}");
    // The scans: a call of each op in each time step.
    let c = &subject.model().config;
    let [observe, imagine] = &profile.rollouts[..] else { panic!("two rollouts") };
    assert_eq!((observe.steps, observe.rows), (c.batch_length, c.batch_size));
    assert_eq!(imagine.steps, c.horizon);
    for rollout in [observe, imagine] {
        let d = rollout.forward;
        assert!(d.calls >= 6.0 && d.linear > 0.0 && d.linear < d.nanoseconds && d.flops > 0.0, "{rollout:?}");
        assert!(rollout.backward.calls > 0.0, "{rollout:?}");
    }
}

#[test]
fn the_trace_is_json_with_a_lane_for_every_worker() {
    let (profile, mut subject) = profiled(2, 1);
    let text = trace(&profile, &subject.labels());
    let json: Value = serde_json::from_str(&text).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let complete: Vec<&Value> = events.iter().filter(|e| e["ph"] == "X").collect();
    let sections = 3;
    assert_eq!(complete.len(), profile.last.0.events.len() + sections);
    for event in &complete {
        assert!(event["ts"].as_f64().unwrap() >= 0.0 && event["dur"].as_f64().unwrap() >= 0.0, "{event}");
        assert!(event["tid"].as_u64().unwrap() <= 2 && event["name"].is_string(), "{event}");
    }
    let named = |name: &str, kind: &str| {
        let found = complete.iter().find(|e| e["name"] == name && e["cat"] == kind);
        found.unwrap_or_else(|| panic!("no event {name} of kind {kind}"))
    };
    assert!(named("linear actor.h0", "forward")["args"]["flops"].as_f64().unwrap() > 0.0);
    assert!(named("gru_cell imagine.gru_cell", "forward")["args"]["rows"].as_u64().unwrap() > 0);
    assert!(named("linear rssm.gru", "weights")["args"]["flops"].as_f64().unwrap() > 0.0);
    assert!(named("optimizer", "section")["dur"].as_f64().unwrap() > 0.0);
    let lanes = events.iter().filter(|e| e["ph"] == "M").count();
    assert_eq!(lanes, 3, "two workers and the caller");
}

#[test]
fn looking_changes_no_bit() {
    let (_, recorded) = profiled(2, 2);
    let mut plain = subject(1);
    let updates = recorded.updates();
    for _ in 0..updates {
        plain.update().unwrap();
    }
    assert!(bits(&recorded) == bits(&plain), "after {updates} updates");
    plain.update().unwrap();
    assert!(bits(&recorded) != bits(&plain), "an update changes nothing");
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut subject = subject(1);
    subject.step().plan.record();
    subject.update().unwrap();
    let one = subject.step().plan.recorded();
    assert_eq!(one.dropped, 0);
    for _ in 0..2 {
        subject.update().unwrap();
    }
    let two = subject.step().plan.recorded();
    assert!(two.dropped > 0);
    assert_eq!(two.events.len() + two.dropped, 2 * one.events.len());
    // A look makes room again.
    subject.update().unwrap();
    assert_eq!(subject.step().plan.recorded().dropped, 0);
}
