"""Policy + environment -> dataset. The only importer of environments beside evaluation."""

import hashlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import reweigh
from reweigh.datasets.episodes import episode_starts
from reweigh.datasets.rows import Rows, checked_rows
from reweigh.errors import MOST, ConfigError
from reweigh.evaluation import make_environment
from reweigh.policy import Policy, load_policy

RANDOM = "random"

# Far beyond it every action is at its bound.
_MOST_NOISE = 1000.0


def collect(
    env_id: str, policy: str | Path, num_steps: int, seed: int, action_noise: float = 0.0
) -> tuple[Rows, dict[str, Any]]:
    """Roll out a policy and record every step, ready for `reweigh.datasets.files.write_hdf5`.

    Actions stand in the environment's units, as it took them; `reweigh.load` scales them to [-1, 1]. The
    last episode is cut after `num_steps` and ends in a time-out there, unless in a terminal. Equal arguments
    give equal arrays, and more steps the same ones first, up to that cut.

    Args:
        env_id: gymnasium ID of an environment with box spaces of one axis and finite action bounds.
        policy: `random`, uniform between the action bounds; or the path of a `policy.npz`.
        num_steps: environment steps, and so rows; at least 2.
        seed: fixes actions and episodes, at least 0.
        action_noise: standard deviation of the Gaussian noise on each action of a saved policy, where the
            action range is [-1, 1]; what leaves the range is clipped. 0 acts greedily.

    Returns:
        The rows, and how they came to be. `mean_return` is over whole episodes, of which the one cut at the
        end is none; over that one if it is the only one.

    Raises:
        ConfigError: a setting lies outside its range, or the environment fits neither us nor the policy.
        RunError: the policy cannot be read.
        DatasetError: the environment gave numbers that are not finite.
    """
    _check_settings(policy, num_steps, seed, action_noise)
    actor = None if policy == RANDOM else load_policy(Path(policy))
    environment = make_environment(env_id)
    try:
        act = _make_act(env_id, environment, actor, num_steps, seed, action_noise)
        arrays, cut = _roll_out(environment, act, num_steps, seed)
    finally:
        environment.close()
    rows = checked_rows(arrays, where=env_id, env=env_id)
    starts = episode_starts(arrays["terminals"] | arrays["timeouts"])
    returns = np.add.reduceat(rows.reward.astype(np.float64), starts)
    whole = returns[:-1] if cut and len(returns) > 1 else returns
    attributes = {
        "env": env_id,
        "policy": RANDOM if actor is None else hashlib.sha256(Path(policy).read_bytes()).hexdigest(),
        "action_noise": float(action_noise),
        "num_steps": num_steps,
        "seed": seed,
        "episodes": len(starts),
        "mean_return": float(whole.mean()),
        "made_by": f"reweigh {reweigh.__version__}",
        **{package: _version(package) for package in ("gymnasium", "mujoco", "numpy")},
    }
    return rows, attributes


def episode_seed(seed: int, episode: int) -> int:
    """Seed of an episode's reset, fixed by the seed of the collection and the episode's number.

    Args:
        seed: of the collection.
        episode: counted from 0.
    """
    digest = hashlib.sha256(f"collection {seed} {episode}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % (2**31 - 1)


def _check_settings(policy: str | Path, num_steps: int, seed: int, action_noise: float) -> None:
    if not 2 <= num_steps <= MOST:
        raise ConfigError(
            f"expected num_steps from 2 to {MOST}, but found {num_steps}. One row has no next observation."
        )
    if not 0 <= seed < 2**63:
        raise ConfigError(f"expected seed from 0 to below 2^63, but found {seed}.")
    if not 0 <= action_noise <= _MOST_NOISE:
        raise ConfigError(f"expected action_noise from 0 to {_MOST_NOISE:g}, but found {action_noise}.")
    if policy == RANDOM and action_noise:
        raise ConfigError(
            f"expected action_noise 0 with random actions, but found {action_noise}. "
            "Noise is for a saved policy."
        )


def _make_act(
    env_id: str, environment: Any, actor: Policy | None, num_steps: int, seed: int, action_noise: float
) -> Callable[[int, np.ndarray], np.ndarray]:
    """(Step, observation) -> action within the environment's bounds. Random numbers are drawn here."""
    space = environment.action_space
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ConfigError(f"expected finite action bounds, but {env_id!r} has {space}.")
    # Ours, not the environment's own sampler, so that versions of gymnasium cannot change it.
    digest = hashlib.sha256(f"collection actions {seed}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    size = (num_steps, space.shape[0])

    def bounded(action: np.ndarray) -> np.ndarray:
        return np.clip(action, space.low, space.high).astype(space.dtype, copy=False)

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


def _roll_out(
    environment: Any, act: Callable[[int, np.ndarray], np.ndarray], num_steps: int, seed: int
) -> tuple[dict[str, np.ndarray], bool]:
    """Arrays by D4RL's names, and whether the last episode was cut short."""
    (states,), (actions,) = environment.observation_space.shape, environment.action_space.shape
    arrays = {
        "observations": np.empty((num_steps, states), np.float32),
        "actions": np.empty((num_steps, actions), np.float32),
        "rewards": np.empty(num_steps, np.float32),
        "terminals": np.zeros(num_steps, bool),
        "timeouts": np.zeros(num_steps, bool),
        "next_observations": np.empty((num_steps, states), np.float32),
    }
    observation: Any = None
    ended, episode = True, 0
    for step in range(num_steps):
        if ended:
            observation, _ = environment.reset(seed=episode_seed(seed, episode))
            episode += 1
        action = act(step, observation)
        arrays["observations"][step] = observation
        arrays["actions"][step] = action
        observation, reward, terminal, timeout, _ = environment.step(action)
        arrays["rewards"][step] = reward
        arrays["terminals"][step] = terminal
        arrays["timeouts"][step] = timeout and not terminal
        arrays["next_observations"][step] = observation
        ended = terminal or timeout
    if not ended:
        arrays["timeouts"][-1] = True
    return arrays, not ended


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
