"""`reweigh collect --family`: train online, write the datasets, and print what they are."""

import json
import sys
from pathlib import Path

from reweigh.commands.progress import run_jobs
from reweigh.errors import RunError
from reweigh.family.config import FamilyConfig
from reweigh.family.make import FamilyJob, claim_family, finished_family
from reweigh.system.processes import INTERRUPTED


def launch_family(config: FamilyConfig, out: Path, history: str, *, quiet: bool, as_json: bool) -> int:
    """Train online, write the datasets, print what they are; return the exit code.

    Args:
        config: the family.
        out: its folder.
        history: the command that makes it.
        quiet: no progress bar.
        as_json: print the table as JSON.

    Raises:
        ReweighError: a training failed, or the folder cannot be written.
    """
    claim_family(config, out)
    if finished_family(config, out) is not None:
        print(f"Nothing to do: the datasets in {out} are finished.", file=sys.stderr)
    else:
        if not quiet:
            print(
                f"td3 in {config.env}: {config.num_steps} steps, the first {config.start_steps} random; then "
                f"{config.rollout_steps} rows of random, medium and expert.",
                file=sys.stderr,
            )
        if run_jobs([FamilyJob(config, out, history)], out, quiet=quiet):
            return INTERRUPTED
    found = finished_family(config, out)
    if found is None:
        raise RunError(f"expected finished datasets in {out}, but some were removed. Run the command again.")
    if as_json:
        print(json.dumps({"out": str(out), **found}, indent=2))
        return 0
    print(f"{'dataset':<14} {'rows':>8} {'episodes':>8} {'mean return':>12}  policy")
    for name, made in found["datasets"].items():
        policy = f"of step {made['step']}: {made['evaluation']:.1f} without noise" if "step" in made else ""
        row = f"{name:<14} {made['rows']:>8} {made['episodes']:>8} {made['mean_return']:>12.1f}  {policy}"
        print(row.rstrip())
    print(f"folder: {out}")
    return 0
