//! `VecEnv`: many worlds of one kind, stepped side by side.

use rayon::prelude::*;

use super::{Action, Env, Observation, Options, Outcome, Spec, make};
use crate::base::Result;

/// Worlds that one thread steps before another helps: a gridworld step takes well under a microsecond.
const LEAST_A_THREAD: usize = 16;

/// `n` worlds of one id. A world is touched by one thread at a time and has a generator of its own, so results come in the
/// order of the worlds and never depend on the number of threads.
pub struct VecEnv {
    envs: Vec<Box<dyn Env>>,
}

impl VecEnv {
    /// `n` worlds of this id, `n` at least 1; see [`make`] for errors. Each is reset with seed 0.
    pub fn new(id: &str, options: &Options, n: usize) -> Result<Self> {
        assert!(n > 0, "a VecEnv has at least one world");
        let envs = (0..n).map(|_| make(id, options)).collect::<Result<_>>()?;
        Ok(VecEnv { envs })
    }

    /// How many worlds there are.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one world")]
    pub fn len(&self) -> usize {
        self.envs.len()
    }

    /// What each of the worlds is.
    pub fn spec(&self) -> &Spec {
        self.envs[0].spec()
    }

    /// One of the worlds.
    pub fn env(&self, i: usize) -> &dyn Env {
        &*self.envs[i]
    }

    /// One of the worlds, to change it.
    pub fn env_mut(&mut self, i: usize) -> &mut dyn Env {
        &mut *self.envs[i]
    }

    /// Begins an episode in one of the worlds, see [`Env::reset`].
    pub fn reset(&mut self, i: usize, seed: Option<u64>) {
        self.envs[i].reset(seed);
    }

    /// Steps every world with its action; outcomes in the order of the worlds. Ended episodes are not reset.
    pub fn step_all(&mut self, actions: &[Action]) -> Vec<Outcome> {
        assert_eq!(actions.len(), self.envs.len(), "there must be an action for each world");
        let step = |(env, &action): (&mut Box<dyn Env>, &Action)| env.step(action);
        if self.envs.len() <= LEAST_A_THREAD {
            return self.envs.iter_mut().zip(actions).map(step).collect();
        }
        self.envs.par_iter_mut().zip(actions).with_min_len(LEAST_A_THREAD).map(step).collect()
    }

    /// Writes every symbolic or image observation into `[n, size]` bytes.
    pub fn write_bytes(&self, out: &mut [u8]) {
        self.write(out, |env, out| env.write_bytes(out));
    }

    /// Writes every vector observation into `[n, size]` numbers.
    pub fn write_floats(&self, out: &mut [f32]) {
        self.write(out, |env, out| env.write_floats(out));
    }

    fn write<N: Send>(&self, out: &mut [N], write: impl Fn(&dyn Env, &mut [N]) + Sync) {
        let size = self.spec().observation.size();
        assert_eq!(
            out.len(),
            self.envs.len() * size,
            "the buffer must hold {} observations of {size}",
            self.envs.len()
        );
        // Drawing an image is worth a thread, copying 147 bytes is not.
        let least = if matches!(self.spec().observation, Observation::Image { .. }) { 1 } else { LEAST_A_THREAD };
        if self.envs.len() <= least {
            return self.envs.iter().zip(out.chunks_mut(size)).for_each(|(env, out)| write(&**env, out));
        }
        out.par_chunks_mut(size).enumerate().with_min_len(least).for_each(|(i, out)| write(&*self.envs[i], out));
    }
}
