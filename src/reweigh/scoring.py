"""Fresh episodes of trained policies. Never imports JAX."""

import numpy as np

from reweigh.datasets.scores import normalized_score
from reweigh.evaluation import episode_seeds, evaluate, make_environment
from reweigh.runs import SeedFolder


def evaluate_run(folder: SeedFolder, env: str, episodes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Fresh episodes of a seed's last policy: returns, and normalised scores where there is a reference.

    Args:
        folder: of the seed.
        env: as for `reweigh.evaluation.make_environment`.
        episodes: how many.

    Raises:
        RunError: there is no policy.
    """
    environment = make_environment(env)
    try:
        policy = folder.load_policy()
        # An update that no training reaches: episodes that no evaluation of the run has seen.
        result = evaluate(environment, policy, episode_seeds(folder.seed, -1, episodes))
    finally:
        environment.close()
    reference = policy.reference_in(env)
    scores = normalized_score(result.episode_return, reference) if reference else None
    return result.episode_return, scores
