//! `Pendulum-v1`: a rod on an axle is to be swung up and held there by a motor too weak to lift it directly.
//!
//! The source is Gymnasium 1.4.0, `classic_control/pendulum.py`, with the `TimeLimit` of 200 steps that `make` puts round it.
//! The angle `th` is 0 upright and grows counter-clockwise; one step of length `dt` is
//!
//! ```text
//! u     = clip(torque, -2, 2)
//! cost  = norm(th)^2 + 0.1 thdot^2 + 0.001 u^2        norm: into [-pi, pi)
//! thdot = clip(thdot + (3 g / (2 l) sin(th) + 3 / (m l^2) u) dt, -8, 8)
//! th    = th + thdot dt
//! ```
//!
//! and the reward is `-cost` of the state before the step. Every operation has the precision and the order that NumPy gives it
//! in that file: the torque and its products with constants are f32, all else is f64, and squares are the C library's `pow`. So
//! trajectories agree with the package bit for bit where both use the same C library; sin, cos and pow of another one may differ
//! in the last place, and the difference grows as the pendulum swings.

use std::f64::consts::PI;
use std::hint::black_box;

use crate::base::{Error, Result};
use crate::env::numpy_rng::NumpyRng;
use crate::env::{Action, Actions, Env, Observation, Options, Outcome, Picture, Spec, View};

/// The id, as Gymnasium registers it.
pub const ID: &str = "Pendulum-v1";

const GRAVITY: f64 = 10.0;
const MASS: f64 = 1.0;
const LENGTH: f64 = 1.0;
const TIME_STEP: f64 = 0.05;
const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f32 = 2.0;
const MAX_STEPS: u32 = 200;

/// Bytes of a saved state: angle, velocity, steps, generator.
const SAVED_BYTES: usize = 8 + 8 + 4 + NumpyRng::SAVED_BYTES;
/// Pixels along a side of the picture.
const PICTURE_SIDE: usize = 64;

/// One pendulum. An action is one number in [-1, 1], 1 being the full torque of 2 N m counter-clockwise; beyond it is clipped. An
/// observation is cos and sin of the angle, and the velocity in radians per second. No episode terminates.
#[derive(Debug, Clone)]
pub struct Pendulum {
    spec: Spec,
    rng: NumpyRng,
    /// Radians, 0 upright, never brought back into one turn, as in Gymnasium.
    angle: f64,
    /// Radians per second.
    velocity: f64,
    steps: u32,
}

impl Pendulum {
    /// A pendulum, reset with seed 0. An error for an option that only gridworlds have.
    pub fn new(options: &Options) -> Result<Self> {
        if options.view != View::Symbolic {
            return Err(Error::new(format!(
                "{ID} is observed as a vector of three numbers: it has no RGB view, leave the view at its default."
            )));
        }
        if let Some(n) = options.actions {
            return Err(Error::new(format!(
                "{ID} has one continuous action: it cannot have {n} discrete ones, leave their number at its default."
            )));
        }
        let spec = Spec {
            id: ID.to_string(),
            summary: "Swing a pendulum up and hold it there, with a motor too weak to lift it directly.".to_string(),
            observation: Observation::Vector { size: 3 },
            actions: Actions::Continuous { size: 1 },
            max_steps: options.max_steps.unwrap_or(MAX_STEPS),
            tile_size: None,
            action_scale: MAX_TORQUE,
        };
        let mut pendulum = Pendulum { spec, rng: NumpyRng::new(0), angle: 0.0, velocity: 0.0, steps: 0 };
        pendulum.reset(Some(0));
        Ok(pendulum)
    }

    /// cos and sin of the angle, and the velocity in radians per second.
    pub fn observation(&self) -> [f32; 3] {
        [self.angle.cos() as f32, self.angle.sin() as f32, self.velocity as f32]
    }
}

impl Env for Pendulum {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    /// A random angle in `[-pi, pi)` and velocity in `[-1, 1)`.
    fn reset(&mut self, seed: Option<u64>) {
        if let Some(seed) = seed {
            self.rng = NumpyRng::new(seed);
        }
        self.angle = self.rng.uniform(-PI, PI);
        self.velocity = self.rng.uniform(-1.0, 1.0);
        self.steps = 0;
    }

    fn step(&mut self, action: Action) -> Outcome {
        let Action::Continuous(&[action]) = action else { panic!("{ID} takes one continuous number, not {action:?}") };
        let torque = (action * MAX_TORQUE).clamp(-MAX_TORQUE, MAX_TORQUE);
        let angle = (self.angle + PI).rem_euclid(2.0 * PI) - PI;
        let effort = 0.001 * torque.powf(black_box(2.0));
        let cost = square(angle) + 0.1 * square(self.velocity) + f64::from(effort);

        let fall = 3.0 * GRAVITY / (2.0 * LENGTH) * self.angle.sin();
        let push = (3.0 / (MASS * LENGTH * LENGTH)) as f32 * torque;
        let velocity = self.velocity + (fall + f64::from(push)) * TIME_STEP;
        self.velocity = velocity.clamp(-MAX_SPEED, MAX_SPEED);
        self.angle += self.velocity * TIME_STEP;
        self.steps += 1;
        Outcome { reward: -cost, terminated: false, truncated: self.steps >= self.spec.max_steps, success: false }
    }

    fn write_bytes(&self, _out: &mut [u8]) {
        panic!("{ID} is observed as numbers: call write_floats");
    }

    fn write_floats(&self, out: &mut [f32]) {
        out.copy_from_slice(&self.observation());
    }

    fn direction(&self) -> Option<u8> {
        None
    }

    /// The rod and its axle, 64 x 64 pixels, in the proportions and colours of Gymnasium's window.
    fn picture(&self) -> Picture {
        let side = PICTURE_SIDE;
        let mut rgb = vec![0; side * side * 3];
        draw(self.angle, side, &mut rgb);
        Picture { height: side, width: side, rgb }
    }

    fn expert(&mut self) -> Option<usize> {
        None
    }

    fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SAVED_BYTES);
        bytes.extend(self.angle.to_le_bytes());
        bytes.extend(self.velocity.to_le_bytes());
        bytes.extend(self.steps.to_le_bytes());
        bytes.extend(self.rng.save());
        bytes
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let damaged = |what: String| {
            Error::new(format!(
                "a saved state of {ID} {what}: it is damaged or of another world, go back to an older checkpoint"
            ))
        };
        if state.len() != SAVED_BYTES {
            return Err(damaged(format!("has {} bytes instead of {SAVED_BYTES}", state.len())));
        }
        let number = |at: usize| f64::from_le_bytes(state[at..at + 8].try_into().expect("8 bytes"));
        let (angle, velocity) = (number(0), number(8));
        if !angle.is_finite() || !(-MAX_SPEED..=MAX_SPEED).contains(&velocity) {
            return Err(damaged(format!("has angle {angle} and velocity {velocity}")));
        }
        let rng = NumpyRng::load(&state[20..]).map_err(|e| e.context(format_args!("cannot restore {ID}")))?;
        (self.angle, self.velocity, self.rng) = (angle, velocity, rng);
        self.steps = u32::from_le_bytes(state[16..20].try_into().expect("4 bytes"));
        Ok(())
    }
}

/// Draws the rod and its axle into `out`, `[side, side, 3]` RGB bytes, rows from the top.
fn draw(angle: f64, side: usize, out: &mut [u8]) {
    const BACKGROUND: [u8; 3] = [255; 3];
    const ROD: [u8; 3] = [204, 77, 77];
    const AXLE: [u8; 3] = [0; 3];
    // The window shows 2.2 m to each side of the axle; the rod is 1 m long and 0.2 m wide.
    let metre = side as f64 / 4.4;
    let tip = [-angle.sin(), angle.cos()];
    // An edge is blended over the width of a pixel.
    let cover = |radius: f64, distance: f64| ((radius - distance) * metre + 0.5).clamp(0.0, 1.0);
    for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
        let x = ((i % side) as f64 + 0.5 - side as f64 / 2.0) / metre;
        let y = (side as f64 / 2.0 - (i / side) as f64 - 0.5) / metre;
        let along = (x * tip[0] + y * tip[1]).clamp(0.0, 1.0);
        let rod = cover(0.1, (x - along * tip[0]).hypot(y - along * tip[1]));
        let axle = cover(0.05, x.hypot(y));
        for channel in 0..3 {
            let blend = |under: f64, over: u8, amount: f64| under + (f64::from(over) - under) * amount;
            let color = blend(f64::from(BACKGROUND[channel]), ROD[channel], rod);
            pixel[channel] = blend(color, AXLE[channel], axle).round() as u8;
        }
    }
}

/// x^2 as NumPy's `x**2` computes it on a scalar: by the C library's `pow`, whose last bit differs from that of `x * x` about
/// once in a thousand numbers. The exponent is hidden from the compiler, which would turn the power into the product.
fn square(x: f64) -> f64 {
    x.powf(black_box(2.0))
}
