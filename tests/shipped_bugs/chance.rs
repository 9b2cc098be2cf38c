//! Bug 9: two seeds are two runs, one seed is one run, and every source of chance follows the seed.

use dreamer_fast::replay::Replay;
use dreamer_fast::run::agent::{Agent, Learner};
use dreamer_fast::run::collect::{Actor, Collector};

use super::{action_of, beginner, config, life, observation_of};

/// A short run as `train` does it: random play, then turns of acting and learning. Every metric of every update, and what
/// was earned.
fn curve(task: &str, seed: u64, changes: &[&str]) -> Vec<(String, f64)> {
    let seed = format!("seed={seed}");
    let all = [&[seed.as_str(), "time_limit=10"], changes].concat();
    let (mut agent, mut replay) = beginner(&config(task, &all));
    let (mut collector, mut learner) = (Collector::new(&agent).unwrap(), Learner::new(&agent));
    let mut curve = Vec::new();
    for tick in 0..30 {
        let actor = if tick < 20 { Actor::Random } else { Actor::Policy { noise: 0.3 } };
        let ends = collector.step(&mut agent, &mut replay, actor).unwrap();
        curve.extend(ends.iter().map(|end| ("return".to_string(), end.total_reward)));
        if tick >= 20 {
            let metrics = learner.update(&mut agent, &replay).unwrap();
            curve.extend(metrics.into_iter().map(|(name, value)| (name.to_string(), value)));
        }
    }
    curve.push(("checksum".into(), f64::from(agent.checksum())));
    curve
}

/// Fails when all that is drawn is drawn with one and the same seed, as if the setting did not exist.
#[test]
fn bug_09_one_seed_is_one_curve_and_two_seeds_are_two() {
    for (task, changes) in
        [("MiniGrid-Empty-Random-5x5-v0", &["holdout=0"][..]), ("Pendulum-v1", &["observation=vector"])]
    {
        let curves: Vec<_> = (0..3).map(|seed| curve(task, seed, changes)).collect();
        let again = curve(task, 1, changes);
        assert_eq!(curves[1], again, "{task}: the same seed gives the same curve, bit for bit");
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            for name in ["model_loss", "image_loss", "kl", "value_loss", "actor_loss", "model_grad_norm", "checksum"] {
                let of = |i: usize| curves[i].iter().filter(|m| m.0 == name).map(|m| m.1).collect::<Vec<_>>();
                let (left, right) = (of(a), of(b));
                assert!(!left.is_empty() && left.iter().zip(&right).all(|(a, b)| a != b), "{task}: {name} of {a}, {b}");
            }
        }
    }
}

/// Agents of two seeds with the same parameters, and what 12 steps of each collect.
fn same_parameters(task: &str, changes: &[&str], actor: Actor) -> [(Agent, Replay); 2] {
    let begin = |seed: &str| beginner(&config(task, &[changes, &["envs=6", seed]].concat()));
    let (mut first, mut second) = (begin("seed=1"), begin("seed=2"));
    assert_ne!(first.0.params.value.all(), second.0.params.value.all(), "initial parameters follow the seed");
    second.0.params.value.all_mut().copy_from_slice(first.0.params.value.all());
    for (agent, replay) in [(&mut first.0, &mut first.1), (&mut second.0, &mut second.1)] {
        let mut collector = Collector::new(agent).unwrap();
        (0..12).for_each(|_| drop(collector.step(agent, replay, actor).unwrap()));
    }
    [first, second]
}

/// The actions of all environments.
fn actions(replay: &Replay, size: usize) -> Vec<Vec<Vec<f32>>> {
    let of = |env: usize| {
        let episodes = life(replay, env).into_iter();
        episodes.flat_map(|e| (1..e.rows()).map(|row| action_of(e, row, size)).collect::<Vec<_>>()).collect()
    };
    (0..replay.envs()).map(of).collect()
}

/// Fails when one of the streams of chance gets a constant instead of the seed, or when all environments share their draws.
#[test]
fn bug_09_every_source_of_chance_follows_the_seed() {
    // A world with a single layout: what differs is the actions' own.
    let single = ("MiniGrid-Empty-5x5-v0", ["action_set=3", "holdout=0", "time_limit=100"]);
    for (what, actor) in [
        ("prefill", Actor::Random),
        ("the policy's samples", Actor::Policy { noise: 0.0 }),
        ("exploration", Actor::Policy { noise: 1.0 }),
    ] {
        let [first, second] = same_parameters(single.0, &single.1, actor).map(|(_, replay)| actions(&replay, 3));
        assert_ne!(first, second, "{what}: two seeds, the same actions");
        for env in 1..6 {
            assert_ne!(first[0], first[env], "{what}: environments 0 and {env} do the same");
        }
    }
    // Layouts, by the observations of resets.
    let [first, second] =
        same_parameters("MiniGrid-FourRooms-v0", &["time_limit=2"], Actor::Random).map(|(agent, replay)| {
            let size = agent.world.layout.observation_size();
            let resets = |env: usize| life(&replay, env).iter().map(|e| observation_of(e, 0, size)).collect::<Vec<_>>();
            (0..6).map(resets).collect::<Vec<_>>()
        });
    assert!((0..6).all(|env| first[env] != second[env]), "two seeds play the same layouts");
    assert!((1..6).all(|env| first[env] != first[0]), "all environments play the same layouts");
    assert!(first[0].iter().any(|reset| *reset != first[0][0]), "an environment plays one layout for ever");
}

/// Fails when `Learner::update` does not hand the seed to the noise of the training step, or `Replay::draw` does not use it.
#[test]
fn bug_09_batches_and_training_noise_follow_the_seed() {
    let task = ("MiniGrid-Empty-5x5-v0", ["holdout=0", "time_limit=10"]);
    let [(mut one, replay), (mut two, _)] = same_parameters(task.0, &task.1, Actor::Random);
    let metrics = |agent: &mut Agent| Learner::new(agent).update(agent, &replay).unwrap();
    let (a, b) = (metrics(&mut one), metrics(&mut two));
    let of = |metrics: &[(&str, f64)], name: &str| metrics.iter().find(|m| m.0 == name).unwrap().1;
    for name in ["image_loss", "kl", "value_loss", "actor_loss"] {
        assert_ne!(of(&a, name), of(&b, name), "{name} is the same under another seed, from the same batch");
    }

    // The same rows under two seeds.
    let [(agent, _), _] = same_parameters(task.0, &task.1, Actor::Random);
    let mut copy = Replay::in_memory(agent.world.layout.clone(), 6, 1 << 30, 77);
    for (_, env, episode) in replay.episodes() {
        let (size, width) = (agent.world.layout.observation_size(), agent.world.model.actions.size());
        for row in 0..episode.rows() {
            let bytes: Vec<u8> = observation_of(episode, row, size).iter().map(|&x| x as u8).collect();
            let row = dreamer_fast::replay::Row {
                observation: dreamer_fast::replay::Obs::Bytes(&bytes),
                action: &action_of(episode, row, width),
                reward: episode.rewards()[row],
                discount: episode.discounts()[row],
                is_first: row == 0,
                is_last: row + 1 == episode.rows(),
            };
            copy.add(env, &row).unwrap();
        }
    }
    let batch = |replay: &Replay| {
        let [(mut agent, _), _] = same_parameters(task.0, &task.1, Actor::Random);
        let mut learner = Learner::new(&agent);
        learner.update(&mut agent, replay).unwrap();
        let batch = learner.step.batch;
        [batch.obs, batch.action].map(|var| learner.step.plan.value(var).to_vec())
    };
    assert_eq!(batch(&replay), batch(&replay));
    assert_ne!(batch(&replay), batch(&copy), "two seeds draw the same batch");
}
