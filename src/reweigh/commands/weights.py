"""Commands that compute weights, or export a run's."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reweigh.commands.common import fetch_all, is_weights_file, out_path, print_table, rebuilt, words_of
from reweigh.commands.weigh_suite import holds_request, weigh_suite
from reweigh.datasets.load import DataConfig
from reweigh.errors import ConfigError
from reweigh.loading import load_data
from reweigh.options.arguments import data_asked, weigh_method
from reweigh.priorities.by_return import ReturnMethod
from reweigh.priorities.file import check_fits, read_weights, weights_of, write_weights
from reweigh.priorities.oper_a import OperA, summarize_stages
from reweigh.priorities.published import OperAFile, read_published, write_published
from reweigh.priorities.summary import summarize
from reweigh.priorities.weigh import Scaling
from reweigh.priorities.weigh import weigh as compute
from reweigh.runs import RunFolder
from reweigh.seed_folder import SeedFolder
from reweigh.system.processes import INTERRUPTED
from reweigh.transitions import Transitions

Method = ReturnMethod | OperA | OperAFile


def weigh(arguments: argparse.Namespace) -> int:
    """Compute and write the weights of one dataset or of several."""
    if arguments.suite:
        weigh_method(arguments)  # report flag errors once, before any dataset
        return weigh_suite(arguments, _weigh_unless_there)
    if arguments.data is None:
        raise ConfigError("expected a dataset, or several with --suite, but found none. Name one.")
    meta = _make(_request(arguments))
    if meta is None:
        return INTERRUPTED
    for note in meta["notes"]:
        print(f"note: {note}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"out": arguments.out, **meta}, indent=2))
        return 0
    words = words_of(arguments.method, meta["settings"])
    print_table({"weights": arguments.out, "method": words, **meta["summary"]})
    if arguments.format == "oper":
        seeds = " ".join(map(str, meta["settings"]["value_seeds"]))
        print(f'read with: --method oper-a-file --from {arguments.out} --set "file_seeds={seeds}"')
    return 0


def _weigh_unless_there(arguments: argparse.Namespace) -> str | None:
    request = _request(arguments)
    if holds_request(request.out, request.transitions, request.record):
        return "there"
    meta = _make(request)
    if meta is None:
        return None
    for note in meta["notes"]:
        print(f"note: {arguments.data}: {note}", file=sys.stderr)
    return "made"


# Flags that select or scale OPER-A's stages.
_OF_ONE_WEIGHT = ("iteration", "std", "eps", "eps_max", "transform", "strength", "target_ess")


@dataclass(frozen=True)
class _Request:
    """The requested weights of one dataset."""

    arguments: argparse.Namespace
    method: Method
    scaling: Scaling
    out: Path
    transitions: Transitions
    notes: tuple[str, ...]
    """Notes on the dataset."""

    @property
    def record(self) -> dict[str, Any]:
        """What the flags request, as read back from JSON; on one dataset, equal for equal weights."""
        record = {
            "method": self.arguments.method,
            "settings": asdict(self.method),
            "scaling": asdict(self.scaling),
            "paper": self.arguments.paper,
        }
        return json.loads(json.dumps(record))


def _request(arguments: argparse.Namespace) -> _Request:
    method, scaling = weigh_method(arguments)
    out = _weights_out(arguments, method)
    fetch_all([arguments.data], quiet=arguments.quiet)
    transitions, notes = load_data(data_asked(arguments))
    return _Request(arguments, method, scaling, out, transitions, notes)


def _make(request: _Request) -> dict[str, Any] | None:
    """Compute and write weights; return their metadata, or None if interrupted."""
    arguments, transitions = request.arguments, request.transitions
    method, priority = request.method, None
    if isinstance(method, OperA):
        priority = _learned(arguments, transitions, method)
        if priority is None:
            return None
    elif isinstance(method, OperAFile):
        priority = read_published(method.paths, len(transitions))
    weighting, settings = compute(transitions, method, request.scaling, priority)
    published = arguments.format == "oper"
    summary = {} if published else summarize(weighting.probability, transitions)
    if priority is not None:
        summary |= summarize_stages(priority)
    meta = {
        "method": arguments.method,
        "settings": settings,
        "summary": summary,
        # Weights from returns do not depend on how actions are scaled.
        "notes": [*weighting.notes, *(request.notes if priority is not None else ())],
        "asked": request.record,
    }
    if published and isinstance(method, OperA) and priority is not None:
        _write_published(arguments.out, method, priority)
    else:
        write_weights(request.out, weights_of(weighting.probability, transitions, meta, priority))
    return meta


def _weights_out(arguments: argparse.Namespace, method: Method) -> Path:
    """The path of the weights; in the authors' format, a pattern of paths."""
    if arguments.format == "reweigh":
        return out_path(arguments.out, (".npz", ".parquet"), [arguments.data], is_weights_file)
    if not isinstance(method, OperA):
        raise ConfigError("expected --method oper-a with --format oper, which holds its stages.")
    given = [name for name in _OF_ONE_WEIGHT if getattr(arguments, name) is not None]
    if given:
        raise ConfigError(
            f"--{given[0].replace('_', '-')} has no meaning with --format oper, which holds every stage as "
            "it was learned. Leave it out; those who read the files scale them."
        )
    if "%s" not in arguments.out:
        raise ConfigError(
            "expected --out with %s in place of the value seed for --format oper, but "
            f"found {arguments.out!r}."
        )
    return out_path(arguments.out, (".npy",), [arguments.data])


def _write_published(pattern: str, method: OperA, priority: np.ndarray) -> None:
    """Write one file per value seed, as the authors' code does."""
    for seed, weight in zip(method.value_seeds, priority, strict=True):
        write_published(
            Path(pattern.replace("%s", str(seed))),
            weight,
            first_stage_updates=method.learning.updates_of(1),
            stage_updates=method.learning.updates_of(2),
        )


def _learned(arguments: argparse.Namespace, transitions: Transitions, method: OperA) -> Any:
    """OPER-A's weights of every value seed and stage; None if interrupted."""
    from reweigh.system.jax_setup import set_up_jax

    set_up_jax()  # before JAX is imported
    from reweigh.commands.launch import learn_priorities
    from reweigh.running.value_runs import learned_priority

    if not learn_priorities(data_asked(arguments), transitions, method, quiet=arguments.quiet):
        return None
    return learned_priority(transitions, method)


def _finished_seeds(folder: RunFolder, wanted: int | None) -> list[SeedFolder]:
    """One seed of a run, or all of them; reject unfinished ones."""
    seeds = [seed for seed in folder.seeds() if wanted in (None, seed.seed)]
    if not seeds:
        raise ConfigError(f"expected that seed in {folder.path}, but found none. Train it first.")
    for seed in seeds:
        if not seed.finished:
            raise ConfigError(
                f"expected finished seeds in {folder.path}, but seed {seed.seed} is not. Finish it with "
                "reweigh train, or name another with --seed."
            )
    return seeds


def export(arguments: argparse.Namespace) -> int:
    """Write the weights that a run learned, averaged over seeds."""
    folder = RunFolder(Path(arguments.run))
    rebalance = folder.config().get("rebalance", {})
    name = arguments.out or f"{arguments.run}/weights.npz"
    own = [str(seed.weights_path) for seed in folder.seeds()]
    out = out_path(name, (".npz", ".parquet"), own, is_weights_file)
    if not (isinstance(rebalance, dict) and rebalance.get("type") == "density-ratio"):
        raise ConfigError(
            f"expected a run of density-ratio weights in {arguments.run}, but its weights were known before "
            "training. Write those with reweigh weigh."
        )
    seeds = _finished_seeds(folder, arguments.seed)
    files = [read_weights(seed.weights_path) for seed in seeds]
    data = rebuilt(DataConfig, folder.config().get("data"), folder.path / "config.json")
    fetch_all([data.spec])
    transitions, _ = load_data(data)
    for seed, file in zip(seeds, files, strict=True):
        check_fits(file, transitions, seed.weights_path)
    weight = np.mean([file.weight for file in files], axis=0)
    probability = weight / weight.sum()
    meta = {
        "method": "density-ratio",
        "settings": rebalance,
        "seeds": [seed.seed for seed in seeds],
        "summary": summarize(probability, transitions),
        "notes": [],
    }
    write_weights(out, weights_of(probability, transitions, meta))
    if arguments.json:
        print(json.dumps({"out": name, **meta}, indent=2))
    else:
        shown = " ".join(str(seed.seed) for seed in seeds)
        print_table({"weights": name, "method": f"density-ratio, seeds {shown}", **meta["summary"]})
    return 0
