"""Commands on datasets."""

import argparse
import contextlib
import json
import sys
from pathlib import Path

from reweigh.commands.common import fetch_all, history, is_policy_file, out_path, print_table
from reweigh.commands.family import family, refuse_family_flags
from reweigh.datasets.describe import describe
from reweigh.datasets.files import is_made_here, write_hdf5
from reweigh.datasets.load import load_record
from reweigh.datasets.minari import MINARI_PREFIX, is_minari
from reweigh.errors import ConfigError
from reweigh.loading import load_data
from reweigh.options.arguments import data_asked


def inspect(arguments: argparse.Namespace) -> int:
    """Print what a dataset holds."""
    fetch_all([arguments.data])
    transitions, notes = load_data(data_asked(arguments))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    found = describe(transitions)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print_table(found)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Check a dataset's transitions, weights and terminals; return 1 if a check fails."""
    from reweigh.system.jax_setup import set_up_jax

    set_up_jax()  # before JAX is imported
    from reweigh.verification import verify as checked

    fetch_all([arguments.data])
    record = load_record(arguments.data)
    transitions, _ = load_data(data_asked(arguments), record=record)
    checks = checked(transitions, record.rows)
    if arguments.json:
        print(json.dumps({"dataset": arguments.data, "checks": [vars(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            print(f"{check.status:<7} {check.what:<24} {check.found}")
    return int(any(check.status == "fail" for check in checks))


def convert(arguments: argparse.Namespace) -> int:
    """Write a dataset's transitions as a Minari dataset."""
    from reweigh.datasets.minari_export import check_free, write_minari
    from reweigh.evaluation import environment_spec

    if not is_minari(arguments.out):
        raise ConfigError(f"expected --out {MINARI_PREFIX}namespace/name-v0, but found {arguments.out!r}.")
    name = arguments.out.removeprefix(MINARI_PREFIX)
    check_free(name)
    fetch_all([arguments.data])
    record = load_record(arguments.data)
    transitions, notes = load_data(data_asked(arguments), record=record)
    env, spec = transitions.info.env, None
    if env is not None:
        with contextlib.suppress(ConfigError):  # which load_data has noted
            spec = environment_spec(env)
    earlier = record.rows.attributes.get("history")
    made_by = history(arguments, [earlier] if isinstance(earlier, str) else [])
    folder = write_minari(name, transitions, record.rows, env_spec=spec, description=made_by)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    found = {
        "dataset": arguments.out,
        "folder": str(folder),
        "environment": env,
        "episodes": len(transitions.episodes),
        "transitions": len(transitions),
    }
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print_table(found)
    return 0


def collect_command(arguments: argparse.Namespace) -> int:
    """Record a dataset, or train online and record a family of them."""
    from reweigh.collection import collect
    from reweigh.policy import load_policy
    from reweigh.runs import RunFolder

    if arguments.family:
        return family(arguments)
    refuse_family_flags(arguments)
    out = out_path(arguments.out, (".hdf5", ".h5"), (), is_made_here)
    policy: str | Path = arguments.policy
    histories: list[str] = []
    if is_policy_file(arguments.policy):
        if arguments.policy_seed is not None:
            raise ConfigError(
                "--policy-seed has no meaning for a policy's file. Leave it out, or name a run."
            )
        trained_by = load_policy(Path(policy)).meta.get("history")
        histories += [trained_by] if isinstance(trained_by, str) else []
    elif policy != "random":
        seeds = RunFolder(Path(policy)).seeds()
        wanted = [seed for seed in seeds if arguments.policy_seed in (None, seed.seed)]
        if not wanted:
            raise ConfigError(
                f"expected --policy random or a run with trained seeds, but {arguments.policy} has "
                f"{'no such seed' if seeds else 'none'}."
            )
        policy = wanted[0].policy_path
        trained_by = RunFolder(Path(arguments.policy)).environment().get("command")
        histories += [trained_by] if isinstance(trained_by, str) else []
    elif arguments.policy_seed is not None:
        raise ConfigError("--policy-seed has no meaning with --policy random. Leave it out, or name a run.")
    noise = 0.0 if arguments.action_noise is None else arguments.action_noise
    rows, attributes = collect(arguments.env, policy, arguments.num_steps, arguments.seed, action_noise=noise)
    attributes["history"] = history(arguments, histories)
    write_hdf5(out, rows, attributes)
    if arguments.json:
        print(json.dumps({"out": arguments.out, **attributes}, indent=2))
    else:
        print_table({"dataset": arguments.out, **attributes})
    return 0
