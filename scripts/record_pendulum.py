"""Records tests/fixtures/pendulum/episodes.json from the real Gymnasium.

    pip install gymnasium==1.4.0
    python scripts/record_pendulum.py > tests/fixtures/pendulum/episodes.json

One object per episode: the seed of its reset (null continues the generator), its first observation, and one row per step: action
in [-1, 1] (torque / 2; a few lie outside and are clipped by the environment), reward, observation (3 numbers), truncated.
The rewards are f64, actions and observations f32, all in their shortest exact form. The last episode is one in which a reward
would have another last bit if its squares were products instead of powers (NumPy's `x**2` on a scalar is the C library's pow).
"""

import json

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.pendulum import angle_normalize

rng = np.random.default_rng(12345)


def random_torque(obs):
    return rng.uniform(-1.0, 1.0)


def full_speed(obs):
    """Pushes along the motion, until the speed is clipped."""
    return 1.0 if obs[2] >= 0 else -1.0


def swing_up(obs):
    """Pumps energy, then balances: the rewards near 0 matter most to an agent."""
    cos, sin, velocity = (float(v) for v in obs)
    if cos > 0.9:
        return float(np.clip(-8.0 * np.arctan2(sin, cos) - 1.5 * velocity, -1.0, 1.0))
    energy = velocity**2 / 6.0 + 5.0 * cos
    return float(np.clip((5.0 - energy) * velocity, -1.0, 1.0))


def overdriven(obs):
    return rng.uniform(-3.0, 3.0)


QUARTER = np.float32(0.25)


def constant(obs):
    return QUARTER


def short(x):
    """A number whose shortest decimal form is that of the f32."""
    return float(str(np.float32(x)))


def episode(env, seed, policy):
    obs, _ = env.reset(seed=seed)
    first, rows, truncated = [short(v) for v in obs], [], False
    while not truncated:
        action = np.float32(policy(obs))
        obs, reward, terminated, truncated, _ = env.step(np.array([2 * action], dtype=np.float32))
        assert not terminated
        rows.append([short(action), float(reward), *(short(v) for v in obs), truncated])
    return {"seed": None if seed is None else str(seed), "policy": policy.__name__, "first": first, "rows": rows}


def reward_by_products(state, action):
    angle, velocity = (float(v) for v in state)
    angle = angle_normalize(angle)
    torque = np.clip(2 * action, np.float32(-2), np.float32(2))
    return -(angle * angle + 0.1 * (velocity * velocity) + float(np.float32(0.001) * (torque * torque)))


def telling_seed(env):
    """The first seed whose episode of constant torque tells powers from products."""
    for seed in range(1000):
        env.reset(seed=seed)
        for _ in range(200):
            state = env.unwrapped.state
            reward = env.step(np.array([2 * QUARTER], dtype=np.float32))[1]
            if float(reward) != reward_by_products(state, QUARTER):
                return seed
    raise SystemExit("no seed tells powers from products with this C library")


if __name__ == "__main__":
    env = gymnasium.make("Pendulum-v1")
    plan = [(0, random_torque), (None, random_torque), (2**40 + 5, swing_up), (None, swing_up), (7, full_speed), (8, overdriven)]
    plan.append((telling_seed(env), constant))
    lines = [json.dumps(episode(env, seed, policy), separators=(",", ":")) for seed, policy in plan]
    print("[" + ",\n".join(lines) + "]")
