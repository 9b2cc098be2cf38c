//! Does a study survive what happens to it: kills, failures, changes of the plan? The real program, with trainings of seconds.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use dreamer_fast::base::files::Lock;
use dreamer_fast::config::PRESETS;
use dreamer_fast::run::study::plan::Plan;
use serde_json::{Value, json};

/// A folder with a plan, emptied first.
struct Study(PathBuf);

impl Study {
    fn new(name: &str, plan: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("study").join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let study = Study(path);
        study.write(plan);
        study
    }

    fn write(&self, plan: &str) {
        std::fs::write(self.0.join("plan.toml"), plan).unwrap();
    }

    fn out(&self) -> PathBuf {
        self.0.join("out")
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dreamer-fast"));
        command.arg("study").arg("--plan").arg(self.0.join("plan.toml")).arg("--out").arg(self.out());
        command.args(["--cores", "2"]).args(more);
        command
    }

    /// Exit code and standard error.
    fn run(&self, more: &[&str]) -> (Option<i32>, String) {
        let Output { status, stderr, .. } = self.command(more).output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    }

    fn record(&self, cell: &str) -> Option<String> {
        std::fs::read_to_string(self.out().join("cells").join(format!("{cell}.json"))).ok()
    }

    fn report(&self) -> String {
        std::fs::read_to_string(self.out().join("report.html")).unwrap()
    }
}

/// One task and one preset, with these seeds and settings.
fn plan(steps: u32, seeds: &str, set: &str) -> String {
    format!(
        "about = \"A trial.\"\nepisodes = 4\n[tasks.empty]\nid = \"MiniGrid-Empty-5x5-v0\"\nsteps = {steps}\n\
         set = {{ {set} }}\n[[cells]]\npresets = [\"debug\"]\ntasks = [\"empty\"]\nseeds = {seeds}\n"
    )
}

const QUICK: &str = "eval_every = 100, eval_episodes = 2, video_every = 0";

#[test]
fn what_is_finished_is_not_run_again_and_a_changed_plan_runs_what_is_missing() {
    let study = Study::new("changes", &plan(300, "[0]", QUICK));
    let (code, text) = study.run(&[]);
    assert_eq!(code, Some(0), "{text}");
    let first = study.record("empty-debug-seed0").unwrap();
    for part in
        ["\"checksum\"", "\"shortest_path\": 5.0", "\"random\"", "\"curve\"", "dreamer-fast train --preset debug"]
    {
        assert!(first.contains(part), "{part} is not in {first}");
    }
    let report = study.report();
    assert!(report.contains("<svg") && report.contains("data:image/png;base64,") && report.contains("1 of 1 cells"));
    for outside in ["http:", "https:", "<script", "<link", "src=\"/"] {
        // The name space of SVG is a name, not an address that is looked up.
        assert!(!report.replace("http://www.w3.org/2000/svg", "").contains(outside), "{outside} in the report");
    }

    // One seed more: only that one runs.
    study.write(&plan(300, "[0, 1]", QUICK));
    let (code, text) = study.run(&[]);
    assert!(code == Some(0) && text.contains("2 cells, 1 of them finished"), "{text}");
    assert!(!text.contains("empty-debug-seed0") && study.record("empty-debug-seed1").is_some(), "{text}");
    assert_eq!(study.record("empty-debug-seed0").unwrap(), first);

    // Another model: both run anew, and the runs that were there are set aside.
    study.write(&plan(300, "[0, 1]", &format!("{QUICK}, deter_size = 12")));
    let (code, text) = study.run(&["--only", "empty-debug-seed0"]);
    assert!(code == Some(0) && text.contains("empty-debug-seed0.before1"), "{text}");
    assert!(study.out().join("runs/empty-debug-seed0.before1/config.toml").exists());
    assert_ne!(study.record("empty-debug-seed0").unwrap(), first);

    // More steps: the run goes on from where it was.
    study.write(&plan(400, "[0]", &format!("{QUICK}, deter_size = 12")));
    let (code, text) = study.run(&[]);
    assert!(code == Some(0) && text.contains("resuming at step 300"), "{text}");

    // Fewer: what was trained for longer is not taken for it.
    study.write(&plan(300, "[0]", &format!("{QUICK}, deter_size = 12")));
    let (code, text) = study.run(&[]);
    assert!(code == Some(0) && text.contains("empty-debug-seed0.before2"), "{text}");
    assert!(study.record("empty-debug-seed0").unwrap().contains("\"steps\": 300"));

    let (code, text) = study.run(&["--only", "no-such-cell"]);
    assert!(code == Some(2) && text.contains("no-such-cell"), "{text}");
}

/// Empty-Random-5x5 has 32 starts, of which 8 are kept from training.
#[test]
fn a_task_with_few_layouts_can_be_judged_by_all_of_them() {
    let few = plan(300, "[0]", &format!("{QUICK}, time_limit = 20")).replace("Empty-5x5", "Empty-Random-5x5");
    let all = few.replace("time_limit = 20", "time_limit = 20, eval_layouts = \"all\"");
    let study = Study::new("few", &few.replace("episodes = 4", "episodes = 400"));
    let cell = "empty-debug-seed0";
    assert_eq!(study.run(&[]).0, Some(0));
    let unseen: Value = serde_json::from_str(&study.record(cell).unwrap()).unwrap();
    assert_eq!((&unseen["layouts"], &unseen["unseen"], &unseen["on_unseen"]), (&json!(8), &json!(true), &json!(null)));

    // The same run, judged anew.
    study.write(&all.replace("episodes = 4", "episodes = 400"));
    assert_eq!(study.run(&[]).0, Some(0));
    let all: Value = serde_json::from_str(&study.record(cell).unwrap()).unwrap();
    assert_eq!((&all["layouts"], &all["unseen"]), (&json!(32), &json!(false)));
    for key in ["layouts", "greedy", "shortest_path"] {
        assert_eq!(all["on_unseen"][key], unseen[key], "{key}");
    }
    assert!(all["greedy"] != unseen["greedy"] && all["shortest_path"] != unseen["shortest_path"]);

    // And by hand.
    let of = |layouts: &str, more: &[&str]| -> Value {
        let run = study.out().join("runs").join(cell);
        let mut command = Command::new(env!("CARGO_BIN_EXE_dreamer-fast"));
        command.args(["eval", "--json", "--episodes", "400", "--layouts", layouts, "--logdir"]).arg(run).args(more);
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
    };
    for (layouts, record) in [("unseen", &unseen), ("all", &all)] {
        let scores = of(layouts, &[]);
        assert_eq!((&scores["layouts"], &scores["unseen"]), (&record["layouts"], &record["unseen"]));
        assert_eq!(scores["greedy"]["return"]["mean"], record["greedy"]["return"]);
    }

    // An agent that forgets after more steps than an episode has forgets nothing; one that forgets at every step plays otherwise.
    let (whole, late, at_once) = (of("all", &[]), of("all", &["--forget", "1000"]), of("all", &["--forget", "1"]));
    assert_eq!((&whole["greedy"], &whole["sampled"]), (&late["greedy"], &late["sampled"]));
    assert_ne!(whole["sampled"], at_once["sampled"]);
    assert_eq!(whole, of("all", &["--threads", "3"]), "other threads, other results");
}

#[test]
fn a_killed_study_leaves_no_orphan_and_goes_on() {
    let set = format!("{QUICK}, save_every = 200");
    // Far more steps than either run makes before both have saved, however unevenly they share the machine.
    let study = Study::new("killed", &plan(10_000_000, "[0, 1]", &set));
    let mut child = study.command(&[]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let runs = ["empty-debug-seed0", "empty-debug-seed1"].map(|cell| study.out().join("runs").join(cell));
    wait_until("both runs have saved", || runs.iter().all(|run| saves(run) > 0));
    assert!(runs.iter().all(|run| Lock::take(run).is_err()), "two runs are under way");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("both runs have ended", || runs.iter().all(|run| Lock::take(run).is_ok()));
    assert!(study.record("empty-debug-seed0").is_none(), "the study was killed before a run was complete");

    // A little further than the run that came furthest.
    let furthest = runs.iter().map(|run| saves(run)).max().unwrap();
    study.write(&plan(200 * furthest + 400, "[0, 1]", &set));
    let (code, text) = study.run(&[]);
    assert_eq!((code, text.matches("resuming at step").count()), (Some(0), 2), "{text}");
    assert!(study.record("empty-debug-seed0").is_some() && study.record("empty-debug-seed1").is_some());
}

/// How often a run has saved: the number of its newest checkpoint, one for every 200 steps.
fn saves(run: &Path) -> u32 {
    let Ok(entries) = std::fs::read_dir(run.join("checkpoint")) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).max().unwrap_or(0)
}

#[test]
fn a_cell_that_fails_says_why_and_stops_no_other() {
    let study = Study::new("fails", &plan(300, "[0, 1]", QUICK));
    std::fs::create_dir_all(study.out().join("runs")).unwrap();
    std::fs::write(study.out().join("runs/empty-debug-seed0"), "in the way").unwrap();
    let (code, text) = study.run(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("empty-debug-seed0: failed.") && text.contains("Something else has that name"), "{text}");
    assert!(study.record("empty-debug-seed0").is_none() && study.record("empty-debug-seed1").is_some());
    assert!(study.report().contains("1 of 2 cells"));
}

#[test]
fn a_plan_that_makes_no_sense_is_refused_by_name() {
    let study = Study::new("refused", &plan(300, "[0]", "horizn = 3"));
    let (code, text) = study.run(&[]);
    assert!(code == Some(2) && text.contains("plan.toml") && text.contains("\"horizon\""), "{text}");
    assert!(!study.out().exists(), "nothing is written before the plan is understood");
}

/// Every plan can be read; where this build has all of its presets, every cell has settings that go together.
#[test]
fn the_plans_that_come_with_the_program_are_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/study/plans");
    let mut cells = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let plan = Plan::load(&path).unwrap();
        let known = |name: &String| PRESETS.iter().any(|preset| preset.name == name);
        if plan.blocks.iter().flat_map(|block| &block.presets).all(known) {
            cells += plan.cells().unwrap_or_else(|error| panic!("{}: {error}", path.display())).len();
        } else {
            println!("skipped {}: this build lacks one of its presets", path.display());
        }
    }
    assert!(cells > 50, "{cells} cells");
}

fn wait_until(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        std::thread::sleep(Duration::from_millis(20));
    }
}
