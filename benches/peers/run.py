"""Compares dreamer-fast with the same DreamerV1 steps in PyTorch and JAX, on this machine.

    make bench-peers [CONFIGS="grid small"] [MODES="train_step imagine_train imagine observe"] [THREADS=2] [ROUNDS=3]

`--setup` makes the virtual environment and installs the peers; without it, the comparison runs. Each round runs every
implementation once, one after the other, so that a change in the machine's speed meets all of them. The number of an
implementation is the median over its rounds. A peer that fails is named with its reason and left out.

The table's ratios are the best peer's number over ours: above 1, ours is faster, or needs less memory. The best peer is the
fastest of all implementations, variants and layouts; the memory ratio is that same peer's peak memory over ours.
Peak memory is the whole process: pip's torch for Linux is the CUDA build, whose libraries count although they do not run.
A peer's line counts its clean blocks, those without other work on the machine. Where it has none, its number is marked `~`,
and so is every ratio with it: other programs slowed it by an unknown amount. Ours is marked too if its line has that count.
With THREADS=1 the peers' numbers are CPU seconds, which other work does not stretch, and nothing is marked.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target" / "peers"
PYTHON = TARGET / "venv" / "bin" / "python"
OURS = "dreamer-fast"

# Torch on its own, since it is by far the largest: without it, JAX can still be compared.
PACKAGES = [["numpy", "safetensors"], ["jax"], ["torch"]]

# Name: script, its options. `image` peers differ in the convolutions alone, so they run for image configurations only.
PEERS = {
    "torch-eager": ("torch_dreamer_v1.py", "--impl eager --variant plain"),
    "torch-eager-tuned": ("torch_dreamer_v1.py", "--impl eager --variant tuned"),
    "torch-compile": ("torch_dreamer_v1.py", "--impl compile --variant plain"),
    "torch-compile-tuned": ("torch_dreamer_v1.py", "--impl compile --variant tuned"),
    "jax": ("jax_dreamer_v1.py", "--variant plain"),
    "jax-tuned": ("jax_dreamer_v1.py", "--variant tuned"),
}
IMAGE_PEERS = {
    "torch-eager-tuned-best": ("torch_dreamer_v1.py", "--impl eager --variant tuned --layout best"),
    "torch-compile-tuned-best": ("torch_dreamer_v1.py", "--impl compile --variant tuned --layout best"),
    "jax-tuned-gemm": ("jax_dreamer_v1.py", "--variant tuned --conv gemm"),
}
VECTOR_CONFIGS = {"grid", "tiny_grid"}


def setup():
    """Makes the virtual environment and installs what is missing. Says which packages could not be had."""
    if not PYTHON.exists():
        TARGET.mkdir(parents=True, exist_ok=True)
        made = subprocess.run([sys.executable, "-m", "venv", str(TARGET / "venv")])
        if made.returncode != 0:
            sys.exit(f"{TARGET / 'venv'} could not be made: install Python's venv module, then run `make bench-peers` again")
    for names in PACKAGES:
        if subprocess.run([PYTHON, "-c", "import " + ", ".join(names)], capture_output=True).returncode == 0:
            continue
        print("installing", *names, flush=True)
        done = subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *names])
        if done.returncode != 0:
            print(f"pip could not install {' '.join(names)}: its peers will be missing from the table", flush=True)


def command(name, config, mode, args):
    """The command line of one implementation."""
    if name == OURS:
        return [str(args.program), "bench", "--config", config, "--mode", mode, "--threads", str(args.threads), "--json"]
    script, options = (PEERS | IMAGE_PEERS)[name]
    timing = ["--blocks", str(args.blocks), "--budget", str(args.budget)]
    return [str(PYTHON), str(HERE / script), "--config", config, "--mode", mode, "--threads", str(args.threads), *options.split(), *timing]


def measure(words, limit):
    """Runs one command. Returns its JSON line, or a sentence that says why there is none."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None, f"took more than {limit} s"
    except OSError as error:
        return None, f"{words[0]}: {error.strerror}"
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        # clap names the mistake in its first line, Python the exception in its last.
        errors = [line for line in lines if line.startswith("error:")] or lines[-1:] or ["no message"]
        return None, f"exit status {done.returncode}: {errors[0].strip()}"
    for line in reversed(done.stdout.splitlines()):
        try:
            result = json.loads(line)
        except ValueError:
            continue
        if isinstance(result, dict) and "ms" in result and "rss_mb" in result:
            return result, None
    return None, "printed no JSON line with ms and rss_mb"


def machine():
    """Processor and versions, written with every result."""
    cpu = platform.processor() or platform.machine()
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    code = "import importlib.metadata as m, json, platform, sys\nv = {'python': platform.python_version()}\n"
    code += "for n in sys.argv[1:]:\n    try: v[n] = m.version(n)\n    except m.PackageNotFoundError: pass\nprint(json.dumps(v))"
    versions = {}
    if PYTHON.exists():
        out = subprocess.run([PYTHON, "-c", code, "torch", "jax", "jaxlib", "numpy"], capture_output=True, text=True)
        versions = json.loads(out.stdout) if out.returncode == 0 else {}
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "versions": versions | {OURS: commit}}


def compare(config, mode, args, about, out):
    """All rounds of one configuration and mode: {name: [JSON lines]}. Adds every result, and every failure, to `out`."""
    names = [OURS, *args.peers] + ([] if config in VECTOR_CONFIGS else args.image_peers)
    results, failed = {}, {}
    for round in range(args.rounds):
        for name in names:
            if name in failed:
                continue
            words = command(name, config, mode, args)
            result, reason = measure(words, args.limit)
            shown = [str(pathlib.Path(w).relative_to(ROOT)) if w.startswith(f"{ROOT}/") else w for w in words]
            record = {"name": name, "config": config, "mode": mode, "round": round, "command": " ".join(shown), **about}
            out.write(json.dumps(record | ({"result": result} if result else {"failed": reason})) + "\n")
            out.flush()
            if result:
                results.setdefault(name, []).append(result)
                print(f"  {config} {mode} round {round + 1}: {name} {result['ms']:.2f} ms, {result['rss_mb']:.0f} MB{', busy machine' if disturbed([result]) else ''}", flush=True)
            else:
                failed[name] = reason
                results.pop(name, None)
                print(f"  {config} {mode}: {name} is left out: {reason}", flush=True)
    return results, failed


def median(lines, key):
    values = [line[key] for line in lines if line.get(key) is not None]
    return statistics.median(values) if values else None


def disturbed(lines):
    """Whether a round had no clean block, so that its wall time holds other programs' work."""
    return any(line.get("clean") == 0 and line.get("threads") != 1 for line in lines)


def speed(lines):
    rate = median(lines, "gflops")
    mark = "~" if disturbed(lines) else ""
    return f"{mark}{median(lines, 'ms'):.2f}" + (f" ({rate:.1f})" if rate is not None else "")


def row(config, mode, results):
    """One line of the table. A dash stands for what is missing."""
    ours = results.get(OURS)
    peers = {name: lines for name, lines in results.items() if name != OURS}
    best = min(peers, key=lambda name: median(peers[name], "ms"), default=None)
    ratio = memory = "-"
    if ours and best:
        ratio = "~" if disturbed(ours) or disturbed(peers[best]) else ""
        ratio += f"{median(peers[best], 'ms') / median(ours, 'ms'):.2f}"
        memory = f"{median(peers[best], 'rss_mb') / median(ours, 'rss_mb'):.2f}"
    return [config, mode, speed(ours) if ours else "-", best or "-", speed(peers[best]) if best else "-", ratio, memory]


def table(rows):
    head = ["config", "mode", "ours ms (GFLOP/s)", "best peer", "its ms (GFLOP/s)", "ratio", "memory ratio"]
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for r in [head, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(r, widths)).rstrip())


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--setup", action="store_true", help="make the virtual environment, install the peers, and stop")
    ap.add_argument("--configs", nargs="+", default=["grid", "small"])
    ap.add_argument("--modes", nargs="+", default=["train_step", "imagine_train", "imagine", "observe"])
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS), metavar="PEER", help=", ".join(PEERS))
    ap.add_argument("--image-peers", nargs="*", default=list(IMAGE_PEERS), choices=list(IMAGE_PEERS), metavar="PEER", help=", ".join(IMAGE_PEERS))
    ap.add_argument("--program", type=pathlib.Path, default=ROOT / "target" / "release" / OURS)
    ap.add_argument("--blocks", type=int, default=3, help="a peer's timed blocks, half a second each")
    ap.add_argument("--budget", type=float, default=20, help="seconds a peer may wait for a quiet machine")
    ap.add_argument("--limit", type=float, default=900, help="seconds after which a command is given up")
    args = ap.parse_args()
    if args.setup:
        return setup()

    about = machine()
    print(about["cpu"], f"{about['cores']} cores, {args.threads} threads;", ", ".join(f"{k} {v}" for k, v in about["versions"].items()), flush=True)
    TARGET.mkdir(parents=True, exist_ok=True)
    rows, missing = [], []
    about["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with open(TARGET / "results.jsonl", "w") as out:
        for config in args.configs:
            for mode in args.modes:
                results, failed = compare(config, mode, args, about, out)
                rows.append(row(config, mode, results))
                missing += [f"left out: {name} ({config} {mode}): {reason}" for name, reason in failed.items()]
    print()
    table(rows)
    if any("~" in cell for r in rows for cell in r):
        print("~ the machine was busy with other work throughout: measure again when it is quiet")
    print(*missing, sep="\n")
    if any("-" == r[2] or "-" == r[3] for r in rows):
        sys.exit("a row of the table has no comparison: see what was left out")


if __name__ == "__main__":
    main()
