//! The plan of a study: a TOML file, and the cells that it stands for.
//!
//! ```toml
//! about = "What is asked, in a sentence or two."
//! episodes = 500                          # of each evaluation
//!
//! [tasks.simple]                          # a task by a name of its own: id, steps, its settings, its bar
//! id = "Simple-10x10"
//! steps = 300_000
//! set = { observation = "rgb_partial", tile_size = 4 }
//! bar = { success = 0.98, excess_path = 1.5 }
//!
//! [switches]                              # named sets of settings; "none" is always there
//! without-continue-head = { pcont = false }
//!
//! [[cells]]                               # every combination of these is a cell
//! presets = ["gridworld"]
//! switches = ["none", "without-continue-head"]
//! tasks = ["simple"]
//! seeds = [0, 1, 2]
//! ```
//!
//! Settings of a switch come over those of a task, and these over the preset.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::base::{Error, Result, files};
use crate::config::resolve::plain;
use crate::config::{Config, KEYS, Request, Resolved, resolve};
use crate::run::world::World;

/// The switch that changes nothing.
pub const NONE: &str = "none";

/// No plan is longer, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A plan as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What is asked.
    pub about: String,
    /// Episodes of the evaluation that a cell is judged by.
    #[serde(default = "episodes")]
    pub episodes: usize,
    /// Tasks by name.
    pub tasks: BTreeMap<String, Task>,
    /// Switches by name.
    #[serde(default)]
    pub switches: BTreeMap<String, toml::Table>,
    /// Blocks, each of which stands for all combinations of its lists.
    #[serde(rename = "cells")]
    pub blocks: Vec<Block>,
}

fn episodes() -> usize {
    500
}

/// What is to be learned.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The world's id.
    pub id: String,
    /// Environment steps.
    pub steps: u64,
    /// Settings that every cell of the task has.
    #[serde(default)]
    pub set: toml::Table,
    /// What is to be reached.
    #[serde(default)]
    pub bar: Bar,
}

/// What a task asks for; what is absent is not asked.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    /// Least mean success, 0 to 1.
    pub success: Option<f64>,
    /// Least mean return.
    #[serde(rename = "return")]
    pub total: Option<f64>,
    /// Steps beyond the shortest path, at most, mean over episodes that succeed.
    pub excess_path: Option<f64>,
}

/// Lists of which every combination is a cell.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Heading in the report.
    pub title: Option<String>,
    /// Presets by name.
    pub presets: Vec<String>,
    /// Switches by name.
    #[serde(default = "none")]
    pub switches: Vec<String>,
    /// Tasks by name.
    pub tasks: Vec<String>,
    /// Seeds.
    pub seeds: Vec<u64>,
}

fn none() -> Vec<String> {
    vec![NONE.to_string()]
}

/// One training of a plan.
#[derive(Debug, Clone)]
pub struct Cell {
    /// `TASK-PRESET-SWITCH-seedN`, the switch left out when it is `none`.
    pub name: String,
    /// The task's name in the plan.
    pub task: String,
    /// The preset.
    pub preset: String,
    /// The switch.
    pub switch: String,
    /// The seed.
    pub seed: u64,
    /// Environment steps.
    pub steps: u64,
    /// `train` and its flags, without logdir and threads.
    pub words: Vec<String>,
    /// What these come to.
    pub config: Config,
    /// A checksum of every setting that is not DreamerV1's and that the result depends on.
    pub checksum: String,
}

impl Cell {
    /// Preset and switch, as one variant of the agent.
    pub fn variant(&self) -> String {
        variant(&self.preset, &self.switch)
    }

    /// The command that trains this cell into `logdir`, for people.
    pub fn command(&self, logdir: &Path) -> String {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        format!("dreamer-fast {} --logdir {}", words.join(" "), logdir.display())
    }
}

/// A variant's name.
pub fn variant(preset: &str, switch: &str) -> String {
    if switch == NONE { preset.to_string() } else { format!("{preset}, {switch}") }
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// The file cannot be read, is not a plan, or names something that does not exist.
    pub fn load(path: &Path) -> Result<Plan> {
        let bytes = files::read(path, MAX_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::file("read", path, "it is not text in UTF-8"))?;
        Plan::parse(&text).map_err(|error| error.context(path.display()))
    }

    /// Reads a plan from its text.
    ///
    /// # Errors
    /// As [`Plan::load`].
    pub fn parse(text: &str) -> Result<Plan> {
        let plan: Plan = toml::from_str(text).map_err(|cause| Error::new(cause.to_string().trim_end().to_string()))?;
        for name in plan.tasks.keys().chain(plan.switches.keys()) {
            // Names become names of files.
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
                return Err(Error::new(format!("the name \"{name}\" may have letters, digits and . _ - only")));
            }
        }
        if plan.switches.contains_key(NONE) {
            return Err(Error::new(format!(
                "[switches]: \"{NONE}\" changes nothing already; give this one another name"
            )));
        }
        if plan.episodes == 0 {
            return Err(Error::new("episodes = 0 leaves nothing to judge by: write 1 or more"));
        }
        Ok(plan)
    }

    /// Every cell once, in the order of the blocks.
    ///
    /// # Errors
    /// A block names a task or a switch that the plan has not, a world that does not exist, or settings that do not go together.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        let mut cells: Vec<Cell> = Vec::new();
        for block in &self.blocks {
            for cell in self.cells_of(block)? {
                if cells.iter().all(|known| known.name != cell.name) {
                    cells.push(cell);
                }
            }
        }
        match cells.is_empty() {
            true => Err(Error::new("the plan has no cells: its [[cells]] need presets, tasks and seeds")),
            false => Ok(cells),
        }
    }

    /// The cells of one block.
    ///
    /// # Errors
    /// As [`Plan::cells`].
    pub fn cells_of(&self, block: &Block) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for task_name in &block.tasks {
            let task = self.tasks.get(task_name).ok_or_else(|| unknown("task", task_name, self.tasks.keys()))?;
            for preset in &block.presets {
                for switch in &block.switches {
                    let changes = match (self.switches.get(switch), switch.as_str()) {
                        (Some(changes), _) => changes.clone(),
                        (None, NONE) => toml::Table::new(),
                        (None, _) => return Err(unknown("switch", switch, self.switches.keys())),
                    };
                    for &seed in &block.seeds {
                        cells.push(cell((task_name, task), preset, (switch, &changes), seed)?);
                    }
                }
            }
        }
        Ok(cells)
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let known: Vec<&str> = known.map(String::as_str).collect();
    Error::new(format!("[[cells]] names the {what} \"{name}\", but the plan defines only: {}", known.join(", ")))
}

fn cell(
    (task_name, task): (&str, &Task),
    preset: &str,
    (switch, changes): (&str, &toml::Table),
    seed: u64,
) -> Result<Cell> {
    let middle = if switch == NONE { String::new() } else { format!("-{switch}") };
    let name = format!("{task_name}-{preset}{middle}-seed{seed}");
    let set: Vec<String> =
        task.set.iter().chain(changes).map(|(key, value)| format!("{key}={}", plain(value))).collect();
    let flags = [("task", task.id.clone()), ("seed", seed.to_string()), ("steps", task.steps.to_string())];
    let mut words = vec!["train".to_string(), "--preset".to_string(), preset.to_string()];
    words.extend(flags.iter().flat_map(|(key, text)| [format!("--{key}"), text.clone()]));
    words.extend(set.iter().flat_map(|pair| ["--set".to_string(), pair.clone()]));
    let request = Request { preset: Some(preset.to_string()), flags: flags.to_vec(), set, ..Request::default() };
    let resolved = resolve(&request)
        .and_then(|resolved| World::new(&resolved.config).map(|_| resolved))
        .map_err(|error| error.context(format_args!("cell {name}")))?;
    let checksum = checksum(&resolved);
    Ok(Cell {
        name,
        task: task_name.to_string(),
        preset: preset.to_string(),
        switch: switch.to_string(),
        seed,
        steps: task.steps,
        words,
        config: resolved.config,
        checksum,
    })
}

/// Only what differs from DreamerV1 counts, so that a key which comes to exist later leaves old results as they are.
fn checksum(resolved: &Resolved) -> String {
    let (config, default) = (&resolved.config, Config::default());
    let counts = |name: &str, free: bool| !free || ["steps", "eval_noise", "eval_layouts"].contains(&name);
    let lines: String = KEYS
        .iter()
        .filter(|key| counts(key.name, key.free_on_resume))
        .map(|key| (key.name, config.toml_value(key.name), default.toml_value(key.name)))
        .filter(|(_, value, default)| value != default)
        .map(|(name, value, _)| format!("{name} = {}\n", value.expect("a key of the table has a value")))
        .collect();
    format!("{:08x}", files::crc32(lines.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
about = "a test"
[tasks.empty]
id = "MiniGrid-Empty-5x5-v0"
steps = 600
set = { horizon = 4, encoder_units = [8, 8] }
bar = { return = 0.9 }
[switches]
short = { horizon = 3 }
[[cells]]
presets = ["debug"]
switches = ["none", "short"]
tasks = ["empty"]
seeds = [0, 1]
[[cells]]
presets = ["debug"]
tasks = ["empty"]
seeds = [1, 2]
"#;

    #[test]
    fn blocks_are_products_and_a_cell_stands_once() {
        let plan = Plan::parse(PLAN).unwrap();
        let cells = plan.cells().unwrap();
        let names: Vec<&str> = cells.iter().map(|c| c.name.as_str()).collect();
        let want = ["empty-debug-seed0", "empty-debug-seed1", "empty-debug-short-seed0", "empty-debug-short-seed1"];
        assert_eq!(names[..4], want);
        assert_eq!(names[4..], ["empty-debug-seed2"]);
        // The switch comes over the task.
        assert_eq!(cells.iter().map(|c| c.config.horizon).collect::<Vec<_>>(), [4, 4, 3, 3, 4]);
        assert_eq!(cells[0].config.encoder_units, [8, 8]);
        let command = cells[2].command(Path::new("out/runs/x"));
        assert!(
            command.starts_with(
                "dreamer-fast train --preset debug --task MiniGrid-Empty-5x5-v0 --seed 0 --steps 600 --set "
            )
        );
        assert!(
            command.contains("--set encoder_units=8,8") && command.ends_with("--set horizon=3 --logdir out/runs/x")
        );
        assert_eq!(plan.tasks["empty"].bar.total, Some(0.9));
    }

    #[test]
    fn a_checksum_is_of_what_the_result_depends_on() {
        let of = |text: &str| Plan::parse(text).unwrap().cells().unwrap()[0].checksum.clone();
        assert_ne!(of(PLAN), of(&PLAN.replace("horizon = 4", "horizon = 5")));
        assert_ne!(of(PLAN), of(&PLAN.replace("steps = 600", "steps = 700")));
        assert_eq!(of(PLAN), of(&PLAN.replace("horizon = 4", "horizon = 4, log_every = 7, threads = 3")));
        // A setting that is DreamerV1's own is as good as none.
        assert_eq!(of(PLAN), of(&PLAN.replace("horizon = 4", "horizon = 4, discount = 0.99")));
    }

    #[test]
    fn what_does_not_exist_is_refused_by_name() {
        let refusal = |from: &str, to: &str| {
            let text = PLAN.replace(from, to);
            Plan::parse(&text).and_then(|plan| plan.cells()).map(|_| ()).unwrap_err().to_string()
        };
        assert!(
            refusal("tasks = [\"empty\"]", "tasks = [\"full\"]")
                .contains("the task \"full\", but the plan defines only: empty")
        );
        assert!(refusal("\"short\"]", "\"long\"]").contains("the switch \"long\""));
        let text = refusal("Empty-5x5-v0", "Emty-5x5-v0");
        assert!(
            text.contains("cell empty-debug-seed0") && text.contains("did you mean MiniGrid-Empty-5x5-v0?"),
            "{text}"
        );
        assert!(refusal("horizon = 3", "horizn = 3").contains("did you mean \"horizon\"?"));
        assert!(refusal("[\"debug\"]", "[\"debgu\"]").contains("there is no preset \"debgu\""));
        assert!(refusal("steps = 600", "stps = 600").contains("stps"));
        assert!(refusal("short = {", "none = {").contains("changes nothing already"));
        assert!(refusal("[tasks.empty]", "[tasks.\"a/b\"]").contains("a/b"));
        assert!(refusal("seeds", "seds").contains("seds"));
    }
}
