//! Play, written down: one JSON object a line, which anyone can replay in the Python package and compare.

use std::io::Write;

use serde_json::{Value, json};

use super::{Action, Actions, Env, Observation, Outcome};
use crate::base::philox::stream;
use crate::base::{Error, Philox, Result};

/// Who plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Every action is as likely as any other.
    Random,
    /// A shortest plan, see [`Env::expert`].
    Expert,
}

/// Plays `steps` steps and writes a line for every reset and every step.
///
/// The first episode is reset with `seed`, each later one continues the same generator. A line has the keys `action` (`null`
/// for a reset), `reward`, `terminated`, `truncated`, `direction` (`null` where there is none), `observation` (flattened as
/// NumPy would) and, for images made of tiles, `tile_size`. Continuous actions are written in the world's own unit, as the Python
/// package takes them. Random actions are drawn from `policy_seed` and touch no generator of the world.
pub fn rollout(
    env: &mut dyn Env,
    seed: u64,
    policy: Policy,
    policy_seed: u64,
    steps: u64,
    write: &mut dyn Write,
) -> Result<()> {
    let mut rng = Philox::new(policy_seed, stream::ROLLOUT, 0);
    let mut floats = match env.spec().actions {
        Actions::Discrete { .. } => Vec::new(),
        Actions::Continuous { size } => vec![0.0_f32; size],
    };
    env.reset(Some(seed));
    line(env, Value::Null, Outcome::default(), write)?;
    for _ in 0..steps {
        let (action, written) = match (policy, &env.spec().actions) {
            (Policy::Random, &Actions::Discrete { n }) => {
                let action = rng.below(n);
                (Action::Discrete(action), json!(action))
            }
            (Policy::Random, Actions::Continuous { .. }) => {
                floats.fill_with(|| (2.0 * rng.uniform() - 1.0) as f32);
                let written: Vec<f32> = floats.iter().map(|a| a * env.spec().action_scale).collect();
                (Action::Continuous(&floats), json!(written))
            }
            (Policy::Expert, _) => {
                let action = env.expert().ok_or_else(|| {
                    Error::new(format!("{} has no expert for this state: use --policy random", env.spec().id))
                })?;
                (Action::Discrete(action), json!(action))
            }
        };
        let outcome = env.step(action);
        line(env, written, outcome, write)?;
        if outcome.ended() {
            env.reset(None);
            line(env, Value::Null, Outcome::default(), write)?;
        }
    }
    Ok(())
}

fn line(env: &dyn Env, action: Value, outcome: Outcome, write: &mut dyn Write) -> Result<()> {
    let size = env.spec().observation.size();
    let observation = if let Observation::Vector { .. } = env.spec().observation {
        let mut numbers = vec![0.0; size];
        env.write_floats(&mut numbers);
        json!(numbers)
    } else {
        let mut bytes = vec![0; size];
        env.write_bytes(&mut bytes);
        json!(bytes)
    };
    let mut object = json!({
        "action": action,
        "reward": outcome.reward,
        "terminated": outcome.terminated,
        "truncated": outcome.truncated,
        "direction": env.direction(),
        "observation": observation,
    });
    if let Some(tile_size) = env.spec().tile_size {
        object["tile_size"] = json!(tile_size);
    }
    // One write a line: `write` may be a pipe.
    let text = format!("{object}\n");
    write.write_all(text.as_bytes()).map_err(|cause| Error::new(format!("cannot write the rollout: {cause}")))
}
