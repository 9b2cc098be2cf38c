//! `dreamer-fast dream`: what the agent imagines, beside what really happened.
//!
//! The policy plays a few episodes on layouts that training never sees. The model watches the first five observations of each and shows its
//! reconstructions; from then on it gets only the actions, and shows what it imagines. Source: danijar/dreamer `dreamer.py`,
//! `image_summaries`.

use std::process::ExitCode;

use super::agent::Agent;
use super::args::DreamArgs;
use super::collect::act;
use super::eval::trained;
use super::world::Split;
use crate::autodiff::Clock;
use crate::base::{Error, Result, philox, philox::stream};
use crate::dreamer::Observation;
use crate::dreamer::policy::{Choice, Dreamer, Policy};
use crate::env::render::{Cell, TileCache};
use crate::replay::Obs;
use crate::report::canvas::Canvas;
use crate::report::open_loop::OpenLoop;
use crate::report::picture;
use crate::report::stdout::say;

/// Speed of the video.
pub const FRAMES_PER_SECOND: f64 = 4.0;

/// Episodes side by side.
const SEQUENCES: usize = 6;

/// Observations that the model watches before it dreams.
const OBSERVED: usize = 5;

/// Longest video, in steps.
const LONGEST: usize = 50;

/// Pixels of a symbolic cell.
const TILE: usize = 10;

/// Runs the command.
pub fn command(args: &DreamArgs) -> Result<ExitCode> {
    if args.out.extension().is_none_or(|e| !e.eq_ignore_ascii_case("gif")) {
        return Err(Error::new(format!("{}: the video is an animated GIF, so --out ends in .gif", args.out.display())));
    }
    let (mut agent, steps) = trained(&args.logdir, args.workers.threads)?;
    let frames = open_loop(&mut agent, steps)?;
    picture::write_gif(&args.out, &frames, FRAMES_PER_SECOND)?;
    say!(
        "{}: {} steps of {SEQUENCES} episodes after {steps} environment steps of training; the model sees {OBSERVED} and dreams the rest",
        args.out.display(),
        frames.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// One step of all sequences: what was there, and what the model showed.
struct Moment {
    truth: Vec<f32>,
    model: Vec<f32>,
    /// The actions that led here.
    actions: Vec<f32>,
    /// Which sequences had ended before this step.
    stale: Vec<bool>,
}

/// Frames of the open-loop video of fresh episodes that `seed` stands for.
pub fn open_loop(agent: &mut Agent, seed: u64) -> Result<Vec<Canvas>> {
    let (moments, state) = watch(agent, seed)?;
    let moments = imagine(agent, moments, state, seed);
    let painter = Painter::new(agent);
    let (mut truth, mut model) = (Vec::new(), Vec::new());
    let mut last: Vec<(Vec<u8>, Vec<u8>)> = vec![(Vec::new(), Vec::new()); SEQUENCES];
    let size = agent.world.model.observation.size();
    for moment in &moments {
        for (i, held) in last.iter_mut().enumerate() {
            // An episode that is over stands still.
            if !moment.stale[i] {
                let at = i * size..(i + 1) * size;
                *held = (painter.paint(agent, &moment.truth[at.clone()]), painter.paint(agent, &moment.model[at]));
            }
            truth.extend(&held.0);
            model.extend(held.1.iter().map(|&b| f32::from(b) / 255.0));
        }
    }
    let video = OpenLoop {
        truth: &truth,
        model: &model,
        steps: moments.len(),
        sequences: SEQUENCES,
        height: painter.height,
        width: painter.width,
        observed: OBSERVED,
        scale: (84 / painter.height).max(1),
    };
    Ok(video.frames())
}

/// Plays the episodes and watches: reconstructions of every step, and the latent states after the last observation that counts.
fn watch(agent: &mut Agent, seed: u64) -> Result<(Vec<Moment>, (Vec<f32>, Vec<f32>))> {
    let n = SEQUENCES;
    let mut envs = agent.world.envs(n)?;
    let mut policy = Policy::new(&agent.world.model, &agent.params, n, true, &agent.pool);
    let (size, width) = (agent.world.model.observation.size(), agent.world.model.actions.size());
    let stored = agent.world.layout.observation_size();
    for i in 0..n {
        let words = philox::block(seed, stream::EVAL_LAYOUT, 1 << 40 | i as u64, 0);
        agent.world.reset(envs.env_mut(i), Some(u64::from(words[0]) | u64::from(words[1]) << 32), Split::Test);
    }
    let mut actions = vec![0.0_f32; n * width];
    // An episode that ended with the last step still has that step's observation to show; after it the sequence is stale.
    let (mut over, mut stale) = (vec![false; n], vec![false; n]);
    let mut moments: Vec<Moment> = Vec::new();
    let mut state = (Vec::new(), Vec::new());
    for t in 0..LONGEST {
        let mut truth = vec![0.0; n * size];
        for (i, out) in truth.chunks_exact_mut(size).enumerate() {
            if matches!(agent.world.model.observation, Observation::Vector { .. }) {
                let mut floats = vec![0.0; stored];
                envs.env(i).write_floats(&mut floats);
                agent.world.encode(Obs::Floats(&floats), out);
            } else {
                let mut bytes = vec![0; stored];
                envs.env(i).write_bytes(&mut bytes);
                agent.world.encode(Obs::Bytes(&bytes), out);
            }
        }
        policy.obs_mut().copy_from_slice(&truth);
        let led_here = actions.clone();
        let clock = Clock { seed, step: t as u64 };
        policy.act(&mut agent.params, &vec![t == 0; n], Choice::Sample, clock, &mut actions);
        moments.push(Moment {
            truth,
            model: policy.reconstruction().to_vec(),
            actions: led_here,
            stale: stale.clone(),
        });
        if t + 1 == OBSERVED {
            let (stoch, deter) = policy.state();
            state = (stoch.to_vec(), deter.to_vec());
        }
        if t + 1 >= OBSERVED && over.iter().all(|&o| o) {
            break;
        }
        stale.clone_from(&over);
        for i in 0..n {
            if !over[i] {
                over[i] = act(&agent.world, envs.env_mut(i), &actions[i * width..(i + 1) * width]).ended();
            }
        }
    }
    Ok((moments, state))
}

/// Replaces the reconstructions after the observed steps by what the model imagines from there under the same actions.
fn imagine(agent: &mut Agent, mut moments: Vec<Moment>, state: (Vec<f32>, Vec<f32>), seed: u64) -> Vec<Moment> {
    let mut dreamer = Dreamer::new(&agent.world.model, &agent.params, SEQUENCES, &agent.pool);
    dreamer.begin(&state.0, &state.1);
    for (t, moment) in moments.iter_mut().enumerate().skip(OBSERVED) {
        let clock = Clock { seed, step: 1000 + t as u64 };
        moment.model = dreamer.step(&mut agent.params, &moment.actions, clock).to_vec();
    }
    moments
}

/// Draws observations as pictures [height, width, 3].
struct Painter {
    height: usize,
    width: usize,
    tiles: TileCache,
}

impl Painter {
    fn new(agent: &Agent) -> Self {
        let (height, width) = match agent.world.model.observation {
            Observation::Image { height, width, .. } => (height, width),
            Observation::Symbolic { .. } => (agent.world.layout.shape[0] * TILE, agent.world.layout.shape[1] * TILE),
            Observation::Vector { .. } => (64, 64),
        };
        Painter { height, width, tiles: TileCache::new(TILE) }
    }

    fn paint(&self, agent: &Agent, observation: &[f32]) -> Vec<u8> {
        match agent.world.model.observation {
            Observation::Image { channels, .. } => {
                let bytes = agent.world.decode(observation);
                if channels == 3 { bytes } else { bytes.iter().flat_map(|&b| [b; 3]).collect() }
            }
            Observation::Symbolic { .. } => self.paint_cells(agent, observation),
            Observation::Vector { .. } => self.paint_bars(observation),
        }
    }

    /// The agent's view in tiles; the agent stands at the lower edge and looks up.
    fn paint_cells(&self, agent: &Agent, observation: &[f32]) -> Vec<u8> {
        let cells = agent.world.decode(observation);
        let (height, width) = (agent.world.layout.shape[0], agent.world.layout.shape[1]);
        // An observation is indexed [x][y].
        let cell = |x: usize, y: usize| {
            let at = (x * height + y) * 3;
            // A decoder may say what no world would: doors have three states.
            Cell { object: cells[at], color: cells[at + 1].min(5), state: cells[at + 2].min(2) }
        };
        let mut out = vec![0; self.height * self.width * 3];
        let here = Some((width / 2, height - 1, 3));
        self.tiles.render_grid(width, height, cell, here, |x, y| cell(x, y).object != 0, &mut out);
        out
    }

    /// Numbers as bars from the middle of the picture.
    fn paint_bars(&self, observation: &[f32]) -> Vec<u8> {
        let mut out = vec![24; self.height * self.width * 3];
        let bar = self.height / observation.len().clamp(1, self.height);
        for (i, &x) in observation.iter().take(self.height).enumerate() {
            let middle = self.width as f32 / 2.0;
            let end = middle * (1.0 + (x / 2.0).tanh());
            let (from, to) = (middle.min(end).round() as usize, middle.max(end).round() as usize);
            for y in i * bar + 1..((i + 1) * bar).saturating_sub(1) {
                out[(y * self.width + from) * 3..(y * self.width + to.min(self.width)) * 3].fill(200);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Request, resolve};
    use crate::device::Pool;
    use crate::run::world::World;

    /// A limit of twenty steps is five actions that are taken four times each: six observations.
    #[test]
    fn an_action_is_repeated_as_in_training() {
        let flags = vec![("task", "MiniGrid-Empty-16x16-v0".to_string())];
        let set = ["time_limit=20", "action_repeat=4"].map(String::from).to_vec();
        let settings = resolve(&Request { preset: Some("debug".into()), flags, set, ..Request::default() }).unwrap();
        let world = World::new(&settings.config).unwrap();
        let mut agent = Agent::new(world, Arc::new(Pool::new(1).unwrap()));
        assert_eq!(open_loop(&mut agent, 0).unwrap().len(), 6);
    }
}
