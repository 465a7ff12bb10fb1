"""`reweigh collect --family`."""

import argparse
import typing
from pathlib import Path
from typing import Any

from reweigh.commands.common import history
from reweigh.errors import ConfigError
from reweigh.options.arguments import split_assignment


def family(arguments: argparse.Namespace) -> int:
    """Train online and record datasets of several qualities."""
    from reweigh.system.jax_setup import set_up_jax

    set_up_jax()  # before JAX is imported
    from reweigh.commands.launch_family import launch_family

    if arguments.policy_seed is not None:
        raise ConfigError("--policy-seed has no meaning with --family. Leave it out.")
    return launch_family(
        family_config(arguments),
        Path(arguments.out),
        history(arguments, []),
        quiet=arguments.quiet,
        as_json=arguments.json,
    )


def family_config(arguments: argparse.Namespace) -> Any:
    """The family that the flags describe.

    Raises:
        ConfigError: they contradict one another or are out of range.
    """
    from reweigh.algorithms.td3 import TD3Config
    from reweigh.family.config import FamilyConfig
    from reweigh.options.dotted_settings import parse_value, replace_fields

    kinds = typing.get_type_hints(FamilyConfig)
    flags = {
        "env": arguments.env,
        "num_steps": arguments.num_steps,
        "seed": arguments.seed,
        "rollout_steps": arguments.rollout_steps,
        "rollout_noise": arguments.action_noise,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    inner: list[tuple[str, str]] = []
    for path, text in map(split_assignment, arguments.fields):
        name, _, rest = path.partition(".")
        if name in flags:
            raise ConfigError(f"{name} has a flag of its own. Leave out --set {name}.")
        if name == "td3" and rest:
            inner.append((rest, text))
        elif name in kinds and not rest:
            given[name] = parse_value(text, kinds[name], path)
        else:
            known = ", ".join(sorted(kinds.keys() - flags.keys() - {"td3"}))
            raise ConfigError(f"expected --set with one of {known}, or td3.FIELD, but found {path!r}.")
    # Created in one step, because fields constrain one another.
    return FamilyConfig(**given, td3=replace_fields(TD3Config(), inner))


def refuse_family_flags(arguments: argparse.Namespace) -> None:
    """Reject flags that only a family has.

    Raises:
        ConfigError: one of them was given.
    """
    given = {
        "--rollout-steps": arguments.rollout_steps is not None,
        "--set": bool(arguments.fields),
        "--quiet": arguments.quiet,
    }
    for flag, is_given in given.items():
        if is_given:
            raise ConfigError(f"{flag} has no meaning without --family. Leave it out.")
