//! Does `bench` print what programs read, and are its rates those of its times?

use std::process::Command;

use serde_json::Value;

fn bench(words: &[&str]) -> Value {
    let always = ["bench", "--blocks", "1", "--json"];
    let out = Command::new(env!("CARGO_BIN_EXE_dreamer-fast")).args(always).args(words).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    let line: Value = serde_json::from_str(&text).unwrap();
    for key in ["ms", "min", "max", "n", "threads", "rss_mb"] {
        assert!(line[key].as_f64().is_some(), "{words:?}: no number {key} in {line}");
    }
    for key in ["cpu_ms", "clean"] {
        assert!(line.get(key).is_some(), "{words:?}: no {key} in {line}");
        assert!(!cfg!(target_os = "linux") || line[key].is_number(), "{words:?}: {key} of {line}");
    }
    assert!(number(&line, "min") <= number(&line, "ms") && number(&line, "ms") <= number(&line, "max"), "{line}");
    line
}

fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {line}"))
}

/// Within what four digits after the point allow.
fn near(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 0.02
}

#[test]
fn one_thread_is_timed_by_the_processor() {
    let line = bench(&["--mode", "observe", "--threads", "1"]);
    assert!(near(number(&line, "gflops"), 1e3 * number(&line, "gflop") / number(&line, "ms")), "{line}");
    assert_eq!((line["config"].as_str(), line["mode"].as_str()), (Some("grid"), Some("observe")));
    if cfg!(target_os = "linux") {
        assert_eq!(line["ms"], line["cpu_ms"], "{line}");
        assert!(number(&line, "wall") >= 0.99 * number(&line, "ms"), "{line}");
    }
}

#[test]
fn worlds_and_acting_are_counted_in_steps() {
    for task in ["MiniGrid-Empty-5x5-v0", "Pendulum-v1"] {
        let line = bench(&["--mode", "env", "--task", task, "--threads", "1"]);
        let steps = number(&line, "worlds") * 1024.0;
        assert!(near(number(&line, "steps_per_s_per_core"), 1e3 * steps / number(&line, "ms")), "{line}");
    }
    for words in [&["--preset", "debug", "--batch", "3"][..], &["--config", "grid", "--batch", "3"]] {
        let line = bench(&[&["--mode", "act", "--threads", "1"], words].concat());
        assert!(near(number(&line, "steps_per_s"), 3e6 / number(&line, "us_per_step")), "{line}");
        assert_eq!(line["batch"], 3);
    }
}
