"""Peak memory of loading, relative to the bytes of the loaded arrays: `python benchmarks/load_memory.py`.

Every case is written and loaded in separate processes. The peak is the largest resident set minus that before
loading. (A process inherits its parent's peak, so the parent stays small.)
"""

import argparse
import dataclasses
import json
import platform
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

from reweigh.system.atomic import write_text

LIMIT = 2.2
CASES = [
    (width, ending, stored)
    for width in (11, 111)
    for ending, stored in (
        ("hdf5", "float32"),
        ("hdf5", "gzip"),
        ("hdf5", "float64"),
        ("hdf5", "with next_observations"),
        ("hdf5", "float64, with next_observations"),
        ("npz", "float32"),
        ("npz", "compressed"),
        ("npz", "float64"),
        ("npz", "with next_observations"),
        ("npz", "float64, with next_observations"),
    )
]


def write(path: Path, rows: int, width: int, stored: str) -> None:
    """Write a dataset with episodes of 1000 rows, in one of the usual forms of files."""
    rng = np.random.default_rng(0)
    wide = np.float64 if "float64" in stored else np.float32
    observation = rng.standard_normal((rows, width), np.float32)
    arrays = {
        "observations": observation.astype(wide),
        "actions": rng.uniform(-1, 1, (rows, 8 if width > 11 else 3)).astype(wide),
        "rewards": rng.standard_normal(rows, np.float32).astype(wide),
        "terminals": np.arange(rows) % 2000 == 999,
        "timeouts": np.arange(rows) % 2000 == 1999,
    }
    if "next_observations" in stored:
        arrays["next_observations"] = np.roll(observation, -1, axis=0).astype(wide)
    if path.suffix == ".npz":
        (np.savez_compressed if stored == "compressed" else np.savez)(path, **arrays)
        return
    options = {"compression": "gzip", "compression_opts": 1} if stored == "gzip" else {}
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)


def measure(path: str) -> None:
    """Print the peak bytes of loading, and the bytes of the transitions."""
    from reweigh import load

    warm = Path(path).with_name(f"small{Path(path).suffix}")
    load(warm)  # so that late imports and lasting buffers do not count
    before = resident()
    transitions = load(path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    arrays = [getattr(transitions, field.name) for field in dataclasses.fields(transitions)]
    arrays += vars(transitions.episodes).values()
    decoded = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    print(json.dumps({"peak": peak - before, "decoded": decoded}))


def call(*words: str) -> str:
    """Run this script in another process; return its output."""
    return subprocess.run(
        [sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE
    ).stdout.decode()


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", help="write the table here, as Markdown")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        path, width, stored = arguments.write
        write(Path(path), arguments.rows, int(width), stored)
        return
    if arguments.measure:
        measure(arguments.measure)
        return
    lines, worst = [], 0.0
    for width, ending, stored in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"rows.{ending}"
            write(path.with_name(f"small.{ending}"), 4000, width, stored)
            call("--rows", str(arguments.rows), "--write", str(path), str(width), stored)
            found = json.loads(call("--measure", str(path)))
        ratio = found["peak"] / found["decoded"]
        worst = max(worst, ratio)
        lines.append(
            f"| {width} | .{ending} | {stored} | {found['decoded'] / 1e6:.0f} | {found['peak'] / 1e6:.0f} "
            f"| {ratio:.2f} |"
        )
        print(lines[-1], flush=True)
    if arguments.out:
        write_text(Path(arguments.out), page(lines, arguments.rows))
    sys.exit(int(worst > LIMIT))


def page(lines: list[str], rows: int) -> str:
    """The results as Markdown."""
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, h5py {h5py.__version__}"
    return "\n".join(
        [
            "# Memory of loading",
            "",
            f"Peak memory of `reweigh.load` on {rows} rows, over the bytes of the arrays of the",
            "`Transitions` that come out, which hold observations twice (`s` and `s'`) and actions twice.",
            f"At most {LIMIT} is promised. Each case in a process of its own; the peak is the largest",
            "resident set less that before loading.",
            f"Measured {datetime.now(UTC):%Y-%m-%d}; {versions}, {platform.system()}.",
            "",
            "| observation width | file | stored as | transitions, MB | peak, MB | ratio |",
            "|--:|---|---|--:|--:|--:|",
            *lines,
            "",
            "Made by `python benchmarks/load_memory.py --out docs/results/memory.md`; above that it fails.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
