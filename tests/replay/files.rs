//! Do others read the files, and does the reader survive any file?

use std::process::Command;

use dreamer_fast::base::{Philox, files, philox::stream};
use dreamer_fast::replay::{Episode, Manifest, Replay, npy, npz};

use super::{ROOM, add_episode, grid, scratch, vector};

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
        let header = npy::header(npy::Dtype::U8, &[rows, 2, 2, 1]);
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
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replay/read_episodes.py");
        let output = Command::new(&python).args([script, directory.to_str().unwrap(), case]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("6 steps in 2 episodes"), "{said}");
        let others = std::fs::read(directory.join("other.npz")).unwrap();
        let read: Episode = npz::read(&others, &layout, 7).unwrap();
        assert_eq!(&read, replay.episodes().next().unwrap().2);
        files::remove(&directory).unwrap();
    }
}
