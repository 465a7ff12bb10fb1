"""Updates per second of our compiled loop and of plain PyTorch loops, side by side on one core.

python benchmarks/updates_per_second.py --out docs/results/speed.md

Every contestant is a single-threaded process, all pinned to the same core. They take turns, so that other
load affects all of them, and a rate is updates per second of CPU time. Only ratios within a run are
meaningful, because rates depend on the machine.
"""

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np

ROWS, STATES, ACTIONS = 1_000_000, 11, 3
MFLOP = {
    "td3-bc": 403,
    "iql": 524,
    "value": 278,
    "cql": 6845,
    "clone": 3264,
    "sarsa": 4356,
    "exp-weight": 16200,
}
"""Multiplications and additions of the matrix products of one update, in millions."""
ONESTEP = ("clone", "sarsa", "exp-weight")
"""Stages of Onestep RL: batches of 512 and layers of 1024, as published."""
WITH_RATIOS = ("td3-bc", "iql", "cql")
"""Algorithms that are also trained with density-ratio weights."""
WARM_UP = 60
"""Updates before the clock starts, for compilation."""
PRODUCTS = {256: 2000, 1024: 40}
"""Matrix products of each size per measurement of the limit."""


def main() -> None:
    """Measure, print and optionally write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--algorithms", nargs="+", choices=MFLOP, default=["td3-bc", "iql"])
    parser.add_argument(
        "--updates", type=int, default=1000, help="of td3-bc in each round; others as many as take as long"
    )
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Markdown file whose section is replaced or added")
    parser.add_argument(
        "--worker", nargs=3, metavar=("SIDE", "ALGORITHM", "SAMPLING"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.worker:
        work(*arguments.worker, arguments.core)
        return
    load = os.getloadavg()[0]
    rates = {
        name: by_turns(
            # Even, for algorithms that alternate two kinds of update.
            name,
            arguments.rounds,
            arguments.updates * MFLOP["td3-bc"] // MFLOP[name] // 2 * 2,
            arguments.core,
        )
        for name in arguments.algorithms
    }
    text = "\n".join([*describe_machine("jax", "jaxlib", "torch"), *table(rates, arguments.updates, load)])
    print(text)
    if arguments.out:
        title = f"Updates per second, one core: {', '.join(arguments.algorithms)}"
        write_section(arguments.out, title, text)


def by_turns(algorithm: str, rounds: int, updates: int, core: int) -> dict[str, list[float]]:
    """Rates of every contestant in every round, and GFLOP/s of matrix products as `limit -`."""
    sides = [f"{side} {sampling}" for side in ("reweigh", "torch") for sampling in ("weighted", "uniform")]
    if algorithm in WITH_RATIOS:
        sides.append("reweigh density-ratio")
    if algorithm == "cql":
        sides.append("repeated weighted")
    command = [sys.executable, __file__, "--core", str(core), "--worker"]
    # NumPy starts its threads on import, before a worker could limit them.
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    workers = {}
    for name in [*sides, "limit -"]:
        side, sampling = name.split()
        workers[name] = subprocess.Popen(
            [*command, side, algorithm, sampling],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ask(workers[name], WARM_UP if side != "limit" else 1)
    found: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(rounds):
        for name in list(workers)[:: 1 if turn % 2 == 0 else -1]:
            found[name].append(ask(workers[name], updates))
        print(f"{algorithm}: round {turn + 1} of {rounds}", file=sys.stderr)
    for worker in workers.values():
        worker.communicate()
    return found


def ask(worker: subprocess.Popen, updates: int) -> float:
    """Let a worker train, and return its rate."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{updates}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def work(side: str, algorithm: str, sampling: str, core: int) -> None:
    """A worker's main function: read numbers of updates, do them, print the rates."""
    pin(core)
    if side == "limit":
        size = width_of(algorithm)
        run, scale = matrix_products(size), 2 * size**3 / 1e9 * PRODUCTS[size]
        for _ in sys.stdin:
            started = time.process_time()
            run()
            print(scale / (time.process_time() - started), flush=True)
        return
    columns = hopper_like()
    probability = None
    if sampling == "weighted":
        probability = np.random.default_rng(1).exponential(size=ROWS)
        probability /= probability.sum()
    if side == "reweigh":
        train = ours(algorithm, columns, probability, sampling)
    else:
        name = "cql-repeated" if side == "repeated" else algorithm
        train = reference(name, batch_of(algorithm), columns, probability)
    for line in sys.stdin:
        started = time.process_time()
        train(int(line))
        print(int(line) / (time.process_time() - started), flush=True)


def pin(core: int) -> None:
    """Limit this process to one core and one thread, before anything starts threads."""
    from reweigh.system.jax_setup import set_up_jax

    set_up_jax()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def hopper_like() -> dict[str, np.ndarray]:
    """Random transitions of Hopper's shapes."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    return {
        "observation": normal(ROWS, STATES),
        "action": np.tanh(normal(ROWS, ACTIONS)),
        "reward": normal(ROWS),
        "discount": np.full(ROWS, 0.99, np.float32),
        "next_observation": normal(ROWS, STATES),
    }


def batch_of(algorithm: str) -> int:
    """Rows of a batch."""
    return 512 if algorithm in ONESTEP else 256


def width_of(algorithm: str) -> int:
    """Width of the hidden layers."""
    return 1024 if algorithm in ONESTEP else 256


def ours(
    algorithm: str, columns: dict[str, np.ndarray], probability: np.ndarray | None, sampling: str
) -> Callable[[int], None]:
    """The loop that `reweigh train` runs."""
    import jax
    import jax.numpy as jnp

    from reweigh.algorithms.bc import BCConfig, make_bc
    from reweigh.algorithms.cql import CQLConfig, make_cql
    from reweigh.algorithms.iql import IQLConfig, make_iql
    from reweigh.algorithms.onestep import OnestepConfig, make_improvement, make_sarsa
    from reweigh.algorithms.td3_bc import TD3BCConfig, make_td3_bc
    from reweigh.algorithms.value import ValueConfig, make_value
    from reweigh.rebalance.density_ratio import CONVENTIONS, density_ratio, density_ratio_tables
    from reweigh.rebalance.static import resample, resample_tables
    from reweigh.training import make_trainer
    from reweigh.types import Batch, Shapes, Stage

    num_updates = 1_000_000
    made = {
        "td3-bc": lambda: make_td3_bc(TD3BCConfig()),
        "iql": lambda: make_iql(IQLConfig(), num_updates),
        "value": lambda: make_value(ValueConfig(), num_updates),
        "cql": lambda: make_cql(CQLConfig()),
        "clone": lambda: make_bc(BCConfig()),
        "sarsa": lambda: make_sarsa(OnestepConfig()),
        "exp-weight": lambda: make_improvement(OnestepConfig()),
    }[algorithm]()
    data = Batch(
        **{name: jnp.asarray(column) for name, column in columns.items()},
        next_action=jnp.asarray(columns["action"]),
    )
    batch_size = batch_of(algorithm)
    tables, rebalance = resample_tables(probability), resample(batch_size)
    if sampling == "density-ratio":
        settings = CONVENTIONS[algorithm]
        tables = density_ratio_tables(None, columns["reward"], settings)
        rebalance = density_ratio(batch_size, settings)
    stage = Stage(made, rebalance, num_updates)
    trainer = make_trainer(stage, Shapes(STATES, ACTIONS), batch_size, tables, data)
    key, done = jax.random.key(0), 0
    state, sums = trainer.init(jax.random.key(1)), trainer.zero_metrics()

    def train(count: int) -> None:
        nonlocal state, sums, done
        state, sums = trainer.run(key, state, sums, tables, data, start=done, count=count)
        done += count

    return train


def reference(
    name: str, batch_size: int, columns: dict[str, np.ndarray], probability: np.ndarray | None
) -> Callable[[int], None]:
    """The plain loop of `torch_reference.py`."""
    import torch

    from torch_reference import ALGORITHMS, Sampler

    torch.set_num_threads(1)
    sampler = Sampler(columns, probability, batch_size)
    agent = ALGORITHMS[name](STATES, ACTIONS)

    def train(count: int) -> None:
        for _ in range(count):
            agent.update(*sampler.batch())

    return train


def matrix_products(size: int) -> Callable[[], None]:
    """Matrix products of the size that dominates an update, by NumPy's BLAS."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, size, size), dtype=np.float32)
    product = np.empty_like(left)

    def run() -> None:
        for _ in range(PRODUCTS[size]):
            np.matmul(left, right, out=product)

    return run


def table(rates: dict[str, dict[str, list[float]]], updates: int, load: float) -> list[str]:
    """The measurements as Markdown."""
    rounds = len(next(iter(rates.values()))["limit -"])
    lines = [
        "1M random transitions of Hopper's shapes, batch 256, two hidden layers of 256 (Onestep's stages: "
        f"512 and 1024), float32; one thread. {rounds} rounds as long as {updates} updates of td3-bc, all "
        "contestants by turns on one "
        f"core (load average at the start {load:.1f}, hence CPU time). Rates are medians over rounds, "
        "ratios medians of the rounds' ratios, with their range.",
        "",
        "| | sampling | reweigh, updates/s | plain PyTorch, updates/s | ratio | range |",
        "|---|---|--:|--:|--:|---|",
    ]
    for algorithm, found in rates.items():
        for sampling in ("weighted", "uniform"):
            our, their = found[f"reweigh {sampling}"], found[f"torch {sampling}"]
            lines.append(
                f"| {algorithm} | {sampling} | {median(our):.0f} | {median(their):.0f} | "
                f"{ratio_and_range(our, their)} |"
            )
        if "repeated weighted" in found:
            our, their = found["reweigh weighted"], found["repeated weighted"]
            lines.append(
                f"| {algorithm}, against a loop that repeats the policy as published | weighted | "
                f"{median(our):.0f} | {median(their):.0f} | {ratio_and_range(our, their)} |"
            )
    lines += ["", "| | weighted against uniform sampling, ours | range |", "|---|--:|---|"]
    for algorithm, found in rates.items():
        pair = found["reweigh weighted"], found["reweigh uniform"]
        lines.append(f"| {algorithm} | {ratio_and_range(*pair)} |")
    ratios = [algorithm for algorithm in rates if "reweigh density-ratio" in rates[algorithm]]
    if ratios:
        lines += ["", "| | with density-ratio weights against without, ours | range |", "|---|--:|---|"]
    for algorithm in ratios:
        pair = rates[algorithm]["reweigh density-ratio"], rates[algorithm]["reweigh uniform"]
        lines.append(f"| {algorithm} | {ratio_and_range(*pair)} |")
    lines += [
        "",
        "| | MFLOP an update | matrix products | limit, updates/s | our share of it |",
        "|---|--:|---|--:|--:|",
    ]
    for algorithm, found in rates.items():
        size, gflops = width_of(algorithm), median(found["limit -"])
        limit = gflops * 1e3 / MFLOP[algorithm]
        share = median(found["reweigh weighted"]) / limit
        lines.append(
            f"| {algorithm} | {MFLOP[algorithm]} | {size}x{size}: {gflops:.0f} GFLOP/s | {limit:.0f} | "
            f"{share:.2f} |"
        )
    return lines


def ratio_and_range(ours: list[float], theirs: list[float]) -> str:
    """Two cells: the median of the rounds' ratios, and their range."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    return f"{median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f}"


def describe_machine(*packages: str) -> list[str]:
    """Date, processor and versions."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", *packages))
    return [
        f"{datetime.datetime.now(datetime.UTC).date()}, {names[0] if names else platform.processor()} with "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}.",
        "",
    ]


def write_section(path: Path, title: str, text: str) -> None:
    """Replace a section of a Markdown file, or add it.

    Args:
        path: created if missing.
        title: of the section.
        text: its content.
    """
    before = path.read_text() if path.exists() else "# Speed\n\nMeasured by the scripts in `benchmarks/`.\n"
    head, *sections = re.split(r"^## ", before, flags=re.MULTILINE)
    kept = {section.partition("\n")[0]: section.partition("\n")[2].strip() for section in sections}
    kept[title] = text.strip()
    parts = [head.strip(), *(f"## {name}\n{content}" for name, content in kept.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
