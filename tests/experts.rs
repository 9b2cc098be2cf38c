//! Does the expert solve every layout, in the fewest actions?
//!
//! The oracle is a breadth-first search that knows nothing of keys and doors: it plays every action from every state of the
//! real world, saving and loading it, until an outcome is a success.

use std::collections::HashSet;

use dreamer_fast::env::{Action, Actions, Env, Options, make};

/// Enough that no search is truncated.
const NO_LIMIT: Options =
    Options { view: dreamer_fast::env::View::Symbolic, tile_size: 8, actions: None, max_steps: Some(1_000_000) };

/// Everything that a step depends on but the step count and the generator: the layout, and what the agent carries, which its
/// observation shows at its own place, cell (3, 6) of (7, 7).
fn situation(env: &dyn Env) -> Vec<u8> {
    let mut observation = [0; 147];
    env.write_bytes(&mut observation);
    let mut key = env.layout().expect("a gridworld has a layout");
    key.extend_from_slice(&observation[(3 * 7 + 6) * 3..][..3]);
    key
}

/// The fewest actions to success.
fn shortest(env: &mut dyn Env) -> usize {
    let Actions::Discrete { n } = env.spec().actions else { panic!("{} has no discrete actions", env.spec().id) };
    let mut seen = HashSet::from([situation(env)]);
    let mut layer = vec![env.save()];
    for length in 1.. {
        assert!(!layer.is_empty(), "{} has no solution", env.spec().id);
        let mut next = Vec::new();
        for state in &layer {
            for action in 0..n {
                env.load(state).unwrap();
                let outcome = env.step(Action::Discrete(action));
                if outcome.success {
                    return length;
                }
                if !outcome.ended() && seen.insert(situation(env)) {
                    next.push(env.save());
                }
            }
        }
        layer = next;
    }
    unreachable!()
}

/// Actions until the expert succeeds, asked before each of them.
fn follow(env: &mut dyn Env, seed: u64) -> usize {
    for length in 1..=2_000 {
        let action = env.expert().unwrap_or_else(|| panic!("{}, seed {seed}: no plan", env.spec().id));
        let outcome = env.step(Action::Discrete(action));
        if outcome.success {
            return length;
        }
        assert!(!outcome.ended(), "{}, seed {seed}: the expert fails", env.spec().id);
    }
    panic!("{}, seed {seed}: the expert does not arrive", env.spec().id)
}

fn assert_shortest(id: &str, options: &Options, seeds: u64) {
    let mut env = make(id, options).unwrap();
    for seed in 0..seeds {
        env.reset(Some(seed));
        let start = env.save();
        let expected = shortest(&mut *env);
        env.load(&start).unwrap();
        assert_eq!(follow(&mut *env, seed), expected, "{id}, seed {seed}");
    }
}

#[test]
fn plans_are_shortest() {
    for (id, seeds) in [
        ("Simple-10x10", 200),
        ("MiniGrid-Empty-6x6-v0", 1),
        ("MiniGrid-Empty-Random-6x6-v0", 100),
        ("MiniGrid-FourRooms-v0", 30),
        ("MiniGrid-DoorKey-5x5-v0", 100),
        ("MiniGrid-DoorKey-6x6-v0", 40),
        ("MiniGrid-Unlock-v0", 10),
        ("MiniGrid-MultiRoom-N2-S4-v0", 20),
        ("MiniGrid-LavaGapS7-v0", 20),
        ("MiniGrid-LavaCrossingS9N3-v0", 20),
        ("MiniGrid-SimpleCrossingS9N3-v0", 20),
        ("MiniGrid-MemoryS7-v0", 20),
        ("MiniGrid-KeyCorridorS3R1-v0", 40),
        ("MiniGrid-KeyCorridorS3R2-v0", 8),
    ] {
        assert_shortest(id, &NO_LIMIT, seeds);
    }
}

#[test]
fn plans_are_shortest_with_the_other_number_of_actions() {
    assert_shortest("Simple-10x10", &Options { actions: Some(7), ..NO_LIMIT }, 10);
    assert_shortest("MiniGrid-Empty-Random-5x5-v0", &Options { actions: Some(3), ..NO_LIMIT }, 10);
}

#[test]
fn every_layout_is_solved_in_time() {
    for id in [
        "Simple-10x10",
        "MiniGrid-Empty-5x5-v0",
        "MiniGrid-Empty-6x6-v0",
        "MiniGrid-Empty-8x8-v0",
        "MiniGrid-Empty-16x16-v0",
        "MiniGrid-Empty-Random-5x5-v0",
        "MiniGrid-Empty-Random-6x6-v0",
        "MiniGrid-FourRooms-v0",
        "MiniGrid-DoorKey-5x5-v0",
        "MiniGrid-DoorKey-6x6-v0",
        "MiniGrid-DoorKey-8x8-v0",
        "MiniGrid-DoorKey-16x16-v0",
        "MiniGrid-Unlock-v0",
        "MiniGrid-MultiRoom-N2-S4-v0",
        "MiniGrid-MultiRoom-N4-S5-v1",
        "MiniGrid-LavaGapS7-v0",
        "MiniGrid-LavaCrossingS11N5-v0",
        "MiniGrid-SimpleCrossingS11N5-v0",
        "MiniGrid-MemoryS17Random-v0",
    ] {
        let mut env = make(id, &Options::default()).unwrap();
        for seed in 0..300 {
            env.reset(Some(seed));
            follow(&mut *env, seed);
        }
    }
    for (id, seeds) in [("MiniGrid-KeyCorridorS3R3-v0", 100), ("MiniGrid-MultiRoom-N6-v0", 50)] {
        let mut env = make(id, &Options::default()).unwrap();
        for seed in 0..seeds {
            env.reset(Some(seed));
            follow(&mut *env, seed);
        }
    }
}

#[test]
fn a_plan_that_is_left_is_made_anew() {
    let mut env = make("MiniGrid-DoorKey-8x8-v0", &NO_LIMIT).unwrap();
    for seed in 0..20 {
        env.reset(Some(seed));
        env.expert().unwrap();
        // Off the plan, whatever it was.
        for action in [0, 2, 3, 1, 1, 5, 4] {
            env.step(Action::Discrete(action));
            let state = env.save();
            let length = follow(&mut *env, seed);
            env.load(&state).unwrap();
            assert_eq!(follow(&mut *env, seed), length, "seed {seed}");
            env.load(&state).unwrap();
        }
    }
}

#[test]
fn where_no_plan_can_be_promised_there_is_no_expert() {
    let mut balls = make("MiniGrid-Dynamic-Obstacles-8x8-v0", &Options::default()).unwrap();
    assert_eq!(balls.expert(), None);
    let mut no_hands = make("MiniGrid-DoorKey-5x5-v0", &Options { actions: Some(3), ..Options::default() }).unwrap();
    assert_eq!(no_hands.expert(), None);
}
