"""Policy + environment -> dataset."""

import hashlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import reweigh
from reweigh.checks import LARGEST_COUNT
from reweigh.datasets.episodes import episode_starts
from reweigh.datasets.rows import Rows, checked_rows
from reweigh.errors import ConfigError
from reweigh.evaluation import make_environment
from reweigh.policy import Policy, load_policy
from reweigh.system.digests import file_digest, generator

RANDOM = "random"

# Noise this large puts nearly every action at a bound.
MOST_NOISE = 1000.0


def collect(
    env_id: str, policy: str | Path, num_steps: int, seed: int, action_noise: float = 0.0
) -> tuple[Rows, dict[str, Any]]:
    """Roll out a policy and record every step, ready for `reweigh.datasets.files.write_hdf5`.

    Actions are in the environment's units, as executed; `reweigh.load` scales them to [-1, 1]. The last
    episode is cut after `num_steps` and ends in a timeout there, unless in a terminal. Equal arguments give
    equal arrays; more steps extend them, apart from that cut.

    Args:
        env_id: gymnasium ID of an environment with box spaces of one axis and finite action bounds.
        policy: `random`, uniform between the action bounds; or the path of a `policy.npz`.
        num_steps: environment steps, one row each; at least 2.
        seed: fixes actions and episodes, at least 0.
        action_noise: standard deviation of the Gaussian noise on each action of a saved policy, for an
            action range of [-1, 1]; noisy actions are clipped to the range. 0 acts greedily.

    Returns:
        The rows, and how they were made. `mean_return` leaves out an episode cut at the end, unless it is the
        only one.

    Raises:
        ConfigError: a setting is out of range, or the environment is unsupported or does not fit the policy.
        RunError: the policy cannot be read.
        DatasetError: the environment returned non-finite numbers.
    """
    _check_settings(policy, num_steps, seed, action_noise)
    actor = None if policy == RANDOM else load_policy(Path(policy))
    environment = make_environment(env_id)
    try:
        recorder = Recorder(environment, num_steps, seed)
        # Not the environment's own sampler, which gymnasium versions may change.
        rng = generator(f"collection actions {seed}")
        recorder.run(make_act(env_id, environment, actor, num_steps, rng, action_noise), num_steps)
    finally:
        environment.close()
    rows, found = recorder.rows(env_id, num_steps)
    attributes = {
        "env": env_id,
        "policy": RANDOM if actor is None else file_digest(Path(policy)),
        "action_noise": float(action_noise),
        "num_steps": num_steps,
        "seed": seed,
        **found,
    }
    return rows, attributes


def episode_seed(seed: int, episode: int) -> int:
    """Seed of an episode's reset, fixed by the collection's seed and the episode's number.

    Args:
        seed: of the collection.
        episode: counted from 0.
    """
    digest = hashlib.sha256(f"collection {seed} {episode}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % (2**31 - 1)


def _check_settings(policy: str | Path, num_steps: int, seed: int, action_noise: float) -> None:
    if not 2 <= num_steps <= LARGEST_COUNT:
        raise ConfigError(
            f"expected num_steps from 2 to {LARGEST_COUNT}, but found {num_steps}. One row has no next "
            "observation."
        )
    if not 0 <= seed < 2**63:
        raise ConfigError(f"expected seed from 0 to below 2^63, but found {seed}.")
    if not 0 <= action_noise <= MOST_NOISE:
        raise ConfigError(f"expected action_noise from 0 to {MOST_NOISE:g}, but found {action_noise}.")
    if policy == RANDOM and action_noise:
        raise ConfigError(
            f"expected action_noise 0 with random actions, but found {action_noise}. "
            "Noise is for a saved policy."
        )


def make_act(
    env_id: str,
    environment: Any,
    actor: Policy | None,
    count: int,
    rng: np.random.Generator,
    action_noise: float,
) -> Callable[[int, np.ndarray], np.ndarray]:
    """(Step number, observation) -> action within the environment's bounds.

    Args:
        env_id: of the environment, for messages.
        environment: from `make_environment`.
        actor: the policy; None: uniform actions.
        count: number of steps, whose random numbers are drawn here.
        rng: their source.
        action_noise: standard deviation, for an action range of [-1, 1].

    Raises:
        ConfigError: the environment's actions are not bounded, or its spaces do not fit the policy.
    """
    space = environment.action_space
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ConfigError(f"expected finite action bounds, but {env_id!r} has {space}.")
    size = (count, space.shape[0])

    # Recorded in single precision, so executed in it too: the record is what was done.
    low, high = _inner_bounds(space.low, space.high)

    def bounded(action: np.ndarray) -> np.ndarray:
        return np.clip(action.astype(np.float32), low, high).astype(space.dtype, copy=False)

    if actor is None:
        uniform = rng.uniform(space.low, space.high, size)
        return lambda step, observation: bounded(uniform[step])
    states, actions = actor.normalizer.mean.shape, actor.action_low.shape
    if (states, actions) != (environment.observation_space.shape, space.shape):
        raise ConfigError(
            f"expected an environment with observations {states} and actions {actions} as of the policy, but "
            f"{env_id!r} has {environment.observation_space.shape} and {space.shape}. Name the policy's own."
        )
    if not action_noise:
        return lambda step, observation: bounded(actor(observation))
    noise = rng.standard_normal(size) * (action_noise * (space.high - space.low) / 2)
    return lambda step, observation: bounded(actor(observation) + noise[step])


def _inner_bounds(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest single-precision numbers within bounds."""
    inner_low, inner_high = low.astype(np.float32), high.astype(np.float32)
    return (
        np.where(inner_low < low, np.nextafter(inner_low, np.float32(np.inf)), inner_low),
        np.where(inner_high > high, np.nextafter(inner_high, np.float32(-np.inf)), inner_high),
    )


class Recorder:
    """Records every step of an environment, any number at a time."""

    def __init__(self, environment: Any, num_steps: int, seed: int):
        """`num_steps`: most steps to be recorded; `seed`: of the episodes' resets."""
        (states,), (actions,) = environment.observation_space.shape, environment.action_space.shape
        self.environment, self.seed = environment, seed
        self.count, self.episode = 0, 0
        self.arrays = {
            "observations": np.empty((num_steps, states), np.float32),
            "actions": np.empty((num_steps, actions), np.float32),
            "rewards": np.empty(num_steps, np.float32),
            "terminals": np.zeros(num_steps, bool),
            "timeouts": np.zeros(num_steps, bool),
            "next_observations": np.empty((num_steps, states), np.float32),
        }
        self._observation: Any = None  # before an episode

    def run(self, act: Callable[[int, np.ndarray], np.ndarray], count: int) -> None:
        """Take and record `count` more steps.

        Args:
            act: (step number, from 0 in each call, observation) -> action.
            count: number of steps.
        """
        arrays = self.arrays
        for number in range(count):
            observation = self._reset() if self._observation is None else self._observation
            row = self.count
            action = act(number, observation)
            arrays["observations"][row] = observation
            arrays["actions"][row] = action
            observation, reward, terminal, timeout, _ = self.environment.step(action)
            arrays["rewards"][row] = reward
            arrays["terminals"][row] = terminal
            arrays["timeouts"][row] = timeout and not terminal
            arrays["next_observations"][row] = observation
            self._observation = None if terminal or timeout else observation
            self.count += 1

    def columns(self, count: int) -> tuple[dict[str, np.ndarray], bool]:
        """The first rows by D4RL's names, and whether their last episode is cut, which makes it a timeout.

        Args:
            count: number of rows, at most those recorded.
        """
        arrays = {name: column[:count] for name, column in self.arrays.items()}
        cut = not (arrays["terminals"][-1] or arrays["timeouts"][-1])
        if cut:
            arrays["timeouts"] = arrays["timeouts"].copy()
            arrays["timeouts"][-1] = True
        return arrays, cut

    def rows(self, env_id: str, count: int) -> tuple[Rows, dict[str, Any]]:
        """The first rows, checked, and facts about them.

        Args:
            env_id: of the environment.
            count: number of rows, at most those recorded.

        Raises:
            DatasetError: the environment returned non-finite numbers.
        """
        arrays, cut = self.columns(count)
        rows = checked_rows(arrays, where=env_id, env=env_id)
        starts = episode_starts(arrays["terminals"] | arrays["timeouts"])
        returns = np.add.reduceat(rows.reward.astype(np.float64), starts)
        whole = returns[:-1] if cut and len(returns) > 1 else returns
        return rows, {
            "episodes": len(starts),
            "mean_return": float(whole.mean()),
            "made_by": f"reweigh {reweigh.__version__}",
            **{package: _version(package) for package in ("gymnasium", "mujoco", "numpy")},
        }

    def restore(self, recorded: dict[str, np.ndarray]) -> None:
        """Continue after earlier steps, replaying the unfinished episode's actions.

        If the simulator does not reproduce the recorded observations, that episode ends in a timeout.

        Args:
            recorded: columns by D4RL's names.
        """
        self.count = len(recorded["rewards"])
        for name, column in recorded.items():
            self.arrays[name][: self.count] = column
        ends = np.flatnonzero(recorded["terminals"] | recorded["timeouts"])
        self.episode, self._observation = len(ends), None
        start = int(ends[-1]) + 1 if len(ends) else 0
        if start == self.count:
            return
        self._reset()
        dtype = self.environment.action_space.dtype
        for row in range(start, self.count):
            observation, _, terminal, timeout, _ = self.environment.step(
                recorded["actions"][row].astype(dtype)
            )
            expected = recorded["next_observations"][row]
            if terminal or timeout or not np.array_equal(np.asarray(observation, np.float32), expected):
                self.arrays["timeouts"][self.count - 1] = True
                self._observation = None
                return
            self._observation = observation

    def _reset(self) -> Any:
        self._observation, _ = self.environment.reset(seed=episode_seed(self.seed, self.episode))
        self.episode += 1
        return self._observation


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
