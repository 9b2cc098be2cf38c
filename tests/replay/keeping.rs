//! What stays in memory, what is refused, and what a resumed replay draws.

use dreamer_fast::base::{Philox, files, philox::stream};
use dreamer_fast::replay::{Manifest, Obs, Replay, Row, Sampling, Source};

use super::{ACROSS, Batch, ROOM, WITHIN, add, add_episode, grid, npz_files, sample, scratch, vector};

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
