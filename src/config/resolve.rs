//! From what the user said to one checked configuration that remembers where each value came from.
//!
//! Layers, the later over the earlier: defaults, preset, what the task allows no choice about, `--config` file, the
//! flags with a name of their own (`--task`, `--steps`, ...), `--set`.

use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::presets::{preset, preset_for};
use super::{Config, KEYS, Key, Observation, nearest};
use crate::base::{Error, Result, files};

/// No settings file is longer, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything: DreamerV1's value.
    Default,
    /// The preset of this name.
    Preset(String),
    /// The task leaves no choice.
    Task,
    /// A `--config` file or a stored configuration.
    File(PathBuf),
    /// A flag of this name.
    Flag(String),
    /// `--set`.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Preset(name) => write!(f, "preset {name}"),
            Origin::Task => f.write_str("the task has no other"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Set => f.write_str("--set"),
        }
    }
}

/// What a user may say about the settings of a run.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `--preset`.
    pub preset: Option<String>,
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Flags with a name of their own: key and text; `("steps", "1e5")` stands for `--steps 1e5`.
    pub flags: Vec<(&'static str, String)>,
    /// Each `--set`: `key=value`.
    pub set: Vec<String>,
}

/// A checked configuration and the origin of each value.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The values.
    pub config: Config,
    /// The preset that they started from.
    pub preset: String,
    /// Beside [`KEYS`], in its order.
    origins: Vec<Origin>,
}

/// Settles a request. Every typo, wrong type, value out of range and contradiction is an error that names the key.
pub fn resolve(request: &Request) -> Result<Resolved> {
    let mut said = Vec::new();
    let mut file_preset = None;
    if let Some(path) = &request.file {
        let text = read(path)?;
        let stored = read_toml(&text).map_err(|error| error.context(path.display()))?;
        file_preset = stored.preset;
        said.extend(stored.values.into_iter().map(|(key, text)| (Origin::File(path.clone()), key, text)));
    }
    for (name, text) in &request.flags {
        let flag = Origin::Flag(format!("--{}", name.replace('_', "-")));
        said.push((flag, find(name)?, text.clone()));
    }
    for pair in &request.set {
        let (name, text) = pair
            .split_once('=')
            .ok_or_else(|| Error::new(format!("--set {pair}: write it as key=value, for example --set horizon=15")))?;
        let key = find(name.trim()).map_err(|error| error.context(format_args!("--set {pair}")))?;
        said.push((Origin::Set, key, text.trim().to_string()));
    }

    let task = said.iter().rev().find(|(_, key, _)| key.name == "task").map(|(_, _, text)| text.clone());
    let preset_name = match request.preset.clone().or(file_preset) {
        Some(name) => name,
        None => preset_for(task.as_deref().unwrap_or(&Config::default().task)).to_string(),
    };
    let mut resolved =
        Resolved { config: Config::default(), preset: preset_name.clone(), origins: vec![Origin::Default; KEYS.len()] };
    for (name, text, _why) in preset(&preset_name)?.rows {
        resolved.assign(Origin::Preset(preset_name.clone()), find(name)?, text)?;
    }
    let task = task.unwrap_or_else(|| resolved.config.task.clone());
    let continuous = Config { task, ..Config::default() }.continuous();
    if continuous && resolved.config.observation != Observation::Vector {
        resolved.assign(Origin::Task, find("observation")?, "vector")?;
    }
    for (origin, key, text) in said {
        resolved.assign(origin, key, &text)?;
    }
    resolved.config.check()?;
    Ok(resolved)
}

impl Resolved {
    /// Reads a configuration that a run stored. A key that the file lacks has its default.
    pub fn load(path: &Path) -> Result<Resolved> {
        let text = read(path)?;
        Resolved::parse(&text, path)
    }

    /// Reads the text of a stored configuration; `path` is named in errors and origins.
    pub fn parse(text: &str, path: &Path) -> Result<Resolved> {
        let stored = read_toml(text).map_err(|error| error.context(path.display()))?;
        let preset = stored.preset.unwrap_or_else(|| "none".to_string());
        let mut resolved = Resolved { config: Config::default(), preset, origins: vec![Origin::Default; KEYS.len()] };
        for (key, text) in stored.values {
            resolved.assign(Origin::File(path.to_path_buf()), key, &text)?;
        }
        resolved.config.check().map_err(|error| error.context(path.display()))?;
        Ok(resolved)
    }

    /// Where a key's value came from. Panics for a key that does not exist.
    pub fn origin(&self, key: &str) -> &Origin {
        let row = KEYS.iter().position(|k| k.name == key);
        &self.origins[row.unwrap_or_else(|| panic!("there is no key {key}"))]
    }

    fn assign(&mut self, origin: Origin, key: &'static Key, text: &str) -> Result<()> {
        if let Err(sentence) = self.config.assign(key, text) {
            return Err(Error::new(match &origin {
                Origin::Flag(flag) => format!("{flag} {text}: {sentence}"),
                Origin::Set => format!("--set {}={text}: {sentence}", key.name),
                Origin::File(path) => format!("{}: {sentence}", path.display()),
                other => format!("{other}: {sentence}"),
            }));
        }
        let row = KEYS.iter().position(|k| k.name == key.name).expect("a key is a row of the table");
        self.origins[row] = origin;
        Ok(())
    }

    /// The resolved configuration as TOML, each value's origin behind it: `deter_size = 128  # preset gridworld`.
    pub fn toml(&self) -> String {
        self.write(false)
    }

    /// The same with each key's meaning and what it takes above it, for people to read.
    pub fn explained(&self) -> String {
        self.write(true)
    }

    fn write(&self, explain: bool) -> String {
        let mut out = String::from("# The settings of this run; behind each value, where it came from.\n");
        let _ = writeln!(out, "preset = {}", toml::Value::String(self.preset.clone()));
        let mut group = "";
        for (key, origin) in KEYS.iter().zip(&self.origins) {
            if key.group != group {
                group = key.group;
                let _ = writeln!(out, "\n# {group}");
            }
            let value = self.config.toml_value(key.name).expect("a key of the table has a value");
            if explain {
                let _ = writeln!(out, "\n# {}", key.explained().replace('\n', "\n# "));
            }
            let _ = writeln!(out, "{} = {value}  # {origin}", key.name);
        }
        out
    }
}

/// The key of this name; an unknown one is refused and the nearest named.
fn find(name: &str) -> Result<&'static Key> {
    KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
        let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        let hint = match nearest(name, &names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "`dreamer-fast train --print-config` lists all keys".to_string(),
        };
        Error::new(format!("there is no key \"{name}\"; {hint}"))
    })
}

/// The text of a settings file.
fn read(path: &Path) -> Result<String> {
    let bytes = files::read(path, MAX_BYTES)?;
    String::from_utf8(bytes).map_err(|_| Error::file("read the settings in", path, "it is not text in UTF-8"))
}

/// What a TOML file says.
struct Stored {
    preset: Option<String>,
    values: Vec<(&'static Key, String)>,
}

fn read_toml(text: &str) -> Result<Stored> {
    let table: toml::Table = text.parse().map_err(|cause: toml::de::Error| Error::new(cause.to_string().trim_end()))?;
    let mut stored = Stored { preset: None, values: Vec::new() };
    for (name, value) in table {
        if value.is_table() {
            return Err(Error::new(format!(
                "[{name}] is a section, but keys stand alone here: write key = value lines"
            )));
        }
        let text = plain(&value);
        if name == "preset" {
            stored.preset = Some(text);
        } else {
            stored.values.push((find(&name)?, text));
        }
    }
    Ok(stored)
}

/// A TOML value as `--set` would write it.
pub fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
