//! Is none of the bugs here that other Dreamers shipped? One test or more for each, named by its number:
//!
//! | number | bug | where |
//! |---|---|---|
//! | 1 | reward, discount and action rows one step off (danijar/dreamer#8, danijar/dreamerv2#58, navix#152) | `rows` |
//! | 2 | the terminal observation never stored or never drawn, short episodes dropped (danijar/dreamerv2#19) | `rows` |
//! | 3 | lambda-return sliced or bootstrapped wrongly (sheeprl#67, SimpleDreamer#6), discount cumulated over the batch | `returns` |
//! | 4 | free nats granted before the mean (danijar/dreamer#44, #53) | `world_loss` |
//! | 5 | previous action or state not reset (torchrl#4128), the mask one step early (navix#152) | `world_loss`, `rows`, `acting` |
//! | 6 | the continue head trained on truncation (navix#152), or its log-probability not negated (sheeprl) | `rows`, `world_loss` |
//! | 7 | the actor's gradient in the critic's update, the entropy bonus overwritten (Sid00867/Dreamer-World-Model) | `gradients`, `returns` |
//! | 9 | three curves from one seed (danijar/dreamerv3#43), a coefficient frozen inside a captured graph (PufferLib) | `chance`, `frozen` |
//! | 10 | weight decay that assigns nothing, epsilon-greedy and mode right for one environment only (danijar/dreamer) | `frozen`, `acting` |
//!
//! `context` asks, by the same trial, whether rows before a chunk lead to its first state and reach nothing else.
//!
//! Numbers 8, 11 and 12 are about checkpoints, storage and faults, whose tests stand with those.

mod acting;
mod chance;
mod context;
mod frozen;
mod gradients;
mod returns;
mod rows;
mod trial;
mod world_loss;

use std::sync::Arc;

use dreamer_fast::config::{Config, Request, resolve};
use dreamer_fast::device::Pool;
use dreamer_fast::replay::{Episode, Obs, ObsMut, Replay};
use dreamer_fast::run::agent::Agent;
use dreamer_fast::run::world::World;

/// The preset `debug` for this task, with changes `key=value`.
fn config(task: &str, changes: &[&str]) -> Config {
    let set = changes.iter().map(|change| change.to_string()).collect();
    let request =
        Request { preset: Some("debug".into()), flags: vec![("task", task.into())], set, ..Request::default() };
    resolve(&request).unwrap().config
}

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(1).unwrap())
}

/// An untrained agent and its empty replay.
fn beginner(config: &Config) -> (Agent, Replay) {
    let agent = Agent::new(World::new(config).unwrap(), pool());
    let c = agent.world.config();
    let replay = Replay::in_memory(agent.world.layout.clone(), c.envs, 1 << 30, c.seed);
    (agent, replay)
}

/// Action a_{t-1} of a row, `size` entries.
fn action_of(episode: &Episode, row: usize, size: usize) -> Vec<f32> {
    let mut action = vec![9.0; size];
    episode.copy_action(row, &mut action);
    action
}

/// Observation o_t of a row, as floats whatever it is stored as.
fn observation_of(episode: &Episode, row: usize, size: usize) -> Vec<f32> {
    match episode.observations() {
        Obs::Bytes(_) => {
            let mut bytes = vec![0; size];
            episode.copy_observation(row, &mut ObsMut::Bytes(&mut bytes), 0);
            bytes.into_iter().map(f32::from).collect()
        }
        Obs::Floats(_) => {
            let mut floats = vec![0.0; size];
            episode.copy_observation(row, &mut ObsMut::Floats(&mut floats), 0);
            floats
        }
    }
}

/// All episodes of one environment in the order in which they were lived, the unfinished one last.
fn life(replay: &Replay, env: usize) -> Vec<&Episode> {
    let finished = replay.episodes().filter(|e| e.1 == env).map(|e| e.2);
    let open = Some(replay.open_episode(env)).filter(|e| e.rows() > 0);
    finished.chain(open).collect()
}

/// Whether two numbers agree up to rounding of f64.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-10 * (1.0 + a.abs().max(b.abs()))
}
