"""Scores of a dataset's own episodes, if its file can still be read."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reweigh.datasets.describe import EpisodeScores, episode_scores
from reweigh.datasets.load import load, needs_download
from reweigh.errors import ReweighError


@dataclass(frozen=True)
class OwnScores:
    """Scores of a dataset's own episodes, and its size."""

    returns: EpisodeScores
    episodes: int
    transitions: int


def read_own_scores(
    used: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> tuple[dict[str, OwnScores | str], list[str]]:
    """Scores of each dataset's own episodes, and the dataset that each run was trained on.

    A dataset is identified by the digest that the run recorded; for older runs by the current file's digest,
    or, if that cannot be read, by its name (`spec ...`).

    Args:
        used: each run's data settings and environment record.

    Returns:
        The scores by digest, or why there are none; and the digest of each run's dataset.
    """
    files: dict[tuple[Any, ...], tuple[str, OwnScores] | str] = {}
    digests: list[str] = []
    own: dict[str, OwnScores | str] = {}
    for data, environment in used:
        entry = environment.get("dataset")
        recorded = entry.get("digest") if isinstance(entry, Mapping) else None
        key = _key(data)
        if key not in files:
            files[key] = _read(data)
        found = files[key]
        if isinstance(found, str):
            digest, scores = recorded or f"spec {data['spec']}", found
        else:
            digest, scores = recorded or found[0], found[1]
            if recorded not in (None, found[0]):
                scores = f"{data['spec']} is no longer the dataset that the runs were trained on"
        digests.append(digest)
        if not isinstance(own.get(digest), OwnScores):
            own[digest] = scores
    return own, digests


def _key(data: Mapping[str, Any]) -> tuple[Any, ...]:
    spec = data["spec"]
    where = spec if spec.startswith("builtin:") else os.path.realpath(spec)
    return where, data.get("env"), data.get("episode_ends"), data.get("max_episode_steps")


def _read(data: Mapping[str, Any]) -> tuple[str, OwnScores] | str:
    try:
        if needs_download(data["spec"]):
            return f"{data['spec']} is not here (it would have to be downloaded)"
        transitions = load(
            data["spec"],
            env=data.get("env"),
            episode_ends=data.get("episode_ends"),
            max_episode_steps=data.get("max_episode_steps"),
            clip_actions=True,
        )
    except ReweighError as error:
        return str(error)
    scores = OwnScores(episode_scores(transitions), len(transitions.episodes), len(transitions))
    return transitions.info.digest, scores
