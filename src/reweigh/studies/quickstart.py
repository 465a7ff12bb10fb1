"""The first five minutes: one shipped dataset, three ways of weighing it, several seeds, one table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from reweigh.algorithms.bc import BCConfig
from reweigh.config import DataConfig, EvaluationConfig, Resample, RunConfig
from reweigh.datasets.describe import EpisodeScores, episode_scores
from reweigh.datasets.scores import normalized_score, reference_of_env
from reweigh.experiment import ComparedRun
from reweigh.priorities.by_return import AW, OperR, ReturnMethod, Uniform
from reweigh.priorities.summary import summarize
from reweigh.running.preparation import compute_weights
from reweigh.runs import RunFolder
from reweigh.statistics import interval
from reweigh.transitions import Transitions

DATA = "builtin:hopper-random-expert"
NUM_UPDATES = 20_000
EPILOGUE = """\
This is the easiest case there is: returns tell good episodes from bad ones, so weights act as a filter. Where
all episodes are alike, or good transitions hide in bad episodes, such weights bring little or nothing.

Next, on your own data (D4RL's HDF5 layout, or .npz with the same names):
  reweigh inspect DATA                                  what it holds, how uneven it is
  reweigh weigh DATA --method aw --out w.npz            what weights would do to it
  reweigh train DATA --algorithm iql --weights aw --seeds 0 1 2 --out runs/aw
  reweigh train DATA --algorithm iql --seeds 0 1 2 --out runs/uniform     the baseline: no weights"""


@dataclass(frozen=True)
class ArmResult:
    """Result of an arm."""

    label: str
    scores: list[float]
    """Normalized, of the last evaluation, one per seed."""
    iqm: float
    low: float
    """Ends of the 95 % bootstrap interval over seeds."""
    high: float
    good_mass: float | None
    """Share of the drawn transitions that come from the good policy, if sources are known."""
    ess_fraction: float


def arms(out: Path, data: str = DATA) -> list[ComparedRun]:
    """The arms that quickstart compares: behavior cloning, small enough for a few seconds per seed.

    Args:
        out: folder of the runs.
        data: the dataset.
    """

    def arm(label: str, weights: ReturnMethod) -> ComparedRun:
        config = RunConfig(
            data=DataConfig(data),
            algorithm=BCConfig(policy="deterministic", hidden=(64, 64), learning_rate=3e-4),
            rebalance=Resample(weights),
            num_updates=NUM_UPDATES,
            batch_size=256,
            evaluation=EvaluationConfig(interval=5000, episodes=10),
        )
        return ComparedRun(label, config, out / label.lower())

    return [arm("uniform", Uniform()), arm("OPER-R", OperR()), arm("AW", AW())]


def data_scores(transitions: Transitions) -> EpisodeScores:
    """Normalized scores of the dataset's own episodes.

    Args:
        transitions: the dataset, of an environment with D4RL's references.
    """
    reference = reference_of_env(transitions.info.env or "")
    assert reference is not None
    return EpisodeScores(*normalized_score(np.array(episode_scores(transitions)), reference).tolist())


def introduction(transitions: Transitions, data: EpisodeScores, num_jobs: int) -> str:
    """What is about to be compared.

    Args:
        transitions: the dataset.
        data: its scores.
        num_jobs: number of trainings.
    """
    share = float((transitions.source == 1).mean())
    return (
        f"{DATA}: {len(transitions)} transitions of {transitions.info.env} in {len(transitions.episodes)} "
        f"episodes,\n{100 * share:.0f} % of them from a good policy, the others from random actions. "
        f"Its mean episode scores {data.mean:.1f}, its best {data.best:.1f}\n"
        f"(normalized: 0 is a random policy, 100 D4RL's expert). "
        f"Training behavior cloning {num_jobs} times, a few minutes:"
    )


def results(
    compared: Sequence[ComparedRun], seeds: Sequence[int], transitions: Transitions
) -> list[ArmResult]:
    """The comparison's table.

    Args:
        compared: the arms, trained.
        seeds: of each arm.
        transitions: the dataset.
    """
    rows = []
    for arm in compared:
        folder = RunFolder(arm.out)
        scores = [float(folder.seed(seed).result()["final_score"]) for seed in seeds]
        iqm = interval(np.array(scores)[:, None], "iqm", seed=0, num_resamples=50_000)
        weighting = compute_weights(transitions, arm.config.rebalance.weights)
        summary = summarize(weighting.probability, transitions)
        rows.append(
            ArmResult(
                label=arm.label,
                scores=scores,
                iqm=iqm.estimate,
                low=iqm.low,
                high=iqm.high,
                good_mass=summary.get("good_mass"),
                ess_fraction=summary["ess_fraction"],
            )
        )
    return rows


def as_json(data: EpisodeScores, rows: Sequence[ArmResult]) -> dict:
    """The table as JSON."""
    return {"data": data._asdict(), "arms": [asdict(row) for row in rows]}


def as_text(data: EpisodeScores, rows: Sequence[ArmResult]) -> str:
    """The table as text."""
    lines = [
        f"{'normalized score':<17} {'IQM':>6}    {'95 % interval':<17} {'seeds':<35} good share of batches",
    ]
    for row in rows:
        seeds = " ".join(f"{score:.1f}" for score in row.scores)
        span = f"[{row.low:.1f}, {row.high:.1f}]" if len(row.scores) > 1 else "none, of one seed"
        share = "" if row.good_mass is None else f"{100 * row.good_mass:.0f} %"
        lines.append(f"{row.label:<17} {row.iqm:>6.1f}    {span:<17} {seeds:<35} {share}".rstrip())
    lines.append(
        f"the data itself: mean episode {data.mean:.1f}, top decile {data.top_decile:.1f}, "
        f"best {data.best:.1f}"
    )
    return "\n".join(lines)
