"""Run folders -> groups of runs that differ only in their seeds, by dataset."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from reweigh.datasets.scores import is_reference, normalized_score, reference_of_env
from reweigh.errors import RunError
from reweigh.report.labels import Settings, algorithm_name, labels, settings_of, weights_name
from reweigh.report.own_scores import OwnScores, read_own_scores
from reweigh.runs import RunFolder
from reweigh.seed_folder import SeedFolder


@dataclass(frozen=True)
class Seed:
    """One seed of a run, with the mean return of each evaluation."""

    number: int
    path: Path
    finished: bool
    update: Int64[np.ndarray, " V"]
    mean_return: Float64[np.ndarray, " V"]
    result: dict[str, Any]
    """Empty if it is not finished."""
    ended: str | None
    metrics: dict[str, float] = field(default_factory=dict)
    """The last row of metrics.csv; read only for density ratios."""

    @property
    def reached(self) -> int:
        """Update of the last evaluation; 0: there is none."""
        return int(self.update[-1]) if len(self.update) else 0


@dataclass(frozen=True)
class Run:
    """The content of one run's folder."""

    path: Path
    config: dict[str, Any]
    settings: Settings
    environment: dict[str, Any]
    started: str | None
    env: str | None
    """Environment in its config, else in a seed's result or policy; None: unknown."""
    seeds: tuple[Seed, ...]
    never_started: tuple[int, ...]
    """Seeds that its sweep requests, but without a folder."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset that runs were trained on, and the environment of their evaluations; equal only to itself."""

    label: str
    spec: str
    digest: str | None
    env: str | None
    own: OwnScores | None
    """None: the file cannot be read; `missing` says why."""
    missing: str
    recorded: tuple[float, float] | None = None
    """Random and expert return in `env`, if the dataset has them."""

    @cached_property
    def reference(self) -> tuple[float, float] | None:
        """Random and expert return: the dataset's own, else D4RL's for the environment."""
        return self.recorded or (reference_of_env(self.env) if self.env else None)

    @property
    def unit(self) -> str:
        """Unit of all its scores."""
        return "normalized score" if self.reference else "return"

    def score(self, returns: np.ndarray) -> Float64[np.ndarray, "..."]:
        """Convert returns to that unit."""
        reference = self.reference
        return normalized_score(returns, reference) if reference else np.asarray(returns, np.float64)


@dataclass(frozen=True, eq=False)
class Group:
    """Seeds that may be averaged; equal only to itself."""

    dataset: Dataset
    label: str
    settings: Settings
    runs: tuple[Run, ...]
    finished: tuple[Seed, ...] = field(default=())
    unfinished: tuple[Seed, ...] = field(default=())
    never_started: tuple[int, ...] = field(default=())

    @property
    def algorithm(self) -> str:
        """Its name, as papers write it."""
        return algorithm_name(self.settings)

    @property
    def short(self) -> str:
        """The label without the algorithm."""
        return self.label.removeprefix(f"{self.algorithm}, ")

    @property
    def is_uniform(self) -> bool:
        """Whether it uses uniform weights and learns none."""
        return weights_name(self.settings) == "uniform"

    @property
    def learns_ratios(self) -> bool:
        """Whether its weights are density ratios."""
        return self.settings["rebalance.type"] == "density-ratio"

    @property
    def is_control(self) -> bool:
        """Whether its weights are only a control: shuffled, or from the sources."""
        return self.settings["rebalance.weights.type"] in ("shuffled", "oracle")

    @property
    def scored(self) -> bool:
        """Whether there are finished seeds, each evaluated."""
        return bool(self.finished) and all(len(seed.update) for seed in self.finished)

    @property
    def num_seeds(self) -> int:
        """Number of seeds, finished or not."""
        return len(self.finished) + len(self.unfinished) + len(self.never_started)

    @property
    def what_is_missing(self) -> list[str]:
        """A phrase per unfinished seed, or one for all if there are no seeds."""
        total = self.settings["num_updates"]
        phrases = [
            f"seed {seed.number} of {seed.path.parent} (evaluated up to {seed.reached} of {total} updates)"
            for seed in self.unfinished
        ]
        phrases += [f"seed {number} of {self.runs[0].path} (never started)" for number in self.never_started]
        return phrases if self.num_seeds else [f"every seed of {self.runs[0].path} (none started)"]

    @property
    def complete(self) -> bool:
        """Whether there are seeds, all finished."""
        return 0 < len(self.finished) == self.num_seeds

    @cached_property
    def curve(self) -> tuple[Int64[np.ndarray, " V"], Float64[np.ndarray, "V seeds"]]:
        """The updates at which all finished seeds were evaluated, and their scores there."""
        common = self.finished[0].update
        for seed in self.finished[1:]:
            common = np.intersect1d(common, seed.update)
        columns = [seed.mean_return[np.isin(seed.update, common)] for seed in self.finished]
        return common, self.dataset.score(np.stack(columns, axis=1))


def read_run(folder: RunFolder, expected_seeds: Sequence[int] = ()) -> Run:
    """Read what a report shows of a run.

    Args:
        folder: of the run.
        expected_seeds: seeds that its sweep requests.

    Raises:
        RunError: its files are damaged or inconsistent.
    """
    config = folder.config()
    _check_config(config, folder.path)
    environment = folder.environment()
    seed_folders = folder.seeds()
    settings = settings_of(config)
    seeds = tuple(_read_seed(seed) for seed in seed_folders)
    if settings["rebalance.type"] == "density-ratio":
        seeds = tuple(
            replace(seed, metrics=own.last_metrics()) for seed, own in zip(seeds, seed_folders, strict=True)
        )
    env = config["data"].get("env")
    for seed, own in zip(seeds, seed_folders, strict=True):
        if env is None and seed.finished:
            env = seed.result.get("env")
        elif env is None and len(seed.update):
            env = own.load_policy().meta.get("env")
    return Run(
        path=folder.path,
        config=config,
        settings=settings,
        environment=environment,
        started=folder.started(),
        env=env,
        seeds=seeds,
        never_started=tuple(sorted(set(expected_seeds) - {seed.number for seed in seeds})),
    )


def _check_config(config: dict[str, Any], path: Path) -> None:
    rebalance, data = config.get("rebalance"), config.get("data")
    parts = [
        config.get("algorithm"),
        rebalance,
        rebalance.get("weights") if isinstance(rebalance, dict) else 0,
    ]
    typed = all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in parts)
    named = (
        isinstance(data, dict)
        and isinstance(data.get("spec"), str)
        and isinstance(data.get("env"), str | None)
    )
    if not (typed and named and isinstance(config.get("num_updates"), int)):
        raise RunError(
            f"expected data, algorithm, rebalance and num_updates of a training in {path / 'config.json'}, "
            "but not all are there. Leave that folder out, or train it again."
        )


def _read_seed(folder: SeedFolder) -> Seed:
    returns = folder.load_returns()
    finished = folder.finished
    result = folder.result() if finished else {}
    means = returns.episode_return.mean(axis=1) if len(returns.update) else np.zeros(0)
    if not np.isfinite(means).all():
        raise RunError(
            f"expected finite returns in {folder.path / 'returns.npz'}, but found NaN or infinity. Train the "
            "seed again, or leave its run out."
        )
    said = result.get("final_return")
    agree = said is None if not len(means) else said is not None and np.isclose(said, means[-1], rtol=1e-6)
    _check_result(result, folder.path / "result.json", int(returns.update[-1]) if len(means) else None)
    if finished and not agree:
        raise RunError(
            f"expected the last evaluation in {folder.path / 'returns.npz'} to have the final_return of "
            f"result.json, {said}, but found {means[-1] if len(means) else 'no evaluation'}. Remove "
            f"{folder.path} and train it again."
        )
    return Seed(folder.seed, folder.path, finished, returns.update, means, result, folder.ended())


def _check_result(result: dict[str, Any], path: Path, last: int | None) -> None:
    """Reject an environment's name that is not text, and a last evaluation not made at the end."""
    if not isinstance(result.get("env"), str | None):
        raise RunError(f"expected an environment's name as env in {path}, but found {result['env']!r}.")
    end = result.get("num_updates", last)
    if last is not None and end != last:
        raise RunError(
            f"expected an evaluation after the {end} updates that {path} tells of, but the last one is of "
            f"update {last}. Remove {path.parent} and train it again with evaluation, or leave its run out."
        )


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Group runs by dataset, settings and identity, in the order of tables.

    Runs with the same dataset and settings differ in identity if their weights files had different content,
    or if library versions compute differently; such runs are never averaged.

    Args:
        runs: from `read_run`.

    Raises:
        RunError: a seed appears twice in a group.
    """
    members: dict[_Key, list[Run]] = {}
    datasets: dict[_Key, Dataset] = {}
    for run, dataset in zip(runs, _datasets(runs), strict=True):
        key = _key(run, dataset)
        members.setdefault(key, []).append(run)
        datasets[key] = dataset
    shown = {key: same[0].settings for key, same in members.items()}
    alike = Counter((key.dataset, frozenset(shown[key].items())) for key in members)
    for key, settings in shown.items():
        if alike[key.dataset, frozenset(settings.items())] > 1:
            shown[key] = {**settings, "identity": key.identity[:12]}
    distinct = {frozenset(settings.items()): settings for settings in shown.values()}
    label = dict(zip(distinct, labels(list(distinct.values())), strict=True))
    groups = [
        _group(datasets[key], label[frozenset(shown[key].items())], shown[key], same)
        for key, same in members.items()
    ]
    return sorted(groups, key=_place)


class _Key(NamedTuple):
    """What the runs of a group share."""

    dataset: tuple[str, str | None, str | None]
    """Spec, digest and environment."""
    settings: frozenset[tuple[str, Any]]
    """Without paths: equal weights files may have different ones; the identity covers content."""
    identity: str


def _key(run: Run, dataset: Dataset) -> _Key:
    settings = frozenset(item for item in run.settings.items() if not item[0].endswith(".path"))
    return _Key((dataset.spec, dataset.digest, dataset.env), settings, str(run.config.get("identity")))


def _place(group: Group) -> tuple[Any, ...]:
    return group.dataset.label, group.algorithm, not group.is_uniform, group.is_control, group.label


def _group(dataset: Dataset, label: str, settings: Settings, runs: Sequence[Run]) -> Group:
    where: dict[int, Path] = {}
    seeds = sorted((seed for run in runs for seed in run.seeds), key=lambda seed: seed.number)
    for seed in seeds:
        if seed.number in where:
            raise RunError(
                f"expected every seed of {label} once, but seed {seed.number} is in {where[seed.number]} and "
                f"in {seed.path}. Leave one of them out."
            )
        where[seed.number] = seed.path
    return Group(
        dataset=dataset,
        label=label,
        settings=settings,
        runs=tuple(runs),
        finished=tuple(seed for seed in seeds if seed.finished),
        unfinished=tuple(seed for seed in seeds if not seed.finished),
        never_started=tuple(sorted({n for run in runs for n in run.never_started} - where.keys())),
    )


def _recorded_reference(run: Run, env: str | None) -> tuple[float, float] | None:
    """Random and expert return in an environment, from the run's record of its dataset."""
    entry = run.environment.get("dataset")
    reference = entry.get("reference") if isinstance(entry, dict) and entry.get("env") == env else None
    if not is_reference(reference):
        raise RunError(
            f"expected two rising numbers or none as the dataset's reference in {run.path}/environment.json, "
            f"but found {reference!r}. Leave that folder out, or train it again."
        )
    return (reference[0], reference[1]) if reference else None


def _datasets(runs: Sequence[Run]) -> list[Dataset]:
    """The dataset of each run; runs on the same one share the object."""
    own, digests = read_own_scores([(run.config["data"], run.environment) for run in runs])
    spec = {digest: run.config["data"]["spec"] for digest, run in zip(digests, runs, strict=True)}
    # A run not evaluated yet takes the environment of those that were, if they share one.
    known: dict[str, set[str]] = {}
    for digest, run in zip(digests, runs, strict=True):
        known.setdefault(digest, set()).update({run.env} if run.env else ())
    envs = [
        run.env or next(iter(known[digest]), None) if len(known[digest]) < 2 else run.env
        for digest, run in zip(digests, runs, strict=True)
    ]
    keys = list(dict.fromkeys(zip(digests, envs, strict=True)))
    names = _dataset_labels([(spec[digest], env, digest) for digest, env in keys])
    made = {}
    for (digest, env), name in zip(keys, names, strict=True):
        scores = own[digest]
        made[digest, env] = Dataset(
            label=name,
            spec=spec[digest],
            digest=None if digest.startswith("spec ") else digest,
            env=env,
            own=scores if isinstance(scores, OwnScores) else None,
            missing="" if isinstance(scores, OwnScores) else scores,
            recorded=next(
                (
                    reference
                    for run, own_digest in zip(runs, digests, strict=True)
                    if own_digest == digest and (reference := _recorded_reference(run, env))
                ),
                None,
            ),
        )
    return [made[key] for key in zip(digests, envs, strict=True)]


def _dataset_labels(datasets: Sequence[tuple[str, str | None, str]]) -> list[str]:
    """File names; equal ones get the environment, then the digest, to tell them apart."""
    names = [spec if spec.startswith("builtin:") else Path(spec).name for spec, _, _ in datasets]
    for more in (1, 2):
        twice = {name for name in names if names.count(name) > 1}
        names = [
            f"{name}, {str(item[more])[:12]}" if name in twice else name
            for name, item in zip(names, datasets, strict=True)
        ]
    return names
