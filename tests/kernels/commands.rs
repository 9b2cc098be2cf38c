//! The commands on a device, as a user calls them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use dreamer_fast::config::{Request, resolve};
use dreamer_fast::device::Pool;
use dreamer_fast::run::args::Gpu;
use dreamer_fast::run::profile::counters::Counters;
use dreamer_fast::run::profile::emulated::{BUDGET, count, total};
use dreamer_fast::run::world::World;
use serde_json::Value;

use crate::Rig;

/// What a command that ends well prints.
fn run(words: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_dreamer-fast")).args(words).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    text
}

fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("device").join(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// A short run on the emulated device; its checksum of parameters and moments.
fn train(logdir: &Path, steps: &str, more: &[&str]) -> String {
    let always = ["train", "--preset", "debug", "--device", "emulated", "--steps", steps];
    let quick = ["--set", "final_eval_episodes=1", "--set", "eval_every=0", "--set", "video_every=0"];
    let text = run(&[&always[..], &quick, &["--logdir", logdir.to_str().unwrap()], more].concat());
    let line = text.lines().find(|line| line.contains("checksum")).expect("a run ends with its checksum");
    line.split_whitespace().last().unwrap().to_string()
}

/// Acting, checkpoints and the last checksum see what the device computed, and a run that goes on does so with the same bits.
#[test]
fn a_run_on_a_device_is_repeatable_and_resumes() {
    let Some(_rig) = Rig::new() else { return };
    let whole = train(&folder("whole"), "320", &[]);
    let halves = folder("halves");
    assert_ne!(train(&halves, "240", &[]), whole, "80 steps more change something");
    assert_eq!(train(&halves, "320", &[]), whole, "stopped and resumed");
    assert_eq!(train(&folder("eager"), "320", &["--eager"]), whole, "launched kernel by kernel");
}

/// The precision of a run is in its config, and what it trained in before it was stopped it trains in after.
#[test]
fn a_run_on_a_device_keeps_its_precision() {
    let Some(_rig) = Rig::new() else { return };
    let (halves, tf32) = (folder("tf32"), ["--precision", "tf32"]);
    let first = train(&halves, "240", &tf32);
    let stored = std::fs::read_to_string(halves.join("config.toml")).unwrap();
    assert!(stored.contains("precision = \"tf32\""), "{stored}");
    let whole = train(&folder("tf32 whole"), "320", &tf32);
    assert!(first != whole && train(&halves, "320", &tf32) == whole, "stopped and resumed");
    assert_ne!(train(&folder("f32"), "320", &[]), whole, "f32 is another run");
}

/// `auto` says in one line why it takes the CPU, and trains.
#[test]
fn auto_says_why_it_takes_the_cpu() {
    let logdir = folder("auto");
    let words = ["train", "--preset", "debug", "--device", "auto", "--steps", "240", "--set", "final_eval_episodes=1"];
    let mut train = Command::new(env!("CARGO_BIN_EXE_dreamer-fast"));
    // A GPU that there may be is hidden.
    train.args(words).args(["--logdir", logdir.to_str().unwrap()]).env("CUDA_VISIBLE_DEVICES", "");
    let out = train.output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("--device auto")).collect();
    let [line] = lines[..] else { panic!("{said}") };
    let cause = line.strip_prefix("--device auto takes the CPU: ").unwrap_or_else(|| panic!("{line}"));
    assert!(cause.starts_with("NVIDIA's driver was not found") || cause.contains("NO_DEVICE"), "{cause}");
}

#[test]
fn bench_names_its_device() {
    let Some(_rig) = Rig::new() else { return };
    let words = ["bench", "--mode", "observe", "--device", "emulated", "--blocks", "1"];
    let line: Value = serde_json::from_str(&run(&[&words[..], &["--json"]].concat())).unwrap();
    assert!(line["device"].as_str().unwrap().contains("sm_90") && line["emulated"] == true, "{line}");
    assert!(line["ms"].as_f64().unwrap() > 0.0, "{line}");
}

/// The counts of an update are those of its graph, kernel by kernel, and no kernel moves less than it has to.
#[test]
fn a_profile_counts_every_launch() {
    let Some(rig) = Rig::new() else { return };
    let settings = resolve(&Request { preset: Some("debug".into()), ..Request::default() }).unwrap();
    let model = World::new(&settings.config).unwrap().model;
    let pool = Arc::new(Pool::new(1).unwrap());
    let gpu = Gpu { sm_count: 132, bandwidth: 3350.0, l2_mib: 1, l2_bandwidth: None, peak: 67_000.0, launch_us: 0.5 };
    let counted =
        |budget: f64| count(&model, budget, &gpu, &pool, &rig.kernels, rig.context.emulator().unwrap()).unwrap();
    let work = counted(BUDGET);
    assert_eq!(work.sampled, None);
    let launches: f64 = work.counts.values().map(|counters| counters.launches).sum();
    assert_eq!(launches, work.launches as f64);
    assert_eq!(work.counts["adam_update"].launches, 3.0, "one for each group");
    for (name, counters) in &work.counts {
        assert!(counters.moved_bytes() >= counters.ideal_sectors, "{name}");
        assert!(counters.distinct_bytes() > 0.0 && counters.blocks >= counters.launches, "{name}");
        assert!(counters.memory_bytes() <= counters.moved_bytes(), "{name}");
    }
    let sample = counted(0.0);
    assert!(sample.sampled.is_some() && sample.launches == work.launches && sample.counts.len() == work.counts.len());
    for (name, counters) in &work.counts {
        let few = &sample.counts[name];
        assert_eq!((few.launches, few.blocks), (counters.launches, counters.blocks), "{name}");
        let (some, all) = (few.warp_instructions, counters.warp_instructions);
        println!("{name:28} {all:12} warp instructions, {some:12} by a sample");
        assert!(some > 0.5 * all && some < 2.0 * all, "{name}: {some} by a sample, {all} by all blocks");
        // What is accessed is that of all blocks; blocks of the slice take other turns, so that the cache may hold something else for a moment.
        let accesses = |c: &Counters| {
            let Counters {
                global_load_bytes, global_store_bytes, global_requests, global_sectors, ideal_sectors, ..
            } = *c;
            let distinct = [c.minimal_read_bytes, c.minimal_written_bytes];
            ([global_load_bytes, global_store_bytes, global_requests, global_sectors, ideal_sectors], distinct)
        };
        assert_eq!(accesses(few), accesses(counters), "{name}");
        let (some, all) = (few.memory_bytes(), counters.memory_bytes());
        assert!((some - all).abs() <= 0.05 * all + 4096.0, "{name}: {some} bytes at memory, {all} by a whole run");
    }
    let need = total(&work.needs);
    assert!(need.flops > 1e6 && need.bytes > 1e6, "{need:?}");
    let text = run(&["profile", "--device", "emulated", "--preset", "debug", "--sm-count", "108", "--launch-us", "2"]);
    for part in [
        "linear_forward",
        "gru_cell",
        "108 multiprocessors",
        &format!("{} ", work.launches),
        "at memory",
        "no GPU was asked",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
