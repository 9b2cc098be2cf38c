//! Checkpoints: written whole or not at all, two generations kept, every damage noticed.
//!
//! ```text
//! {logdir}/checkpoint/000000000007/tensors.safetensors   parameters, optimizer moments; byte strings such as open episodes
//!                                  state.json            counters, seeds, the replay's manifest, environments
//!                                  checksums             length and CRC-32 of the two
//! ```
//!
//! A generation is written into a directory with the ending `.partial`, made durable file by file, and takes its name in one
//! rename; only then does the oldest generation go. So at every moment, also within [`save`], the newest save that was reported as
//! done can be loaded. [`load`] compares every byte with `checksums`, falls back to the generation before when something differs,
//! and says so.
//!
//! Numbers: f32 tensors keep their bits, NaN payloads included. Whole numbers in `state` up to 64 bits and finite f64 are exact
//! (serde_json writes the shortest decimal that reads back as the same number); JSON has no NaN and no infinity, so a number that may
//! be one must be stored as bits or as a tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

use crate::base::{Error, Result, files};

const TENSORS: &str = "tensors.safetensors";
const STATE: &str = "state.json";
const CHECKSUMS: &str = "checksums";
/// Generations kept.
const KEPT: usize = 2;
/// No file of a checkpoint is longer; a longer one is damaged.
const MAX_BYTES: u64 = 1 << 36;

/// What to save.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    /// f32 tensors: name, shape, values. Parameters have their dotted names, Adam's moments `adam_m/NAME` and `adam_v/NAME`.
    pub tensors: Vec<(String, Vec<usize>, &'a [f32])>,
    /// Byte strings by name, such as `replay.open`.
    pub bytes: Vec<(String, &'a [u8])>,
    /// Everything else.
    pub state: Value,
}

/// A tensor that was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The entries in C order.
    pub values: Vec<f32>,
}

/// A checkpoint that was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its number, counted from 1 over the saves of a log directory.
    pub generation: u64,
    /// The f32 tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The byte strings by name.
    pub bytes: BTreeMap<String, Vec<u8>>,
    /// Everything else.
    pub state: Value,
    /// Sentences for the user: which damaged file made [`load`] fall back. Empty when the newest generation was intact.
    pub notices: Vec<String>,
}

impl Loaded {
    /// The tensor of this name and shape; an error names what is there instead.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor> {
        match self.tensors.get(name) {
            Some(tensor) if tensor.shape == shape => Ok(tensor),
            Some(tensor) => Err(Error::new(format!(
                "the checkpoint's tensor {name} is {:?} but the settings make it {shape:?}. Use the settings it was trained with, or \
                 another log directory.",
                tensor.shape
            ))),
            None => Err(Error::new(format!(
                "the checkpoint has no tensor {name}. Use the settings it was trained with, or another log directory."
            ))),
        }
    }
}

/// Writes a new generation and returns its number. When this returns it survives a power cut; when it fails, what was saved before
/// is still there. A name that is given twice panics.
pub fn save(logdir: &Path, checkpoint: &Checkpoint) -> Result<u64> {
    let root = root(logdir);
    files::create_directory(&root)?;
    remove_partial(&root)?;
    let generation = generations(logdir)?.last().map_or(1, |newest| newest + 1);
    let complete = root.join(name_of(generation));
    let partial = root.join(format!("{}{}", name_of(generation), files::PARTIAL));
    files::create_directory(&partial)?;
    let contents = [(TENSORS, encode_tensors(checkpoint)), (STATE, encode_state(&checkpoint.state))];
    for (name, bytes) in &contents {
        files::write_atomic(&partial.join(name), bytes)?;
    }
    let checksums = checksums(contents.each_ref().map(|(name, bytes)| (*name, bytes.as_slice())));
    files::write_atomic(&partial.join(CHECKSUMS), checksums.as_bytes())?;
    files::rename(&partial, &complete)?;
    files::sync_directory(&root)?;
    prune(logdir)?;
    Ok(generation)
}

/// The numbers of the generations on disk, oldest first, damaged ones included.
pub fn generations(logdir: &Path) -> Result<Vec<u64>> {
    let names = files::list(&root(logdir))?;
    // A name that `name_of` would not give is not one of ours.
    let numbers = names.iter().filter_map(|name| name.parse().ok().filter(|&number| name_of(number) == *name));
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The newest intact generation, `None` if nothing was ever saved. An error if there are generations but all are damaged.
pub fn load(logdir: &Path) -> Result<Option<Loaded>> {
    let numbers = generations(logdir)?;
    let mut notices: Vec<String> = Vec::new();
    for &generation in numbers.iter().rev() {
        match load_generation(logdir, generation) {
            Ok(loaded) => {
                if !notices.is_empty() {
                    notices.push(format!("Going on from checkpoint {generation} instead, the newest that is intact."));
                }
                return Ok(Some(Loaded { notices, ..loaded }));
            }
            Err(cause) => notices.push(format!("Checkpoint {generation} cannot be used: {cause}")),
        }
    }
    if notices.is_empty() {
        return Ok(None);
    }
    Err(Error::new(format!(
        "no checkpoint in {} is intact. {} Restore one of these directories from a copy, or begin anew in another log directory.",
        root(logdir).display(),
        notices.join(" ")
    )))
}

/// One generation by its number. Any damage is an error that names the file.
pub fn load_generation(logdir: &Path, generation: u64) -> Result<Loaded> {
    let directory = root(logdir).join(name_of(generation));
    let [tensors_file, state_file] = read_verified(&directory)?;
    let wrong = |name: &str, cause: String| Error::file("use", &directory.join(name), cause);
    let stored = SafeTensors::deserialize(&tensors_file).map_err(|cause| wrong(TENSORS, cause.to_string()))?;
    let (mut tensors, mut bytes) = (BTreeMap::new(), BTreeMap::new());
    for (name, view) in stored.iter() {
        match view.dtype() {
            Dtype::F32 => {
                let entries = view.data().chunks_exact(4).map(|entry| entry.try_into().expect("4 bytes"));
                let values = entries.map(f32::from_le_bytes).collect();
                tensors.insert(name.to_string(), Tensor { shape: view.shape().to_vec(), values });
            }
            Dtype::U8 => {
                bytes.insert(name.to_string(), view.data().to_vec());
            }
            other => return Err(wrong(TENSORS, format!("{name} is {other}, expected F32 or U8"))),
        }
    }
    let state = serde_json::from_slice(&state_file).map_err(|cause| wrong(STATE, cause.to_string()))?;
    Ok(Loaded { generation, tensors, bytes, state, notices: Vec::new() })
}

fn root(logdir: &Path) -> PathBuf {
    logdir.join("checkpoint")
}

fn name_of(generation: u64) -> String {
    format!("{generation:012}")
}

/// The two files of a generation, when all three are exactly what was saved.
fn read_verified(directory: &Path) -> Result<[Vec<u8>; 2]> {
    let contents = [files::read(&directory.join(TENSORS), MAX_BYTES)?, files::read(&directory.join(STATE), MAX_BYTES)?];
    let path = directory.join(CHECKSUMS);
    let said = files::read(&path, 1 << 16)?;
    // The sums are computed anew and compared as a whole, so a change of `checksums` itself shows like any other.
    let found = checksums([(TENSORS, &contents[0]), (STATE, &contents[1])]);
    if said == found.as_bytes() {
        return Ok(contents);
    }
    let said = String::from_utf8_lossy(&said);
    let differing = found.lines().zip([TENSORS, STATE]).filter(|(line, _)| !said.lines().any(|other| other == *line));
    let named: Vec<&str> = differing.map(|(_, name)| name).collect();
    let named = if named.is_empty() { CHECKSUMS.to_string() } else { named.join(" and ") };
    let directory = directory.display();
    Err(Error::new(format!("{named} in {directory} is damaged: it does not agree with the file checksums there.")))
}

/// One line per file: CRC-32, length, name.
fn checksums(contents: [(&str, &[u8]); 2]) -> String {
    contents.iter().map(|(name, bytes)| format!("{:08x} {} {name}\n", files::crc32(bytes), bytes.len())).collect()
}

fn encode_tensors(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut views = BTreeMap::new();
    let mut insert = |name: &String, dtype: Dtype, shape: Vec<usize>, data| {
        let entries: usize = shape.iter().product();
        let view = TensorView::new(dtype, shape.clone(), data)
            .unwrap_or_else(|_| panic!("{name} is {shape:?}, {entries} entries, but has another number of values"));
        assert!(views.insert(name.clone(), view).is_none(), "the checkpoint has two entries named {name}");
    };
    for (name, shape, values) in &checkpoint.tensors {
        insert(name, Dtype::F32, shape.clone(), little_endian(values));
    }
    for (name, bytes) in &checkpoint.bytes {
        insert(name, Dtype::U8, vec![bytes.len()], bytes);
    }
    // More than one entry of metadata would stand in the random order of a hash map.
    let metadata = [("format".to_string(), "dreamer-fast checkpoint 1".to_string())].into();
    safetensors::serialize(views, Some(metadata)).expect("checked above")
}

/// The bytes of f32 values as safetensors wants them.
fn little_endian(values: &[f32]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "checkpoints are written as the memory holds them") };
    bytemuck::cast_slice(values)
}

fn encode_state(state: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(state).expect("a JSON value is always JSON");
    bytes.push(b'\n');
    bytes
}

/// Renames a generation that is intact but cannot be used, so that it neither counts nor pushes out an older one. Returns its new name.
pub fn set_aside(logdir: &Path, generation: u64) -> Result<PathBuf> {
    let name = |n: u32| root(logdir).join(format!("{}.unusable{n}", name_of(generation)));
    let free = (1..).map(name).find(|path| !files::exists(path)).expect("there are more numbers than folders");
    files::rename(&root(logdir).join(name_of(generation)), &free)?;
    files::sync_directory(&root(logdir))?;
    Ok(free)
}

/// Removes what is older than the newest two generations that are intact.
fn prune(logdir: &Path) -> Result<()> {
    let mut intact = 0;
    for &generation in generations(logdir)?.iter().rev() {
        let directory = root(logdir).join(name_of(generation));
        if intact < KEPT && read_verified(&directory).is_ok() {
            intact += 1;
        } else if intact == KEPT {
            // A removal that is cut short must not look like a damaged generation.
            let partial = root(logdir).join(format!("{}{}", name_of(generation), files::PARTIAL));
            files::rename(&directory, &partial)?;
            files::remove(&partial)?;
        }
    }
    Ok(())
}

/// What an interrupted save or removal left.
fn remove_partial(root: &Path) -> Result<()> {
    for name in files::list(root)?.iter().filter(|name| name.ends_with(files::PARTIAL)) {
        files::remove(&root.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::files::fault::{self, Kind};

    fn save_number(logdir: &Path, number: f32) -> Result<u64> {
        let values = [number; 300];
        let tensors = vec![("rssm.gru.wx".to_string(), vec![3, 100], &values[..])];
        save(logdir, &Checkpoint { tensors, bytes: vec![], state: serde_json::json!({ "number": number }) })
    }

    fn loaded_number(logdir: &Path) -> f32 {
        let loaded = load(logdir).unwrap().unwrap();
        assert!(loaded.notices.is_empty(), "an interrupted save is no damage: {:?}", loaded.notices);
        let number = loaded.tensors["rssm.gru.wx"].values[0];
        assert_eq!(loaded.state["number"].as_f64(), Some(f64::from(number)));
        number
    }

    /// Each call to the operating system fails in turn, alone or as if the process died there.
    #[test]
    fn an_interrupted_save_never_costs_the_previous_one() {
        let logdir = std::env::temp_dir().join(format!("dreamer-fast-interrupted-{}", std::process::id()));
        files::remove(&logdir).unwrap();
        let mut previous = 1.0;
        save_number(&logdir, 0.0).unwrap();
        save_number(&logdir, previous).unwrap();
        for kind in [Kind::Once, Kind::Dead] {
            for n in 0.. {
                let (result, struck) = fault::at(n, kind, || save_number(&logdir, previous + 1.0));
                let number = loaded_number(&logdir);
                if result.is_ok() {
                    assert_eq!(number, previous + 1.0, "a save reported as done is there (call {n}, {kind:?})");
                }
                assert!([previous, previous + 1.0].contains(&number), "call {n}, {kind:?}: {number} after {previous}");
                previous += 2.0;
                save_number(&logdir, previous).unwrap();
                assert_eq!(loaded_number(&logdir), previous);
                let left = files::list(&root(&logdir)).unwrap();
                assert_eq!(left.len(), KEPT, "the next save clears what an interrupted one left: {left:?}");
                if !struck {
                    assert!(n > 15 && result.is_ok(), "{n} calls");
                    break;
                }
            }
        }
        files::remove(&logdir).unwrap();
    }
}
