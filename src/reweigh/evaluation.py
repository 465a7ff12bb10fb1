"""Policy + environment -> every episode's return."""

import copy
import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from reweigh.datasets.scores import D4RL_PREFIX, normalized_score
from reweigh.errors import ConfigError, first_line
from reweigh.policy import Policy
from reweigh.system.digests import generator

# Longer than any task's episodes; one that never ended would block a training forever.
LONGEST_EPISODE = 1_000_000


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of episodes, in the order of their seeds."""

    episode_return: Float64[np.ndarray, " E"]
    episode_length: Int64[np.ndarray, " E"]


def make_environment(env: str) -> Any:
    """Open a gymnasium environment with box spaces; dictionary observations are flattened.

    Args:
        env: a gymnasium ID, one with options (`PointMaze_UMaze-v3 {"continuing_task": false}`), or
            `d4rl:NAME` for the environment of one of D4RL's datasets.

    Raises:
        ConfigError: it is not installed, or its spaces are not boxes of one axis.
    """
    import gymnasium

    from reweigh.environments import open_environment

    with warnings.catch_warnings():
        # -v4 matches D4RL's data, although gymnasium recommends -v5.
        warnings.filterwarnings("ignore", message=".*out of date.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        try:
            environment = open_environment(env)
        except ConfigError:
            raise
        except Exception as error:  # an ID may name a module, whose import can raise anything
            text = first_line(error)
            more = ""
            if importlib.util.find_spec("gymnasium_robotics") is None:
                more = " Mazes, hands and kitchens come with pip install 'reweigh[robotics]'."
            raise ConfigError(
                f"expected an installed gymnasium environment, but {env!r} is none ({text}). "
                f"Name another with --env, or train with --no-evaluate.{more}"
            ) from error
    for name, space in (("observation", environment.observation_space), ("action", environment.action_space)):
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            environment.close()
            raise ConfigError(f"expected a box of one axis as {name} space, but {env!r} has {space}.")
    return environment


def action_bounds(env: str) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest action of an environment.

    Args:
        env: gymnasium ID.

    Raises:
        ConfigError: as `make_environment`.
    """
    environment = make_environment(env)
    space = environment.action_space
    environment.close()
    return space.low.astype(np.float32), space.high.astype(np.float32)


def environment_spec(env: str) -> str | None:
    """The JSON that gymnasium writes for an environment; None: it would not recreate it.

    Args:
        env: as for `make_environment`.

    Raises:
        ConfigError: as `make_environment`.
    """
    if env.startswith(D4RL_PREFIX):
        return None
    environment = make_environment(env)
    # The outermost spec, which knows the time limit, without this library's wrappers.
    spec = copy.deepcopy(environment.spec)
    environment.close()
    spec.additional_wrappers = ()
    try:
        return spec.to_json()
    except (TypeError, ValueError):  # registered as a class or function, not by name
        return None


def check_observations(env: str, size: int) -> None:
    """Reject an environment whose observations differ in size from the data's.

    Args:
        env: gymnasium ID.
        size: of the data's observations.

    Raises:
        ConfigError: as `make_environment`, or they differ in size.
    """
    environment = make_environment(env)
    found = environment.observation_space.shape
    environment.close()
    if found != (size,):
        raise ConfigError(
            f"expected an environment with observations {(size,)} as in the data, but {env} has {found}. "
            "Name the right one with --env, or train with --no-evaluate."
        )


def episode_seeds(seed: int, update: int, count: int) -> list[int]:
    """Seeds of an evaluation's episodes, determined by the run's seed and the update.

    Args:
        seed: of the run.
        update: at which the policy is evaluated.
        count: episodes.
    """
    return generator(f"evaluation {seed} {update}").integers(0, 2**31 - 1, count).tolist()


def evaluate(environment: Any, policy: Policy, seeds: list[int]) -> Evaluation:
    """Roll out one episode per seed.

    Args:
        environment: from `make_environment`.
        policy: acts greedily.
        seeds: of the environment's resets.

    Raises:
        ConfigError: the environment's spaces do not fit the policy, or an episode does not end.
    """
    states, actions = policy.normalizer.mean.shape, policy.action_low.shape
    found = environment.observation_space.shape, environment.action_space.shape
    if found != (states, actions):
        raise ConfigError(
            f"expected an environment with observations {states} and actions {actions} as in the data, but "
            f"{environment.spec.id} has {found[0]} and {found[1]}. Name the right one with --env."
        )
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    for row, seed in enumerate(seeds):
        observation, _ = environment.reset(seed=seed)
        ended = False
        while not ended:
            if lengths[row] == LONGEST_EPISODE:
                raise ConfigError(
                    f"expected episodes of {environment.spec.id} to end, but one has gone on for "
                    f"{LONGEST_EPISODE} steps. Give it a limit, as in 'ID {{\"max_episode_steps\": 1000}}'."
                )
            observation, reward, terminal, timeout, _ = environment.step(policy(observation))
            returns[row] += float(reward)
            lengths[row] += 1
            ended = terminal or timeout
    return Evaluation(returns, lengths)


def evaluate_policy(
    policy: Policy, seed: int, env: str, episodes: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns of a policy's fresh episodes, and normalized scores if there is a reference.

    Args:
        policy: acts greedily.
        seed: of its training.
        env: as for `make_environment`.
        episodes: number of episodes.

    Raises:
        ConfigError: the environment is invalid, or its spaces do not fit the policy.
    """
    environment = make_environment(env)
    try:
        # No training reaches update -1, so no evaluation of the run has seen these episodes.
        result = evaluate(environment, policy, episode_seeds(seed, -1, episodes))
    finally:
        environment.close()
    reference = policy.reference_in(env)
    scores = normalized_score(result.episode_return, reference) if reference else None
    return result.episode_return, scores
