//! Is what was saved what is loaded, and is every damage noticed?

use std::path::{Path, PathBuf};

use dreamer_fast::base::files;
use dreamer_fast::run::checkpoint::{Checkpoint, generations, load, load_generation, save, set_aside};
use serde_json::json;

fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("dreamer-fast-checkpoint-{}-{name}", std::process::id()));
    files::remove(&directory).unwrap();
    directory
}

fn save_small(logdir: &Path, step: u64) -> u64 {
    let weights = [0.5, -1.0, step as f32];
    let tensors = vec![("rssm.gru.wx".to_string(), vec![3], &weights[..])];
    save(logdir, &Checkpoint { tensors, bytes: vec![("replay.open".into(), b"rows")], state: json!({ "step": step }) })
        .unwrap()
}

/// The files of a generation.
fn files_of(logdir: &Path, generation: u64) -> Vec<PathBuf> {
    let directory = logdir.join("checkpoint").join(format!("{generation:012}"));
    let names = files::list(&directory).unwrap();
    assert_eq!(names, ["checksums", "state.json", "tensors.safetensors"]);
    names.iter().map(|name| directory.join(name)).collect()
}

#[test]
fn everything_keeps_its_bits() {
    let logdir = scratch("bits");
    assert!(load(&logdir).unwrap().is_none(), "nothing was saved yet");
    let odd =
        [f32::from_bits(0x7fc0_1234), f32::from_bits(0xff80_0001), -0.0, f32::MIN_POSITIVE / 4.0, f32::INFINITY, 0.1];
    let moments = [1.0, 2.0];
    let numbers = [0.1, 1.0 / 3.0, -0.0, 5e-324, f64::MAX, 123_456_789.123_456_79];
    let state = json!({ "seed": u64::MAX, "negative": i64::MIN, "numbers": numbers, "text": "ä\n\"\u{1f600}" });
    let tensors = vec![
        ("b.odd".to_string(), vec![2, 3], &odd[..]),
        ("adam_m/b.odd".to_string(), vec![2, 1], &moments[..]),
        ("scalar".to_string(), vec![], &moments[..1]),
        ("empty".to_string(), vec![0, 4], &[][..]),
    ];
    let bytes = vec![("replay.open".to_string(), &[0, 255, 7][..])];
    assert_eq!(save(&logdir, &Checkpoint { tensors, bytes, state: state.clone() }).unwrap(), 1);
    let loaded = load(&logdir).unwrap().unwrap();
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&loaded.tensors["b.odd"].values), bits(&odd));
    assert_eq!(loaded.tensor("adam_m/b.odd", &[2, 1]).unwrap().values, moments);
    assert_eq!(loaded.tensor("scalar", &[]).unwrap().values, [1.0]);
    assert!(loaded.tensors["empty"].values.is_empty() && loaded.tensors["empty"].shape == [0, 4]);
    assert_eq!(loaded.bytes["replay.open"], [0, 255, 7]);
    assert_eq!(loaded.state, state);
    for (number, value) in numbers.iter().zip(loaded.state["numbers"].as_array().unwrap()) {
        assert_eq!(number.to_bits(), value.as_f64().unwrap().to_bits());
    }
    assert!(loaded.tensor("b.odd", &[6]).unwrap_err().to_string().contains("[2, 3]"));
    assert!(loaded.tensor("b.even", &[6]).unwrap_err().to_string().contains("b.even"));
    files::remove(&logdir).unwrap();
}

#[test]
fn two_generations_are_kept_and_files_are_readable_by_others() {
    let logdir = scratch("generations");
    for step in 1..=5 {
        assert_eq!(save_small(&logdir, step), step);
    }
    assert_eq!(generations(&logdir).unwrap(), [4, 5]);
    assert_eq!(load_generation(&logdir, 4).unwrap().state["step"], 4);
    #[cfg(unix)]
    for file in files_of(&logdir, 5) {
        use std::os::unix::fs::PermissionsExt;
        // What any new file gets here: the umask decides, not a temporary file's 0600.
        let plain = logdir.join("plain");
        std::fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&file), mode(&plain), "{}", file.display());
    }
    files::remove(&logdir).unwrap();
}

#[test]
fn a_generation_that_is_set_aside_pushes_out_no_other() {
    let logdir = scratch("aside");
    save_small(&logdir, 1);
    for again in 1..=2 {
        assert_eq!(save_small(&logdir, 2), 2);
        let aside = set_aside(&logdir, 2).unwrap();
        assert!(
            aside.ends_with(format!("000000000002.unusable{again}")) && files::exists(&aside),
            "{}",
            aside.display()
        );
    }
    save_small(&logdir, 2);
    assert_eq!(generations(&logdir).unwrap(), [1, 2]);
    files::remove(&logdir).unwrap();
}

/// Every flipped bit, every truncation, an appended byte and a missing file, of each file of the newest generation.
#[test]
fn every_damage_is_noticed_and_the_previous_generation_is_used() {
    let logdir = scratch("damage");
    save_small(&logdir, 1);
    save_small(&logdir, 2);
    let mut damages = 0;
    for file in files_of(&logdir, 2) {
        let intact = std::fs::read(&file).unwrap();
        let flipped = (0..8 * intact.len()).map(|bit| {
            let mut bytes = intact.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Some(bytes)
        });
        let cut = (0..intact.len()).map(|length| Some(intact[..length].to_vec()));
        let longer = [Some([intact.as_slice(), b"\n"].concat()), None];
        for bytes in flipped.chain(cut).chain(longer) {
            match &bytes {
                Some(bytes) => std::fs::write(&file, bytes).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            let loaded = load(&logdir).unwrap().unwrap();
            assert_eq!(loaded.generation, 1, "{} with {bytes:?} was accepted", file.display());
            assert_eq!((&loaded.state["step"], loaded.tensors["rssm.gru.wx"].values[2]), (&json!(1), 1.0));
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(loaded.notices[0].contains(name), "{name}: {:?}", loaded.notices);
            assert!(loaded.notices[1].contains("checkpoint 1"));
            damages += 1;
        }
        std::fs::write(&file, &intact).unwrap();
    }
    assert!(damages > 2000, "{damages} damages were tried");
    assert_eq!(load(&logdir).unwrap().unwrap().generation, 2);
    files::remove(&logdir).unwrap();
}

#[test]
fn a_damaged_generation_does_not_push_out_an_intact_one() {
    let logdir = scratch("push-out");
    save_small(&logdir, 1);
    save_small(&logdir, 2);
    std::fs::write(&files_of(&logdir, 2)[1], b"{}").unwrap();
    assert_eq!(save_small(&logdir, 3), 3);
    std::fs::write(&files_of(&logdir, 3)[2], b"").unwrap();
    let loaded = load(&logdir).unwrap().unwrap();
    assert_eq!((loaded.generation, loaded.notices.len()), (1, 3));
    // All damaged: no silent new beginning.
    std::fs::remove_file(&files_of(&logdir, 1)[0]).unwrap();
    let message = load(&logdir).unwrap_err().to_string();
    assert!(message.contains("no checkpoint in") && message.contains("tensors.safetensors"), "{message}");
    files::remove(&logdir).unwrap();
}
