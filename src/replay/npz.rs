//! One episode as an `.npz` archive (a zip of numpy arrays), with the keys of danijar/dreamer.
//!
//! | key | shape | type |
//! |---|---|---|
//! | the layout's (`image`, `symbolic`, `vector`) | `[rows, ...]` | uint8 or float32 |
//! | `action` | `[rows, A]` | float32, one-hot if discrete |
//! | `reward`, `discount` | `[rows]` | float32 |
//! | `is_first`, `is_terminal` | `[rows]` | bool |
//!
//! The bytes are a pure function of the episode, so their checksum is too.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::episode::{Episode, Layout, Obs, ObsKind, Row};
use super::npy::{self, Array, Dtype};
use crate::base::{Error, Result};

/// The archive of one episode.
pub fn write(episode: &Episode, layout: &Layout) -> Vec<u8> {
    let rows = episode.rows();
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut array = |key: &str, dtype: Dtype, shape: &[usize], entries: &[u8]| {
        // Only a full memory can fail here: the archive grows in a vector.
        archive.start_file(format!("{key}.npy"), options).expect("a new file in an archive in memory");
        archive.write_all(&npy::header(dtype, shape)).expect("writing to memory");
        archive.write_all(entries).expect("writing to memory");
    };
    let shape = [&[rows], layout.shape.as_slice()].concat();
    match episode.observations() {
        Obs::Bytes(all) => array(&layout.key, Dtype::U8, &shape, all),
        Obs::Floats(all) => array(&layout.key, Dtype::F32, &shape, &little_endian(all)),
    }
    let size = layout.action.size();
    let mut actions = vec![0.0; rows * size];
    for (t, action) in actions.chunks_exact_mut(size).enumerate() {
        episode.copy_action(t, action);
    }
    array("action", Dtype::F32, &[rows, size], &little_endian(&actions));
    array("reward", Dtype::F32, &[rows], &little_endian(episode.rewards()));
    array("discount", Dtype::F32, &[rows], &little_endian(episode.discounts()));
    let is_first: Vec<u8> = (0..rows).map(|t| u8::from(t == 0)).collect();
    array("is_first", Dtype::Bool, &[rows], &is_first);
    let is_terminal: Vec<u8> = episode.discounts().iter().map(|&discount| u8::from(discount == 0.0)).collect();
    array("is_terminal", Dtype::Bool, &[rows], &is_terminal);
    archive.finish().expect("writing to memory").into_inner()
}

/// Reads an episode of at most `max_rows` rows; memory stays within a few times what so many rows take, whatever the archive
/// says. Floats of any precision are taken (danijar/dreamer writes float16), further keys are passed over. An error says what is
/// wrong, without naming the file.
pub fn read(bytes: &[u8], layout: &Layout, max_rows: usize) -> Result<Episode> {
    let damaged = |cause: zip::result::ZipError| Error::new(format!("it is no readable zip archive ({cause})"));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut array = |key: &str, shape: &[usize]| -> Result<Array> {
        let entries: usize = shape.iter().product();
        let limit = max_rows.saturating_mul(entries.saturating_mul(8)).saturating_add(4096) as u64;
        let inside = |cause: String| Error::new(format!("its array '{key}': {cause}"));
        let file = archive.by_name(&format!("{key}.npy")).map_err(|cause| inside(cause.to_string()))?;
        let mut content = Vec::new();
        // Reading to the end, one byte beyond the limit at most, also compares the archive's own checksum.
        file.take(limit + 1).read_to_end(&mut content).map_err(|cause| inside(cause.to_string()))?;
        if content.len() as u64 > limit {
            return Err(inside(format!("it is longer than {max_rows} rows can be")));
        }
        let array = npy::parse(&content).map_err(|cause| inside(cause.to_string()))?;
        match array.shape.split_first() {
            Some((&rows, rest)) if rest == shape && (1..=max_rows).contains(&rows) => Ok(array),
            _ => Err(inside(format!("shape {:?}, expected [rows] + {shape:?}, rows in 1..={max_rows}", array.shape))),
        }
    };
    let size = layout.action.size();
    let observations = array(&layout.key, &layout.shape)?;
    let actions = array("action", &[size])?.floats();
    let rewards = array("reward", &[])?.floats();
    let discounts = array("discount", &[])?.floats();
    let rows = observations.shape[0];
    if actions.len() != rows * size || rewards.len() != rows || discounts.len() != rows {
        return Err(Error::new("its arrays differ in their number of rows"));
    }
    let floats = match layout.observation {
        ObsKind::Bytes if observations.dtype != Dtype::U8 => {
            return Err(Error::new(format!("its array '{}' is not uint8", layout.key)));
        }
        ObsKind::Bytes => Vec::new(),
        ObsKind::Floats => observations.floats(),
    };
    let entries = layout.observation_size();
    let mut episode = Episode::new(layout);
    for t in 0..rows {
        let window = t * entries..(t + 1) * entries;
        episode.push(&Row {
            observation: match layout.observation {
                ObsKind::Bytes => Obs::Bytes(&observations.bytes[window]),
                ObsKind::Floats => Obs::Floats(&floats[window]),
            },
            action: &actions[t * size..][..size],
            reward: rewards[t],
            discount: discounts[t],
            is_first: t == 0,
            is_last: t + 1 == rows,
        })?;
    }
    episode.shrink();
    Ok(episode)
}

fn little_endian(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
