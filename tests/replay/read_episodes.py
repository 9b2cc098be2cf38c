"""Reads a directory of episodes with numpy as danijar/dreamer does, checks their contents, writes one back.

Called by tests/replay/files.rs: read_episodes.py DIRECTORY grid|vector. The expected contents are those of `add` in main.rs.
"""
import pathlib
import re
import sys

import numpy as np

directory, case = pathlib.Path(sys.argv[1]), sys.argv[2]
steps = 0
paths = sorted(directory.glob("*.npz"), key=lambda path: -int(path.stem.split("-")[-1]))
for serial, path in enumerate(paths):
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{32}-\d+\.npz", path.name), path.name
    length = int(path.stem.split("-")[-1])
    # danijar/dreamer counts steps from names alone: one less than rows.
    steps += length - 1
    with path.open("rb") as file:
        episode = np.load(file)
        episode = {key: episode[key] for key in episode.keys()}
    t = np.arange(length)
    last = t == length - 1
    if case == "grid":
        assert episode["symbolic"].dtype == np.uint8
        want = np.stack([0 * t, 0 * t + serial, t, 0 * t + 77], -1).reshape(length, 2, 2, 1)
        assert (episode["symbolic"] == want).all()
        action = np.eye(3, dtype=np.float32)[t % 3] * (t > 0)[:, None]
    else:
        want = np.stack([0 * t, 0 * t + serial, t.astype(np.float32) + np.float32(0.1)], -1).astype(np.float32)
        assert episode["vector"].dtype == np.float32 and (episode["vector"] == want).all()
        action = np.eye(2, dtype=np.float32)[t % 2] * (t.astype(np.float32) * np.float32(0.3))[:, None]
    assert episode["action"].dtype == np.float32 and (episode["action"] == action).all()
    assert episode["reward"].dtype == np.float32 and (episode["reward"] == np.where(t % 3 == 0, t, 0)).all()
    discount = np.where(last, serial % 2, 1)
    assert episode["discount"].dtype == np.float32 and (episode["discount"] == discount).all()
    assert episode["is_first"].dtype == bool and (episode["is_first"] == (t == 0)).all()
    assert (episode["is_terminal"] == (discount == 0)).all()
    if serial == 0:
        del episode["is_first"], episode["is_terminal"]
        episode["reward"] = episode["reward"].astype(np.float16)
        episode["discount"] = episode["discount"].astype(np.float64)
        episode["unknown"] = np.arange(5)
        with (directory / "other.npz").open("wb") as file:
            np.savez_compressed(file, **episode)
print(f"{steps} steps in {len(paths)} episodes")
