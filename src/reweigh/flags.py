"""The flags of every command, with their defaults and an example."""

import argparse
from typing import Any

METHODS = (
    "uniform",
    "oper-r",
    "rw",
    "aw",
    "top",
    "reward",
    "shuffled",
    "oracle",
    "oper-a",
    "oper-a-file",
)
PAPERS = ("oper", "aw-iql", "aw-td3bc", "aw-cql", "dw-iql", "dw-td3bc", "dw-cql")


def add_commands(commands: Any) -> None:
    """Add every command to the parser's subcommands, in the order of `reweigh --help`."""
    _add_quickstart(commands)
    _add_inspect(commands)
    _add_verify(commands)
    _add_weigh(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_mix(commands)
    _add_collect(commands)
    _add_convert(commands)
    _add_plot(commands)
    _add_sweep(commands)
    _add_status(commands)
    _add_report(commands)
    _add_bandit(commands)
    _add_doctor(commands)


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show defaults, and keep examples as written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default == []:
            return action.help
        return super()._get_help_string(action)


def _command(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=summary, epilog=f"example:\n  {example}", formatter_class=Help
    )


def _name(text: str) -> str:
    """A path or other name; rejects the empty text that an unset shell variable leaves."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, but found ''")
    return text


def _add_data(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    parser.add_argument(
        "data",
        type=_name,
        nargs="?" if optional else None,
        metavar="DATA",
        help="file.hdf5 (D4RL layout), file.npz, builtin:NAME, d4rl:NAME, suite:NAME, or minari:ID",
    )
    _add_reading(parser)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    reading = parser.add_argument_group("how the file is read")
    reading.add_argument(
        "--env",
        type=_name,
        metavar="ID",
        help="gymnasium ID: whose bounds actions have, and to evaluate in (default: the file's own)",
    )
    reading.add_argument(
        "--clip-actions", action="store_true", help="accept actions outside the bounds, clipped"
    )
    reading.add_argument(
        "--max-episode-steps", type=int, metavar="N", help="limit of a file without timeouts"
    )
    reading.add_argument(
        "--episode-ends",
        choices=("flags", "discontinuity"),
        help="trust terminals and timeouts, or compare states (default: flags where there are any)",
    )


def _add_quickstart(commands: Any) -> None:
    parser = _command(
        commands,
        "quickstart",
        "train with and without weights on a shipped dataset, and compare: a few minutes",
        "reweigh quickstart",
    )
    parser.add_argument(
        "--out", type=_name, default="quickstart", metavar="DIR", help="folder of the runs and the figure"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], metavar="K", help="of each way of weighing"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_inspect(commands: Any) -> None:
    parser = _command(
        commands, "inspect", "say what a dataset holds and how uneven it is", "reweigh inspect hopper.hdf5"
    )
    _add_data(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_verify(commands: Any) -> None:
    parser = _command(
        commands,
        "verify",
        "check a dataset's alignment, episode ends, sampler and terminals",
        "reweigh verify hopper.hdf5",
    )
    _add_data(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_weigh(commands: Any) -> None:
    parser = _command(
        commands,
        "weigh",
        "compute how much each transition should count",
        "reweigh weigh hopper.hdf5 --method aw --temperature 0.1 --out w.npz",
    )
    _add_data(parser, optional=True)
    parser.add_argument(
        "--suite",
        type=_name,
        nargs="+",
        default=[],
        metavar="DATA",
        help="several datasets in place of one: patterns such as 'mixes/*.hdf5' or 'suite:hopper-*', or "
        "set:NAME; --out is then a folder; weights that it already holds are not computed again",
    )
    parser.add_argument("--method", choices=METHODS, required=True, help="what makes a transition count")
    parser.add_argument(
        "--out",
        type=_name,
        metavar="W.npz",
        required=True,
        help="weights file to write (.npz, .parquet), or a folder with --suite",
    )
    setting = parser.add_argument_group("method")
    setting.add_argument(
        "--base", type=float, metavar="B", help="oper-r: what the worst episode gets (default: 0)"
    )
    setting.add_argument("--inverse", action="store_true", help="oper-r: prefer low returns, a control")
    setting.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="rw, aw, reward, shuffled: softmax divisor (default: 0.1)",
    )
    setting.add_argument(
        "--fraction", type=float, metavar="Q", help="top: share of episodes kept (default: 0.1)"
    )
    setting.add_argument(
        "--permutation-seed", type=int, metavar="S", help="shuffled: which other episodes (default: 0)"
    )
    setting.add_argument(
        "--by-length", action="store_true", help="divide returns by episode length (segments)"
    )
    setting.add_argument("--paper", choices=PAPERS, help="as that paper's code computes")
    setting.add_argument(
        "--preset",
        choices=("mujoco", "antmaze", "kitchen", "adroit", "none"),
        help="oper-r, oper-a, oper-a-file: settings of a D4RL domain (default: that of a d4rl: or suite: "
        "name, else none)",
    )
    learned = parser.add_argument_group("oper-a")
    learned.add_argument(
        "--solver",
        choices=("published", "fast"),
        help="how values are learned: in 15 million updates or, fast, in 90 thousand (default: published)",
    )
    learned.add_argument(
        "--from",
        dest="path",
        type=_name,
        metavar="FILE.npy",
        help="oper-a-file: published weights, %%s for seeds 1 2 3",
    )
    learned.add_argument(
        "--iteration", type=int, metavar="J", help="which stage's weights (default: the last)"
    )
    learned.add_argument(
        "--set", dest="fields", action="append", default=[], metavar="FIELD=VALUE",
        help="any field of the value learning, for example stage_updates=100000; may be repeated",
    )  # fmt: skip
    learned.add_argument(
        "--format",
        choices=("reweigh", "oper"),
        default="reweigh",
        help="oper: the authors' .npy, one per seed",
    )
    learned.add_argument("--quiet", action="store_true", help="no progress bar")
    scaling = parser.add_argument_group("scaling")
    scaling.add_argument("--transform", choices=("linear", "exp", "power"), help="reshape the weights")
    scaling.add_argument("--std", type=float, metavar="S", help="linear: deviation of mean-1 weights")
    scaling.add_argument("--eps", type=float, metavar="E", help="linear: smallest weight")
    scaling.add_argument("--eps-max", type=float, metavar="E", help="linear: largest weight")
    scaling.add_argument("--strength", type=float, metavar="L", help="exp, power: lambda (default: 1)")
    scaling.add_argument(
        "--target-ess", type=float, metavar="R", help="find the temperature (or std) with this ESS/N"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_train(commands: Any) -> None:
    parser = _command(
        commands,
        "train",
        "train a policy, any number of seeds, resumable",
        "reweigh train mix.hdf5 --algorithm iql --weights aw --seeds 0 1 2 --num-updates 100000",
    )
    _add_data(parser)
    parser.add_argument(
        "--algorithm", choices=("bc", "td3-bc", "iql", "cql", "onestep"), required=True, help="what to train"
    )
    parser.add_argument(
        "--out",
        type=_name,
        metavar="RUN",
        help="run folder (default: in runs, named by data, algorithm, weights and terms)",
    )
    weights = parser.add_argument_group("weights")
    weights.add_argument(
        "--weights",
        type=_name,
        metavar="METHOD[:key=value,...]|W.npz",
        help=f"{', '.join(METHODS)}, or a weights file (default: uniform, or the paper's with --paper)",
    )
    weights.add_argument(
        "--rebalance",
        choices=("resample", "reweight", "density-ratio"),
        help="how they act; density-ratio: learned with the agent, on batches drawn by them (default: "
        "resample, or the paper's with --paper; with oper-a and a domain's settings as published)",
    )
    weights.add_argument(
        "--convention",
        choices=("iql", "td3-bc", "cql"),
        help="density-ratio: of which published code (default: the algorithm's own, else iql)",
    )
    weights.add_argument(
        "--sampler",
        type=_name,
        metavar="S",
        help="instead of all that: a published sampler string, for example AW-0.1+DRW-K0.2_F1.0_...",
    )
    weights.add_argument(
        "--terms",
        type=_name,
        metavar="TERMS",
        help="which loss terms see them: all, policy, or some of evaluation,improvement,constraint (default: "
        "all; with oper-a and a domain's settings, as published)",
    )
    settings = parser.add_argument_group("settings")
    settings.add_argument(
        "--preset",
        choices=("mujoco", "antmaze", "kitchen", "adroit", "none"),
        help="settings of a D4RL domain (default: that of a d4rl: or suite: name, also of --env, else none)",
    )
    settings.add_argument("--paper", choices=PAPERS, help="as that paper's code computes")
    settings.add_argument(
        "--set", dest="fields", action="append", default=[], metavar="PATH=VALUE",
        help="any field of the run, for example algorithm.alpha=1.0; may be repeated",
    )  # fmt: skip
    settings.add_argument(
        "--seeds", type=int, nargs="+", default=[0], metavar="K", help="one process each on a CPU"
    )
    settings.add_argument("--num-updates", type=int, metavar="N", help="default: as the paper")
    settings.add_argument("--batch-size", type=int, metavar="B", help="default: as the paper")
    settings.add_argument(
        "--hidden", type=int, nargs="+", metavar="W", help="hidden widths; default: as the paper"
    )
    evaluation = parser.add_argument_group("evaluation and record")
    evaluation.add_argument(
        "--eval-interval", type=int, metavar="N", help="in updates (default: 5000, of AntMaze 100000)"
    )
    evaluation.add_argument(
        "--eval-episodes", type=int, metavar="N", help="each time (default: 10, of AntMaze 100)"
    )
    evaluation.add_argument("--no-evaluate", action="store_true", help="train only")
    evaluation.add_argument("--checkpoint-interval", type=int, default=10_000, metavar="N", help="in updates")
    evaluation.add_argument("--quiet", action="store_true", help="no progress bar")
    evaluation.add_argument("--json", action="store_true", help="print JSON")


def _add_evaluate(commands: Any) -> None:
    parser = _command(
        commands,
        "evaluate",
        "score a run's policies, or a policy's file, on fresh episodes",
        "reweigh evaluate runs/aw --episodes 100",
    )
    parser.add_argument("run", type=_name, metavar="RUN", help="run folder, or a policy's .npz")
    parser.add_argument("--episodes", type=int, default=100, metavar="N", help="episodes a seed")
    parser.add_argument("--env", type=_name, metavar="ID", help="gymnasium ID (default: the run's own)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_export(commands: Any) -> None:
    parser = _command(
        commands,
        "export",
        "write the weights that a run learned, as a weights file",
        "reweigh export runs/dw --out dw.npz",
    )
    parser.add_argument("run", type=_name, metavar="RUN", help="run folder of density-ratio weights")
    parser.add_argument(
        "--out",
        type=_name,
        metavar="W.npz",
        help="weights file to write (.npz, .parquet; default: RUN/weights.npz)",
    )
    parser.add_argument("--seed", type=int, metavar="K", help="of one seed (default: the mean over seeds)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_mix(commands: Any) -> None:
    parser = _command(
        commands,
        "mix",
        "make an imbalanced dataset of good and bad ones",
        "reweigh mix --good expert.hdf5 --bad random.hdf5 --ratio 0.05 --size 1000000 --out mix.hdf5",
    )
    source = parser.add_argument_group("of what")
    source.add_argument(
        "--good", type=_name, action="append", default=[], metavar="A[:SHARE]",
        help="dataset of the good source; several, each with its share of the mix",
    )  # fmt: skip
    source.add_argument(
        "--bad", type=_name, action="append", default=[], metavar="B[:SHARE]", help="dataset of the bad one"
    )  # fmt: skip
    source.add_argument(
        "--suite",
        type=_name,
        metavar="NAME",
        help="recipe by its published name, as hopper-random-expert-0.05-v2, of D4RL's datasets where --good "
        "and --bad name no others",
    )
    source.add_argument(
        "--list-suites", action="store_true", help="print the 96 names of the authors' scripts"
    )
    parser.add_argument("--ratio", type=float, metavar="P", help="share of good rows, in (0, 1)")
    parser.add_argument("--out", type=_name, metavar="F.hdf5", help="file to write")
    parser.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="rows, or episodes with --share (default: the first good source's)",
    )
    parser.add_argument(
        "--share",
        choices=("transitions", "episodes"),
        help="what shares and --size are counted in (default: transitions)",
    )
    parser.add_argument(
        "--kind",
        choices=("trajectories", "segments"),
        help="whole episodes or pieces (default: trajectories)",
    )
    parser.add_argument("--without-replacement", action="store_true", help="draw no episode twice")
    parser.add_argument(
        "--overshoot", action="store_true", help="the papers' loop: one more where the sum fits"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same recipe, same bytes")
    parser.add_argument(
        "--max-episode-steps", type=int, metavar="N", help="limit of sources without timeouts"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_collect(commands: Any) -> None:
    parser = _command(
        commands,
        "collect",
        "record a dataset in an environment",
        "reweigh collect --env Hopper-v4 --policy runs/aw --num-steps 100000 --out mine.hdf5",
    )
    parser.add_argument("--env", type=_name, required=True, metavar="ID", help="gymnasium ID")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--policy",
        type=_name,
        metavar="random|RUN|P.npz",
        help="uniform actions, a run's policy, or a policy's file",
    )
    source.add_argument(
        "--family", action="store_true", help="train online (TD3); random, medium, replay and expert data"
    )
    parser.add_argument(
        "--num-steps", type=int, required=True, metavar="N", help="rows to record; of a family: to train for"
    )
    parser.add_argument(
        "--out", type=_name, required=True, metavar="F.hdf5", help="file to write; of a family: its folder"
    )
    parser.add_argument(
        "--policy-seed", type=int, metavar="K", help="which seed of the run (default: the first)"
    )
    parser.add_argument(
        "--action-noise",
        type=float,
        metavar="S",
        help="deviation added to actions in [-1, 1] (default: 0, of a family 0.1)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same call, same bytes")
    parser.add_argument("--json", action="store_true", help="print JSON")
    family = parser.add_argument_group("of a family")
    family.add_argument(
        "--rollout-steps", type=int, metavar="N", help="rows of random, medium and expert (default: 100000)"
    )
    family.add_argument(
        "--set", dest="fields", action="append", default=[], metavar="PATH=VALUE",
        help="any field of it, for example start_steps=10000 or td3.learning_rate=1e-3; may be repeated",
    )  # fmt: skip
    family.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_convert(commands: Any) -> None:
    parser = _command(
        commands,
        "convert",
        "write a dataset's transitions as a Minari dataset",
        "reweigh convert mix.hdf5 --out minari:mine/hopper-mix-v0",
    )
    _add_data(parser)
    parser.add_argument("--out", type=_name, required=True, metavar="minari:ID", help="dataset to write")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_bandit(commands: Any) -> None:
    parser = _command(
        commands,
        "bandit",
        "iterated priorities where their law is known: OPER's four-armed bandit",
        "reweigh bandit --out bandit",
    )
    parser.add_argument(
        "--out", type=_name, default="bandit", metavar="DIR", help="folder of weights, runs and figure"
    )
    parser.add_argument("--data-seed", type=int, default=0, metavar="S", help="of the dataset")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="K", help="of each training")
    parser.add_argument(
        "--num-updates", type=int, default=20_000, metavar="N", help="of each policy; 100000 in the paper"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_sweep_source(parser: argparse.ArgumentParser, *, optional: bool) -> None:
    parser.add_argument(
        "sweep",
        type=_name,
        metavar="SWEEP",
        nargs="?" if optional else None,
        help="a .toml file, or the name of a shipped sweep",
    )
    parser.add_argument(
        "--data", type=_name, action="append", default=[], metavar="DATA",
        help="dataset in place of the file's own; may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", type=_name, metavar="DIR", help="folder of the runs (default: sweeps/NAME)")


def _add_sweep(commands: Any) -> None:
    parser = _command(
        commands,
        "sweep",
        "train every run of a grid, here or on a cluster; what is finished is skipped",
        "reweigh sweep mix-comparison --data mix.hdf5 --launch local --jobs 2",
    )
    _add_sweep_source(parser, optional=True)
    parser.add_argument("--list", action="store_true", help="list the shipped sweeps")
    parser.add_argument("--dry-run", action="store_true", help="print the tasks and how long they may take")
    parser.add_argument(
        "--tasks", type=_name, metavar="A:B", help="only these, counted from 0, B not included"
    )
    parser.add_argument("--retry-failed", action="store_true", help="retry failed tasks")
    parser.add_argument("--quiet", action="store_true", help="no line per task")
    launch = parser.add_argument_group("where")
    launch.add_argument(
        "--launch",
        choices=("local", "slurm", "ray", "screen", "script", "docker"),
        default="local",
        help="script, docker: print commands",
    )
    launch.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="tasks at a time (default: one per core; slurm: 1 per job), or screen sessions (default: 1)",
    )
    launch.add_argument("--gpus", nargs="+", default=[], metavar="ID", help="local: spread tasks over these")
    launch.add_argument(
        "--jobs-per-gpu",
        type=int,
        metavar="N",
        help="local, with --gpus (default: 1); ray: tasks that share a GPU",
    )
    launch.add_argument("--chunk", type=int, metavar="N", help="slurm: tasks per job (default: 1)")
    launch.add_argument(
        "--sbatch", metavar="FLAGS", help="slurm: for sbatch, as in --sbatch='--partition=gpu --gpus=1'"
    )
    launch.add_argument(
        "--template", type=_name, metavar="F.sbatch", help="slurm: in place of the shipped one"
    )
    launch.add_argument("--address", type=_name, metavar="HOST:PORT", help="ray: of an existing cluster")
    launch.add_argument(
        "--image", type=_name, metavar="NAME", help="docker: made from the shipped Dockerfile"
    )


def _add_status(commands: Any) -> None:
    parser = _command(
        commands, "status", "say how far a sweep is", "reweigh status mix-comparison --data mix.hdf5"
    )
    _add_sweep_source(parser, optional=False)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_plot(commands: Any) -> None:
    parser = _command(
        commands,
        "plot",
        "draw weights files or the learning curves of runs",
        "reweigh plot weights aw.npz oper-r.npz --out weights.png",
    )
    parser.add_argument(
        "what",
        choices=("weights", "runs", "stages", "advantages"),
        help="weights files, run folders; oper-a: its iterations, or kinds of advantages of its value",
    )
    parser.add_argument("files", type=_name, nargs="+", metavar="FILE", help="weights files, or run folders")
    parser.add_argument("--out", type=_name, default="plot.png", metavar="F.png", help=".png, .pdf or .svg")
    parser.add_argument(
        "--data", type=_name, metavar="DATA", help="dataset of the weights (default: the one in the file)"
    )
    _add_reading(parser)


def _add_report(commands: Any) -> None:
    parser = _command(
        commands,
        "report",
        "compare runs: tables, intervals, figures, cost and provenance in one page",
        "reweigh report runs --out report",
    )
    parser.add_argument(
        "runs", type=_name, nargs="+", metavar="RUNS", help="run folders, or folders that contain some"
    )
    parser.add_argument(
        "--out",
        type=_name,
        required=True,
        metavar="DIR",
        help="folder of report.html, report.md, tables.md, tables.tex, tables.csv, curves.csv, "
        "improvement.csv and figures",
    )
    parser.add_argument(
        "--allow-unfinished",
        action="store_true",
        help="report finished seeds although others are not, and mark their groups",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_doctor(commands: Any) -> None:
    parser = _command(commands, "doctor", "look for what could stand in the way here", "reweigh doctor")
    parser.add_argument(
        "--out", type=_name, default=".", metavar="DIR", help="folder that runs will be written in"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
