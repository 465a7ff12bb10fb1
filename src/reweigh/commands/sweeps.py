"""`reweigh sweep` and `reweigh status`: read a sweep, start its tasks, report its progress."""

import argparse
import json
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reweigh import __version__
from reweigh.checks import check_count
from reweigh.datasets.load import check_name, is_name
from reweigh.errors import ConfigError, RunError
from reweigh.options.arguments import described_run
from reweigh.sweeps.grid import Sweep, Task, choose, named_sweeps, read_sweep
from reweigh.sweeps.local import Event, run_locally, slots_of
from reweigh.sweeps.printed import as_commands, as_docker
from reweigh.sweeps.progress import STATES, Standing, standing_of
from reweigh.sweeps.ray_cluster import run_on_ray
from reweigh.sweeps.requests import merged_requests, write_requests
from reweigh.sweeps.screen import start_screens
from reweigh.sweeps.slurm import slurm_script, slurm_template, submit_to_slurm
from reweigh.system.processes import INTERRUPTED

if TYPE_CHECKING:
    from reweigh.config import RunConfig

# The places to which each flag applies.
_BELONGS = {
    "jobs": ("local", "slurm", "screen"),
    "gpus": ("local",),
    "jobs_per_gpu": ("local", "ray"),
    "chunk": ("slurm",),
    "template": ("slurm",),
    "sbatch": ("slurm",),
    "address": ("ray",),
    "image": ("docker",),
    "retry_failed": ("local", "slurm", "screen", "ray"),
}


def sweep_command(arguments: argparse.Namespace) -> int:
    """List, estimate or start a sweep."""
    if arguments.list:
        for name, words in named_sweeps().items():
            print(f"{name:16} {words}")
        return 0
    if arguments.sweep is None:
        raise ConfigError("expected a sweep: a .toml file or a name. List the shipped ones with --list.")
    _refuse_strangers(arguments)
    plan = _plan(arguments)
    if arguments.dry_run:
        merged_requests(plan.sweep)
        _print_plan(plan)
        if arguments.launch == "slurm" and plan.wanted:
            print(f"\n{_slurm_script(arguments, plan)}", end="")
        return 0
    if arguments.launch in ("script", "docker"):
        write_requests(plan.sweep)
        return _print_commands(arguments, [one.task for one in plan.standings if one.state != "finished"])
    if not plan.wanted:
        write_requests(plan.sweep)
        return _conclude(plan)
    if arguments.launch == "slurm":
        return _submit(arguments, plan)
    write_requests(plan.sweep)
    if arguments.launch == "screen":
        again = _again(arguments, plan.sweep)
        for name in start_screens(plan.sweep, plan.numbers, again, screens=arguments.jobs or 1):
            print(f"screen -r {name}")
        return _say_where_to_follow(arguments, plan.sweep)
    if _train(arguments, plan) == INTERRUPTED:
        print("Stopped; every state is saved. Run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    return _conclude(plan)


@dataclass(frozen=True)
class _Plan:
    """What a sweep is asked to do."""

    sweep: Sweep
    configs: dict[tuple[str, ...], "RunConfig"]
    """The run that the words of each chosen task describe."""
    numbers: range
    """Of the chosen tasks."""
    standings: list[Standing]
    """Of these."""
    passed_over: list[Standing]
    """Those that have failed and are not retried."""

    @property
    def wanted(self) -> list[int]:
        """Numbers of the tasks to train."""
        return [
            number
            for number, standing in zip(self.numbers, self.standings, strict=True)
            if standing.state != "finished" and standing not in self.passed_over
        ]


def _plan(arguments: argparse.Namespace) -> _Plan:
    sweep = read_sweep(arguments.sweep, arguments.out, arguments.data)
    numbers = choose(len(sweep.tasks), arguments.tasks)
    tasks = [sweep.tasks[number] for number in numbers]
    configs = _configs(arguments, tasks)
    _check_data(configs.values())
    standings = [standing_of(sweep, task) for task in tasks]
    failed = [standing for standing in standings if standing.state == "failed"]
    return _Plan(sweep, configs, numbers, standings, [] if arguments.retry_failed else failed)


def _submit(arguments: argparse.Namespace, plan: _Plan) -> int:
    script = _slurm_script(arguments, plan)
    write_requests(plan.sweep)
    given = _template(arguments)
    kept = None if given else slurm_template(plan.sweep, None)
    print(submit_to_slurm(plan.sweep, script, kept, _sbatch_options(arguments)))
    print(f"script: {plan.sweep.folder}/slurm/sweep.sbatch, made of {given or 'template.sbatch beside it'}")
    if plan.passed_over:
        count = len(plan.passed_over)
        print(f"left out: {count} that had failed before; --retry-failed tries them again")
    return _say_where_to_follow(arguments, plan.sweep)


def _sbatch_options(arguments: argparse.Namespace) -> list[str]:
    try:
        return shlex.split(arguments.sbatch or "")
    except ValueError as error:
        raise ConfigError(
            f"expected flags of sbatch as --sbatch, but found {arguments.sbatch!r} ({error}). Correct its "
            "quotes."
        ) from error


def _print_commands(arguments: argparse.Namespace, tasks: Sequence[Task]) -> int:
    image = arguments.image or f"reweigh:{__version__}"
    for line in as_docker(tasks, image) if arguments.launch == "docker" else as_commands(tasks):
        print(line)
    return 0


def _refuse_strangers(arguments: argparse.Namespace) -> None:
    """Reject flags that do not apply to the chosen place, and invalid counts."""
    for name, places in _BELONGS.items():
        value = getattr(arguments, name)
        given = value is not None and value is not False and value != []
        if given and arguments.launch not in places:
            raise ConfigError(
                f"--{name.replace('_', '-')} belongs to --launch {' or '.join(places)}. Leave it out with "
                f"{arguments.launch}."
            )
    for flag, value in (
        ("--jobs", arguments.jobs),
        ("--jobs-per-gpu", arguments.jobs_per_gpu),
        ("--chunk", arguments.chunk),
    ):
        if value is not None:
            check_count(flag, value)
    _sbatch_options(arguments)
    if arguments.launch == "local":
        slots_of(arguments.jobs, arguments.gpus, arguments.jobs_per_gpu)


def _configs(arguments: argparse.Namespace, tasks: Sequence[Task]) -> dict[tuple[str, ...], "RunConfig"]:
    """The run that each task's words describe.

    What a training would reject before reading its dataset is rejected here, before any task starts.

    Raises:
        ConfigError: `train` would reject a flag or a value of a run.
    """
    configs = {}
    for words in dict.fromkeys(task.words for task in tasks):
        parsed = arguments.parse(["train", *words])
        configs[words] = described_run(parsed, parsed.env)
    return configs


def _check_data(configs: Iterable["RunConfig"]) -> None:
    """Reject runs on a missing file, or on a name that no dataset has."""
    for spec in dict.fromkeys(config.data.spec for config in configs):
        check_name(spec)
        if not is_name(spec) and not os.path.exists(spec):
            raise ConfigError(
                f"expected a dataset at {spec}, but there is no such file. Paths start from here, not from "
                "the sweep's file."
            )


def status(arguments: argparse.Namespace) -> int:
    """Print a sweep's progress."""
    from reweigh.commands.sweep_hours import hours_left

    sweep = read_sweep(arguments.sweep, arguments.out, arguments.data)
    merged_requests(sweep)
    standings = [standing_of(sweep, task) for task in sweep.tasks]
    hours = hours_left(standings, _configs(arguments, sweep.tasks))
    if arguments.json:
        said = {
            "folder": str(sweep.folder),
            **{state: sum(s.state == state for s in standings) for state in STATES},
            "core_hours_left": hours,
            "tasks": [_as_json(standing) for standing in standings],
        }
        print(json.dumps(said, indent=2))
        return 0
    for standing in standings:
        words = standing.error or ("" if standing.score is None else f"{standing.score:.1f}")
        rate = f"{standing.updates_per_second:.0f}/s" if standing.updates_per_second else ""
        far = f"{standing.update}" if standing.state != "finished" and standing.update else ""
        print(f"{standing.state:<9} {standing.task.label:<50} {far:>8} {rate:>8}  {words}".rstrip())
    print(f"\n{_counts(standings)}; about {hours:.1f} core-hours left.")
    return 0


def _train(arguments: argparse.Namespace, plan: _Plan) -> int:
    """Train here or on Ray; return 0, or 130 if interrupted."""
    sweep, wanted = plan.sweep, [plan.sweep.tasks[number] for number in plan.wanted]
    began, count = time.monotonic(), Counter[str]()

    def listen(event: Event) -> None:
        count[event.kind] += 1
        if not arguments.quiet:
            minutes = (time.monotonic() - began) / 60
            error = f": {event.error}" if event.error else ""
            far = f"[{count['finished']}/{len(wanted)}, {minutes:.1f} min]"
            print(f"{far} {event.kind} {event.task.label}{error}", file=sys.stderr, flush=True)

    if arguments.launch == "ray":
        stopped = run_on_ray(
            sweep, wanted, listen, address=arguments.address, jobs_per_gpu=arguments.jobs_per_gpu
        )
    else:
        slots = slots_of(arguments.jobs, arguments.gpus, arguments.jobs_per_gpu)
        stopped = run_locally(sweep, wanted, slots, listen)
    return INTERRUPTED if stopped else 0


def _conclude(plan: _Plan) -> int:
    """Print the outcome; raise RunError if tasks failed."""
    sweep = plan.sweep
    standings = [standing_of(sweep, standing.task) for standing in plan.standings]
    failed = [standing for standing in standings if standing.state == "failed"]
    print(f"{_counts(standings)} in {sweep.folder}")
    if not failed:
        return 0
    for standing in failed:
        print(f"failed: {standing.task.label}: {standing.error}", file=sys.stderr)
    hint = " --retry-failed tries the ones that had failed before." if plan.passed_over else ""
    raise RunError(
        f"expected every task to finish, but {len(failed)} failed (logs in {sweep.folder}/logs).{hint}"
    )


def _say_where_to_follow(arguments: argparse.Namespace, sweep: Sweep) -> int:
    print(f"follow it with: {shlex.join(['reweigh', 'status', *_source(arguments, sweep)])}")
    return 0


def _slurm_script(arguments: argparse.Namespace, plan: _Plan) -> str:
    return slurm_script(
        plan.sweep,
        plan.numbers,
        _again(arguments, plan.sweep),
        chunk=arguments.chunk or 1,
        jobs=arguments.jobs or 1,
        wanted=plan.wanted,
        template=slurm_template(plan.sweep, _template(arguments)),
    )


def _template(arguments: argparse.Namespace) -> Path | None:
    return Path(arguments.template) if arguments.template else None


def _again(arguments: argparse.Namespace, sweep: Sweep) -> list[str]:
    """The words of a `reweigh sweep` that runs tasks on the machine where it starts."""
    words = ["sweep", *_source(arguments, sweep)]
    return [*words, "--retry-failed"] if arguments.retry_failed else words


def _source(arguments: argparse.Namespace, sweep: Sweep) -> list[str]:
    """The words that identify this sweep."""
    data = [word for spec in arguments.data for word in ("--data", spec)]
    return [arguments.sweep, "--out", str(sweep.folder), *data]


def _print_plan(plan: _Plan) -> None:
    from reweigh.commands.sweep_hours import hours_left, hours_shared

    standings, configs = plan.standings, plan.configs
    for standing in standings:
        print(f"{standing.state:<9} reweigh {shlex.join(standing.task.command)}")
    runs = len({standing.task.run for standing in standings})
    print(
        f"\n{len(standings)} tasks, runs: {runs}, in {plan.sweep.folder}: {_counts(standings)}; about "
        f"{hours_left(standings, configs):.1f} core-hours left, evaluations not counted."
    )
    unfinished = [standing.task for standing in standings if standing.state != "finished"]
    shared = hours_shared([(configs[task.words], task.seed) for task in unfinished])
    if shared:
        print(
            f"OPER-A's values and Onestep's first stages are shared: at most about {shared:.1f} core-hours "
            "more, as far as they are not in the cache."
        )


def _counts(standings: Sequence[Standing]) -> str:
    return ", ".join(f"{sum(s.state == state for s in standings)} {state}" for state in STATES)


def _as_json(standing: Standing) -> dict[str, object]:
    return {
        "run": str(standing.task.run),
        "seed": standing.task.seed,
        "state": standing.state,
        "update": standing.update,
        "score": standing.score,
        "updates_per_second": standing.updates_per_second,
        "error": standing.error,
    }
