"""Speed of loading a million transitions and drawing from them, against published code.

python benchmarks/data.py --out docs/results/speed.md

One core, one thread; seconds are CPU time, medians over rounds in which contestants take turns.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from updates_per_second import (
    describe_machine,
    hopper_like,
    pin,
    ratio_and_range,
    write_section,
)

LIMIT = 1000
"""Steps after which an episode times out."""
BATCH = 256
PREFETCH = 1000
"""Batches that the reference draws at once."""


def main() -> None:
    """Measure, print and optionally write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Markdown file whose sections are replaced or added")
    arguments = parser.parse_args()
    pin(arguments.core)
    machine = describe_machine("jax", "jaxlib", "h5py")
    for title, lines in (
        ("Loading a million transitions", loading(arguments.rounds)),
        ("Drawing", drawing(arguments.rounds)),
    ):
        text = "\n".join([*machine, *lines])
        print(f"## {title}\n{text}\n")
        if arguments.out:
            write_section(arguments.out, title, text)


def loading(rounds: int) -> list[str]:
    """Time our `load` and published loops, from arrays and from a file."""
    import reweigh

    arrays = record()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.hdf5"
        write_record(path, arrays)
        found = by_turns(
            {
                "ours, arrays": lambda: reweigh.load(arrays),
                "loop, arrays": lambda: loop_over_rows(arrays),
                "ours, file": lambda: reweigh.load(path),
                "loop, file": lambda: loop_over_rows(read_record(path)),
            },
            rounds,
        )
    lines = [
        f"{len(arrays['rewards']):,} rows of Hopper's shapes. Ours: checks, transitions, episodes with their "
        "returns, and a digest. Loop: D4RL's `qlearning_dataset`, row by row, then episode ends where two "
        "states differ by more than 1e-6. The file is HDF5 compressed by gzip; reading it takes both sides "
        f"equally long. {rounds} rounds.",
        "",
        "| | reweigh, s | loop, s | ratio | range |",
        "|---|--:|--:|--:|---|",
    ]
    for source in ("arrays", "file"):
        our, their = found[f"ours, {source}"], found[f"loop, {source}"]
        ratio = ratio_and_range(their, our)
        lines.append(f"| from {source} | {median(our):.2f} | {median(their):.2f} | {ratio} |")
    return lines


def record() -> dict[str, np.ndarray]:
    """A million rows under D4RL's names; episodes end at random or at the limit."""
    columns = hopper_like()
    rng = np.random.default_rng(2)
    terminal = rng.random(len(columns["reward"])) < 1 / 500
    timeout = np.zeros_like(terminal)
    step = 0
    for row in range(len(terminal)):
        step += 1
        if terminal[row] or step == LIMIT:
            timeout[row], step = not terminal[row], 0
    return {
        "observations": columns["observation"],
        "actions": columns["action"],
        "rewards": columns["reward"],
        "terminals": terminal,
        "timeouts": timeout,
    }


def write_record(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a file like D4RL's."""
    import h5py

    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip")


def read_record(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a file."""
    import h5py

    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


def loop_over_rows(arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Transitions as D4RL makes them, and episode ends as the papers' code finds them."""
    names = ("observations", "next_observations", "actions", "rewards", "terminals")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in range(len(arrays["rewards"]) - 1):
        observation = arrays["observations"][row].astype(np.float32)
        next_observation = arrays["observations"][row + 1].astype(np.float32)
        action = arrays["actions"][row].astype(np.float32)
        reward = arrays["rewards"][row].astype(np.float32)
        terminal = bool(arrays["terminals"][row])
        if arrays["timeouts"][row]:
            continue
        values = (observation, next_observation, action, reward, terminal)
        for name, value in zip(names, values, strict=True):
            columns[name].append(value)
    made = {name: np.array(column) for name, column in columns.items()}
    episode_end = np.zeros(len(made["rewards"]), np.float32)
    for row in range(len(episode_end) - 1):
        jump = np.linalg.norm(made["observations"][row + 1] - made["next_observations"][row])
        if jump > 1e-6 or made["terminals"][row] == 1.0:
            episode_end[row] = 1
    episode_end[-1] = 1
    return made, episode_end


def drawing(rounds: int) -> list[str]:
    """Time building alias tables and drawing with them, against NumPy's choice."""
    lines = [
        f"Draws with replacement by weights, in batches of {BATCH}: ours inside a compiled loop as in "
        f"training; `np.random.choice(p=)` for one batch a call, and for {PREFETCH} batches a call. "
        f"{rounds} rounds.",
        "",
        "| rows | alias table, s to build | ours, M draws/s | choice a batch, M draws/s "
        f"| choice for {PREFETCH} batches, M draws/s | ratio to the latter | range |",
        "|--:|--:|--:|--:|--:|--:|---|",
    ]
    for rows in (1_000_000, 10_000_000):
        lines.append(f"| {rows:,} | {drawing_from(rows, rounds)} |")
    return lines


def drawing_from(rows: int, rounds: int) -> str:
    """The table cells for one number of rows."""
    import jax
    import jax.numpy as jnp

    from reweigh.sampling import AliasTable, build_alias_table, draw_indices

    probability = np.random.default_rng(3).exponential(size=rows)
    probability /= probability.sum()
    table, key = build_alias_table(probability), jax.random.key(0)

    @jax.jit
    def ours(key: jax.Array, table: AliasTable) -> jax.Array:
        def draw(update: jax.Array, total: jax.Array) -> jax.Array:
            return total + draw_indices(jax.random.fold_in(key, update), table, BATCH, rows)

        return jax.lax.fori_loop(0, PREFETCH, draw, jnp.zeros(BATCH, jnp.int32))

    def choice(*size: int) -> np.ndarray:
        return np.random.choice(rows, size, p=probability)  # noqa: NPY002 - as published

    found = by_turns(
        {
            "build": lambda: build_alias_table(probability).entry.block_until_ready(),
            "ours": lambda: ours(key, table).block_until_ready(),
            "batch": lambda: choice(BATCH),
            "prefetch": lambda: choice(PREFETCH, BATCH),
        },
        rounds,
    )
    draws = {"ours": PREFETCH * BATCH, "batch": BATCH, "prefetch": PREFETCH * BATCH}
    rates = {name: f"{count / median(found[name]) / 1e6:.3g}" for name, count in draws.items()}
    ratio = ratio_and_range(found["prefetch"], found["ours"])
    return f"{median(found['build']):.2f} | " + " | ".join([*rates.values(), ratio])


def by_turns(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every contestant in every round, after one uncounted round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            started = time.process_time()
            run()
            if turn:
                seconds[name].append(time.process_time() - started)
    return seconds


if __name__ == "__main__":
    main()
