"""Make a family, from the first step to the last file.

DIR/{random, medium-replay, medium, expert, full-replay}.hdf5, DIR/{medium, expert}.npz, DIR/family.json, and
DIR/training: the checkpoint, the evaluations and the policy of each.
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from reweigh.collection import RANDOM, Recorder, collect, make_act
from reweigh.config import to_dict
from reweigh.datasets.files import write_hdf5
from reweigh.datasets.memory import available_memory
from reweigh.datasets.rows import Rows
from reweigh.errors import RunError
from reweigh.evaluation import make_environment
from reweigh.family.config import FamilyConfig, identity
from reweigh.family.online import Training, policy_path
from reweigh.policy import load_policy, save_policy
from reweigh.running.provenance import environment_record
from reweigh.running.resumable import Interrupted, Progress
from reweigh.runs import RunFolder
from reweigh.seed_folder import Returns, SeedFolder
from reweigh.system.atomic import parse_json, write_text
from reweigh.system.digests import generator

DATASETS = (RANDOM, "medium-replay", "medium", "expert", "full-replay")


@dataclass(frozen=True)
class FamilyJob:
    """A family to be made, for another process."""

    config: FamilyConfig
    out: Path
    history: str = ""

    @property
    def label(self) -> str:
        """Name in a progress bar."""
        return self.config.env

    @property
    def num_updates(self) -> int:
        """Environment steps: one update each, after the first ones."""
        return self.config.num_steps

    def run(self, report: Callable[[Progress], None], should_stop: Callable[[], bool]) -> None:
        """Finish training, then write the files."""
        make_family(self.config, self.out, history=self.history, report=report, should_stop=should_stop)


def claim_family(config: FamilyConfig, out: Path) -> None:
    """Claim a folder for this family, after checking environment and memory.

    Args:
        config: the family.
        out: its folder.

    Raises:
        ConfigError: the environment is invalid, or its spaces are unsupported.
        RunError: the folder holds another family or cannot be written, or memory is short.
    """
    environment = make_environment(config.env)
    try:
        make_act(config.env, environment, None, 1, generator("bounds"), 0.0)
        (states,), (actions,) = environment.observation_space.shape, environment.action_space.shape
    finally:
        environment.close()
    needed, available = 4 * config.num_steps * (2 * states + actions + 2), available_memory()
    if available is not None and needed > available:
        raise RunError(
            f"expected {needed / 1e9:.3g} GB of free memory for {config.num_steps} steps of {config.env}, "
            f"but {available / 1e9:.3g} GB are free. Take fewer --num-steps."
        )
    folder = _training_folder(out)
    folder.refuse_other(to_dict(config), identity(config))
    folder.seed(config.seed).check(config.num_steps, config.eval_episodes)
    folder.claim(to_dict(config), identity(config), environment_record())


def finished_family(config: FamilyConfig, out: Path) -> dict[str, Any] | None:
    """The content of `family.json`, if it has exactly these settings and every dataset exists.

    Args:
        config: the family.
        out: its folder.
    """
    try:
        found = parse_json((out / "family.json").read_text(encoding="utf-8"))
        whole = found["config"] == to_dict(config) and set(found["datasets"]) == set(DATASETS)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if whole and all((out / f"{name}.hdf5").is_file() for name in DATASETS) else None


def make_family(
    config: FamilyConfig,
    out: Path,
    *,
    history: str = "",
    report: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train, resuming where an earlier call stopped, then choose the policies and write the datasets.

    Equal settings give equal files if the simulator is deterministic, even after interruptions.

    Args:
        config: the family.
        out: its folder.
        history: the command that makes it, for the files' attributes.
        report: called about once a second.
        should_stop: called every few steps; true saves the state and raises `Interrupted`.

    Raises:
        ReweighError: the environment or the folder cannot be used, or training has diverged.
        Interrupted: `should_stop` returned true.
    """
    claim_family(config, out)
    folder = _training_folder(out).seed(config.seed)
    with folder.locked(), contextlib.ExitStack() as held:
        if finished_family(config, out) is not None:
            return
        training = Training(config, folder, held)
        returns = training.run(report, should_stop)
        writer = _Writer(config, out, {"history": history} if history else {}, should_stop)
        writer.write_all(folder, training.recorder, returns)


def choose(
    mean_return: Float64[np.ndarray, " V"], random_return: float, medium_share: float
) -> tuple[int, int]:
    """Choose the evaluations of the expert and medium policies: the best, and the first good enough.

    .. math:: G_{medium} ≥ G_{random} + share (G_{expert} - G_{random})

    Args:
        mean_return: `G` of each evaluation, in the order of training.
        random_return: `G_random`.
        medium_share: `share`, in (0, 1].

    Raises:
        RunError: no policy is better than random actions.
    """
    expert = int(mean_return.argmax())
    best = float(mean_return[expert])
    if not best > random_return:
        raise RunError(
            f"expected a policy better than random actions (mean return {random_return:.6g}), but the best "
            f"of {len(mean_return)} evaluations has {best:.6g}. The same command with more --num-steps goes "
            "on."
        )
    # Differences on both sides, so that rounding cannot exclude the expert itself.
    far_enough = mean_return - random_return >= medium_share * (best - random_return)
    return expert, int(far_enough.argmax())


@dataclass
class _Writer:
    """Writes the files, each whole or not at all; family.json comes last, when all others exist."""

    config: FamilyConfig
    out: Path
    said: dict[str, str]
    should_stop: Callable[[], bool]

    def write_all(self, folder: SeedFolder, recorder: Recorder, returns: Returns) -> None:
        config, out = self.config, self.out
        (out / "family.json").unlink(missing_ok=True)
        means, datasets = returns.episode_return.mean(axis=1), {}
        rolled = self._roll_out(RANDOM, RANDOM, 0.0)
        datasets[RANDOM] = self._write(RANDOM, *rolled)
        expert, medium = choose(means, rolled[1]["mean_return"], config.medium_share)
        for name, chosen in (("medium", medium), ("expert", expert)):
            step, path = int(returns.update[chosen]), out / f"{name}.npz"
            policy = load_policy(policy_path(folder, step))
            save_policy(path, replace(policy, meta=policy.meta | self.said))
            datasets[name] = self._write(name, *self._roll_out(name, path, config.rollout_noise))
            datasets[name] |= {"step": step, "evaluation": float(means[chosen])}
        for name, count in (("medium-replay", int(returns.update[medium])), ("full-replay", recorder.count)):
            datasets[name] = self._write(name, *self._replay(recorder, count))
        made = {"config": to_dict(config), "datasets": {name: datasets[name] for name in DATASETS}}
        write_text(out / "family.json", json.dumps(made, indent=2) + "\n")

    def _roll_out(self, name: str, policy: str | Path, noise: float) -> tuple[Rows, dict[str, Any]]:
        config = self.config
        # Rollouts start in states other than the training's and each other's.
        seed = int(generator(f"family {config.seed} {name}").integers(0, 2**31 - 1))
        return collect(config.env, policy, config.rollout_steps, seed, action_noise=noise)

    def _replay(self, recorder: Recorder, count: int) -> tuple[Rows, dict[str, Any]]:
        rows, attributes = recorder.rows(self.config.env, count)
        return rows, {
            "env": self.config.env,
            "policy": "replay",
            "action_noise": self.config.exploration_noise,
            "num_steps": count,
            "start_steps": self.config.start_steps,
            "seed": self.config.seed,
            **attributes,
        }

    def _write(self, name: str, rows: Rows, attributes: dict[str, Any]) -> dict[str, Any]:
        write_hdf5(self.out / f"{name}.hdf5", rows, attributes | self.said)
        if self.should_stop():
            raise Interrupted(self.config.num_steps)
        return {"rows": len(rows), **{key: attributes[key] for key in ("episodes", "mean_return")}}


def _training_folder(out: Path) -> RunFolder:
    return RunFolder(out / "training")
