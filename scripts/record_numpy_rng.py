"""Records tests/fixtures/numpy_rng/calls.json from the real NumPy, through Gymnasium's seeding.

    pip install gymnasium==1.4.0
    python scripts/record_numpy_rng.py > tests/fixtures/numpy_rng/calls.json

One recording per seed: the generator's state after seeding, a mixed sequence of calls with their results, the state after them.
Doubles are written in their shortest exact form, 128-bit numbers as text.
"""

import json
import random

import numpy as np
from gymnasium.utils import seeding

SEEDS = [0, 1, 7, 2**32 - 1, 2**32, 2**40 + 5, 2**63, 2**64 - 1]

# Ranges on both sides of every branch of the bounded generators, and ranges whose rejection is likely.
RANGES = [
    (0, 1), (0, 2), (0, 3), (1, 7), (-5, 5), (0, 6), (4, 5), (0, 100),
    (0, 2**31 + 1), (0, 3 * 2**30), (0, 2**32 - 1), (0, 2**32), (0, 2**32 + 1), (-(2**31), 2**31),
    (0, 2**62 + 1), (0, 3 * 2**61), (-(2**63), 2**63 - 1),
]


def state(rng):
    s = rng.bit_generator.state
    return [str(s["state"]["state"]), str(s["state"]["inc"]), int(s["has_uint32"]), int(s["uinteger"])]


def one_call(rng, pick):
    name = pick.choice(["integers"] * 6 + ["choice", "random", "uniform", "shuffle", "shuffle_array", "permutation"])
    if name == "integers":
        low, high = pick.choice(RANGES)
        return [name, low, high, int(rng.integers(low, high))]
    if name == "choice":
        n = pick.choice([1, 2, 5, 6, 17])
        return [name, n, int(rng.choice(n))]
    if name == "random":
        return [name, float(rng.random())]
    if name == "uniform":
        low, high = pick.choice([(0.0, 1.0), (-np.pi, np.pi), (-1.0, 1.0), (2.5, 1e6)])
        return [name, low, high, float(rng.uniform(low, high))]
    n = pick.choice([0, 1, 2, 3, 4, 7, 16, 33])
    if name == "permutation":
        return [name, n, [int(i) for i in rng.permutation(n)]]
    items = [10 * i for i in range(n)]
    if name == "shuffle_array":
        items = np.array(items, dtype=np.int64)
    rng.shuffle(items)
    return ["shuffle", n, [int(i) for i in items]]


def recording(seed):
    rng, _ = seeding.np_random(seed)
    pick = random.Random(seed)
    first = state(rng)
    calls = [one_call(rng, pick) for _ in range(300)]
    return {"seed": str(seed), "first_state": first, "calls": calls, "last_state": state(rng)}


if __name__ == "__main__":
    lines = [json.dumps(recording(seed), separators=(",", ":")) for seed in SEEDS]
    print("[" + ",\n".join(lines) + "]")
