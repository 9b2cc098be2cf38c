//! Environment steps: worlds of one task, each stepped with random actions, its observation written out after every step and its
//! episodes begun anew.

use std::sync::{Arc, Mutex};

use super::super::args::BenchArgs;
use super::measure::{Measured, measure};
use super::{Report, round};
use crate::base::{Philox, Result, philox::stream};
use crate::config::Config;
use crate::device::Pool;
use crate::env::{Action, Actions, Env, Observation, Options, make};

/// Worlds that each thread steps side by side, as many as one run of the default preset collects from.
const WORLDS: usize = 16;
/// Steps of every world in one call.
const ROUNDS: usize = 1024;
/// Actions that are drawn beforehand, so that drawing them is not what is measured; a prime number, so that every world meets all of them.
const TAPE: usize = 16_411;

/// The worlds of one thread.
struct Crew {
    worlds: Vec<Box<dyn Env>>,
    tape: Tape,
    /// Where the tape is read next.
    at: usize,
    bytes: Vec<u8>,
    floats: Vec<f32>,
}

/// Random actions.
enum Tape {
    Discrete(Vec<u8>),
    Continuous { actions: Vec<f32>, size: usize },
}

impl Tape {
    fn new(actions: &Actions, rng: &mut Philox) -> Tape {
        match *actions {
            Actions::Discrete { n } => Tape::Discrete((0..TAPE).map(|_| rng.below(n) as u8).collect()),
            Actions::Continuous { size } => {
                let actions = (0..TAPE * size).map(|_| (2.0 * rng.uniform() - 1.0) as f32).collect();
                Tape::Continuous { actions, size }
            }
        }
    }

    #[inline]
    fn get(&self, at: usize) -> Action<'_> {
        match self {
            Tape::Discrete(actions) => Action::Discrete(usize::from(actions[at])),
            Tape::Continuous { actions, size } => Action::Continuous(&actions[at * size..(at + 1) * size]),
        }
    }
}

impl Crew {
    fn new(task: &str, thread: usize) -> Result<Crew> {
        let mut worlds = (0..WORLDS).map(|_| make(task, &Options::default())).collect::<Result<Vec<_>>>()?;
        for (i, world) in worlds.iter_mut().enumerate() {
            world.reset(Some((thread * WORLDS + i) as u64));
        }
        let spec = worlds[0].spec();
        let tape = Tape::new(&spec.actions, &mut Philox::new(0, stream::ROLLOUT, thread as u64));
        let size = spec.observation.size();
        let floats = matches!(spec.observation, Observation::Vector { .. });
        let (bytes, floats) = (vec![0; if floats { 0 } else { size }], vec![0.0; if floats { size } else { 0 }]);
        Ok(Crew { worlds, tape, at: 0, bytes, floats })
    }

    /// [`ROUNDS`] steps of every world.
    fn play(&mut self) {
        for _ in 0..ROUNDS {
            for world in &mut self.worlds {
                if world.step(self.tape.get(self.at)).ended() {
                    world.reset(None);
                }
                if self.floats.is_empty() {
                    world.write_bytes(&mut self.bytes);
                } else {
                    world.write_floats(&mut self.floats);
                }
                self.at = if self.at + 1 == TAPE { 0 } else { self.at + 1 };
            }
        }
    }
}

/// Measures a task's worlds, as many on every thread as on one.
pub(super) fn bench(args: &BenchArgs, pool: &Arc<Pool>) -> Result<(Measured, Report)> {
    let task = args.task.clone().unwrap_or_else(|| Config::default().task);
    let crews = (0..pool.threads()).map(|i| Crew::new(&task, i).map(Mutex::new)).collect::<Result<Vec<_>>>()?;
    let mut work = || {
        pool.each(crews.len(), |i, _| crews[i].lock().expect("no worker panicked").play());
        Ok(())
    };
    let measured = measure(&mut work, args.blocks, pool.threads())?;
    // A core steps its own worlds in this time.
    let rate = 1e3 * (WORLDS * ROUNDS) as f64 / measured.ms;
    let report = Report {
        title: format!("{task}: {ROUNDS} steps of {WORLDS} worlds, observations written"),
        rates: format!("{:.2} million environment steps/s on each core", rate / 1e6),
        keys: vec![("task", task.into()), ("worlds", WORLDS.into()), ("steps_per_s_per_core", round(rate).into())],
    };
    Ok((measured, report))
}
