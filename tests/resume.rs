//! Is a run exact? The real program, killed with SIGKILL at many moments and started again by the same command, ends with the bits of the run
//! that nobody touched; and the number of threads changes nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use dreamer_fast::base::files::crc32;
use dreamer_fast::run::checkpoint;

fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("resume").join(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn train(logdir: &Path, task: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dreamer-fast"));
    command.args(["train", "--preset", "debug", "--task", task, "--logdir"]).arg(logdir).args(more);
    command.args(["--set", "final_eval_episodes=2", "--set", "eval_episodes=2"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn run(logdir: &Path, task: &str, more: &[&str]) {
    let output = train(logdir, task, more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What a finished run leaves: all tensors bit by bit, environments, counters and the stored experience. File names of episodes hold the
/// time of day, so they are left out.
fn outcome(logdir: &Path) -> (u32, String, String) {
    let loaded = checkpoint::load(logdir).unwrap().expect("a finished run has a checkpoint");
    let mut bytes = Vec::new();
    for (name, tensor) in &loaded.tensors {
        bytes.extend(name.as_bytes());
        tensor.values.iter().for_each(|v| bytes.extend(v.to_bits().to_le_bytes()));
    }
    for (name, value) in &loaded.bytes {
        bytes.extend(name.as_bytes());
        bytes.extend(value);
    }
    let mut state = loaded.state.clone();
    for episode in state["replay"]["episodes"].as_array_mut().expect("a manifest lists episodes") {
        let object = episode.as_object_mut().expect("an entry is an object");
        object.remove("file");
    }
    // The two logs are compared line by line below; their lengths depend on how many digits a speed has.
    state["journal"].take();
    let metrics = std::fs::read_to_string(logdir.join("metrics.jsonl")).unwrap();
    let metrics = metrics
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("a line of metrics is JSON");
            line.as_object_mut().expect("an object").remove("fps");
            line.to_string() + "\n"
        })
        .collect();
    (crc32(&bytes), state.to_string(), metrics)
}

/// Kills the run after each of these delays in turn, each time resuming, and then lets it end.
fn killed(name: &str, task: &str, delays: &[u64], more: &[&str]) -> (u32, String, String) {
    let logdir = directory(name);
    let mut kills = 0;
    for &delay in delays {
        let mut child = train(&logdir, task, more).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(kills > 0, "{name}: the run ended before the first kill");
    run(&logdir, task, more);
    outcome(&logdir)
}

#[test]
fn a_killed_run_ends_with_the_bits_of_the_unbroken_one() {
    let task = "MiniGrid-DoorKey-5x5-v0";
    let unbroken = directory("unbroken");
    run(&unbroken, task, &[]);
    let want = outcome(&unbroken);
    // Delays that reach into prefill, training, evaluation and saving; a slower machine is killed earlier in the run.
    for (i, delays) in [&[60][..], &[150], &[300], &[120, 200], &[90, 90, 180, 250]].into_iter().enumerate() {
        let got = killed(&format!("killed-{i}"), task, delays, &[]);
        assert!(got == want, "killed after {delays:?} ms: the outcome differs");
    }
}

#[test]
fn continuous_actions_resume_exactly_too() {
    let more =
        ["--set", "time_limit=40", "--set", "steps=4000", "--set", "observation=vector", "--set", "video_every=0"];
    let unbroken = directory("pendulum");
    run(&unbroken, "Pendulum-v1", &more);
    let got = killed("pendulum-killed", "Pendulum-v1", &[100, 150], &more);
    assert!(got == outcome(&unbroken));
}

#[test]
fn a_run_stopped_by_its_steps_goes_on_as_if_it_had_not_been() {
    let task = "MiniGrid-Empty-Random-5x5-v0";
    let (whole, halves) = (directory("whole"), directory("halves"));
    run(&whole, task, &["--steps", "600"]);
    run(&halves, task, &["--steps", "400"]);
    run(&halves, task, &["--steps", "600"]);
    assert_eq!(outcome(&whole).0, outcome(&halves).0);
}

#[test]
fn one_two_and_four_threads_give_one_hash() {
    let task = "MiniGrid-Empty-Random-5x5-v0";
    let outcomes: Vec<_> = ["1", "2", "4"]
        .map(|threads| {
            let logdir = directory(&format!("threads-{threads}"));
            run(&logdir, task, &["--threads", threads]);
            outcome(&logdir)
        })
        .to_vec();
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0], outcomes[2]);
}

#[test]
fn another_seed_is_another_run() {
    let task = "MiniGrid-Empty-Random-5x5-v0";
    let logdir = directory("seed-0");
    run(&logdir, task, &[]);
    let other = directory("seed-4");
    run(&other, task, &["--seed", "4"]);
    assert_ne!(outcome(&logdir).0, outcome(&other).0);
}
