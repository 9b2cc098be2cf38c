//! Is the native `Pendulum-v1` Gymnasium's?

use dreamer_fast::env::{Action, Env, Options, Outcome, Pendulum, View, make};
use serde_json::Value;

/// Recorded from Gymnasium by `scripts/record_pendulum.py`.
const EPISODES: &str = include_str!("fixtures/pendulum/episodes.json");

fn pendulum() -> Pendulum {
    Pendulum::new(&Options::default()).expect("the default options suit it")
}

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
    let mut pendulum = pendulum();
    let mut steps = 0;
    for episode in episodes.as_array().expect("episodes") {
        let name = format!("{} seed {}", episode["policy"], episode["seed"]);
        pendulum.reset(episode["seed"].as_str().map(|seed| seed.parse().expect("a seed")));
        assert_observation(&pendulum, &numbers(&episode["first"]), &format!("{name}, reset"));
        for (i, row) in episode["rows"].as_array().expect("rows").iter().enumerate() {
            let when = format!("{name}, step {i}");
            // A checkpoint in the middle of an episode changes nothing.
            if i == 50 {
                let state = pendulum.save();
                pendulum.reset(Some(99));
                pendulum.load(&state).expect("just saved");
            }
            let values = numbers(row);
            let Outcome { reward, terminated, truncated, success } =
                pendulum.step(Action::Continuous(&[values[0] as f32]));
            assert_same(reward, values[1], &format!("reward, {when}"));
            assert_observation(&pendulum, &values[2..], &when);
            assert!(!terminated && !success, "{when}");
            assert_eq!(Some(truncated), row[5].as_bool(), "truncated, {when}");
            steps += 1;
        }
    }
    assert_eq!(steps, 7 * 200);
}

#[test]
fn a_damaged_state_is_refused_and_changes_nothing() {
    let mut pendulum = pendulum();
    let good = pendulum.save();
    assert_eq!(good.len(), 57);
    assert!(pendulum.load(&good[..10]).unwrap_err().to_string().contains("10 bytes instead of 57"));
    // The byte with the sign and most of the exponent of the velocity.
    let mut bad = good.clone();
    bad[15] = 0x7f;
    assert!(pendulum.load(&bad).unwrap_err().to_string().contains("velocity"));
    assert_eq!(pendulum.save(), good);
}

#[test]
fn options_of_gridworlds_are_refused() {
    let refused = |options| Pendulum::new(&options).unwrap_err().to_string();
    assert!(refused(Options { view: View::RgbFull, ..Options::default() }).contains("no RGB view"));
    assert!(refused(Options { actions: Some(3), ..Options::default() }).contains("continuous"));
    let mut short = Pendulum::new(&Options { max_steps: Some(2), ..Options::default() }).unwrap();
    assert!(!short.step(Action::Continuous(&[0.0])).truncated);
    assert!(short.step(Action::Continuous(&[0.0])).truncated);
}

/// The rod covers the pixel of its tip, on the side that Gymnasium draws it: a positive angle leans to the left.
#[test]
fn the_picture_shows_the_rod() {
    let mut pendulum = pendulum();
    for seed in 0..20 {
        pendulum.reset(Some(seed));
        let picture = pendulum.picture();
        let size = picture.width;
        let [cos, sin, _] = pendulum.observation();
        let at = |x: f32, y: f32| {
            let metre = size as f32 / 4.4;
            let column = (size as f32 / 2.0 + x * metre) as usize;
            let row = (size as f32 / 2.0 - y * metre) as usize;
            &picture.rgb[(row * size + column) * 3..][..3]
        };
        assert_eq!(at(-sin * 0.8, cos * 0.8), [204, 77, 77], "seed {seed}: the rod");
        assert_eq!(at(sin * 0.8, -cos * 0.8), [255, 255, 255], "seed {seed}: opposite the rod");
        assert!(at(0.0, 0.0)[0] < 150, "seed {seed}: the axle is dark");
    }
}

#[test]
fn it_is_found_by_its_id() {
    let env = make("Pendulum-v1", &Options::default()).unwrap();
    let mut observation = [0.0; 3];
    env.write_floats(&mut observation);
    assert_eq!(observation, pendulum().observation(), "a new world is reset with seed 0");
    let error = make("pendulum", &Options::default()).err().expect("unknown").to_string();
    assert!(error.contains("did you mean Pendulum-v1?"), "{error}");
}
