//! Are the answers of the probes exact? Each stated value is compared with what best play earns, step by step.

use dreamer_fast::env::probe::{PROBES, Question};
use dreamer_fast::env::{Action, Actions, Env, Options, Probe, make};

const DISCOUNT: f64 = 0.8;

/// Plays best, and returns the rewards and the stated values of all states, the reset first.
fn best_play(probe: &mut Probe) -> (Vec<f64>, Vec<f64>) {
    let (mut rewards, mut values) = (vec![0.0], vec![probe.value(DISCOUNT)]);
    while !probe.is_over() {
        let reward = match probe.spec().actions {
            Actions::Discrete { .. } => {
                let action = probe.expert().expect("a probe of discrete actions has an expert");
                probe.step(Action::Discrete(action)).reward
            }
            Actions::Continuous { .. } => {
                let mut seen = [0.0; 2];
                probe.write_floats(&mut seen);
                probe.step(Action::Continuous(&[0.5 * seen[0].signum()])).reward
            }
        };
        rewards.push(reward);
        values.push(probe.value(DISCOUNT));
    }
    (rewards, values)
}

/// V_t = r_t + g V_{t+1}; the last state is worth its reward if the world ended, and its reward and all that would follow if it was cut off.
#[test]
fn values_are_what_best_play_earns() {
    for &(id, question, _) in PROBES {
        let mut probe = Probe::new(id);
        let mut cut_off = 0;
        for seed in 0..20 {
            probe.reset(Some(seed));
            let best = probe.best_return();
            let (rewards, values) = best_play(&mut probe);
            assert!((rewards.iter().sum::<f64>() - best).abs() < 1e-12, "{id}: {rewards:?} is not {best}");
            for t in 0..rewards.len() - 1 {
                let want = rewards[t] + DISCOUNT * values[t + 1];
                assert!((values[t] - want).abs() < 1e-12, "{id}, step {t}: {} is not {want}", values[t]);
            }
            let (last, reward) = (values.last().unwrap(), rewards.last().unwrap());
            let forever = reward / (1.0 - DISCOUNT);
            let ended = (last - reward).abs() < 1e-12;
            assert!(ended || (last - forever).abs() < 1e-12, "{id}: the last state is worth {last}");
            cut_off += usize::from(!ended);
        }
        let want = match question {
            Question::Continue => 20..=20,
            Question::Limit => 5..=15,
            _ => 0..=0,
        };
        assert!(want.contains(&cut_off), "{id}: {cut_off} of 20 episodes were cut off");
    }
}

/// No other play has a larger value, what lies beyond a time limit included: every sequence of actions of a short probe, and every
/// constant action of a long one.
#[test]
fn no_play_is_better_than_the_best() {
    for &(id, _, _) in PROBES {
        let mut probe = Probe::new(id);
        let Actions::Discrete { n } = probe.spec().actions else { continue };
        let length = probe.spec().max_steps;
        let plays = if length <= 8 { n.pow(length) } else { n };
        for (seed, play) in (0..4).flat_map(|seed| (0..plays).map(move |play| (seed, play))) {
            probe.reset(Some(seed));
            let best = probe.value(DISCOUNT);
            let (mut earned, mut weight, mut rest) = (0.0, 1.0, play);
            while !probe.is_over() {
                let action = if length <= 8 { rest % n } else { play };
                rest /= n;
                let reward = probe.step(Action::Discrete(action)).reward;
                weight *= DISCOUNT;
                earned += weight * if probe.is_over() { probe.value(DISCOUNT) } else { reward };
            }
            assert!(earned <= best + 1e-12, "{id}: play {play} is worth {earned}, more than {best}");
        }
    }
}

#[test]
fn the_continuous_reward_peaks_at_half_the_cue() {
    let mut probe = Probe::new("Probe-Continuous-v0");
    for (action, left, right) in [(0.5, 0.0, 1.0), (-0.5, 1.0, 0.0), (0.0, 0.75, 0.75), (1.0, -1.25, 0.75)] {
        for seed in 0..6 {
            probe.reset(Some(seed));
            let mut seen = [0.0; 2];
            probe.write_floats(&mut seen);
            let want = if seen[0] > 0.0 { right } else { left };
            assert_eq!(probe.step(Action::Continuous(&[-action])).reward, 0.0);
            assert_eq!(probe.step(Action::Continuous(&[action])).reward, want);
        }
    }
}

/// The cue is in view where the table says so and nowhere else: two episodes that differ by their cue alone look alike in between.
#[test]
fn memory_hides_the_cue_until_the_answer_is_given() {
    for (id, k) in [("Probe-Memory1-v0", 1), ("Probe-Memory5-v0", 5), ("Probe-Memory20-v0", 20)] {
        let episode = |seed: u64| {
            let mut probe = Probe::new(id);
            probe.reset(Some(seed));
            let cue = probe.expert();
            let mut seen = Vec::new();
            loop {
                let mut view = [0.0; 2];
                probe.write_floats(&mut view);
                seen.push(view);
                if probe.is_over() {
                    return (cue, seen);
                }
                probe.step(Action::Discrete(0));
            }
        };
        let (cue, seen) = episode(0);
        let (_, other) = (1..).map(episode).find(|other| other.0 != cue).unwrap();
        assert_eq!(seen.len(), k + 2, "{id}");
        for t in 0..seen.len() {
            let hidden = (1..=k).contains(&t);
            assert_eq!(seen[t] == other[t], hidden, "{id}, step {t}: {:?} and {:?}", seen[t], other[t]);
        }
    }
}

#[test]
fn the_image_shows_the_cue_as_its_bright_half() {
    let mut probe = Probe::new("Probe-Image-v0");
    let mut cues = [0, 0];
    for seed in 0..10 {
        probe.reset(Some(seed));
        let named = probe.expert().unwrap();
        cues[named] += 1;
        let mut image = vec![7; 8 * 8 * 3];
        probe.write_bytes(&mut image);
        for (i, pixel) in image.chunks_exact(3).enumerate() {
            let right = i % 8 >= 4;
            assert_eq!(pixel, [if right == (named == 1) { 255 } else { 0 }; 3]);
        }
        probe.step(Action::Discrete(named));
        probe.write_bytes(&mut image);
        assert!(image.iter().all(|&byte| byte == 0));
    }
    assert!(cues.iter().all(|&n| n > 0), "{cues:?}");
}

#[test]
fn a_saved_probe_goes_on_alike_and_damage_is_refused() {
    for &(id, _, _) in PROBES {
        let mut probe = Probe::new(id);
        let half = [0.5];
        let action = match probe.spec().actions {
            Actions::Discrete { .. } => Action::Discrete(1),
            Actions::Continuous { .. } => Action::Continuous(&half),
        };
        probe.reset(Some(3));
        probe.step(action);
        let state = probe.save();
        let mut other = make(id, &Options::default()).unwrap();
        other.load(&state).unwrap();
        for _ in 0..5 {
            if probe.is_over() {
                probe.reset(None);
                other.reset(None);
            }
            assert_eq!(probe.step(action), other.step(action), "{id}");
            assert_eq!(probe.save(), other.save(), "{id}");
        }
        let before = other.save();
        for damaged in [&state[1..], &[&[9], &state[1..]].concat()[..], &[&state[..4], &[255], &state[5..]].concat()] {
            assert!(other.load(damaged).unwrap_err().to_string().contains(id));
            assert_eq!(other.save(), before);
        }
    }
}

#[test]
fn what_the_answers_depend_on_cannot_be_chosen() {
    for options in [
        Options { max_steps: Some(3), ..Options::default() },
        Options { actions: Some(3), ..Options::default() },
        Options { view: dreamer_fast::env::View::RgbFull, ..Options::default() },
    ] {
        let error = make("Probe-Limit-v0", &options).err().expect("refused").to_string();
        assert!(error.contains("Probe-Limit-v0") && error.contains("time_limit = 0"), "{error}");
    }
}

/// A third of the way to the nearest mistake: taking the limit for an end, or the end for a limit, is out of bounds at every step.
#[test]
fn the_tolerance_tells_a_limit_from_an_end() {
    let mut probe = Probe::new("Probe-Limit-v0");
    let tolerance = probe.tolerance(DISCOUNT);
    let mut of_cue = |ends: bool| {
        let seed = (0..).find(|&seed| {
            probe.reset(Some(seed));
            (probe.value(DISCOUNT) < 3.0) == ends
        });
        probe.reset(seed);
        best_play(&mut probe).1
    };
    let (ending, cut_off) = (of_cue(true), of_cue(false));
    assert!((cut_off[0] - 4.0).abs() < 1e-12 && (cut_off[5] - 5.0).abs() < 1e-12);
    assert!(ending.iter().zip(&cut_off).all(|(a, b)| (a - b).abs() > 2.9 * tolerance), "{ending:?} {cut_off:?}");
}
