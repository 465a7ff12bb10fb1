"""Time and memory of `reweigh report` on many made-up runs in a temporary folder.

python benchmarks/report_scale.py --seeds 5 --evaluations 200
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from reweigh.runs import RunFolder
from reweigh.seed_folder import Returns

DATASETS, ALGORITHMS = 10, ("bc", "td3-bc", "iql", "cql")
WEIGHTS = ("uniform", "aw", "rw", "oper-r", "top", "shuffled", "oracle", "reward")
INTERVAL, EPISODES = 5000, 10


def main() -> None:
    """Make runs, report on them in another process, and print its time and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trained", type=int, default=2000, help="seeds in all")
    parser.add_argument("--seeds", type=int, default=5, help="a run")
    parser.add_argument("--evaluations", type=int, default=200, help="a seed")
    parser.add_argument("--keep", type=Path, help="folder for the report")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs, out = Path(folder, "runs"), arguments.keep or Path(folder, "report")
        num_runs = arguments.trained // arguments.seeds
        for number in range(num_runs):
            make_run(runs, number, arguments.seeds, arguments.evaluations)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "reweigh", "report", str(runs), "--out", str(out)], check=True)
        took = time.perf_counter() - began
        # Linux counts in KiB.
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        peak, worked = used.ru_maxrss / 2**20, used.ru_utime + used.ru_stime
        page = (out / "report.html").stat().st_size / 2**20
    print(
        f"{num_runs} runs of {arguments.seeds} seeds, {arguments.evaluations} evaluations each: "
        f"{took:.1f} s ({worked:.1f} s of one processor), {peak:.2f} GiB at most, a page of {page:.1f} MiB"
    )


def make_run(root: Path, number: int, seeds: int, evaluations: int) -> None:
    """Make one finished run; numbers beyond all combinations repeat them at larger batch sizes."""
    rest, weights = divmod(number, len(WEIGHTS))
    rest, algorithm = divmod(rest, len(ALGORITHMS))
    larger, dataset = divmod(rest, DATASETS)
    config = {
        "data": {"spec": f"mix-{dataset}.hdf5", "env": "Hopper-v4"},
        "algorithm": {"type": ALGORITHMS[algorithm], "learning_rate": 3e-4, "hidden": [256, 256]},
        "rebalance": {
            "type": "resample",
            "weights": {"type": WEIGHTS[weights]},
            "terms": "all",
        },
        "batch_size": 256 * (1 + larger),
        "num_updates": INTERVAL * evaluations,
        "evaluation": {"interval": INTERVAL, "episodes": EPISODES},
    }
    environment = {
        "command": "reweigh train",
        "versions": {"reweigh": "0.1.0"},
        "dataset": {"digest": f"{dataset:064x}"},
    }
    folder = RunFolder(root / f"run-{number}")
    folder.claim(config, f"{number:064x}", environment)
    update = INTERVAL * np.arange(1, evaluations + 1)
    for seed in range(seeds):
        rng = np.random.default_rng((number, seed))
        level = 300 * weights + 500 * rng.random() + 1000 * (1 - np.exp(-8 * update / update[-1]))
        returns = level[:, None] + 100 * rng.standard_normal((evaluations, EPISODES))
        own = folder.seed(seed)
        own.path.mkdir()
        own.save_returns(Returns(update, returns, np.full(returns.shape, 1000)))
        last = float(returns[-1].mean())
        result = {"num_updates": int(update[-1]), "updates_per_second": 80.0, "env": "Hopper-v4"}
        (own.path / "result.json").write_text(json.dumps({**result, "final_return": last}))


if __name__ == "__main__":
    main()
