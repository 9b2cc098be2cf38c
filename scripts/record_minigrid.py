"""Records what the real minigrid package does, for tests/minigrid.rs to compare with.

    pip install minigrid==3.2.0
    python scripts/record_minigrid.py --out tests/fixtures/minigrid/trajectories.txt
    python scripts/record_minigrid.py --out /tmp/long.txt --seeded 300 --unseeded 300 --cap 0 --frames 0

A file has one line per fact:

    world ID MAX_STEPS ACTIONS              a new environment; `-` for its own value
    episode SEED LAYOUT TRAIL ACTIONS HASHES  one episode; SEED is `-` where the generator goes on
    reward STEP BITS FLAGS                  a step with a reward or an end: f64 bits in hex, 1 terminated + 2 truncated
    frame STEP VIEW TILE HASH               an RGB observation, VIEW partial or full

LAYOUT is the hash of the whole grid's encoding, the agent's position and direction after the reset. ACTIONS has a digit for
every step. HASHES has four hex digits for the reset and every step: the hash of the observation and the direction, folded
to 16 bits. TRAIL is the hash of all observations and directions of the episode in a row, unfolded. All hashes are FNV-1a,
64 bits.
"""

import argparse
import collections
import random
import struct
import warnings

import gymnasium
import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Door, Goal, Key, Wall
from minigrid.minigrid_env import MiniGridEnv

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE = range(6)
BASIS, PRIME, MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def fnv1a(data, hash=BASIS):
    for byte in data:
        hash = ((hash ^ byte) * PRIME) & MASK
    return hash


def fold(hash):
    hash ^= hash >> 32
    return (hash ^ hash >> 16) & 0xFFFF


class Simple(MiniGridEnv):
    """The random-obstacle room, built from minigrid's own parts; src/env/minigrid/simple.rs states its draws."""

    def __init__(self, max_steps=400):
        mission = MissionSpace(mission_func=lambda: "get to the green goal square")
        super().__init__(mission_space=mission, grid_size=10, max_steps=max_steps, see_through_walls=True)

    def lay_out(self, walls):
        self.grid = Grid(10, 10)
        self.grid.wall_rect(0, 0, 10, 10)
        self.agent_pos = (-1, -1)
        goal = self.place_obj(Goal())
        for _ in range(walls):
            self.place_obj(Wall())
        self.place_agent()
        reached = {tuple(map(int, self.agent_pos))}
        queue = list(reached)
        for x, y in queue:
            for at in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
                if at not in reached and not isinstance(self.grid.get(*at), Wall):
                    reached.add(at)
                    queue.append(at)
        return tuple(map(int, goal)) in reached

    def _gen_grid(self, width, height):
        if not any(self.lay_out(15) for _ in range(100)):
            self.lay_out(0)

    def step(self, action):
        obs, reward, *rest = super().step(action)
        return obs, 1.0 if reward > 0 else 0.0, *rest


def ids():
    names = [f"Empty-{n}x{n}-v0" for n in (5, 6, 8, 16)]
    names += [f"Empty-Random-{n}x{n}-v0" for n in (5, 6)]
    names += ["FourRooms-v0"]
    names += [f"DoorKey-{n}x{n}-v0" for n in (5, 6, 8, 16)]
    names += [f"KeyCorridorS{n}-v0" for n in ("3R1", "3R2", "3R3", "4R3", "5R3", "6R3")]
    names += ["Unlock-v0"]
    names += [f"MultiRoom-{n}" for n in ("N2-S4-v0", "N4-S5-v0", "N4-S5-v1", "N6-v0")]
    names += [f"LavaGapS{n}-v0" for n in (5, 6, 7)]
    names += [f"{kind}CrossingS{n}-v0" for kind in ("Simple", "Lava") for n in ("9N1", "9N2", "9N3", "11N5")]
    names += [f"MemoryS{n}-v0" for n in ("7", "9", "11", "13", "13Random", "17Random")]
    names += [f"Dynamic-Obstacles-{n}-v0" for n in ("5x5", "Random-5x5", "6x6", "Random-6x6", "8x8", "16x16")]
    return ["MiniGrid-" + name for name in names] + ["Simple-10x10", "MiniGrid-DoorKey-7x7-v0"]


def make(id, max_steps):
    kwargs = {} if max_steps is None else {"max_steps": max_steps}
    if id == "Simple-10x10":
        return Simple(**kwargs)
    if id == "MiniGrid-DoorKey-7x7-v0":
        # Not registered: the class of the registered sizes, with another one.
        return gymnasium.make("MiniGrid-DoorKey-5x5-v0", size=7, **kwargs).unwrapped
    return gymnasium.make(id, **kwargs).unwrapped


# Rare things: balls with no free cell around them, which try in vain to move.
SCRIPTED = (
    ("MiniGrid-Dynamic-Obstacles-6x6-v0", 10, "22200021012102"),
    ("MiniGrid-Dynamic-Obstacles-6x6-v0", 979, "012211212"),
    ("MiniGrid-Dynamic-Obstacles-Random-6x6-v0", 831, "010022"),
    ("MiniGrid-Dynamic-Obstacles-8x8-v0", 8429, "1111120210"),
)

STEP = ((1, 0), (0, 1), (-1, 0), (0, -1))


def walk(env, wanted):
    """The first action of a short way to a state (x, y, direction) that is wanted; None if there is no way."""
    start = (int(env.agent_pos[0]), int(env.agent_pos[1]), int(env.agent_dir))
    if wanted(*start):
        return None
    queue, first = collections.deque([start]), {start: None}
    while queue:
        x, y, d = state = queue.popleft()
        ahead = (x + STEP[d][0], y + STEP[d][1])
        cell = env.grid.get(*ahead)
        door = isinstance(cell, Door) and not cell.is_open and not cell.is_locked
        free = cell is None or door or (cell.can_overlap() and cell.type != "lava")
        moves = [(LEFT, (x, y, (d - 1) % 4)), (RIGHT, (x, y, (d + 1) % 4))]
        if free:
            moves.append((TOGGLE if door else FORWARD, (*ahead, d)))
        for action, next_state in moves:
            if next_state not in first:
                first[next_state] = action if first[state] is None else first[state]
                if wanted(*next_state):
                    return first[next_state]
                queue.append(next_state)
    return None


def expert(env):
    """An action towards success, good but not always shortest; None if it does not know one."""
    cells = {(i % env.width, i // env.width): cell for i, cell in enumerate(env.grid.grid) if cell is not None}
    places = {}
    for at, cell in cells.items():
        places.setdefault(cell.type, []).append(at)
    carried = env.carrying.type if env.carrying else None

    def facing(targets):
        return lambda x, y, d: (x + STEP[d][0], y + STEP[d][1]) in targets

    def use(targets, action):
        here = (int(env.agent_pos[0]), int(env.agent_pos[1]), int(env.agent_dir))
        return action if facing(targets)(*here) else walk(env, facing(targets))

    if hasattr(env, "success_pos"):
        success = tuple(map(int, env.success_pos))
        return walk(env, lambda x, y, d: (x, y) == success)
    if "goal" in places:
        action = walk(env, lambda x, y, d: (x, y) in places["goal"])
        if action is not None:
            return action
    locked = [at for at, cell in cells.items() if isinstance(cell, Door) and cell.is_locked]
    if locked:
        return use(locked, TOGGLE) if carried == "key" else use(places.get("key", []), PICKUP)
    if "ball" in places and "key" not in places and carried == "key":
        ahead = env.grid.get(*env.front_pos)
        return DROP if ahead is None else random.choice([LEFT, RIGHT])
    return use(places.get("ball", []), PICKUP)


class Recorder:
    def __init__(self, out):
        self.out = out
        self.steps = self.episodes = self.solved = self.frames = 0

    def write(self, *fields):
        print(*fields, file=self.out)

    def hash(self, obs, trail):
        data = obs["image"].astype(np.uint8).tobytes() + bytes([int(obs["direction"])])
        return fold(fnv1a(data)), fnv1a(data, trail)

    def frame(self, env, step):
        """As RGBImgPartialObsWrapper and RGBImgObsWrapper make their images."""
        for tile in (4, 8, 9):
            partial = env.get_frame(tile_size=tile, agent_pov=True)
            self.write("frame", step, "partial", tile, f"{fnv1a(partial.tobytes()):016x}")
            full = env.get_frame(highlight=env.highlight, tile_size=tile)
            self.write("frame", step, "full", tile, f"{fnv1a(full.tobytes()):016x}")
            self.frames += 2

    def episode(self, env, seed, random_share, cap, actions, frames, script=()):
        """One episode: a script of actions; without it, a share of the actions is random, the others are the expert's."""
        script, cap = iter(script), len(script) or cap
        obs, _ = env.reset(seed=seed)
        layout = env.grid.encode().tobytes() + bytes([int(env.agent_pos[0]), int(env.agent_pos[1]), int(env.agent_dir)])
        taken, hashes, trail, events, at_frame = "", [], BASIS, [], None
        folded, trail = self.hash(obs, trail)
        hashes.append(f"{folded:04x}")
        pictures = []
        buffer, self.out = self.out, _Lines(pictures)
        if frames:
            self.frame(env, 0)
        while True:
            action = None if random.random() < random_share else expert(env)
            action = random.randrange(actions) if action is None or action >= actions else action
            action = int(next(script, action))
            obs, reward, terminated, truncated, _ = env.step(action)
            taken += str(action)
            folded, trail = self.hash(obs, trail)
            hashes.append(f"{folded:04x}")
            if reward != 0 or terminated or truncated:
                bits = struct.pack(">d", float(reward)).hex()
                self.write("reward", len(taken), bits, int(terminated) + 2 * int(truncated))
            last = terminated or truncated or len(taken) == cap
            if frames and (last or len(taken) % 20 == 3):
                self.frame(env, len(taken))
            if last:
                break
        self.out = buffer
        self.write("episode", "-" if seed is None else seed, f"{fnv1a(layout):016x}", f"{trail:016x}", taken, "".join(hashes))
        for line in pictures:
            self.out.write(line)
        self.steps += len(taken)
        self.episodes += 1
        self.solved += reward > 0


class _Lines:
    """A file that is a list."""

    def __init__(self, lines):
        self.lines = lines

    def write(self, text):
        if text == "\n" and self.lines:
            self.lines[-1] += text
        elif self.lines and not self.lines[-1].endswith("\n"):
            self.lines[-1] += text
        else:
            self.lines.append(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--ids", nargs="*", default=ids())
    parser.add_argument("--seeded", type=int, default=3, help="episodes with a seed, for each way to play")
    parser.add_argument("--unseeded", type=int, default=1, help="episodes that continue the generator, for each way to play")
    parser.add_argument("--cap", type=int, default=40, help="longest episode; 0 for none")
    parser.add_argument("--frames", type=int, default=1, help="episodes with frames, for each way to play")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    random.seed(0)
    with open(options.out, "w") as out:
        recorder = Recorder(out)
        for id in options.ids:
            few = "Dynamic" in id or "Simple-" in id
            for max_steps, share in ((None, 1.0), (None, 0.0), (None, 0.2), (12, 0.1)):
                env = make(id, max_steps)
                # Where the task has three actions, the last environment is given all seven.
                actions = 7 if not few or max_steps else 3
                recorder.write("world", id, max_steps or "-", actions if few and max_steps else "-")
                seeds = [1000 * int(10 * share) + n for n in range(options.seeded)]
                seeds[-1] = (1 << 40) + 5
                cap = options.cap if share > 0 else 0
                for n, seed in enumerate(seeds + [None] * options.unseeded):
                    recorder.episode(env, seed, share, cap, actions, frames=n < options.frames and not max_steps)
        for id, seed, script in SCRIPTED:
            recorder.write("world", id, "-", "-")
            recorder.episode(make(id, None), seed, 1.0, 0, 3, False, script)
    print(
        f"{len(options.ids)} ids, {recorder.episodes} episodes, {recorder.solved} solved, "
        f"{recorder.steps} steps, {recorder.frames} frames"
    )


if __name__ == "__main__":
    main()
