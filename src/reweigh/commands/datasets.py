"""Commands on datasets."""

import argparse
import contextlib
import json
import sys
from pathlib import Path

from reweigh.commands.common import fetch_all, history, load_asked, out_path, print_table
from reweigh.datasets.describe import describe
from reweigh.datasets.files import write_hdf5
from reweigh.datasets.load import load, load_rows
from reweigh.datasets.minari import MINARI, is_minari
from reweigh.datasets.mixtures import MixRecipe, mix, with_timeouts
from reweigh.datasets.scores import limit_of
from reweigh.errors import ConfigError, check_count

# How far a mix may miss its ratio, relatively, before that is said.
_RATIO_TOLERANCE = 0.1


def inspect(arguments: argparse.Namespace) -> int:
    """Print what a dataset holds."""
    fetch_all([arguments.data])
    transitions = load_asked(arguments, env=arguments.env)
    found = describe(transitions)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print_table(found)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Check what a dataset's transitions, weights and terminals promise; 1 where something fails."""
    from reweigh.parallel import use_one_thread

    use_one_thread()  # before JAX is imported
    from reweigh.verification import verify as checked

    fetch_all([arguments.data])
    rows = load_rows(arguments.data)
    transitions = load(
        rows,
        episode_ends=arguments.episode_ends,
        max_episode_steps=arguments.max_episode_steps,
        clip_actions=arguments.clip_actions,
    )
    checks = checked(transitions, rows[1])
    if arguments.json:
        print(json.dumps({"dataset": arguments.data, "checks": [vars(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            print(f"{check.status:<7} {check.what:<24} {check.found}")
    return int(any(check.status == "fail" for check in checks))


def mix_command(arguments: argparse.Namespace) -> int:
    """Make an imbalanced dataset."""
    out = out_path(arguments.out, (".hdf5", ".h5"), [arguments.good, arguments.bad])
    if arguments.max_episode_steps is not None:
        check_count("--max-episode-steps", arguments.max_episode_steps)
    fetch_all([arguments.good, arguments.bad])
    sources = []
    for spec in (arguments.good, arguments.bad):
        _, rows, _ = load_rows(spec)
        limit = arguments.max_episode_steps or limit_of(Path(spec).name, rows.env)
        sources.append(with_timeouts(rows, limit))
    size = len(sources[0]) if arguments.size is None else arguments.size
    recipe = MixRecipe(
        ratio=arguments.ratio,
        size=size,
        kind=arguments.kind,
        replacement=not arguments.without_replacement,
        seed=arguments.seed,
        overshoot=arguments.overshoot,
    )
    rows, made = mix(sources[0], sources[1], recipe)
    histories = [str(rows.attributes["history"]) for rows in sources if "history" in rows.attributes]
    made = {
        "mix_good": _short(arguments.good),
        "mix_bad": _short(arguments.bad),
        **made,
        "history": history(arguments, histories),
    }
    write_hdf5(out, rows, made | ({"env": rows.env} if rows.env else {}))
    if abs(made["mix_ratio_reached"] / arguments.ratio - 1) > _RATIO_TOLERANCE:
        reached = made["mix_ratio_reached"]
        print(
            f"note: {reached:.3g} of the rows are good instead of {arguments.ratio:g}, because episodes are "
            "drawn whole. A larger --size comes closer.",
            file=sys.stderr,
        )
    if arguments.json:
        print(json.dumps({"out": arguments.out, **made}, indent=2))
    else:
        print_table({"dataset": arguments.out, **{k.removeprefix("mix_"): v for k, v in made.items()}})
    return 0


def _short(spec: str) -> str:
    """A dataset's name, without the folders that a file happens to lie in."""
    return spec if is_minari(spec) else Path(spec).name


def convert(arguments: argparse.Namespace) -> int:
    """Write a dataset's transitions as a Minari dataset."""
    from reweigh.config import DataConfig
    from reweigh.datasets.minari_export import check_free, write_minari
    from reweigh.evaluation import environment_spec
    from reweigh.loading import load_data

    if not is_minari(arguments.out):
        raise ConfigError(f"expected --out {MINARI}namespace/name-v0, but found {arguments.out!r}.")
    name = arguments.out.removeprefix(MINARI)
    check_free(name)
    fetch_all([arguments.data])
    data = DataConfig(
        spec=arguments.data,
        env=arguments.env,
        episode_ends=arguments.episode_ends,
        max_episode_steps=arguments.max_episode_steps,
        clip_actions=arguments.clip_actions,
    )
    transitions, notes = load_data(data, must_exist=False)
    rows = load_rows(arguments.data)[1]
    env, spec = transitions.info.env, None
    if env is not None:
        with contextlib.suppress(ConfigError):  # which load_data has noted
            spec = environment_spec(env)
    earlier = rows.attributes.get("history")
    made_by = history(arguments, [earlier] if isinstance(earlier, str) else [])
    folder = write_minari(name, transitions, rows, env_spec=spec, description=made_by)
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
    """Record a dataset."""
    from reweigh.collection import collect
    from reweigh.runs import RunFolder

    out = out_path(arguments.out, (".hdf5", ".h5"))
    policy: str | Path = arguments.policy
    histories: list[str] = []
    if policy != "random":
        seeds = RunFolder(Path(policy)).seeds()
        wanted = [seed for seed in seeds if arguments.policy_seed in (None, seed.seed)]
        if not wanted:
            raise ConfigError(
                f"expected --policy random or a run with trained seeds, but {arguments.policy} has "
                f"{'no such seed' if seeds else 'none'}."
            )
        policy = wanted[0].path / "policy.npz"
        trained_by = RunFolder(Path(arguments.policy)).environment().get("command")
        histories += [trained_by] if isinstance(trained_by, str) else []
    elif arguments.policy_seed is not None:
        raise ConfigError("--policy-seed has no meaning with --policy random. Leave it out, or name a run.")
    rows, attributes = collect(
        arguments.env, policy, arguments.num_steps, arguments.seed, action_noise=arguments.action_noise
    )
    attributes["history"] = history(arguments, histories)
    write_hdf5(out, rows, attributes)
    if arguments.json:
        print(json.dumps({"out": arguments.out, **attributes}, indent=2))
    else:
        print_table({"dataset": arguments.out, **attributes})
    return 0
