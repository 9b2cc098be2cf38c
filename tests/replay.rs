//! Does a batch hold the rows that were collected, each with the action and the reward that belong to it, and all of them?
//! Does a resumed replay draw what an unbroken one draws? Do others read the files, and does the reader survive any file?

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use dreamer_fast::base::{Philox, files, philox::stream};
use dreamer_fast::replay::{
    ActionKind, Address, BatchMut, BatchStats, Episode, Layout, Manifest, Obs, ObsKind, ObsMut, Replay, Row, Sampling,
    Source, Weighting, Windows, npz,
};

const WITHIN: Sampling =
    Sampling { windows: Windows::Within, weighting: Weighting::Episodes, unfinished: false, reward_fraction: 0.0 };
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
    let (rows, layout) = (t * b, replay.layout());
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

/// Bug 1: action, reward and discount stand with the observation that they led to, in every row of every batch.
#[test]
fn a_row_holds_the_action_and_reward_that_led_to_its_observation() {
    for layout in [grid(), vector()] {
        let size = layout.action.size();
        let mut replay = Replay::in_memory(layout, 2, ROOM, 1);
        for serial in 0..6 {
            add_episode(&mut replay, usize::from(serial) % 2, serial, 5 + usize::from(serial));
        }
        for how in [WITHIN, ACROSS] {
            let (t, b) = (7, 40);
            let batch = sample(&replay, &how, t, b, 3);
            let number = |place: usize, entry: usize| match batch.bytes.is_empty() {
                true => batch.floats[place * 3 + entry],
                false => f32::from(batch.bytes[place * 4 + entry]),
            };
            let mut count = [0.0; 3];
            for place in 0..t * b {
                let (env, serial, row) = (number(place, 0), number(place, 1), number(place, 2).floor() as usize);
                assert_eq!(batch.addresses[place].source, Source::Finished(serial as u64));
                assert_eq!((batch.addresses[place].row, env), (row, serial % 2.0));
                let action = &batch.action[place * size..][..size];
                for (index, &entry) in action.iter().enumerate() {
                    let chosen = row > 0 && index == row % size;
                    let full = if size == 3 { 1.0 } else { row as f32 * 0.3 };
                    assert_eq!(entry, if chosen { full } else { 0.0 });
                }
                assert_eq!(batch.reward[place], if row.is_multiple_of(3) { row as f32 } else { 0.0 });
                let is_last = row + 1 == 5 + serial as usize;
                // Bug 6: only a termination has discount 0, a time limit does not.
                assert_eq!(batch.discount[place], if is_last { serial % 2.0 } else { 1.0 });
                let address = batch.addresses[place];
                let goes_on = |before: &Address| before.source == address.source && before.row + 1 == row;
                // Bug 5: wherever rows do not follow one another, the state is reset.
                let is_first = place < b || row == 0 || !goes_on(&batch.addresses[place - b]);
                assert_eq!((address.is_first, batch.is_first[place]), (is_first, f32::from(u8::from(is_first))));
                count[0] += f32::from(u8::from(batch.reward[place] > 0.0));
                count[1] += f32::from(u8::from(batch.discount[place] == 0.0));
                count[2] += batch.is_first[place];
            }
            let stats = [batch.stats.positive_reward, batch.stats.terminal, batch.stats.first];
            assert_eq!(stats.map(|share| (share * (t * b) as f64).round() as f32), count);
        }
    }
}

/// Bug 2: the last row is stored and drawn as often as the rule says, and a short episode is not left out.
#[test]
fn every_row_is_drawn_the_last_one_and_those_of_short_episodes_too() {
    let mut replay = Replay::in_memory(grid(), 1, ROOM, 1);
    add_episode(&mut replay, 0, 0, 12);
    let mut starts = BTreeMap::new();
    let (t, b) = (5, 8000);
    for address in &replay.draw(&WITHIN, t, b, 0).unwrap()[..b] {
        *starts.entry(address.row).or_insert(0) += 1;
    }
    assert_eq!(starts.keys().copied().collect::<Vec<_>>(), (0..=12 - t).collect::<Vec<_>>());
    // 1000 expected for each of the 8 starts, standard deviation 30.
    assert!(starts.values().all(|&count: &i32| (count - 1000).abs() < 150), "{starts:?}");

    // An episode of exactly T rows, and short ones: nothing is dropped, every chunk has T rows.
    add_episode(&mut replay, 0, 1, t);
    add_episode(&mut replay, 0, 3, 1);
    add_episode(&mut replay, 0, 4, 3);
    for weighting in [Weighting::Episodes, Weighting::Rows] {
        let drawn = replay.draw(&Sampling { weighting, ..WITHIN }, t, b, 1).unwrap();
        assert_eq!(drawn.len(), t * b);
        let seen: BTreeSet<(Source, usize)> = drawn.iter().map(|address| (address.source, address.row)).collect();
        assert_eq!(seen.len(), 12 + t + 1 + 3, "{weighting:?}: some row was never drawn");
        let long = drawn[..b].iter().filter(|address| address.source == Source::Finished(0)).count() as f64;
        let expected = if weighting == Weighting::Episodes { 0.25 } else { 12.0 / 21.0 };
        assert!((long / b as f64 - expected).abs() < 0.03, "{weighting:?}: {long} of {b}");
    }
}

#[test]
fn windows_across_episodes_follow_the_stream_and_see_the_unfinished_episode() {
    let mut replay = Replay::in_memory(grid(), 2, ROOM, 1);
    assert!(replay.draw(&ACROSS, 4, 1, 0).unwrap_err().to_string().contains("prefill"));
    assert!(replay.draw(&WITHIN, 4, 1, 0).unwrap_err().to_string().contains("prefill"));
    // Interleaved: environment 0 finishes 0 and 2, environment 1 finishes 1, each goes on with an unfinished one.
    for (env, serial, rows) in [(0, 0, 3), (1, 1, 2), (0, 2, 4)] {
        add_episode(&mut replay, env, serial, rows);
    }
    (0..3).for_each(|t| add(&mut replay, 0, 9, t, None));
    (0..2).for_each(|t| add(&mut replay, 1, 9, t, None));
    let [a, b, c] = [0, 2, 1].map(|number| move |row| (Source::Finished(number), row));
    let open = |env| move |row| (Source::Open(env), row);
    let first: Vec<_> = (0..3).map(a).chain((0..4).map(b)).chain((0..3).map(open(0))).collect();
    let second: Vec<_> = (0..2).map(c).chain((0..2).map(open(1))).collect();
    let (t, b) = (4, 4000);
    let drawn = replay.draw(&ACROSS, t, b, 5).unwrap();
    let mut windows = BTreeMap::new();
    for chunk in 0..b {
        let rows: Vec<Address> = (0..t).map(|step| drawn[step * b + chunk]).collect();
        for (step, address) in rows.iter().enumerate() {
            assert_eq!(address.is_first, step == 0 || address.row == 0);
        }
        *windows.entry(rows.iter().map(|a| (a.source, a.row)).collect::<Vec<_>>()).or_insert(0) += 1;
    }
    let expected: BTreeSet<Vec<_>> = first.windows(t).chain(second.windows(t)).map(<[_]>::to_vec).collect();
    assert_eq!(expected, windows.keys().cloned().collect());
    // 8 windows in all, 500 expected of each, standard deviation 21.
    assert!(windows.values().all(|&count: &i32| (count - 500).abs() < 110), "{:?}", windows.values());

    let seen =
        |how: &Sampling| replay.draw(how, 3, 500, 0).unwrap().iter().any(|a| matches!(a.source, Source::Open(_)));
    assert!(!seen(&WITHIN) && seen(&Sampling { unfinished: true, ..WITHIN }));
}

#[test]
fn the_asked_fraction_of_chunks_holds_a_reward() {
    for (windows, rows) in [(Windows::Within, 30), (Windows::Within, 4), (Windows::Across, 30), (Windows::Across, 4)] {
        let mut replay = Replay::in_memory(grid(), 2, ROOM, 1);
        let how = Sampling { windows, reward_fraction: 0.25, ..WITHIN };
        // Only row 3 of an episode is rewarded if it has 4 rows; three rows have no reward.
        (0..40).for_each(|serial| add_episode(&mut replay, usize::from(serial) % 2, serial, 3));
        assert_eq!(sample(&replay, &how, 8, 16, 0).stats.positive_reward, 0.0, "without any reward nothing is asked");
        (40..44).for_each(|serial| add_episode(&mut replay, usize::from(serial) % 2, serial, rows));
        (44..60).for_each(|serial| add_episode(&mut replay, usize::from(serial) % 2, serial, 3));
        let mut places = BTreeSet::new();
        let mut rewarded = BTreeSet::new();
        for update in 0..300 {
            let (t, b) = (8, 16);
            let batch = sample(&replay, &how, t, b, update);
            for chunk in 0..b / 4 {
                let with: Vec<usize> = (0..t).filter(|step| batch.reward[step * b + chunk] > 0.0).collect();
                assert!(!with.is_empty(), "{windows:?}, update {update}, chunk {chunk}");
                places.extend(with.iter().copied());
                rewarded.extend(with.iter().map(|step| {
                    let address = batch.addresses[step * b + chunk];
                    (address.source, address.row)
                }));
            }
        }
        let expected = if rows == 30 { 4 * 9 } else { 4 };
        assert_eq!(rewarded.len(), expected, "{windows:?}: every rewarded row is drawn");
        assert!(places.len() == 8 || (windows == Windows::Within && rows == 4), "{windows:?}: {places:?}");
    }
}

/// Bug 11: memory is bounded, in whole episodes, oldest first; actions keep their values; files stay.
#[test]
fn the_oldest_episodes_leave_memory_and_their_files_stay() {
    let directory = scratch("evict");
    let (mut replay, _) = Replay::restore(grid(), 3, 20_000, 1, &directory, &Manifest::default(), &[]).unwrap();
    for serial in 0..200 {
        add_episode(&mut replay, usize::from(serial) % 3, serial, 10);
        assert!(replay.memory_bytes() <= 20_000, "{} bytes", replay.memory_bytes());
    }
    let numbers: Vec<u64> = replay.episodes().map(|(number, ..)| number).collect();
    assert!(numbers.len() > 40 && numbers.len() < 190 && numbers.last() == Some(&199), "{}", numbers.len());
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert_eq!((replay.finished_episodes(), replay.steps()), (200, 200 * 9));
    assert_eq!(npz_files(&directory).len(), 200);
    for how in [WITHIN, ACROSS] {
        let batch = sample(&replay, &Sampling { reward_fraction: 0.5, ..how }, 15, 64, 0);
        for (place, address) in batch.addresses.iter().enumerate() {
            let Source::Finished(number) = address.source else { panic!("all are finished") };
            assert_eq!(batch.bytes[place * 4..][..3], [(number % 3) as u8, number as u8, address.row as u8]);
            assert!(number >= numbers[0]);
        }
    }
    // One episode larger than the bound is still there to train on.
    add_episode(&mut replay, 0, 200, 2000);
    assert_eq!(replay.episodes().count(), 1);
    files::remove(&directory).unwrap();
}

#[test]
fn what_an_environment_must_not_give_is_refused_and_not_stored() {
    let mut replay = Replay::in_memory(vector(), 1, ROOM, 1);
    let good = Row {
        observation: Obs::Floats(&[0.0; 3]),
        action: &[0.0; 2],
        reward: 0.0,
        discount: 1.0,
        is_first: true,
        is_last: false,
    };
    let step = Row { is_first: false, ..good };
    assert!(replay.add(0, &step).unwrap_err().to_string().contains("environment 0: row 0"));
    assert!(replay.add(0, &Row { reward: 1.0, ..good }).is_err());
    assert!(replay.add(0, &Row { action: &[0.0, 0.1], ..good }).is_err());
    replay.add(0, &good).unwrap();
    for bad in [
        good,
        Row { reward: f32::NAN, ..step },
        Row { reward: f32::INFINITY, ..step },
        Row { discount: 0.0, ..step },
        Row { discount: 1.5, ..step },
        Row { discount: f32::NAN, ..step },
        Row { action: &[0.0, f32::NAN], ..step },
        Row { observation: Obs::Floats(&[0.0, f32::NAN, 0.0]), ..step },
    ] {
        assert!(replay.add(0, &bad).is_err(), "{bad:?}");
        assert_eq!(replay.open_episode(0).rows(), 1);
    }
    replay.add(0, &step).unwrap();
    let finished = replay.truncate(0).unwrap().unwrap();
    assert!(!finished.is_terminated && finished.rows == 2);
    assert!(replay.truncate(0).unwrap().is_none());
    let mut replay = Replay::in_memory(grid(), 1, ROOM, 1);
    let good = Row { observation: Obs::Bytes(&[0; 4]), action: &[0.0; 3], ..good };
    replay.add(0, &good).unwrap();
    for action in [[0.0; 3], [1.0, 1.0, 0.0], [0.5, 0.5, 0.0]] {
        assert!(replay.add(0, &Row { action: &action, is_first: false, ..good }).is_err(), "{action:?}");
    }
}

/// Plays random episodes in three environments: what a call adds depends only on the seed and on `clock`.
struct Play {
    clock: u64,
    at: [(u8, usize); 3],
}

impl Play {
    fn step(&mut self, replay: &mut Replay) {
        let mut rng = Philox::new(5, stream::TEST, self.clock);
        self.clock += 1;
        for env in 0..3 {
            let (serial, t) = self.at[env];
            let last = (t > 0 && rng.uniform() < 0.15).then(|| (rng.below(2)) as f32);
            add(replay, env, serial, t, last);
            self.at[env] = if last.is_some() { (serial.wrapping_add(1), 0) } else { (serial, t + 1) };
        }
    }
}

/// Bug 8: a resumed replay draws, bit for bit, what an unbroken one draws, whatever was written after the checkpoint.
#[test]
fn a_resumed_replay_draws_what_an_unbroken_one_draws() {
    for (case, layout) in [grid(), vector(), grid()].into_iter().enumerate() {
        let capacity = if case == 2 { 4_000 } else { ROOM };
        let directory = scratch(&format!("resume-{case}"));
        let mut rng = Philox::new(1, stream::TEST, case as u64);
        let stop = 60 + rng.below(60);
        let make = |manifest: &Manifest, open: &[u8]| {
            Replay::restore(layout.clone(), 3, capacity, 1, &directory, manifest, open).unwrap()
        };
        let (mut replay, moved) = make(&Manifest::default(), &[]);
        assert_eq!(moved, 0);
        let mut play = Play { clock: 0, at: [(0, 0); 3] };
        (0..stop).for_each(|_| play.step(&mut replay));
        let manifest = serde_json::to_string(&replay.manifest().unwrap()).unwrap();
        let (open, clock, at) = (replay.open_rows(), play.clock, play.at);
        let saved = npz_files(&directory);
        let go_on = |mut play: Play, replay: &mut Replay| -> Vec<Batch> {
            let mut batches = Vec::new();
            for update in 0..40 {
                play.step(replay);
                for how in [WITHIN, ACROSS, Sampling { unfinished: true, reward_fraction: 0.25, ..WITHIN }] {
                    batches.push(sample(replay, &how, 6, 8, update));
                }
            }
            batches
        };
        let unbroken = go_on(Play { clock, at }, &mut replay);
        drop(replay);
        let later = npz_files(&directory).len() - saved.len();
        assert!(later > 3);
        std::fs::write(directory.join("20260101T000000-x-3.npz.partial"), b"half").unwrap();
        // Killed twice: the second resume finds files of the same episodes again.
        for _ in 0..2 {
            let (mut replay, moved) = make(&serde_json::from_str(&manifest).unwrap(), &open);
            assert_eq!((moved, npz_files(&directory)), (later, saved.clone()), "evicted episodes' files stay too");
            assert_eq!(replay.open_rows(), open);
            assert!(go_on(Play { clock, at }, &mut replay) == unbroken, "case {case}: batches differ after a resume");
        }
        assert_eq!(npz_files(&directory.join("aside")).len(), 2 * later);
        assert!(!files::exists(&directory.join("20260101T000000-x-3.npz.partial")));
        files::remove(&directory).unwrap();
    }
}

#[test]
fn draws_do_not_depend_on_who_draws() {
    let mut replay = Replay::in_memory(grid(), 1, ROOM, 1);
    (0..9).for_each(|serial| add_episode(&mut replay, 0, serial, 4 + usize::from(serial)));
    let alone: Vec<_> = (0..8).map(|update| replay.draw(&WITHIN, 5, 6, update).unwrap()).collect();
    assert!(alone[0] != alone[1], "another update draws another batch");
    let together: Vec<_> = std::thread::scope(|scope| {
        let draw = |update| {
            scope.spawn({
                let replay = &replay;
                move || replay.draw(&WITHIN, 5, 6, update).unwrap()
            })
        };
        let threads: Vec<_> = (0..8).map(draw).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

/// Every flipped bit and every truncation of an episode file that a checkpoint names.
#[test]
fn every_damage_of_an_episode_is_noticed_before_anything_moves() {
    let directory = scratch("damage");
    let (mut replay, _) = Replay::restore(grid(), 1, ROOM, 1, &directory, &Manifest::default(), &[]).unwrap();
    add_episode(&mut replay, 0, 0, 5);
    let (manifest, open) = (replay.manifest().unwrap(), replay.open_rows());
    add_episode(&mut replay, 0, 1, 5);
    let path = directory.join(&manifest.episodes[0].file);
    let intact = std::fs::read(&path).unwrap();
    let restore = || Replay::restore(grid(), 1, ROOM, 1, &directory, &manifest, &open);
    let flipped = (0..8 * intact.len()).map(|bit| {
        let mut bytes = intact.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    for bytes in flipped.chain((0..intact.len()).map(|length| intact[..length].to_vec())) {
        std::fs::write(&path, &bytes).unwrap();
        let message = restore().unwrap_err().to_string();
        assert!(message.contains(&manifest.episodes[0].file), "{message}");
        // The reader by itself, without the checkpoint's checksum, must not panic nor give other numbers.
        if let Ok(episode) = npz::read(&bytes, &grid(), 5) {
            assert_eq!(&episode, replay.episodes().next().unwrap().2);
        }
    }
    std::fs::remove_file(&path).unwrap();
    assert!(restore().unwrap_err().to_string().contains(&manifest.episodes[0].file));
    assert!(!files::exists(&directory.join("aside")));
    std::fs::write(&path, &intact).unwrap();
    assert_eq!(restore().unwrap().1, 1);

    let mut escaping = manifest.clone();
    escaping.episodes[0].file = format!("../{}", manifest.episodes[0].file);
    let restored = Replay::restore(grid(), 1, ROOM, 1, &directory, &escaping, &open);
    assert!(restored.unwrap_err().to_string().contains("leads out"));
    for open in [&open[..open.len() - 1], &[1, 0, 0, 0, 0, 0, 0, 0, 7], &[255; 8], &[0; 16]] {
        assert!(Replay::restore(grid(), 1, ROOM, 1, &directory, &manifest, open).is_err(), "{open:?}");
    }
    files::remove(&directory).unwrap();
}

#[test]
fn hostile_archives_are_refused_within_bounded_memory() {
    use std::io::Write;
    let archive = |arrays: &[(&str, &[u8])]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in arrays {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    // 64 MiB of zeros in about 64 KiB, behind a header that tells the truth, and behind one that lies.
    let zeros = vec![0; 64 << 20];
    for rows in [zeros.len() / 4, 5] {
        let header = dreamer_fast::replay::npy::header(dreamer_fast::replay::npy::Dtype::U8, &[rows, 2, 2, 1]);
        let bomb = archive(&[("symbolic.npy", &[header.as_slice(), &zeros].concat())]);
        assert!(bomb.len() < 100_000);
        assert!(npz::read(&bomb, &grid(), 5).unwrap_err().to_string().contains("longer than 5 rows"));
    }
    assert!(npz::read(&archive(&[]), &grid(), 5).is_err());
    let mut episode = Replay::in_memory(grid(), 1, ROOM, 1);
    add_episode(&mut episode, 0, 0, 20);
    let good = npz::write(episode.episodes().next().unwrap().2, &grid());
    assert!(npz::read(&good, &grid(), 19).is_err() && npz::read(&good, &vector(), 20).is_err());
    // Random damage, mostly to the tables of the archive, which no checksum covers.
    let mut rng = Philox::new(1, stream::TEST, 0);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + rng.below(4) {
            let place = rng.below(bytes.len());
            bytes[place] = [0, 1, 0x7f, 0x80, 0xff, rng.below(256) as u8][rng.below(6)];
        }
        bytes.truncate(bytes.len() - rng.below(30).saturating_sub(20));
        let _ = npz::read(&bytes, &grid(), 20);
    }
}

/// numpy and danijar/dreamer's way of loading read our files, and we read numpy's float16 and float64.
#[test]
fn numpy_reads_our_files_and_we_read_numpys() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    if !Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} with numpy is not there (set PYTHON to one that has numpy)");
        return;
    }
    for (layout, case) in [(grid(), "grid"), (vector(), "vector")] {
        let directory = scratch(&format!("numpy-{case}"));
        let (mut replay, _) =
            Replay::restore(layout.clone(), 1, ROOM, 1, &directory, &Manifest::default(), &[]).unwrap();
        add_episode(&mut replay, 0, 0, 7);
        add_episode(&mut replay, 0, 1, 1);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_episodes.py");
        let output = Command::new(&python).args([script, directory.to_str().unwrap(), case]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("6 steps in 2 episodes"), "{said}");
        let others = std::fs::read(directory.join("other.npz")).unwrap();
        let read: Episode = npz::read(&others, &layout, 7).unwrap();
        assert_eq!(&read, replay.episodes().next().unwrap().2);
        files::remove(&directory).unwrap();
    }
}

fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("dreamer-fast-replay-{}-{name}", std::process::id()));
    files::remove(&directory).unwrap();
    directory
}

fn npz_files(directory: &Path) -> Vec<String> {
    files::list(directory).unwrap().into_iter().filter(|name| name.ends_with(".npz")).collect()
}
