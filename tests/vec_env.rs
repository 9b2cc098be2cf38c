//! Is many worlds at once the same as one after the other, on any number of threads? And what does a rollout write?

use dreamer_fast::base::{Philox, philox::stream};
use dreamer_fast::env::{Action, Options, Outcome, Policy, VecEnv, View, make, rollout};
use serde_json::Value;

const WORLDS: usize = 70;
const STEPS: usize = 60;

/// What world `i` is told at a step.
fn chosen(i: usize, step: usize) -> Action<'static> {
    Action::Discrete(Philox::new(i as u64, stream::TEST, step as u64).below(3))
}

/// Outcomes and observations of some play, reset where an episode ends.
fn play(threads: usize) -> (Vec<Outcome>, Vec<u8>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut envs = VecEnv::new("MiniGrid-Dynamic-Obstacles-5x5-v0", &Options::default(), WORLDS).unwrap();
        let size = envs.spec().observation.size();
        let (mut outcomes, mut seen) = (Vec::new(), Vec::new());
        (0..WORLDS).for_each(|i| envs.reset(i, Some(i as u64)));
        for step in 0..STEPS {
            let actions: Vec<Action> = (0..WORLDS).map(|i| chosen(i, step)).collect();
            let results = envs.step_all(&actions);
            let ended = results.iter().enumerate().filter(|(_, outcome)| outcome.ended()).map(|(i, _)| i);
            ended.collect::<Vec<_>>().into_iter().for_each(|i| envs.reset(i, None));
            outcomes.extend(results);
            let at = seen.len();
            seen.resize(at + WORLDS * size, 0);
            envs.write_bytes(&mut seen[at..]);
        }
        (outcomes, seen)
    })
}

#[test]
fn threads_change_nothing() {
    let (outcomes, seen) = play(1);
    for threads in [2, 5] {
        assert!(play(threads) == (outcomes.clone(), seen.clone()), "{threads} threads");
    }
    // One world alone, as number 37 of the row.
    let mut env = make("MiniGrid-Dynamic-Obstacles-5x5-v0", &Options::default()).unwrap();
    let mut bytes = [0; 147];
    env.reset(Some(37));
    for step in 0..STEPS {
        let outcome = env.step(chosen(37, step));
        assert_eq!(outcome, outcomes[step * WORLDS + 37], "step {step}");
        if outcome.ended() {
            env.reset(None);
        }
        env.write_bytes(&mut bytes);
        assert_eq!(bytes, seen[(step * WORLDS + 37) * 147..][..147], "step {step}");
    }
    assert!(outcomes.iter().any(|outcome| outcome.success) && outcomes.iter().any(|outcome| outcome.reward < 0.0));
}

fn lines(id: &str, options: &Options, policy: Policy, steps: u64) -> Vec<Value> {
    let mut written = Vec::new();
    rollout(&mut *make(id, options).unwrap(), (1 << 40) + 5, policy, 7, steps, &mut written).unwrap();
    let text = String::from_utf8(written).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_rollout_has_a_line_for_every_reset_and_step() {
    let written = lines("MiniGrid-DoorKey-5x5-v0", &Options::default(), Policy::Expert, 100);
    let resets = written.iter().filter(|line| line["action"].is_null()).count();
    let ends = written.iter().filter(|line| line["terminated"] == true || line["truncated"] == true).count();
    assert_eq!((written.len() - resets, resets), (100, ends + 1));
    assert!(ends >= 4);
    for (line, next) in written.iter().zip(&written[1..]) {
        let ended = line["terminated"] == true || line["truncated"] == true;
        assert_eq!(next["action"].is_null(), ended);
        assert_eq!(line["observation"].as_array().unwrap().len(), 147);
        assert!(line["direction"].as_u64().unwrap() < 4);
        assert!(!line.as_object().unwrap().contains_key("tile_size"));
        assert_eq!(line["reward"].as_f64().unwrap() > 0.0, ended, "the expert ends with a reward");
    }
}

#[test]
fn a_rollout_in_images_names_its_tile_size() {
    let options = Options { view: View::RgbPartial, tile_size: 4, ..Options::default() };
    for line in lines("Simple-10x10", &options, Policy::Random, 5) {
        assert_eq!(line["tile_size"], 4);
        assert_eq!(line["observation"].as_array().unwrap().len(), 28 * 28 * 3);
    }
}

#[test]
fn a_rollout_of_numbers_has_no_direction() {
    let written = lines("Pendulum-v1", &Options::default(), Policy::Random, 5);
    assert!(written[0]["direction"].is_null() && written[1]["action"].as_array().unwrap().len() == 1);
    assert_eq!(written[1]["observation"].as_array().unwrap().len(), 3);
}
