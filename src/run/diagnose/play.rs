//! Episodes on layouts that training never sees, with all that the model says at each step and the simulator's exact states.

use crate::autodiff::Clock;
use crate::base::{Philox, Result, philox, philox::stream};
use crate::dreamer::Observation;
use crate::dreamer::policy::Choice;
use crate::dreamer::readout::{Readout, Step};
use crate::env::{Env, Outcome, VecEnv};
use crate::replay::Obs;
use crate::run::agent::Agent;
use crate::run::collect::{act, random_action};
use crate::run::world::World;

/// Episodes played side by side.
const SEATS: usize = 64;

/// Seed of all noise here, far from those of training and evaluation.
pub const NOISE: u64 = 0xd1a6_705e_d1a6_705e;

/// Where a gridworld's agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Column.
    pub x: u8,
    /// Row.
    pub y: u8,
    /// Where it looks: 0 right, 1 down, 2 left, 3 up.
    pub direction: u8,
}

impl Place {
    /// Where the agent is; `None` for worlds without a grid.
    pub fn of(env: &dyn Env) -> Option<Self> {
        let layout = env.layout()?;
        let &[.., x, y, direction] = layout.as_slice() else { return None };
        Some(Place { x, y, direction })
    }
}

/// Who plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Player {
    /// The policy, by samples.
    Sampled,
    /// The policy, by its most probable action.
    Greedy,
    /// The breadth-first expert: shortest plans, while the model watches. A policy that fails never shows the model a goal; these episodes do.
    Expert,
}

impl Player {
    /// What tables and files call it.
    pub fn name(self) -> &'static str {
        match self {
            Player::Sampled => "sampled",
            Player::Greedy => "greedy",
            Player::Expert => "expert",
        }
    }

    /// How the policy chooses actions where it is asked: in these episodes, and in imagination from their states.
    pub fn choice(self) -> Choice {
        if self == Player::Greedy { Choice::Mode } else { Choice::Sample }
    }

    /// Whether there is such a player in a world; an expert only where a shortest plan can be promised, and not where each of its actions would be
    /// repeated.
    pub fn exists(self, world: &World) -> Result<bool> {
        if self != Player::Expert {
            return Ok(true);
        }
        if world.config().action_repeat > 1 {
            return Ok(false);
        }
        let mut envs = world.envs(1)?;
        world.reset(envs.env_mut(0), Some(layout_seed(0)), world.judged_by());
        Ok(envs.env_mut(0).expert().is_some())
    }
}

/// Row t of an episode: what was seen after action t, what the model inferred from it, and what its heads say there.
#[derive(Debug, Clone)]
pub struct Row {
    /// The simulator's exact state, see [`Env::save`].
    pub snapshot: Vec<u8>,
    /// Where the agent is.
    pub place: Option<Place>,
    /// The action `[A]` that led here; zeros at the reset.
    pub action: Vec<f32>,
    /// The reward that came with it, as it is learned (scaled and clipped).
    pub reward: f64,
    /// Whether the world truly ended here.
    pub terminated: bool,
    /// A sample of the posterior: stochastic part `[S]`.
    pub stoch: Vec<f32>,
    /// Deterministic part `[D]`.
    pub deter: Vec<f32>,
    /// What the value head says.
    pub value: f64,
    /// KL(post || prior) in nats.
    pub kl: f64,
    /// Entropies in nats of prior and posterior.
    pub entropies: [f64; 2],
    /// Entropy in nats of the actor's distribution, for discrete actions.
    pub action_entropy: Option<f64>,
    /// The probability that the actor gives to each action `[A]`, for discrete actions.
    pub chances: Option<Vec<f64>>,
}

impl Row {
    /// The features `[F]` of the state.
    pub fn feat(&self) -> Vec<f64> {
        self.stoch.iter().chain(&self.deter).map(|&x| f64::from(x)).collect()
    }
}

/// A played episode.
#[derive(Debug, Clone, Default)]
pub struct Episode {
    /// Its rows, the reset first, the last observation included.
    pub rows: Vec<Row>,
    /// Whether the task's goal was reached.
    pub success: bool,
    /// The sum of the rewards in the world's own unit.
    pub total: f64,
}

/// Episodes of one player.
#[derive(Debug, Clone)]
pub struct Play {
    /// Who played.
    pub player: Player,
    /// The episodes.
    pub episodes: Vec<Episode>,
    /// Whether training never saw any of their layouts.
    pub unseen: bool,
}

impl Play {
    /// Every row with its episode and its place in it.
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize, &Row)> {
        let episodes = self.episodes.iter().enumerate();
        episodes.flat_map(|(e, episode)| episode.rows.iter().enumerate().map(move |(t, row)| (e, t, row)))
    }

    /// The latent states (stoch [n, S], deter [n, D]) of rows, each named by episode and row.
    pub fn states(&self, rows: &[(usize, usize)]) -> (Vec<f32>, Vec<f32>) {
        let of = |&(e, t): &(usize, usize)| &self.episodes[e].rows[t];
        (
            rows.iter().flat_map(|r| of(r).stoch.clone()).collect(),
            rows.iter().flat_map(|r| of(r).deter.clone()).collect(),
        )
    }
}

/// The seed of the layout of an episode.
fn layout_seed(episode: usize) -> u64 {
    let words = philox::block(NOISE, stream::EVAL_LAYOUT, episode as u64, 0);
    u64::from(words[0]) | u64::from(words[1]) << 32
}

/// Writes the present observation of an environment as the network sees it `[size]`.
pub fn see(world: &World, env: &dyn Env, out: &mut [f32]) {
    let stored = world.layout.observation_size();
    if matches!(world.model.observation, Observation::Vector { .. }) {
        let mut floats = vec![0.0; stored];
        env.write_floats(&mut floats);
        world.encode(Obs::Floats(&floats), out);
    } else {
        let mut bytes = vec![0; stored];
        env.write_bytes(&mut bytes);
        world.encode(Obs::Bytes(&bytes), out);
    }
}

/// Plays `count` episodes.
pub fn play(agent: &mut Agent, count: usize, player: Player) -> Result<Play> {
    let seats = count.min(SEATS);
    let mut envs = agent.world.envs(seats)?;
    let mut readout = Readout::new(&agent.world.model, &agent.params, seats, Step::Posterior, &agent.pool);
    let mut play = Play { player, episodes: Vec::new(), unseen: true };
    let split = agent.world.judged_by();
    for first in (0..count).step_by(seats) {
        let group = seats.min(count - first);
        for seat in 0..group {
            play.unseen &= agent.world.reset(envs.env_mut(seat), Some(layout_seed(first + seat)), split);
        }
        let clock = Clock { seed: NOISE, step: (first as u64) << 32 };
        play.episodes.extend(play_group(agent, &mut envs, &mut readout, group, player, clock));
    }
    Ok(play)
}

/// Plays the first `group` environments to the end of their episodes.
fn play_group(
    agent: &mut Agent,
    envs: &mut VecEnv,
    readout: &mut Readout<f32>,
    group: usize,
    player: Player,
    mut clock: Clock,
) -> Vec<Episode> {
    let (size, width, seats) = (agent.world.model.observation.size(), agent.world.model.actions.size(), envs.len());
    let mut episodes = vec![Episode::default(); group];
    let mut live = vec![true; group];
    let mut actions = vec![0.0_f32; seats * width];
    let mut outcomes = vec![Outcome::default(); group];
    let mut first = vec![true; seats];
    while live.contains(&true) {
        for (seat, out) in readout.obs_mut().chunks_exact_mut(size).enumerate().take(group) {
            if live[seat] {
                see(&agent.world, envs.env(seat), out);
            }
        }
        readout.step(&mut agent.params, &actions, &first, clock);
        let led_here = actions.clone();
        readout.choose(player.choice(), clock, &mut actions);
        for seat in (0..group).filter(|&seat| live[seat]).collect::<Vec<_>>() {
            let at = seat * width..(seat + 1) * width;
            let row = row(&agent.world, envs.env(seat), readout, seat, &led_here[at.clone()], &outcomes[seat]);
            let episode = &mut episodes[seat];
            episode.rows.push(row);
            if outcomes[seat].ended() {
                live[seat] = false;
                continue;
            }
            if let (Player::Expert, Some(best)) = (player, envs.env_mut(seat).expert()) {
                actions[at.clone()].fill(0.0);
                actions[at.start + best] = 1.0;
            }
            outcomes[seat] = act(&agent.world, envs.env_mut(seat), &actions[at]);
            episode.total += outcomes[seat].reward;
            episode.success |= outcomes[seat].success;
        }
        first.fill(false);
        clock.step += 1;
    }
    episodes
}

fn row(world: &World, env: &dyn Env, readout: &Readout<f32>, seat: usize, action: &[f32], outcome: &Outcome) -> Row {
    let (s, d) = (world.model.stoch(), world.model.deter());
    let (stoch, deter) = readout.state();
    Row {
        snapshot: env.save(),
        place: Place::of(env),
        action: action.to_vec(),
        reward: f64::from(world.reward(outcome.reward as f32)),
        terminated: outcome.terminated,
        stoch: stoch[seat * s..(seat + 1) * s].to_vec(),
        deter: deter[seat * d..(seat + 1) * d].to_vec(),
        value: f64::from(readout.value()[seat]),
        kl: f64::from(readout.kl()[seat]),
        entropies: readout.entropies(seat),
        action_entropy: readout.action_entropy(seat),
        chances: readout.action_chances(seat),
    }
}

/// Success and return of uniformly random actions on the same layouts: what no learning gives.
pub fn play_at_random(world: &World, count: usize) -> Result<Vec<(bool, f64, usize)>> {
    let mut envs = world.envs(1)?;
    let env = envs.env_mut(0);
    let mut action = vec![0.0; world.model.actions.size()];
    let mut scores = Vec::new();
    for episode in 0..count {
        world.reset(env, Some(layout_seed(episode)), world.judged_by());
        let mut rng = Philox::new(NOISE, stream::ROLLOUT, episode as u64);
        let (mut total, mut length) = (0.0, 0);
        loop {
            random_action(&world.model.actions, &mut rng, &mut action);
            let outcome = act(world, env, &action);
            total += outcome.reward;
            length += 1;
            if outcome.ended() {
                scores.push((outcome.success, total, length));
                break;
            }
        }
    }
    Ok(scores)
}
