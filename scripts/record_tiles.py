"""Records tests/fixtures/tiles from the real minigrid package.

    pip install minigrid==3.2.0
    python scripts/record_tiles.py tests/fixtures/tiles [TILE_SIZE ...]

tiles.txt: one line per tile size and cell: `tile_size object color state`, then the hashes (FNV-1a, 64 bits, hexadecimal) of ten
tiles: no agent and agent directions 0 to 3, each plain, then highlighted.
frames.json: pictures of real environments (partial and full) with everything they are drawn from and the hash of their bytes.
Other tile sizes than the committed ones may be given to compare more widely.
"""

import json
import sys

import gymnasium
import minigrid  # noqa: F401  (registers the environments)
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall

TILE_SIZES = [4, 5, 8, 9, 16, 32]


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) % 2**64
    return f"{h:016x}"


def cells():
    yield (OBJECT_TO_IDX["empty"], 0, 0), None
    for color in COLOR_TO_IDX:
        for make in [Wall, Floor, Key, Ball, Box, Goal]:
            yield None, make(color)
        yield None, Door(color, is_open=True)
        yield None, Door(color)
        yield None, Door(color, is_locked=True)
    yield None, Lava()


def tile_bytes(obj, agent, highlight, size):
    # Grid.render stores the tile's floats into a byte array; so does this.
    return Grid.render_tile(obj, agent, highlight, size).astype("uint8").tobytes()


def tile_lines(sizes):
    # At tile size 100 the agent's triangle has pixels on its edge that f64 corners would lose.
    for size in [*sizes, 100]:
        for code, obj in cells() if size in sizes else [next(cells())]:
            code = code or obj.encode()
            hashes = [fnv(tile_bytes(obj, a, h, size)) for a in [None, 0, 1, 2, 3] for h in [False, True]]
            yield " ".join([str(size), *map(str, code), *hashes])


def frames():
    for name, seed, actions, size in [
        ("MiniGrid-DoorKey-8x8-v0", 1, [2, 1, 2], 8),
        ("MiniGrid-FourRooms-v0", 2, [1, 2, 2], 4),
        ("MiniGrid-LavaCrossingS9N2-v0", 3, [1], 9),
        ("MiniGrid-KeyCorridorS3R1-v0", 4, [0, 2], 5),
        ("MiniGrid-Dynamic-Obstacles-6x6-v0", 5, [0], 8),
    ]:
        env = gymnasium.make(name).unwrapped
        env.reset(seed=seed)
        for action in actions:
            env.step(action)
        # What Grid.render was called with is caught here, so that the frame and its ingredients belong together.
        for partial in [True, False]:
            caught = {}
            original = Grid.render

            def render(grid, tile_size, agent_pos, agent_dir=None, highlight_mask=None):
                image = original(grid, tile_size, agent_pos, agent_dir, highlight_mask)
                caught.update(
                    width=grid.width,
                    height=grid.height,
                    agent=[int(agent_pos[0]), int(agent_pos[1]), int(agent_dir)],
                    cells=[int(v) for v in grid.encode().flatten()],
                    highlight=[int(v) for v in highlight_mask.flatten()],
                )
                return image

            Grid.render = render
            image = env.get_frame(highlight=True, tile_size=size, agent_pov=partial)
            Grid.render = original
            view = "partial" if partial else "full"
            yield {"name": f"{name} seed {seed} {view}", "tile_size": size, **caught, "hash": fnv(image.tobytes())}


if __name__ == "__main__":
    folder, sizes = sys.argv[1], [int(s) for s in sys.argv[2:]] or TILE_SIZES
    with open(f"{folder}/tiles.txt", "w") as f:
        f.writelines(line + "\n" for line in tile_lines(sizes))
    with open(f"{folder}/frames.json", "w") as f:
        f.write("[" + ",\n".join(json.dumps(frame, separators=(",", ":")) for frame in frames()) + "]\n")
