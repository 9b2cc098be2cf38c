//! Probes: tiny worlds whose best return and values are known exactly, each asking one question of an agent.
//!
//! A value is what the value head is to say of a state: the reward that led there and the discounted rewards of best play from there
//! on, with `g` for the discount. It counts the future beyond a time limit and nothing beyond a true end. Rewards are 1, -1 or 0
//! unless the table says so; a cue is -1 or 1, drawn at every reset.
//!
//! | id | the world | values of best play |
//! |---|---|---|
//! | `Probe-Constant-v0` | one step, reward 1 | g, 1 |
//! | `Probe-Discount-v0` | two steps, reward 1 for the second | g^2, g, 1 |
//! | `Probe-Observation-v0` | one step, the reward is the cue in view | g cue, cue |
//! | `Probe-Action-v0` | one step, reward 1 for one of three actions | g, 1 |
//! | `Probe-ActionObservation-v0` | one step, reward 1 for the action that the cue names, else -1 | g, 1 |
//! | `Probe-Memory1-v0`, `5`, `20` | the same, but the cue is in view k steps before the action that counts, and after it | g^(k+1) .. g, 1 |
//! | `Probe-Limit-v0` | reward 1 a step for five steps; where the cue is 1 they end, where it is -1 they are cut off | finite, g / (1 - g) |
//! | `Probe-Continue-v0` | take 1 and end, or 0.5 and go on for eight steps, until cut off | 0.5 g / (1 - g), .. |
//! | `Probe-Image-v0` | as `ActionObservation`, with the cue as the bright half of an image of 8 x 8 | g, 1 |
//! | `Probe-Continuous-v0` | two steps, for the second action a in [-1, 1] reward 1 - (a - cue / 2)^2 | g^2, g, 1 |
//!
//! `Continuous` has a step before the one that counts, so that an action leads to the state in which it is chosen: where the actor
//! learns by back-propagation, nothing trains the value of a reset (`src/dreamer/behavior.rs`, I3).
//!
//! `Memory` shows the cue once more at the end: a reward that depends on the product of cue and action alone gives a model that
//! has forgotten the cue no reason to keep it. Beside this, observations hold everything: the time, or whether the episode has just
//! begun, is in view, since a state inside an episode must not look like a reset, whose reward is 0. The idea, and the first five, are
//! those of Andy Jones, "Debugging reinforcement learning systems", 2021.

use super::{Action, Actions, Env, NumpyRng, Observation, Options, Outcome, Picture, Spec, View};
use crate::base::{Error, Result};

/// What a 1 is in a vector observation. A decoder judges by a normal of standard deviation 1: under it -1 and 1 overlap, and a model
/// that infers the cue correctly would be wrong in one of eight cases; -3 and 3 are told apart.
const SCALE: f32 = 3.0;
/// Side of the image, in pixels.
const SIDE: usize = 8;
/// Steps of `Probe-Limit-v0`.
const LIMIT: u32 = 5;
/// Steps after which `Probe-Continue-v0` is cut off.
const PATIENCE: u32 = 8;
/// The action of `Probe-Action-v0` that is rewarded.
const REWARDED: usize = 1;
/// Reward for going on in `Probe-Continue-v0`.
const WAGE: f64 = 0.5;
/// Bytes of a saved state: cue, steps, the last outcome, generator.
const SAVED_BYTES: usize = 1 + 4 + 8 + 1 + NumpyRng::SAVED_BYTES;

/// What a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The value of a constant reward.
    Constant,
    /// The value of a reward two steps later.
    Discount,
    /// A value that depends on the observation.
    Observation,
    /// Actions that differ.
    Action,
    /// Which action is right depends on the observation.
    ActionObservation,
    /// The same, this many steps after the observation.
    Memory(u32),
    /// A time limit is no end, and an end is one.
    Limit,
    /// An end costs the future.
    Continue,
    /// An image.
    Image,
    /// A continuous action.
    Continuous,
}

/// Every probe: id, question, and what the agent is to learn.
pub const PROBES: &[(&str, Question, &str)] = &[
    ("Probe-Constant-v0", Question::Constant, "know the value of a reward that always comes"),
    ("Probe-Discount-v0", Question::Discount, "discount a reward that comes two steps later"),
    ("Probe-Observation-v0", Question::Observation, "see from the observation what will come"),
    ("Probe-Action-v0", Question::Action, "find the one action of three that is rewarded"),
    ("Probe-ActionObservation-v0", Question::ActionObservation, "do what the observation says"),
    ("Probe-Memory1-v0", Question::Memory(1), "do what the observation said 1 step ago"),
    ("Probe-Memory5-v0", Question::Memory(5), "do what the observation said 5 steps ago"),
    ("Probe-Memory20-v0", Question::Memory(20), "do what the observation said 20 steps ago"),
    ("Probe-Limit-v0", Question::Limit, "tell a time limit from an end"),
    ("Probe-Continue-v0", Question::Continue, "not take the larger reward, which ends the episode"),
    ("Probe-Image-v0", Question::Image, "do what a picture says"),
    ("Probe-Continuous-v0", Question::Continuous, "hit the number that the observation names"),
];

/// A probe.
#[derive(Debug, Clone)]
pub struct Probe {
    spec: Spec,
    question: Question,
    rng: NumpyRng,
    /// -1 or 1.
    cue: i8,
    steps: u32,
    /// Reward of the last step, 0 after a reset.
    reward: f64,
    /// The world ended with the last step.
    terminated: bool,
}

/// The probe of this id, `None` if there is none.
pub(super) fn make(id: &str, options: &Options) -> Option<Result<Box<dyn Env>>> {
    let &(id, ..) = PROBES.iter().find(|probe| probe.0 == id)?;
    if options.view != View::Symbolic || options.actions.is_some() || options.max_steps.is_some() {
        return Some(Err(Error::new(format!(
            "{id} has one view, its own actions and its own length, which its answers depend on: leave observation = vector, \
             action_set = 0 and time_limit = 0"
        ))));
    }
    Some(Ok(Box::new(Probe::new(id))))
}

impl Probe {
    /// The probe of this id, reset with seed 0. Panics if there is none.
    pub fn new(id: &str) -> Self {
        let found = PROBES.iter().find(|probe| probe.0 == id);
        let &(id, question, summary) = found.unwrap_or_else(|| panic!("there is no probe {id}"));
        let spec = Spec {
            id: id.to_string(),
            summary: summary.to_string(),
            observation: match question {
                Question::Image => Observation::Image { height: SIDE, width: SIDE, channels: 3 },
                _ => Observation::Vector { size: 2 },
            },
            actions: match question {
                Question::Action => Actions::Discrete { n: 3 },
                Question::Continuous => Actions::Continuous { size: 1 },
                _ => Actions::Discrete { n: 2 },
            },
            max_steps: length(question),
            tile_size: None,
            action_scale: 1.0,
        };
        let mut probe =
            Probe { spec, question, rng: NumpyRng::new(0), cue: 1, steps: 0, reward: 0.0, terminated: false };
        probe.reset(Some(0));
        probe
    }

    /// What it asks.
    pub fn question(&self) -> Question {
        self.question
    }

    /// Whether the episode has ended or was cut off.
    pub fn is_over(&self) -> bool {
        self.terminated || self.steps >= self.spec.max_steps
    }

    /// The exact value of the present state: the reward that led here and, discounted, those of best play from here on.
    pub fn value(&self, discount: f64) -> f64 {
        let g = discount;
        if self.terminated {
            return self.reward;
        }
        let left = self.spec.max_steps - self.steps;
        let future = match self.question {
            Question::Observation => f64::from(self.cue) * g,
            Question::Limit if self.cue > 0 => g * (1.0 - g.powi(left as i32)) / (1.0 - g),
            Question::Limit => g / (1.0 - g),
            Question::Continue => WAGE * g / (1.0 - g),
            _ => g.powi(left as i32),
        };
        self.reward + future
    }

    /// The sum of rewards that best play, in the sense of [`Probe::value`], earns from the present reset on. Greed in the last step of
    /// `Continue` would earn half a point more, but no clock is in view, and its value is less.
    pub fn best_return(&self) -> f64 {
        match self.question {
            Question::Observation => f64::from(self.cue),
            Question::Limit => f64::from(LIMIT),
            Question::Continue => WAGE * f64::from(PATIENCE),
            _ => 1.0,
        }
    }

    /// How far a value may be from [`Probe::value`]: a third of the way to what the nearest mistake would say. Mistakes are a reward
    /// that is a step too early or too late, a value without the observation or the action, and an end or a time limit taken for the
    /// other.
    pub fn tolerance(&self, discount: f64) -> f64 {
        let g = discount;
        let mistake = match self.question {
            // Read too late, 1 becomes g and g becomes g^2.
            Question::Constant | Question::Action | Question::ActionObservation | Question::Image => g - g * g,
            Question::Continuous | Question::Memory(_) => g - g * g,
            Question::Discount => g * g - g * g * g,
            // The mean over both cues is 0.
            Question::Observation => g,
            // The two kinds differ least at the reset, where five steps are left of the one that ends.
            Question::Limit => g.powi(LIMIT as i32 + 1) / (1.0 - g),
            // Greed is worth g instead of 0.5 g / (1 - g).
            Question::Continue => (WAGE * g / (1.0 - g) - g).abs(),
        };
        mistake / 3.0
    }

    fn observation(&self) -> [f32; 2] {
        let cue = f32::from(self.cue);
        let time = self.steps as f32 / self.spec.max_steps as f32;
        let fresh = f32::from(u8::from(self.steps == 0));
        let plain = match self.question {
            Question::Constant | Question::Discount | Question::Action => [0.0, time],
            Question::Observation | Question::ActionObservation | Question::Continuous => [cue, time],
            Question::Memory(_) if self.steps == 0 || self.is_over() => [cue, time],
            Question::Memory(_) => [0.0, time],
            // What is cut off has no clock: every step is like the one before.
            Question::Limit if self.cue > 0 => [cue, time],
            Question::Limit => [cue, fresh],
            Question::Continue => [fresh, f32::from(u8::from(self.terminated))],
            Question::Image => panic!("{} is observed as an image: call write_bytes", self.spec.id),
        };
        plain.map(|x| SCALE * x)
    }

    /// The discrete action that the cue names.
    fn named(&self) -> usize {
        usize::from(self.cue > 0)
    }
}

/// Steps of an episode.
fn length(question: Question) -> u32 {
    match question {
        Question::Discount | Question::Continuous => 2,
        Question::Memory(k) => k + 1,
        Question::Limit => LIMIT,
        Question::Continue => PATIENCE,
        _ => 1,
    }
}

impl Env for Probe {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) {
        if let Some(seed) = seed {
            self.rng = NumpyRng::new(seed);
        }
        self.cue = if self.rng.integers(0, 2) == 1 { 1 } else { -1 };
        (self.steps, self.reward, self.terminated) = (0, 0.0, false);
    }

    fn step(&mut self, action: Action) -> Outcome {
        let chosen = match (action, &self.spec.actions) {
            (Action::Discrete(a), &Actions::Discrete { n }) if a < n => a,
            (Action::Continuous(&[_]), Actions::Continuous { .. }) => 0,
            _ => panic!("{} has {:?}, not {action:?}", self.spec.id, self.spec.actions),
        };
        self.steps += 1;
        let over = self.steps >= self.spec.max_steps;
        let obeyed = if chosen == self.named() { 1.0 } else { -1.0 };
        self.reward = match self.question {
            Question::Constant | Question::Limit => 1.0,
            Question::Discount => f64::from(u8::from(over)),
            Question::Observation => f64::from(self.cue),
            Question::Action => f64::from(u8::from(chosen == REWARDED)),
            Question::ActionObservation | Question::Image => obeyed,
            Question::Memory(_) if over => obeyed,
            Question::Memory(_) => 0.0,
            Question::Continue if chosen == 0 => 1.0,
            Question::Continue => WAGE,
            Question::Continuous if !over => 0.0,
            Question::Continuous => {
                let Action::Continuous(&[a]) = action else { unreachable!("checked above") };
                1.0 - (f64::from(a) - 0.5 * f64::from(self.cue)).powi(2)
            }
        };
        self.terminated = match self.question {
            Question::Limit => over && self.cue > 0,
            Question::Continue => chosen == 0,
            _ => over,
        };
        let truncated = over && !self.terminated;
        Outcome { reward: self.reward, terminated: self.terminated, truncated, success: over && self.reward > 0.0 }
    }

    /// The image: the half that the cue names is white, all else black; black after the step.
    fn write_bytes(&self, out: &mut [u8]) {
        assert!(self.question == Question::Image, "{} is observed as numbers: call write_floats", self.spec.id);
        for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
            let right = i % SIDE >= SIDE / 2;
            pixel.fill(if self.steps == 0 && right == (self.cue > 0) { 255 } else { 0 });
        }
    }

    fn write_floats(&self, out: &mut [f32]) {
        out.copy_from_slice(&self.observation());
    }

    fn direction(&self) -> Option<u8> {
        None
    }

    /// What the image would show, enlarged.
    fn picture(&self) -> Picture {
        let side = 8 * SIDE;
        let bright = |i: usize| self.steps == 0 && (i % side >= side / 2) == (self.cue > 0);
        let rgb = (0..side * side).flat_map(|i| [if bright(i) { 255 } else { 0 }; 3]).collect();
        Picture { height: side, width: side, rgb }
    }

    /// The best action; `None` where actions are continuous.
    fn expert(&mut self) -> Option<usize> {
        match self.question {
            Question::Continuous => None,
            Question::Action => Some(REWARDED),
            Question::Continue => Some(1),
            _ => Some(self.named()),
        }
    }

    fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SAVED_BYTES);
        bytes.push(u8::from(self.cue > 0));
        bytes.extend(self.steps.to_le_bytes());
        bytes.extend(self.reward.to_le_bytes());
        bytes.push(u8::from(self.terminated));
        bytes.extend(self.rng.save());
        bytes
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let id = &self.spec.id;
        let damaged = |what: String| {
            Error::new(format!(
                "a saved state of {id} {what}: it is damaged or of another world, go back to an older checkpoint"
            ))
        };
        if state.len() != SAVED_BYTES {
            return Err(damaged(format!("has {} bytes instead of {SAVED_BYTES}", state.len())));
        }
        let steps = u32::from_le_bytes(state[1..5].try_into().expect("4 bytes"));
        let reward = f64::from_le_bytes(state[5..13].try_into().expect("8 bytes"));
        if state[0] > 1 || state[13] > 1 || steps > self.spec.max_steps || !reward.is_finite() {
            return Err(damaged(format!("says {steps} steps and a reward of {reward}")));
        }
        let rng = NumpyRng::load(&state[14..]).map_err(|e| e.context(format_args!("cannot restore {id}")))?;
        self.cue = if state[0] == 1 { 1 } else { -1 };
        (self.steps, self.reward, self.terminated, self.rng) = (steps, reward, state[13] == 1, rng);
        Ok(())
    }
}
