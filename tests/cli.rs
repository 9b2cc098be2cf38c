//! Does the program answer a stranger well: help with an example, errors that name the key, exit codes that mean one thing?

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use clap::{CommandFactory, Parser};
use dreamer_fast::cli::{self, Cli};

const COMMANDS: &[&[&str]] = &[
    &["train"],
    &["eval"],
    &["dream"],
    &["diagnose"],
    &["parity"],
    &["gradcheck"],
    &["probes"],
    &["study"],
    &["envs"],
    &["envs", "list"],
    &["envs", "show"],
    &["envs", "rollout"],
    &["explain"],
    &["bench"],
    &["profile"],
];

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dreamer-fast")).args(words).output().unwrap()
}

fn help(words: &[&str]) -> String {
    let out = run(&[words, &["--help"]].concat());
    assert_eq!(out.status.code(), Some(0), "{words:?} --help");
    String::from_utf8(out.stdout).unwrap()
}

/// Runs a command that must end with this code, and gives what it wrote to standard error.
fn refused(code: i32, words: &[&str]) -> String {
    let out = run(words);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(code), "{words:?}: {text}");
    assert!(text.starts_with("error: ") && !text.contains("panicked"), "{words:?}: {text}");
    text
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dreamer-fast-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let rollout = ["envs", "rollout", "--task", "MiniGrid-DoorKey-5x5-v0", "--steps", "5000"];
    for words in [&rollout[..], &["envs", "list"], &["train", "--print-config"], &["explain", "--plan", "train_step"]] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_dreamer-fast"));
        let mut child = program.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), text.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_first_thing_to_type_is_in_the_help() {
    let text = help(&[]);
    assert!(text.contains("Start here:\n  dreamer-fast train\n"), "{text}");
    for words in COMMANDS {
        assert!(text.contains(&format!("\n  {}", words[0])), "{} is not listed", words[0]);
    }
}

#[test]
fn every_help_ends_with_examples_that_are_accepted() {
    for words in COMMANDS.iter().chain([&&[][..]]) {
        let text = help(words);
        let examples: Vec<&str> =
            text.lines().skip_while(|line| !line.starts_with("Example") && *line != "Start here:").collect();
        let examples: Vec<&&str> = examples.iter().filter(|line| line.starts_with("  dreamer-fast ")).collect();
        assert!(!examples.is_empty(), "{words:?}: no example in\n{text}");
        for line in examples {
            let parsed = Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"));
            match parsed.command {
                cli::Command::Train(args) => drop(args.settings.resolve().unwrap()),
                cli::Command::Explain(args) => drop(args.settings.resolve().unwrap()),
                cli::Command::Bench(args) => args.check().unwrap(),
                cli::Command::Profile(args) => drop(args.settings().unwrap()),
                _ => {}
            }
        }
    }
}

#[test]
fn every_flag_says_what_it_does() {
    fn visit(command: &clap::Command) {
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{} of {} has no help", arg.get_id(), command.get_name());
        }
        command.get_subcommands().for_each(visit);
    }
    visit(&Cli::command());
}

#[test]
fn a_wrong_command_line_exits_with_2_and_names_the_nearest() {
    assert!(refused(2, &["trian"]).contains("'train'"));
    assert!(refused(2, &["train", "--step", "5"]).contains("'--steps'"));
    assert!(refused(2, &["train", "--preset", "gridwolrd"]).contains("'gridworld'"));
    assert!(refused(2, &["train", "--device", "gpu"]).contains("cuda"));
    assert!(refused(2, &["eval"]).contains("--logdir"));
    assert!(refused(2, &["eval", "--logdir", "x", "--episodes", "0"]).contains("above 0"));
    assert!(refused(2, &["dream", "--logdir", "x", "--out", "x.gif", "--threads", "0"]).contains("above 0"));
    assert!(refused(2, &["explain"]).contains("--plan"));
    assert!(refused(2, &["explain", "--plan", "train_step", "--op", "linear"]).contains("cannot be used"));
    assert!(refused(2, &["parity"]).contains("safetensors"));
    assert!(refused(2, &["envs", "rollout"]).contains("--task"));
    assert!(refused(2, &["bench", "--mode", "observe", "--task", "Pendulum-v1"]).contains("--mode env or --mode act"));
    assert!(refused(2, &["bench", "--mode", "env", "--config", "grid"]).contains("--config"));
    assert!(refused(2, &["profile", "--config", "grid", "--task", "Pendulum-v1"]).contains("cannot be used"));
    assert!(refused(2, &["profile", "--set", "horizn=5"]).contains("horizon"));
    assert!(refused(2, &["probes", "--set", "horizn=5"]).contains("horizon"));
    assert!(refused(2, &["study", "--plan", "nowhere.toml", "--out", "nowhere"]).contains("nowhere.toml"));
    assert!(refused(2, &["gradcheck", "--op", "gru_cel"]).contains("gru_cell"));
    assert!(refused(2, &["gradcheck", "--op", "gru_cell", "--precision", "f32"]).contains("--device cuda"));
    assert!(refused(2, &["gradcheck", "--precision", "f64"]).contains("tf32"));
    assert!(refused(2, &["explain", "--op", "gru_cel"]).contains("gru_cell"));
    assert!(refused(2, &["explain", "--plan", "train_stp"]).contains("train_step"));
    let typo = "MiniGrid-Doorkey-5x5";
    for words in [
        &["envs", "show"][..],
        &["envs", "rollout", "--task"],
        &["envs", "search", "--task"],
        &["bench", "--mode", "env", "--task"],
        &["bench", "--mode", "act", "--task"],
        &["profile", "--task"],
        &["explain", "--plan", "train_step", "--task"],
    ] {
        assert!(refused(2, &[words, &[typo]].concat()).contains("MiniGrid-DoorKey-5x5-v0"), "{words:?}");
    }
}

#[test]
fn a_wrong_setting_exits_with_2_before_anything_is_written() {
    let folder = Folder::new("wrong");
    let logdir = folder.0.join("run");
    let logdir = logdir.to_str().unwrap();
    for (words, expected) in [
        (&["--set", "horizn=5"][..], "there is no key \"horizn\"; did you mean \"horizon\"?"),
        (&["--set", "horizon"], "write it as key=value"),
        (&["--set", "horizon=five"], "--set horizon=five: horizon takes a whole number from 2 to 1000, not \"five\""),
        (&["--set", "batch_length=1"], "from 2 to 65536"),
        (&["--steps", "many"], "--steps many: steps takes a whole number"),
        (&["--steps", "-5"], "--steps -5: steps takes a whole number"),
        (&["--seed", "1.5"], "--seed 1.5: seed takes a whole number"),
        (&["--set", "train_every=1"], "train_every = 1"),
        (&["--config", "nowhere.toml"], "nowhere.toml"),
        // What only the world or the model knows to be wrong.
        (&["--task", "MiniGrid-Doorkey-5x5"], "did you mean MiniGrid-DoorKey-5x5-v0?"),
        (&["--set", "imag_starts=17"], "imag_starts=17 is not a multiple of batch_size"),
        (
            &["--set", "latent=gaussian", "--set", "latent_barrier=0.1"],
            "latent_barrier is for the classes of latent=categorical",
        ),
        (&["--set", "twohot_bins=4"], "twohot_bins=4 is even"),
        (&["--task", "Pendulum-v1", "--set", "actor_grad=reinforce"], "actor_grad=reinforce is for discrete actions"),
        (&["--task", "MiniGrid-Dynamic-Obstacles-5x5-v0", "--set", "expert_episodes=1"], "no shortest plan is known"),
        (&["--set", "batch_size=1e12"], "from 1 to 65536"),
    ] {
        let text = refused(2, &[&["train", "--logdir", logdir], words].concat());
        assert!(text.contains(expected), "{words:?}: {text}");
    }
    assert!(!folder.0.join("run").exists());
}

/// No machine has a hundred GPUs: either there is no driver, or it does not know the device.
#[test]
fn a_device_that_is_not_there_is_one_sentence() {
    let folder = Folder::new("no_device");
    let logdir = folder.0.join("run");
    let text = refused(1, &["train", "--preset", "debug", "--device", "cuda:99", "--logdir", logdir.to_str().unwrap()]);
    assert!(["driver", "cuda:99"].iter().any(|word| text.contains(word)), "{text}");
    assert!(!logdir.exists(), "nothing is written");
    refused(1, &["bench", "--device", "cuda:99"]);
    let tf32 = "--precision tf32: the CPU has no such products: write f32 or bf16, or take --device cuda.";
    let train = ["train", "--preset", "debug", "--device", "cpu", "--precision", "tf32", "--logdir"];
    assert!(refused(1, &[&train[..], &[logdir.to_str().unwrap()]].concat()).contains(tf32));
    assert!(refused(1, &["bench", "--precision", "tf32"]).contains(tf32));
    refused(2, &["profile", "--set", "precision=tf32"]);
    refused(2, &["profile", "--config", "grid", "--precision", "tf32"]);
    refused(2, &["bench", "--mode", "env", "--device", "cuda"]);
    refused(2, &["profile", "--device", "emulated", "--trace", "trace.json"]);
    refused(2, &["parity", "--device", "gpu", "tests/golden/tiny.safetensors"]);
}

#[test]
fn a_failure_of_the_world_exits_with_1() {
    refused(1, &["eval", "--logdir", "/nowhere/at/all"]);
    refused(1, &["parity", "/nowhere/at/all.safetensors"]);
}

#[test]
fn print_config_lists_every_key_with_meaning_value_and_origin() {
    let folder = Folder::new("print");
    let logdir = folder.0.to_str().unwrap();
    let out = run(&["train", "--logdir", logdir, "--steps", "1e5", "--set", "horizon=9", "--print-config"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0));
    for line in ["steps = 100000  # --steps", "horizon = 9  # --set", "deter_size = 128  # preset gridworld"] {
        assert!(text.lines().any(|l| l == line), "no line {line:?}");
    }
    for key in dreamer_fast::config::KEYS {
        assert!(text.contains(&format!("\n{} = ", key.name)), "{}", key.name);
    }
}

#[test]
fn a_logdir_refuses_another_run_and_allows_a_longer_one() {
    let folder = Folder::new("resume");
    let logdir = folder.0.to_str().unwrap();
    let stored = run(&["train", "--print-config", "--logdir", logdir]).stdout;
    std::fs::write(folder.0.join("config.toml"), stored).unwrap();
    std::fs::create_dir_all(folder.0.join("checkpoint/000000000001")).unwrap();

    let text = refused(2, &["train", "--logdir", logdir, "--seed", "1", "--set", "deter_size=64"]);
    for expected in [logdir, "seed: stored 0, asked for 1", "deter_size: stored 128, asked for 64", "another --logdir"]
    {
        assert!(text.contains(expected), "{text}");
    }
    // Printing settings needs no place to write to.
    assert_eq!(run(&["train", "--logdir", logdir, "--seed", "1", "--print-config"]).status.code(), Some(0));
    let longer = ["train", "--logdir", logdir, "--steps", "1e6", "--threads", "1", "--device", "cpu"];
    assert!(refused(1, &longer).contains("no checkpoint in"), "it is gone on from, as far as it can be");
}

#[test]
fn a_logdir_with_settings_alone_takes_other_ones() {
    let folder = Folder::new("alone");
    let logdir = folder.0.to_str().unwrap();
    std::fs::write(folder.0.join("config.toml"), "preset = \"debug\"\nseed = 7\n").unwrap();
    let begin = ["train", "--preset", "debug", "--logdir", logdir, "--device", "cuda:99"];
    assert!(!refused(1, &begin).contains("stored"), "only the device is missing");
    std::fs::create_dir(folder.0.join("episodes")).unwrap();
    std::fs::write(folder.0.join("episodes/a.npz"), "").unwrap();
    assert!(refused(2, &begin).contains("seed: stored 7, asked for 0"));
}

#[test]
fn files_without_the_settings_that_made_them_are_left_alone() {
    for (name, file) in
        [("metrics", "metrics.jsonl"), ("episode", "episodes/a.npz"), ("saved", "checkpoint/000000000001/a")]
    {
        let folder = Folder::new(name);
        let path = folder.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "not ours").unwrap();
        let text = refused(2, &["train", "--preset", "debug", "--logdir", folder.0.to_str().unwrap()]);
        assert!(text.contains("no config.toml") && text.contains("another --logdir"), "{text}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not ours");
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is written");
    }
}

#[test]
fn a_level_of_instructions_that_does_not_exist_is_one_sentence() {
    let out =
        Command::new(env!("CARGO_BIN_EXE_dreamer-fast")).args(["envs", "list"]).env("DREAMER_SIMD", "foo").output();
    let out = out.unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), text.lines().count()), (Some(2), 1), "{text}");
    assert!(text.contains("DREAMER_SIMD is \"foo\": set it to portable"), "{text}");
}

#[test]
fn the_same_command_names_the_same_logdir() {
    let logdir = |line: &str| match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        cli::Command::Train(args) => args.logdir(&args.settings.resolve().unwrap()),
        _ => panic!("{line} is not train"),
    };
    let default = PathBuf::from("runs/MiniGrid-DoorKey-6x6-v0-gridworld-seed0");
    assert_eq!(logdir("dreamer-fast train"), default);
    assert_eq!(logdir("dreamer-fast train --steps 1e6"), default);
    assert_eq!(
        logdir("dreamer-fast train --set seed=3 --preset v1"),
        PathBuf::from("runs/MiniGrid-DoorKey-6x6-v0-v1-seed3")
    );
    assert_eq!(logdir("dreamer-fast train --task a/../b"), PathBuf::from("runs/a_.._b-gridworld-seed0"));
    assert_eq!(logdir("dreamer-fast train --logdir here"), PathBuf::from("here"));
}
