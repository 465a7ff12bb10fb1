"""Fresh episodes of trained policies. Never imports JAX."""

import numpy as np

from reweigh.datasets.scores import normalized_score
from reweigh.evaluation import episode_seeds, evaluate, make_environment
from reweigh.policy import Policy


def evaluate_policy(
    policy: Policy, seed: int, env: str, episodes: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Fresh episodes of a policy: returns, and normalized scores where there is a reference.

    Args:
        policy: acts greedily.
        seed: of its training.
        env: as for `reweigh.evaluation.make_environment`.
        episodes: how many.

    Raises:
        ConfigError: the environment is none, or its spaces do not fit the policy.
    """
    environment = make_environment(env)
    try:
        # An update that no training reaches: episodes that no evaluation of the run has seen.
        result = evaluate(environment, policy, episode_seeds(seed, -1, episodes))
    finally:
        environment.close()
    reference = policy.reference_in(env)
    scores = normalized_score(result.episode_return, reference) if reference else None
    return result.episode_return, scores
