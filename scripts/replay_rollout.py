"""Replays the output of `dreamer-fast envs rollout` in the real packages and compares every line.

    pip install minigrid==3.2.0
    dreamer-fast envs rollout --task MiniGrid-DoorKey-8x8-v0 --seed 7 --policy expert --steps 500 --format jsonl > rollout.jsonl
    python scripts/replay_rollout.py MiniGrid-DoorKey-8x8-v0 7 rollout.jsonl

The observation must be symbolic, or the agent's view in RGB (the lines state its tile size). Exits with 1 at the first
difference.
"""

import json
import sys
import warnings

import gymnasium
import minigrid  # noqa: F401, registers the environments


def main():
    id, seed, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    warnings.filterwarnings("ignore")
    env = gymnasium.make(id).unwrapped
    episodes = steps = 0
    for number, text in enumerate(open(path), 1):
        line = json.loads(text)
        reward, terminated, truncated = 0.0, False, False
        if line["action"] is None:
            obs, _ = env.reset(seed=seed if episodes == 0 else None)
            episodes += 1
        else:
            obs, reward, terminated, truncated, _ = env.step(line["action"])
            steps += 1
        image = env.get_frame(tile_size=line["tile_size"], agent_pov=True) if "tile_size" in line else obs["image"]
        expected = {
            "reward": float(reward),
            "terminated": bool(terminated),
            "truncated": bool(truncated),
            "direction": int(obs["direction"]),
            "observation": image.flatten().tolist(),
        }
        for key, value in expected.items():
            if line[key] != value:
                print(f"{path}:{number}: {key} is {line[key]}, the package has {value}")
                sys.exit(1)
    print(f"{id}: {steps} steps and {episodes} resets agree")


if __name__ == "__main__":
    main()
