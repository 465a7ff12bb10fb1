"""Commands that train and score policies."""

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

from reweigh.checks import check_seeds
from reweigh.commands.common import fetch_all, is_policy_file, print_table
from reweigh.datasets.load import load_record
from reweigh.errors import ConfigError, DatasetError
from reweigh.options.arguments import default_out, run_config, train_domain

_MOST_EPISODES = 1_000_000


def train(arguments: argparse.Namespace) -> int:
    """Train seeds; on a CPU each in its own process."""
    from reweigh.system.jax_setup import set_up_jax

    set_up_jax()  # before JAX is imported
    from reweigh.commands.launch import launch

    check_seeds("--seeds", arguments.seeds)
    fetch_all([arguments.data], quiet=arguments.quiet)
    config = run_config(arguments)
    out = Path(arguments.out or default_out(arguments, config))
    return launch(
        config,
        arguments.seeds,
        out,
        quiet=arguments.quiet,
        as_json=arguments.json,
        domain=train_domain(arguments),
    )


def evaluate(arguments: argparse.Namespace) -> int:
    """Score the policies of a run, or one of a file, on fresh episodes."""
    if not 1 <= arguments.episodes <= _MOST_EPISODES:
        raise ConfigError(f"expected --episodes from 1 to {_MOST_EPISODES}, but found {arguments.episodes}.")
    results = _file_scores(arguments) if is_policy_file(arguments.run) else _run_scores(arguments)
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            print_table(result)
    return 0


def _file_scores(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from reweigh.evaluation import evaluate_policy
    from reweigh.policy import load_policy

    policy = load_policy(Path(arguments.run))
    env = arguments.env or policy.meta.get("env")
    if env is None:
        raise ConfigError(f"expected an environment for {arguments.run}, but it names none. Give --env.")
    returns, scores = evaluate_policy(policy, 0, env, arguments.episodes)
    result = {"policy": arguments.run, "env": env, "return": float(returns.mean())}
    return [result if scores is None else result | {"normalized_score": float(scores.mean())}]


def _run_scores(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from reweigh.evaluation import evaluate_policy
    from reweigh.runs import RunFolder

    folder = RunFolder(Path(arguments.run))
    config = folder.config()
    results = []
    for seed in folder.seeds():
        policy = seed.load_policy()
        env = arguments.env or policy.meta.get("env") or env_of(config)
        if env is None:
            raise ConfigError(f"expected an environment for {arguments.run}, but it names none. Give --env.")
        returns, scores = evaluate_policy(policy, seed.seed, env, arguments.episodes)
        results.append({"seed": seed.seed, "env": env, "return": float(returns.mean())})
        if scores is not None:
            results[-1]["normalized_score"] = float(scores.mean())
    if not results:
        raise ConfigError(f"expected trained seeds in {arguments.run}, but found none.")
    return results


def quickstart(arguments: argparse.Namespace) -> int:
    """Compare three ways of weighing the shipped dataset."""
    from reweigh.system.jax_setup import set_up_jax

    set_up_jax()  # before JAX is imported
    from reweigh.commands.studies import launch_quickstart

    check_seeds("--seeds", arguments.seeds)
    return launch_quickstart(
        Path(arguments.out), arguments.seeds, quiet=arguments.quiet, as_json=arguments.json
    )


def bandit(arguments: argparse.Namespace) -> int:
    """OPER's bandit study."""
    from reweigh.system.jax_setup import set_up_jax

    set_up_jax()  # before JAX is imported
    from reweigh.commands.studies import launch_bandit

    check_seeds("--seeds", arguments.seeds)
    check_seeds("--data-seed", [arguments.data_seed])
    return launch_bandit(
        Path(arguments.out),
        arguments.data_seed,
        arguments.seeds,
        arguments.num_updates,
        quiet=arguments.quiet,
        as_json=arguments.json,
    )


def doctor(arguments: argparse.Namespace) -> int:
    """Check this machine for problems; return 1 if there are any."""
    from reweigh.doctor import examine

    findings = examine(Path(arguments.out))
    if arguments.json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{finding.status:<8} {finding.what:<12} {finding.found}")
            if finding.remedy:
                print(f"{'':<21} -> {finding.remedy}")
    return int(any(finding.status == "problem" for finding in findings))


def env_of(config: dict[str, Any]) -> Any:
    """The environment that a run's config.json names, else that of its dataset, if it still exists."""
    data = config.get("data")
    if not isinstance(data, dict):
        return None
    if data.get("env") is None and isinstance(data.get("spec"), str):
        with contextlib.suppress(DatasetError):
            return load_record(data["spec"]).rows.env
    return data.get("env")
