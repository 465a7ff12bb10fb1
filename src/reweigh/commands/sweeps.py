"""`reweigh sweep` and `reweigh status`: read a sweep, start its tasks somewhere, say how far it is."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from reweigh import __version__
from reweigh.checks import check_count
from reweigh.errors import ConfigError, RunError
from reweigh.sweeps.backends import as_commands, as_docker, run_on_ray, start_screens, submit_to_slurm
from reweigh.sweeps.grid import Sweep, Task, choose, named_sweeps, read_sweep
from reweigh.sweeps.local import Event, run_locally, slots_of
from reweigh.sweeps.progress import Standing, hours_left, standing_of


def sweep(arguments: argparse.Namespace) -> int:
    """List, estimate or start a sweep."""
    if arguments.list:
        for name, words in named_sweeps().items():
            print(f"{name:16} {words}")
        return 0
    if arguments.sweep is None:
        raise ConfigError("expected a sweep: a .toml file or a name. List the shipped ones with --list.")
    found = read_sweep(arguments.sweep, Path(arguments.out) if arguments.out else None, arguments.data)
    for words in dict.fromkeys(task.words for task in found.tasks):
        # A flag that train does not know ends here, not in the middle of the night.
        arguments.parse(["train", *words])
    tasks = choose(found.tasks, arguments.tasks)
    if not tasks:
        raise ConfigError(f"expected tasks, but {arguments.tasks} holds none of {len(found.tasks)}.")
    if arguments.launch == "script":
        print("\n".join(as_commands(tasks)))
        return 0
    if arguments.launch == "docker":
        print("\n".join(as_docker(tasks, arguments.image or f"reweigh:{__version__}")))
        return 0
    standings = [standing_of(found, task) for task in tasks]
    if arguments.dry_run:
        _print_plan(found, standings)
        return 0
    failed = [standing for standing in standings if standing.state == "failed"]
    wanted = tuple(
        standing.task
        for standing in standings
        if standing.state != "finished" and (standing.state != "failed" or arguments.retry_failed)
    )
    if arguments.launch in ("slurm", "screen"):
        return _start_elsewhere(arguments, found, len(tasks))
    code = _run_here(arguments, found, wanted) if wanted else 0
    return _conclude(found, tasks, failed if not arguments.retry_failed else [], code)


def status(arguments: argparse.Namespace) -> int:
    """Say how far a sweep is."""
    found = read_sweep(arguments.sweep, Path(arguments.out) if arguments.out else None, arguments.data)
    standings = [standing_of(found, task) for task in found.tasks]
    if arguments.json:
        print(json.dumps({"folder": str(found.folder), "tasks": [_as_json(s) for s in standings]}, indent=2))
        return 0
    for standing in standings:
        words = {
            "finished": "" if standing.score is None else f"{standing.score:.1f}",
            "failed": standing.error or "",
        }.get(standing.state, "")
        rate = f"{standing.updates_per_second:.0f}/s" if standing.updates_per_second else ""
        print(f"{standing.state:<9} {standing.task.label:<50} {rate:>8}  {words}".rstrip())
    print(f"\n{_counts(standings)}; about {hours_left(standings):.1f} core-hours left.")
    return 0


def _run_here(arguments: argparse.Namespace, found: Sweep, wanted: Sequence[Task]) -> int:
    began, count = time.monotonic(), {"started": 0, "finished": 0, "failed": 0, "stopped": 0}

    def listen(event: Event) -> None:
        count[event.kind] += 1
        if not arguments.quiet:
            minutes = (time.monotonic() - began) / 60
            error = f": {event.error}" if event.error else ""
            far = f"[{count['finished']}/{len(wanted)}, {minutes:.1f} min]"
            print(f"{far} {event.kind} {event.task.label}{error}", file=sys.stderr, flush=True)

    if arguments.launch == "ray":
        run_on_ray(found, wanted, listen, address=arguments.address)
        return 0
    slots = slots_of(arguments.jobs, arguments.gpus, arguments.jobs_per_gpu)
    return 130 if run_locally(found, wanted, slots, listen) else 0


def _conclude(found: Sweep, tasks: Sequence[Task], passed_over: Sequence[Standing], code: int) -> int:
    """Say what came of it: 0 all finished, 1 some failed, 130 interrupted."""
    standings = [standing_of(found, task) for task in tasks]
    if code == 130:
        print("Stopped; every state is saved. Run the same command again to go on.", file=sys.stderr)
        return 130
    failed = [standing for standing in standings if standing.state == "failed"]
    print(f"{_counts(standings)} in {found.folder}")
    if not failed:
        return 0
    for standing in failed:
        print(f"failed: {standing.task.label}: {standing.error}", file=sys.stderr)
    hint = " --retry-failed tries the ones that had failed before." if passed_over else ""
    raise RunError(
        f"expected every task to finish, but {len(failed)} failed (logs in {found.folder}/logs).{hint}"
    )


def _start_elsewhere(arguments: argparse.Namespace, found: Sweep, count: int) -> int:
    again = ["sweep", arguments.sweep, "--out", str(found.folder)]
    for spec in arguments.data:
        again += ["--data", spec]
    if arguments.retry_failed:
        again.append("--retry-failed")
    if arguments.tasks:
        raise ConfigError(
            f"--tasks belongs to --launch local, ray, script or docker. Leave it out with {arguments.launch}."
        )
    jobs = _given_count("--jobs", arguments.jobs)
    check_count("--chunk", arguments.chunk)
    if arguments.launch == "slurm":
        template = Path(arguments.template) if arguments.template else None
        said = submit_to_slurm(found, count, again, chunk=arguments.chunk, jobs=jobs, template=template)
        print(
            f"{said}; script: {found.folder}/slurm/sweep.sbatch; follow it with "
            f"reweigh status {arguments.sweep}"
        )
        return 0
    for name in start_screens(found, count, again, screens=jobs):
        print(f"screen -r {name}")
    return 0


def _given_count(flag: str, value: int | None) -> int:
    """One where nothing was typed."""
    if value is None:
        return 1
    check_count(flag, value)
    return value


def _print_plan(found: Sweep, standings: Sequence[Standing]) -> None:
    for standing in standings:
        print(f"{standing.state:<9} reweigh {shlex.join(standing.task.command)}")
    runs = len({standing.task.run for standing in standings})
    print(
        f"\n{len(standings)} tasks of {runs} runs in {found.folder}: {_counts(standings)}; about "
        f"{hours_left(standings):.1f} core-hours left; evaluations, OPER-A's values and "
        "Onestep's first stages not counted."
    )


def _counts(standings: Sequence[Standing]) -> str:
    kinds = ("finished", "running", "failed", "waiting")
    return ", ".join(f"{sum(s.state == kind for s in standings)} {kind}" for kind in kinds)


def _as_json(standing: Standing) -> dict[str, object]:
    return {
        "run": str(standing.task.run),
        "seed": standing.task.seed,
        "state": standing.state,
        "score": standing.score,
        "updates_per_second": standing.updates_per_second,
        "error": standing.error,
    }
