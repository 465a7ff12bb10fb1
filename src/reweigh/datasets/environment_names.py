"""An environment as one line of text, for a run's config, its policies and the command line."""

import json
from collections.abc import Mapping
from typing import Any

from reweigh.errors import ConfigError


def environment_name(env_id: str, options: Mapping[str, Any]) -> str:
    """The text that names an environment: its ID, and its options as JSON.

    Args:
        env_id: gymnasium ID.
        options: keyword arguments for `gymnasium.make`, as JSON types.

    Raises:
        TypeError, ValueError: JSON cannot express an option.
    """
    return f"{env_id} {json.dumps(options, sort_keys=True, allow_nan=False)}" if options else env_id


def split_environment(env: str) -> tuple[str, dict[str, Any]]:
    """ID and options of an environment.

    Args:
        env: for example `Hopper-v4`, or `PointMaze_UMaze-v3 {"continuing_task": false}`.

    Raises:
        ConfigError: what follows the ID is not a JSON object.
    """
    env_id, _, text = env.strip().partition(" ")
    if not text:
        return env_id, {}
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise ConfigError(
            "expected an environment like Hopper-v4 or 'Hopper-v4 {\"max_episode_steps\": 500}', but found "
            f"{env!r}. Write a gymnasium ID, a space, and what it is made with as a JSON object."
        )
    return env_id, options
