//! Is the native `Pendulum-v1` Gymnasium's?

use dreamer_fast::env::pendulum::Pendulum;
use serde_json::Value;

/// Recorded from Gymnasium by `scripts/record_pendulum.py`.
const EPISODES: &str = include_str!("fixtures/pendulum/episodes.json");

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().filter_map(Value::as_f64).collect()
}

/// Bits where the C library is the one of the recording; elsewhere sin, cos and pow may differ in the last place, which grows
/// along an episode.
fn assert_same(got: f64, expected: f64, what: &str) {
    let same = if cfg!(all(target_os = "linux", target_env = "gnu")) {
        got.to_bits() == expected.to_bits()
    } else {
        (got - expected).abs() < 1e-4
    };
    assert!(same, "{what}: {got:?} instead of {expected:?}");
}

fn assert_observation(pendulum: &Pendulum, expected: &[f64], when: &str) {
    for (i, (got, expected)) in pendulum.observation().iter().zip(expected).enumerate() {
        assert_same(f64::from(*got), f64::from(*expected as f32), &format!("observation {i}, {when}"));
    }
}

#[test]
fn episodes_are_those_of_gymnasium() {
    let episodes: Value = serde_json::from_str(EPISODES).expect("the fixture is JSON");
    let mut pendulum = Pendulum::new();
    let mut steps = 0;
    for episode in episodes.as_array().expect("episodes") {
        let name = format!("{} seed {}", episode["policy"], episode["seed"]);
        pendulum.reset(episode["seed"].as_str().map(|seed| seed.parse().expect("a seed")));
        assert_observation(&pendulum, &numbers(&episode["first"]), &format!("{name}, reset"));
        for (i, row) in episode["rows"].as_array().expect("rows").iter().enumerate() {
            let when = format!("{name}, step {i}");
            // A checkpoint in the middle of an episode changes nothing.
            if i == 50 {
                pendulum = Pendulum::load(&pendulum.save()).expect("just saved");
            }
            let values = numbers(row);
            let (reward, terminated, truncated) = pendulum.step(values[0] as f32);
            assert_same(reward, values[1], &format!("reward, {when}"));
            assert_observation(&pendulum, &values[2..], &when);
            assert!(!terminated, "{when}");
            assert_eq!(Some(truncated), row[5].as_bool(), "truncated, {when}");
            steps += 1;
        }
    }
    assert_eq!(steps, 7 * 200);
}

#[test]
fn a_damaged_state_is_refused() {
    let bytes = Pendulum::new().save();
    assert!(Pendulum::load(&bytes[..10]).unwrap_err().to_string().contains("10 bytes instead of 57"));
}

/// The rod covers the pixel of its tip, on the side that Gymnasium draws it: a positive angle leans to the left.
#[test]
fn the_picture_shows_the_rod() {
    let size = 64;
    let mut pendulum = Pendulum::new();
    let mut picture = vec![0; size * size * 3];
    for seed in 0..20 {
        pendulum.reset(Some(seed));
        pendulum.picture(size, &mut picture);
        let [cos, sin, _] = pendulum.observation();
        let at = |x: f32, y: f32| {
            let metre = size as f32 / 4.4;
            let column = (size as f32 / 2.0 + x * metre) as usize;
            let row = (size as f32 / 2.0 - y * metre) as usize;
            &picture[(row * size + column) * 3..][..3]
        };
        assert_eq!(at(-sin * 0.8, cos * 0.8), [204, 77, 77], "seed {seed}: the rod");
        assert_eq!(at(sin * 0.8, -cos * 0.8), [255, 255, 255], "seed {seed}: opposite the rod");
        assert!(at(0.0, 0.0)[0] < 150, "seed {seed}: the axle is dark");
    }
}
