//! Does the replay hold what was collected, and give it back as the rules say? Here: made-up episodes whose every number can be
//! told from the observation.

mod batches;
mod choices;
mod files;
mod keeping;

use std::path::{Path, PathBuf};

use dreamer_fast::base::files as disk;
use dreamer_fast::replay::{
    ActionKind, Address, BatchMut, BatchStats, Layout, Obs, ObsKind, ObsMut, Replay, Row, Sampling, Weighting, Windows,
};

const WITHIN: Sampling = Sampling {
    windows: Windows::Within,
    weighting: Weighting::Episodes,
    unfinished: false,
    reward_fraction: 0.0,
    win_fraction: 0.0,
    last_rows: true,
    first_actions: false,
    context: 0,
    reward_before_action: false,
};
const ACROSS: Sampling = Sampling { windows: Windows::Across, ..WITHIN };
const ROOM: usize = 1 << 30;

fn grid() -> Layout {
    let (observation, action) = (ObsKind::Bytes, ActionKind::Discrete(3));
    Layout { key: "symbolic".into(), shape: vec![2, 2, 1], observation, action }
}

fn vector() -> Layout {
    let (observation, action) = (ObsKind::Floats, ActionKind::Continuous(2));
    Layout { key: "vector".into(), shape: vec![3], observation, action }
}

/// The row `t` of the episode `serial` of environment `env`: everything in it can be told from its observation. The action that
/// led from row t-1 to row t is `t % 3`, the reward is `t` on every third row.
fn add(replay: &mut Replay, env: usize, serial: u8, t: usize, last: Option<f32>) {
    let bytes = [env as u8, serial, t as u8, 77];
    let floats = [env as f32, f32::from(serial), t as f32 + 0.1];
    let size = replay.layout().action.size();
    let mut action = vec![0.0; size];
    if t > 0 {
        action[t % size] = if replay.layout().action == ActionKind::Continuous(size) { t as f32 * 0.3 } else { 1.0 };
    }
    let observation = match replay.layout().observation {
        ObsKind::Bytes => Obs::Bytes(&bytes),
        ObsKind::Floats => Obs::Floats(&floats),
    };
    let reward = if t > 0 && t.is_multiple_of(3) { t as f32 } else { 0.0 };
    let (is_first, is_last, discount) = (t == 0, last.is_some(), last.unwrap_or(1.0));
    let done = replay.add(env, &Row { observation, action: &action, reward, discount, is_first, is_last }).unwrap();
    assert_eq!(done.is_some(), is_last);
}

/// Adds a whole episode of `rows` rows; it ends by termination if `serial` is even, by a time limit if odd.
fn add_episode(replay: &mut Replay, env: usize, serial: u8, rows: usize) {
    for t in 0..rows {
        add(replay, env, serial, t, (t + 1 == rows).then_some(f32::from(serial % 2)));
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Batch {
    addresses: Vec<Address>,
    bytes: Vec<u8>,
    floats: Vec<f32>,
    action: Vec<f32>,
    reward: Vec<f32>,
    discount: Vec<f32>,
    is_first: Vec<f32>,
    stats: BatchStats,
}

fn sample(replay: &Replay, how: &Sampling, t: usize, b: usize, update: u64) -> Batch {
    let (rows, layout) = ((how.context + t) * b, replay.layout());
    let addresses = replay.draw(how, t, b, update).unwrap();
    let (mut bytes, mut floats) = (vec![], vec![]);
    match layout.observation {
        ObsKind::Bytes => bytes.resize(rows * layout.observation_size(), 0),
        ObsKind::Floats => floats.resize(rows * layout.observation_size(), 0.0),
    }
    let mut action = vec![9.0; rows * layout.action.size()];
    let [mut reward, mut discount, mut is_first] = [(); 3].map(|()| vec![9.0; rows]);
    let observation = match layout.observation {
        ObsKind::Bytes => ObsMut::Bytes(&mut bytes),
        ObsKind::Floats => ObsMut::Floats(&mut floats),
    };
    let stats = replay.fill(
        how,
        &addresses,
        &mut BatchMut {
            observation,
            action: &mut action,
            reward: &mut reward,
            discount: &mut discount,
            is_first: &mut is_first,
        },
    );
    Batch { addresses, bytes, floats, action, reward, discount, is_first, stats }
}

fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("dreamer-fast-replay-{}-{name}", std::process::id()));
    disk::remove(&directory).unwrap();
    directory
}

fn npz_files(directory: &Path) -> Vec<String> {
    disk::list(directory).unwrap().into_iter().filter(|name| name.ends_with(".npz")).collect()
}
