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
//! in that file: the torque and its products with constants are f32, all else is f64, and squares are the C library's `pow` (see
//! [`square`]). So trajectories agree with the package bit for bit where both use the same C library; sin, cos and pow of
//! another one may differ in the last place, and the difference grows as the pendulum swings.

use std::f64::consts::PI;
use std::hint::black_box;

use crate::base::{Error, Result};
use crate::env::numpy_rng::NumpyRng;

const GRAVITY: f64 = 10.0;
const MASS: f64 = 1.0;
const LENGTH: f64 = 1.0;
const TIME_STEP: f64 = 0.05;
const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f32 = 2.0;
/// Steps after which an episode is truncated.
pub const MAX_STEPS: u32 = 200;

/// The state of one pendulum: radians, radians per second, steps since the reset, and its random generator.
#[derive(Debug, Clone, PartialEq)]
pub struct Pendulum {
    rng: NumpyRng,
    angle: f64,
    velocity: f64,
    steps: u32,
}

impl Default for Pendulum {
    fn default() -> Self {
        Self::new()
    }
}

impl Pendulum {
    /// Bytes that [`Pendulum::save`] writes.
    pub const SAVED_BYTES: usize = NumpyRng::SAVED_BYTES + 20;

    /// A pendulum that stands upright; call [`Pendulum::reset`] before the first step. Until a reset is seeded the generator is
    /// that of seed 0.
    pub fn new() -> Self {
        Pendulum { rng: NumpyRng::new(0), angle: 0.0, velocity: 0.0, steps: 0 }
    }

    /// A random angle in `[-pi, pi)` and velocity in `[-1, 1)`, from the generator of `seed`, or from where the present
    /// generator stands.
    pub fn reset(&mut self, seed: Option<u64>) {
        if let Some(seed) = seed {
            self.rng = NumpyRng::new(seed);
        }
        self.angle = self.rng.uniform(-PI, PI);
        self.velocity = self.rng.uniform(-1.0, 1.0);
        self.steps = 0;
    }

    /// One step with the motor at `action`, 1 being the full torque of 2 N m counter-clockwise; beyond -1 and 1 it is clipped.
    /// Returns (reward, terminated, truncated); a pendulum never terminates.
    pub fn step(&mut self, action: f32) -> (f64, bool, bool) {
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
        (-cost, false, self.steps >= MAX_STEPS)
    }

    /// cos and sin of the angle, and the velocity in radians per second.
    pub fn observation(&self) -> [f32; 3] {
        [self.angle.cos() as f32, self.angle.sin() as f32, self.velocity as f32]
    }

    /// The whole state: angle, velocity, steps (little endian), generator.
    pub fn save(&self) -> [u8; Self::SAVED_BYTES] {
        let mut bytes = [0; Self::SAVED_BYTES];
        bytes[..8].copy_from_slice(&self.angle.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.velocity.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.steps.to_le_bytes());
        bytes[20..].copy_from_slice(&self.rng.save());
        bytes
    }

    /// The pendulum that [`Pendulum::save`] wrote. An error if the bytes cannot be one.
    pub fn load(bytes: &[u8]) -> Result<Self> {
        if bytes.len() != Self::SAVED_BYTES {
            return Err(Error::new(format!(
                "a saved pendulum has {} bytes instead of {}: the state is damaged, go back to an older checkpoint",
                bytes.len(),
                Self::SAVED_BYTES
            )));
        }
        let number = |at: usize| f64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let steps = u32::from_le_bytes(bytes[16..20].try_into().expect("4 bytes"));
        let rng = NumpyRng::load(&bytes[20..]).map_err(|e| e.context("cannot restore a pendulum"))?;
        Ok(Pendulum { rng, angle: number(0), velocity: number(8), steps })
    }

    /// Draws the rod and its axle into `out`, `[size, size, 3]` RGB bytes, rows from the top, in the proportions and colours of
    /// Gymnasium's window.
    pub fn picture(&self, size: usize, out: &mut [u8]) {
        const BACKGROUND: [u8; 3] = [255; 3];
        const ROD: [u8; 3] = [204, 77, 77];
        const AXLE: [u8; 3] = [0; 3];
        assert_eq!(out.len(), size * size * 3, "picture: {} bytes for {size} x {size} pixels", out.len());
        // The window shows 2.2 m to each side of the axle; the rod is 1 m long and 0.2 m wide.
        let metre = size as f64 / 4.4;
        let tip = [-self.angle.sin(), self.angle.cos()];
        // An edge is blended over the width of a pixel.
        let cover = |radius: f64, distance: f64| ((radius - distance) * metre + 0.5).clamp(0.0, 1.0);
        for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
            let x = (i % size) as f64 + 0.5 - size as f64 / 2.0;
            let y = size as f64 / 2.0 - (i / size) as f64 - 0.5;
            let (x, y) = (x / metre, y / metre);
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
}

/// x^2 as NumPy's `x**2` computes it on a scalar: by the C library's `pow`, whose last bit differs from that of `x * x` about
/// once in a thousand numbers. The exponent is hidden from the compiler, which would turn the power into the product.
fn square(x: f64) -> f64 {
    x.powf(black_box(2.0))
}
