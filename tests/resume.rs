//! Is a run exact? The real program, killed with SIGKILL at many moments and started again by the same command, ends with the bits of the run
//! that nobody touched; and the number of threads changes nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// Kills the run after each of these delays in turn, each time resuming, and then lets it end. Returns its outcome, and how many of the kills hit a
/// run that was under way and had saved before.
fn killed(name: &str, task: &str, delays: &[Duration], more: &[&str]) -> ((u32, String, String), usize) {
    let logdir = directory(name);
    let mut kills = 0;
    for &delay in delays {
        let mut child = train(&logdir, task, more).spawn().unwrap();
        std::thread::sleep(delay);
        let under_way = child.try_wait().unwrap().is_none();
        let _ = child.kill();
        child.wait().unwrap();
        let steps = checkpoint::load(&logdir).unwrap().map_or(0, |saved| saved.state["steps"].as_u64().unwrap());
        kills += usize::from(under_way && steps > 200);
    }
    run(&logdir, task, more);
    (outcome(&logdir), kills)
}

/// Runs unbroken, then killed at these fractions of the time that took; at least `enough` of the kills must have hit training.
fn broken_and_unbroken(name: &str, task: &str, plans: &[&[f64]], enough: usize, more: &[&str]) {
    let unbroken = directory(name);
    let begun = Instant::now();
    run(&unbroken, task, more);
    let whole = begun.elapsed();
    let want = outcome(&unbroken);
    let mut hits = 0;
    for (i, fractions) in plans.iter().enumerate() {
        let delays: Vec<Duration> = fractions.iter().map(|&f| whole.mul_f64(f)).collect();
        let (got, kills) = killed(&format!("{name}-killed-{i}"), task, &delays, more);
        assert!(got == want, "{name}, killed at {fractions:?} of the run: the outcome differs");
        hits += kills;
    }
    assert!(hits >= enough, "{name}: only {hits} kills hit a run that had trained and saved");
}

#[test]
fn a_killed_run_ends_with_the_bits_of_the_unbroken_one() {
    // Moments in prefill, training, evaluation and saving; what they hit differs from run to run, the outcome never does.
    let plans: &[&[f64]] = &[&[0.1], &[0.4], &[0.6], &[0.8], &[0.3, 0.3, 0.3], &[0.5, 0.25, 0.2]];
    broken_and_unbroken("gridworld", "MiniGrid-DoorKey-5x5-v0", plans, 3, &["--steps", "4000"]);
}

#[test]
fn continuous_actions_resume_exactly_too() {
    let more =
        [["--set", "time_limit=40"], ["--steps", "4000"], ["--set", "observation=vector"], ["--set", "video_every=0"]];
    broken_and_unbroken("pendulum", "Pendulum-v1", &[&[0.4], &[0.7]], 1, more.as_flattened());
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

/// An episode is lost that only the newest checkpoint names: the run goes on from the one before, and the newest is out of the way.
#[test]
fn a_checkpoint_without_its_episodes_is_set_aside() {
    let logdir = directory("unusable");
    let more = ["--steps", "1200", "--set", "save_every=200", "--set", "time_limit=20"];
    run(&logdir, "Simple-10x10", &more);
    let [older, newest] = checkpoint::generations(&logdir).unwrap()[..] else { panic!("two are kept") };
    let names = |generation| -> Vec<String> {
        let state = checkpoint::load_generation(&logdir, generation).unwrap().state;
        let episodes = state["replay"]["episodes"].as_array().expect("a list").iter();
        episodes.map(|e| e["file"].as_str().expect("a name").to_string()).collect()
    };
    let lost =
        names(newest).into_iter().find(|name| !names(older).contains(name)).expect("an episode ended in between");
    std::fs::remove_file(logdir.join("episodes").join(lost)).unwrap();
    run(&logdir, "Simple-10x10", &more);
    assert_eq!(checkpoint::generations(&logdir).unwrap(), [older, newest]);
    assert!(logdir.join(format!("checkpoint/{newest:012}.unusable1")).exists());
}

/// Random play lasts until an episode can be learned from, here far beyond prefill.
#[test]
fn chunks_within_wait_for_the_first_episode() {
    let logdir = directory("within");
    // Episodes of Pendulum-v1 have 200 steps, 800 of four environments.
    let more = [["--steps", "1000"], ["--set", "chunks=within"], ["--set", "video_every=0"], ["--set", "eval_every=0"]];
    run(&logdir, "Pendulum-v1", more.as_flattened());
    let updates = checkpoint::load(&logdir).unwrap().expect("it was saved").state["learner"]["updates"].as_u64();
    assert!(updates.is_some_and(|n| n > 0), "{updates:?}");
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

/// A plan of the expert is under way when a run stops: the rest of it is followed when the run goes on.
#[test]
fn a_plan_that_is_under_way_goes_on() {
    let [whole, parts] = ["plan_whole", "plan_parts"].map(directory);
    let more = |steps| ["--steps", steps, "--set", "expert_episodes=100"];
    run(&whole, "Simple-10x10", &more("600"));
    for steps in ["230", "302", "600"] {
        run(&parts, "Simple-10x10", &more(steps));
        let collector = checkpoint::load(&parts).unwrap().expect("it was saved").state["collector"].clone();
        let plans = collector["plans"].as_array().expect("a list of plans");
        assert!(plans.iter().any(|plan| !plan.as_array().expect("a plan").is_empty()), "{collector}");
    }
    assert_eq!(outcome(&whole), outcome(&parts));
}
