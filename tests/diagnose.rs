//! Are the instruments right? Each on a case whose answer is known: a room that can be planned by hand, a script of actions, pictures that are read back,
//! and the acting policy, which must see the same states. Then the whole command on runs of seconds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use dreamer_fast::autodiff::Clock;
use dreamer_fast::config::{Config, Request, resolve};
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::policy::{Choice, Dreamer, Policy};
use dreamer_fast::dreamer::readout::{Readout, Step};
use dreamer_fast::env::Env;
use dreamer_fast::replay::{Obs, Replay};
use dreamer_fast::run::agent::Agent;
use dreamer_fast::run::collect::act;
use dreamer_fast::run::diagnose::play::{Episode, Place, Play, Player, Row, play, see};
use dreamer_fast::run::diagnose::symbols::Symbols;
use dreamer_fast::run::diagnose::{batches, choices, imagination, open_loop, paths, value};
use dreamer_fast::run::world::World;
use serde_json::Value;

const LEFT: usize = 0;
const RIGHT: usize = 1;
const FORWARD: usize = 2;

/// The preset `debug` with changes `key=value`.
fn config(task: &str, changes: &[&str]) -> Config {
    let set = changes.iter().map(|change| change.to_string()).collect();
    let request =
        Request { preset: Some("debug".into()), flags: vec![("task", task.into())], set, ..Request::default() };
    resolve(&request).unwrap().config
}

/// An agent that has learned nothing.
fn agent(task: &str, changes: &[&str]) -> Agent {
    let world = World::new(&config(task, changes)).unwrap();
    Agent::new(world, Arc::new(Pool::new(1).unwrap()))
}

fn one_hot(world: &World, actions: &[usize]) -> Vec<Vec<f32>> {
    let width = world.model.actions.size();
    actions.iter().map(|&a| (0..width).map(|i| f32::from(u8::from(i == a))).collect()).collect()
}

/// The row of a state; the model's part is left empty.
fn row(env: &dyn Env, reward: f64, terminated: bool) -> Row {
    Row {
        snapshot: env.save(),
        place: Place::of(env),
        action: Vec::new(),
        reward,
        terminated,
        stoch: Vec::new(),
        deter: Vec::new(),
        value: 0.0,
        kl: 0.0,
        entropies: [0.0; 2],
        action_entropy: None,
        chances: None,
    }
}

/// In Empty-5x5 the agent begins at (1, 1) and looks right, the goal is at (3, 3), and a plan takes five steps of a hundred.
#[test]
fn the_optimum_is_the_discounted_reward_of_the_plan_that_one_finds_by_hand() {
    let world = World::new(&config("MiniGrid-Empty-5x5-v0", &[])).unwrap();
    let (mut played, mut scratch) = (world.envs(1).unwrap(), world.envs(1).unwrap());
    let env = played.env_mut(0);
    assert_eq!(Place::of(env), Some(Place { x: 1, y: 1, direction: 0 }));
    let mut best = |env: &dyn Env, reward, terminated| {
        value::optimum(&world, scratch.env_mut(0), &row(env, reward, terminated)).unwrap().unwrap()
    };
    // The world's reward: 1 - 0.9 steps / 100, in f32 as it is stored.
    let reward = |steps: f64| f64::from((1.0 - 0.9 * (steps / 100.0)) as f32);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    close(best(env, 0.0, false), 0.99_f64.powi(5) * reward(5.0));
    for action in one_hot(&world, &[FORWARD, FORWARD, RIGHT]) {
        act(&world, env, &action);
    }
    close(best(env, 0.0, false), 0.99_f64.powi(2) * reward(5.0));
    // A reward of the state itself counts, too.
    close(best(env, 0.25, false), 0.25 + 0.99_f64.powi(2) * reward(5.0));
    // One turn too many costs two steps: it has to be undone.
    act(&world, env, &one_hot(&world, &[LEFT])[0]);
    close(best(env, 0.0, false), 0.99_f64.powi(3) * reward(7.0));
    // Nothing comes after the end.
    close(best(env, 0.9, true), 0.9);
}

/// In the same room after two steps forward: one turn to the right, then two steps. The other turn has to be undone, and what changes nothing costs a step.
#[test]
fn the_best_return_of_an_action_is_that_of_the_plan_after_it() {
    let world = World::new(&config("MiniGrid-Empty-5x5-v0", &[])).unwrap();
    let (mut played, mut scratch) = (world.envs(1).unwrap(), world.envs(1).unwrap());
    let env = played.env_mut(0);
    for action in one_hot(&world, &[FORWARD, FORWARD]) {
        act(&world, env, &action);
    }
    let best = choices::best_returns(&world, scratch.env_mut(0), &row(env, 0.25, false)).unwrap().unwrap();
    let after = |steps: i32| 0.99_f64.powi(steps) * f64::from((1.0 - 0.9 * (f64::from(2 + steps) / 100.0)) as f32);
    assert_eq!(best.len(), 7);
    for (action, best) in best.into_iter().enumerate() {
        let steps = [5, 3].get(action).copied().unwrap_or(4);
        assert!((best - after(steps)).abs() < 1e-12, "{action}: {best} is not {}", after(steps));
    }
    // An action that ends the episode is worth its reward.
    for action in one_hot(&world, &[RIGHT, FORWARD]) {
        act(&world, env, &action);
    }
    let best = choices::best_returns(&world, scratch.env_mut(0), &row(env, 0.0, false)).unwrap().unwrap();
    assert!((best[FORWARD] - 0.99 * f64::from((1.0 - 0.9 * (5.0 / 100.0)) as f32)).abs() < 1e-12);
}

/// A detour in Empty-5x5 by hand: a turn that has to be undone wastes two steps, an action without effect one.
#[test]
fn wasted_steps_add_up_to_what_a_path_has_too_many() {
    const DROP: usize = 4;
    let agent = agent("MiniGrid-Empty-5x5-v0", &[]);
    let mut envs = agent.world.envs(1).unwrap();
    let env = envs.env_mut(0);
    let script = [FORWARD, FORWARD, LEFT, DROP, RIGHT, RIGHT, FORWARD, FORWARD];
    let chances: Vec<f64> = vec![0.125, 0.25, 0.125, 0.125, 0.125, 0.125, 0.125];
    let row = |env: &dyn Env, action, reward, ended| Row {
        action,
        chances: Some(chances.clone()),
        ..self::row(env, reward, ended)
    };
    let mut rows = vec![row(env, vec![0.0; 7], 0.0, false)];
    for action in one_hot(&agent.world, &script) {
        let outcome = act(&agent.world, env, &action);
        rows.push(row(env, action, outcome.reward, outcome.ended()));
    }
    let solved = Episode { rows: rows.clone(), success: true, total: 0.9 };
    // What did not succeed has no length to compare.
    let failed = Episode { rows: rows[..4].to_vec(), success: false, total: 0.0 };
    let play = Play { player: Player::Sampled, episodes: vec![failed, solved], unseen: true };
    let measured = paths::measure(&agent, &play).unwrap();
    let [path] = &measured.paths[..] else { panic!("{measured:?}") };
    assert_eq!((path.episode, &path.actions[..], &path.waste[..]), (1, &script[..], &[0, 0, 2, 1, 0, 0, 0, 0][..]));
    assert_eq!(measured.excess(), Some(3.0));
    // In place of the turn to the left the plan turns right; in place of the drop, where both turns are as good, left.
    assert_eq!(path.chance[2..4], [0.25, 0.125]);
    assert_eq!(measured.chance(), Some(0.1875));
}

/// An episode of Probe-Limit-v0 succeeds at its last step, whether that ends the task or only cuts it off.
#[test]
fn an_episode_that_succeeds_by_lasting_has_no_path() {
    let mut agent = agent("Probe-Limit-v0", &["observation=vector"]);
    let played = play(&mut agent, 16, Player::Sampled).unwrap();
    let by_its_end = |episode: &&Episode| episode.rows.last().expect("it has rows").terminated;
    let ended = played.episodes.iter().filter(by_its_end).count();
    assert!(played.episodes.iter().all(|episode| episode.success) && 0 < ended && ended < 16, "{ended} of 16");
    assert_eq!(paths::measure(&agent, &played).unwrap().paths.len(), ended);
}

/// A plan is in single steps, so where each action is repeated it says nothing.
#[test]
fn where_actions_are_repeated_there_is_no_expert() {
    let mut agent = agent("MiniGrid-Empty-5x5-v0", &["action_repeat=2"]);
    assert!(!Player::Expert.exists(&agent.world).unwrap() && Player::Greedy.exists(&agent.world).unwrap());
    let played = play(&mut agent, 2, Player::Sampled).unwrap();
    let values = value::measure(&agent, &played).unwrap();
    assert!(!values.values.is_empty() && values.planned.is_empty());
    let choices = choices::measure(&mut agent, &played).unwrap();
    assert!(choices.rows.iter().all(|rows| rows.chosen_best.value().is_none()));
}

#[test]
fn the_simulator_says_when_a_script_of_actions_earns_a_reward() {
    let world = World::new(&config("MiniGrid-Empty-5x5-v0", &[])).unwrap();
    let (mut played, mut scratch) = (world.envs(1).unwrap(), world.envs(1).unwrap());
    let env = played.env_mut(0);
    let mut first = |env: &dyn Env, script: &[usize]| {
        let actions = one_hot(&world, script);
        let actions = actions.iter().map(Vec::as_slice);
        imagination::first_reward(&world, scratch.env_mut(0), &env.save(), actions).unwrap()
    };
    assert_eq!(first(env, &[FORWARD, FORWARD, RIGHT, FORWARD, FORWARD]), Some(5));
    assert_eq!(first(env, &[FORWARD, FORWARD, RIGHT, FORWARD]), None);
    assert_eq!(first(env, &[FORWARD; 20]), None);
    for action in one_hot(&world, &[FORWARD, FORWARD]) {
        act(&world, env, &action);
    }
    assert_eq!(first(env, &[RIGHT, FORWARD, FORWARD, LEFT, LEFT]), Some(3));
    // Asking changed nothing.
    assert_eq!(Place::of(env), Some(Place { x: 3, y: 1, direction: 0 }));
}

/// A picture that is decoded perfectly, or with small errors, is read as what the simulator shows.
#[test]
fn pictures_are_read_back_as_symbols() {
    for (task, view) in [
        ("Simple-10x10", "rgb_partial"),
        ("MiniGrid-DoorKey-5x5-v0", "rgb_partial"),
        ("MiniGrid-DoorKey-5x5-v0", "rgb_full"),
        ("MiniGrid-DoorKey-5x5-v0", "symbolic"),
    ] {
        let mut agent = agent(task, &[&format!("observation={view}"), "tile_size=4", "time_limit=30"]);
        let plays = vec![play(&mut agent, 6, Player::Sampled).unwrap()];
        let mut symbols = Symbols::new(&agent.world, &plays).unwrap().unwrap();
        let mut envs = agent.world.envs(1).unwrap();
        let mut seen = vec![0.0; agent.world.model.observation.size()];
        let mut kinds = BTreeSet::new();
        for (_, _, row) in plays[0].rows() {
            envs.env_mut(0).load(&row.snapshot).unwrap();
            see(&agent.world, envs.env(0), &mut seen);
            seen.iter_mut().enumerate().for_each(|(i, x)| *x += if i % 2 == 0 { 0.02 } else { -0.02 });
            let truth = symbols.truth(&row.snapshot).unwrap();
            let read = symbols.read(&agent.world, &seen);
            assert_eq!(read, truth, "{task} {view}");
            kinds.extend(read.iter().map(|cell| cell[0]));
            if symbols.shows_place() {
                assert_eq!(symbols.place(&read), row.place);
            }
        }
        assert!(kinds.len() >= 3, "{task} {view} shows only {kinds:?}");
        assert_eq!(symbols.shows_place(), view == "rgb_full");
    }
}

/// What is recorded of an episode is what the simulator does: its actions, executed again from the first state, lead to the same places and rewards.
#[test]
fn an_episode_can_be_played_again_from_any_of_its_rows() {
    let mut agent = agent("MiniGrid-Empty-Random-5x5-v0", &["time_limit=60"]);
    for player in [Player::Sampled, Player::Greedy, Player::Expert] {
        assert!(player.exists(&agent.world).unwrap());
        let play: Play = play(&mut agent, 5, player).unwrap();
        assert_eq!(play.episodes.len(), 5);
        let mut envs = agent.world.envs(1).unwrap();
        for episode in &play.episodes {
            let (mut total, mut terminated) = (0.0, false);
            envs.env_mut(0).load(&episode.rows[0].snapshot).unwrap();
            for row in &episode.rows[1..] {
                let outcome = act(&agent.world, envs.env_mut(0), &row.action);
                assert_eq!(Place::of(envs.env(0)), row.place);
                assert_eq!((envs.env(0).save(), outcome.reward as f32), (row.snapshot.clone(), row.reward as f32));
                total += outcome.reward;
                terminated = outcome.terminated;
                assert_eq!(outcome.terminated, row.terminated);
            }
            assert_eq!((episode.total, episode.success), (total, terminated));
            assert_eq!(episode.rows[0].action.iter().sum::<f32>(), 0.0);
        }
        // Only the expert loses nothing to the optimum.
        let regret = value::measure(&agent, &play).unwrap().regret().unwrap();
        assert!(if player == Player::Expert { regret.abs() < 1e-12 } else { regret > 0.1 }, "{player:?}: {regret}");
    }
}

/// The instruments' steps are those of acting and dreaming: same inputs, same noise, same bits.
#[test]
fn a_readout_sees_the_states_that_the_policy_sees() {
    for (task, changes) in [
        ("MiniGrid-DoorKey-5x5-v0", &["latent=categorical", "unimix=0.01", "symbolic_loss=categorical"][..]),
        ("Pendulum-v1", &["observation=vector"]),
    ] {
        let mut agent = agent(task, changes);
        let (n, width) = (3, agent.world.model.actions.size());
        let mut policy = Policy::new(&agent.world.model, &agent.params, n, true, &agent.pool);
        let mut readout = Readout::new(&agent.world.model, &agent.params, n, Step::Posterior, &agent.pool);
        let mut still = Readout::new(&agent.world.model, &agent.params, n, Step::Stay, &agent.pool);
        let mut ahead = Readout::new(&agent.world.model, &agent.params, n, Step::Prior, &agent.pool);
        let mut dreamer = Dreamer::new(&agent.world.model, &agent.params, n, &agent.pool);
        let (mut acted, mut chosen) = (vec![0.0; n * width], vec![0.0; n * width]);
        for t in 0..4_u64 {
            let obs: Vec<f32> =
                (0..policy.obs_mut().len()).map(|i| ((i as u64 * 7 + t * 13) % 5) as f32 / 4.0).collect();
            let first = [t == 0, t == 0, t == 0 || t == 2];
            let clock = Clock { seed: 9, step: t };
            policy.obs_mut().copy_from_slice(&obs);
            readout.obs_mut().copy_from_slice(&obs);
            readout.step(&mut agent.params, &chosen, &first, clock);
            let choice = if t % 2 == 0 { Choice::Sample } else { Choice::Mode };
            readout.choose(choice, clock, &mut chosen);
            policy.act(&mut agent.params, &first, choice, clock, &mut acted);
            assert_eq!(
                (readout.state(), readout.decoded()),
                (policy.state(), policy.reconstruction()),
                "{task}, step {t}"
            );
            assert_eq!(chosen, acted);
            assert!(readout.kl().iter().all(|kl| *kl >= 0.0));
        }
        // In the same state every kind of step says the same.
        let (stoch, deter) = readout.state();
        let (stoch, deter) = (stoch.to_vec(), deter.to_vec());
        still.begin(&stoch, &deter);
        still.step(&mut agent.params, &chosen, &[], Clock { seed: 9, step: 50 });
        assert_eq!(
            (still.value(), still.reward(), still.decoded()),
            (readout.value(), readout.reward(), readout.decoded())
        );
        ahead.begin(&stoch, &deter);
        dreamer.begin(&stoch, &deter);
        for t in 0..3 {
            let clock = Clock { seed: 9, step: 100 + t };
            ahead.step(&mut agent.params, &chosen, &[], clock);
            assert_eq!(ahead.decoded(), dreamer.step(&mut agent.params, &chosen, clock), "{task}, dreamed step {t}");
        }
    }
}

/// KL and entropies of one state by the formulas, from the prior and posterior that a model with known last layers has.
#[test]
fn divergence_and_entropies_are_those_of_known_distributions() {
    let mut agent = agent("MiniGrid-DoorKey-5x5-v0", &["latent=categorical", "stoch_size=3", "latent_classes=4"]);
    // Last layers of weight 0: the biases are the logits.
    let (prior, post) = ([0.0, 0.0, 0.0, 0.0], [1.0_f32, 0.0, 0.0, -1.0]);
    for (layer, logits) in [("rssm.img3", prior), ("rssm.obs2", post)] {
        agent.params.value_mut(&format!("{layer}.w")).fill(0.0);
        agent.params.value_mut(&format!("{layer}.b")).copy_from_slice(&logits.repeat(3));
    }
    let mut readout = Readout::new(&agent.world.model, &agent.params, 1, Step::Posterior, &agent.pool);
    let actions = vec![0.0; agent.world.model.actions.size()];
    readout.step(&mut agent.params, &actions, &[true], Clock { seed: 0, step: 0 });
    let sum: f64 = post.iter().map(|&l| f64::from(l).exp()).sum();
    let p: Vec<f64> = post.iter().map(|&l| f64::from(l).exp() / sum).collect();
    let entropy: f64 = -p.iter().map(|p| p * p.ln()).sum::<f64>();
    let [prior, post] = readout.entropies(0);
    assert!((prior - 3.0 * 4.0_f64.ln()).abs() < 1e-6 && (post - 3.0 * entropy).abs() < 1e-6, "{prior} {post}");
    let kl = f64::from(readout.kl()[0]);
    assert!((kl - 3.0 * (4.0_f64.ln() - entropy)).abs() < 1e-5, "{kl}");
}

/// The batches from one episode of so many rows, whose last row, and one more if said, has a reward. There are none before it is as long as a chunk.
fn batches_of_one_episode(agent: &Agent, rows: usize, rewarded: Option<usize>) -> batches::Batches {
    let mut replay = Replay::in_memory(agent.world.layout.clone(), 1, 1 << 20, 0);
    let observation = vec![1; agent.world.layout.observation_size()];
    let actions = one_hot(&agent.world, &[FORWARD]);
    for t in 0..rows {
        let enough = t >= agent.world.config().batch_length;
        assert_eq!(batches::of_replay(agent, &replay, 0).is_some(), enough, "after {t} rows");
        let last = t + 1 == rows;
        replay
            .add(
                0,
                &dreamer_fast::replay::Row {
                    observation: Obs::Bytes(&observation),
                    action: if t == 0 { &[0.0; 7] } else { &actions[0] },
                    reward: if last || Some(t) == rewarded { 0.5 } else { 0.0 },
                    discount: if last { 0.0 } else { 1.0 },
                    is_first: t == 0,
                    is_last: last,
                },
            )
            .unwrap();
    }
    batches::of_replay(agent, &replay, 0).unwrap()
}

/// One stream that is exactly as long as a chunk: every batch is the whole of it.
#[test]
fn the_share_of_rewards_in_batches_is_that_of_the_only_window() {
    let agent = agent("MiniGrid-Empty-5x5-v0", &["envs=1"]);
    let length = agent.world.config().batch_length;
    let batches = batches_of_one_episode(&agent, length, Some(3));
    let rows = length as f64;
    assert_eq!((batches.stored_reward, batches.stored_end), (2.0 / rows, 1.0 / rows));
    assert!(batches.drawn.iter().all(|&shares| shares == (2.0 / rows, 1.0 / rows)), "{batches:?}");
}

/// A reward that is shown with the row before it is in a batch that does not have its own row.
#[test]
fn a_reward_before_the_action_is_counted_where_it_is_shown() {
    let set = ["envs=1", "reward_before_action=true", "last_rows=false"];
    let agent = agent("MiniGrid-Empty-5x5-v0", &set);
    let length = agent.world.config().batch_length;
    let batches = batches_of_one_episode(&agent, length + 1, None);
    assert!(batches.drawn.iter().all(|&shares| shares == (1.0 / length as f64, 0.0)), "{batches:?}");
}

/// Windows of an untrained model: as many as asked for, none beyond the end of its episode, and the copy of the last frame is judged by the simulator.
#[test]
fn windows_end_with_their_episodes() {
    let mut agent = agent("MiniGrid-Empty-Random-5x5-v0", &["time_limit=12", "symbolic_loss=categorical"]);
    let played = play(&mut agent, 3, Player::Sampled).unwrap();
    let mut symbols = Symbols::new(&agent.world, std::slice::from_ref(&played)).unwrap();
    let measured = open_loop::measure(&mut agent, &played, symbols.as_mut(), 20).unwrap();
    let lengths: Vec<usize> = played.episodes.iter().map(|e| e.rows.len()).collect();
    for (h, horizon) in measured.horizons.iter().enumerate() {
        // Windows begin at every row from CONTEXT - 1 on.
        let windows = |rows: usize| (open_loop::CONTEXT - 1..rows).filter(|t| t + h < rows).count();
        let expected: usize = lengths.iter().map(|&rows| windows(rows)).sum();
        assert_eq!(horizon.cells.total(), 49.0 * expected as f64, "horizon {h}, rows {lengths:?}");
    }
    assert_eq!(measured.horizons[0].copied.value(), Some(1.0), "at horizon 0 the last frame is the truth");
    assert!(measured.horizons[1].copied.value().unwrap() < 1.0);
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dreamer-fast-diagnose-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(words: &[&str]) -> Output {
    let out = Command::new(env!("CARGO_BIN_EXE_dreamer-fast")).args(words).output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} is no number in {value}"))
}

const ALWAYS: [&str; 11] = [
    "batches.json",
    "batches.svg",
    "choices.json",
    "imagination.json",
    "imagination.svg",
    "latent.json",
    "latent_kl.svg",
    "open_loop.json",
    "summary.json",
    "value.json",
    "value_return.svg",
];

#[test]
fn a_run_of_seconds_gives_every_file_and_nothing_of_it_changes() {
    for (task, changes, others) in [
        (
            "MiniGrid-Empty-Random-5x5-v0",
            &["pcont=true", "symbolic_loss=categorical"][..],
            &[
                "open_loop_cells.svg",
                "open_loop_recall_greedy.svg",
                "open_loop_probed_cell.svg",
                "open_loop_continue.svg",
            ][..],
        ),
        (
            "Simple-10x10",
            &["observation=rgb_partial", "tile_size=4"],
            &["open_loop_numbers.svg", "open_loop_cells.svg"],
        ),
        ("MiniGrid-Empty-5x5-v0", &["observation=rgb_full", "tile_size=4"], &["open_loop_decoded_cell.svg"]),
        ("Pendulum-v1", &["observation=vector"], &["open_loop_numbers.svg"]),
    ] {
        let folder = Folder::new(task);
        let logdir = folder.0.to_str().unwrap();
        let mut words = vec!["train", "--task", task, "--preset", "debug", "--logdir", logdir, "--threads", "1"];
        let changes: Vec<String> = changes.iter().map(|c| c.to_string()).chain(["time_limit=40".into()]).collect();
        let changes: Vec<&String> =
            changes.iter().filter(|c| task != "Pendulum-v1" || !c.starts_with("time")).collect();
        changes.iter().for_each(|change| words.extend(["--set", change]));
        run(&words);
        // An episode that a run which goes on has written since the checkpoint.
        fs::write(folder.0.join("episodes/20990101T000000-0-9.npz"), b"later").unwrap();
        let (before, episodes) = (names(&folder.0), names(&folder.0.join("episodes")));

        let text = run(&["diagnose", "--logdir", logdir, "--episodes", "3", "--horizon", "6"]).stdout;
        let text = String::from_utf8(text).unwrap();
        for words in ["after 600 environment steps", "KL, nats", "reward", "at horizons 0, 1, 5"] {
            assert!(text.contains(words), "{task}: no {words:?} in\n{text}");
        }
        let out = folder.0.join("diagnose");
        let written = names(&out);
        for name in ALWAYS.iter().chain(others) {
            assert!(written.contains(*name), "{task}: no {name} among {written:?}");
        }
        for name in &written {
            let content = fs::read_to_string(out.join(name)).unwrap();
            if name.ends_with(".json") {
                serde_json::from_str::<Value>(&content).unwrap();
            } else {
                assert!(content.starts_with("<svg") && content.ends_with("</svg>\n"), "{name}");
                assert!(!content.contains("NaN") && !content.contains("inf"), "{task} {name}:\n{content}");
            }
        }
        assert_eq!(names(&folder.0.join("episodes")), episodes, "episodes of a run that goes on stay where they are");
        let after: BTreeSet<String> = names(&folder.0).into_iter().filter(|name| name != "diagnose").collect();
        assert_eq!(after, before);

        let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(out.join(name)).unwrap()).unwrap() };
        let open_loop = read("open_loop.json");
        assert_eq!(open_loop.pointer("/sampled/reward_squared_error").unwrap().as_array().unwrap().len(), 7);
        assert!(number(&read("latent.json"), "/greedy/kl/value") >= 0.0);
        assert!(number(&read("batches.json"), "/rows") > 500.0);

        // Elsewhere, and as JSON; the same numbers.
        let other = folder.0.join("elsewhere");
        let words = ["diagnose", "--logdir", logdir, "--episodes", "3", "--horizon", "6", "--json", "--out"];
        let json = run(&[&words[..], &[other.to_str().unwrap()]].concat()).stdout;
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json, read("summary.json"));
        assert_eq!(names(&other), written);
        assert_eq!(json["task"], task);
    }
}

#[test]
fn a_directory_without_a_run_is_refused_by_name() {
    let folder = Folder::new("empty");
    let words = ["diagnose", "--logdir", folder.0.to_str().unwrap()];
    let out = Command::new(env!("CARGO_BIN_EXE_dreamer-fast")).args(words).output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text.contains("holds no run") && text.contains(folder.0.to_str().unwrap()), "{text}");
}
