"""Whatever is wrong with what a command is given, the user reads one line, and nothing is left behind."""

import json
import shlex
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from reweigh.cli import main, make_parser
from reweigh.config import identity, to_dict
from reweigh.datasets.normalizer import identity_normalizer
from reweigh.loading import load_data
from reweigh.options.arguments import run_config
from reweigh.policy import Policy, save_policy
from reweigh.runs import RunFolder
from reweigh.seed_folder import Returns

ROWS = 400
HUGE = 10**30
LONG = "x" * 300

# What all lines of a command begin with, so that the tables below show only what is wrong.
WEIGH = "weigh small.hdf5 --method rw --out out/w.npz"
TRAIN = "train small.hdf5 --algorithm td3-bc --hidden 4 --num-updates 10 --batch-size 4"
BC = "train small.hdf5 --algorithm bc --hidden 4 --num-updates 10 --batch-size 4"
MIX = "mix --good small.hdf5 --bad small.hdf5 --ratio 0.5 --size 100"
IQL = BC.replace(" bc ", " iql ")
COLLECT = "collect --env Pendulum-v1 --policy random --num-steps 10"


def good_arrays() -> dict[str, np.ndarray]:
    """40 episodes of 10 rows, of which returns rise with the episode."""
    rng = np.random.default_rng(0)
    row = np.arange(ROWS)
    return {
        "observations": rng.normal(size=(ROWS, 3)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (ROWS, 2)).astype(np.float32),
        "rewards": (row // 10 / 10 + rng.normal(size=ROWS)).astype(np.float32),
        "terminals": row % 20 == 9,
        "timeouts": row % 20 == 19,
    }


def write(path: str, **changed: np.ndarray | None) -> None:
    """The good arrays, some of them replaced or, by None, left out."""
    arrays = {name: array for name, array in (good_arrays() | changed).items() if array is not None}
    if path.endswith(".npz"):
        np.savez(path, **arrays)
        return
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def at(name: str, row: int, value: float) -> dict[str, np.ndarray]:
    array = good_arrays()[name].astype(np.float64)
    array[row] = value
    return {name: array}


def make_datasets() -> None:
    arrays = good_arrays()
    write("small.hdf5")
    write("small.npz")
    write("wide.hdf5", observations=np.tile(arrays["observations"], 2))
    write("pendulum.hdf5", actions=arrays["actions"][:, :1])
    write("nan.hdf5", **at("rewards", 3, np.nan))
    write("inf.npz", **at("observations", 3, np.inf))
    write("outside.hdf5", **at("actions", 3, 5))
    write("flags.hdf5", terminals=arrays["terminals"] * 2)
    write("flat.npz", observations=arrays["observations"][:, 0])
    write("uneven.hdf5", rewards=arrays["rewards"][:-1])
    write("endless.hdf5", timeouts=None)
    write("cut-off.hdf5", timeouts=np.ones(ROWS, bool))
    write("keyless.hdf5", actions=None)
    write("words.npz", rewards=np.full(ROWS, "much"))
    write("pickled.npz", rewards=np.full(ROWS, None, object))
    write("source.hdf5", source=np.full(ROWS, 7))
    write("elsewhere.npz", env=np.array("Nowhere-v4"))
    write("one.hdf5", **{name: array[:1] for name, array in arrays.items()})
    Path("empty.hdf5").write_bytes(b"")
    Path("empty.npz").write_bytes(b"")
    Path("truncated.hdf5").write_bytes(Path("small.hdf5").read_bytes()[:3000])
    Path("truncated.npz").write_bytes(Path("small.npz").read_bytes()[:3000])
    Path("garbage.hdf5").write_bytes(b"\x89HDF nothing" * 100)
    Path("garbage.npz").write_bytes(b"PK\x03\x04 nothing" * 100)
    shutil.copy("small.hdf5", "renamed.npz")
    shutil.copy("small.npz", "renamed.hdf5")
    shutil.copy("small.hdf5", "small.csv")
    shutil.copy("small.hdf5", "two\nlines.hdf5")
    Path("folder.hdf5").mkdir()
    Path("folder.npz").mkdir()
    Path("folder").mkdir()
    Path("out").mkdir()
    Path("file").write_text("a file")


def make_weights() -> None:
    assert main(shlex.split("weigh small.hdf5 --method rw --out w.npz")) == 0
    assert main(shlex.split("weigh builtin:bandit --method rw --out w-bandit.npz")) == 0
    with np.load("w.npz") as file:
        good = dict(file)
    weight = good["weight"]

    def save(path: str, **changed: np.ndarray) -> None:
        np.savez(path, **(good | changed))

    bad = weight.copy()
    bad[5] = np.nan
    save("w-nan.npz", weight=bad)
    save("w-negative.npz", weight=-weight)
    save("w-zero.npz", weight=0 * weight)
    save("w-inf.npz", weight=np.where(np.arange(len(weight)) == 5, np.inf, weight))
    save("w-words.npz", weight=weight.astype(str))
    save("w-flat.npz", weight=weight[:, None])
    save("w-tiny.npz", weight=np.where(np.arange(len(weight)) == 5, 5e-324, 0))
    save("w-twice.npz", index=np.zeros(len(weight), np.int64))
    save("w-episode.npz", episode=good["episode"][:-1])
    save("w-raw.npz", raw_index=good["raw_index"] / 2)
    save("w-priority.npz", priority=np.ones(3))
    save("w-meta.npz", meta=np.array("[1]"))
    save("w-text.npz", meta=np.array("{"))
    meta = json.loads(str(good["meta"]))
    save("w-digest.npz", meta=np.array(json.dumps(meta | {"dataset_digest": "0" * 64})))
    save("w-homeless.npz", meta=np.array(json.dumps(meta | {"dataset": None})))
    save("w-moved.npz", meta=np.array(json.dumps(meta | {"dataset": "moved.hdf5"})))
    save("w-number.npz", meta=np.array(json.dumps(meta | {"dataset": 5})))
    np.savez("w-keyless.npz", weights=weight)
    np.savez("w-short.npz", weight=weight[:-1])
    Path("w-truncated.npz").write_bytes(Path("w.npz").read_bytes()[:2000])
    Path("w-garbage.parquet").write_bytes(b"PAR1 nothing")
    shutil.copy("w.npz", "w-renamed.parquet")
    shutil.copy("w.npz", "w.png")


def pendulum_policy(**changed: object) -> Policy:
    """A linear policy of Pendulum-v1."""
    fields = {
        "layers": ((np.zeros((3, 1), np.float32), np.zeros(1, np.float32)),),
        "normalizer": identity_normalizer(3),
        "action_low": np.full(1, -2, np.float32),
        "action_high": np.full(1, 2, np.float32),
        "meta": {"env": "Pendulum-v1"},
    }
    return Policy(**(fields | changed))  # pyright: ignore[reportArgumentType]


def make_runs() -> None:
    """A good run of Pendulum-v1 without training, and copies of it with one thing broken each."""
    run = RunFolder(Path("run"))
    run.claim({"data": {"spec": "pendulum.hdf5", "env": None}}, "0" * 64, {"command": "reweigh train"})
    seed = run.seed(0)
    seed.path.mkdir()
    returns, lengths = np.full((2, 3), -1000.0), np.full((2, 3), 200)
    seed.save_policy(pendulum_policy())
    seed.save_returns(Returns(np.array([5, 10]), returns, lengths))
    seed.finish({"num_updates": 10, "updates_per_second": None, "env": "Pendulum-v1"})

    def broken(name: str) -> Path:
        return Path(shutil.copytree("run", f"run-{name}"))

    (broken("no-config") / "config.json").unlink()
    (broken("config-list") / "config.json").write_text("[]")
    (broken("config-empty") / "config.json").write_text("")
    (broken("config-truncated") / "config.json").write_text('{"identity": "')
    (broken("config-bytes") / "config.json").write_bytes(b"\xff\xfe\x00")
    shutil.rmtree(broken("no-seeds") / "seed-0")
    (broken("odd-seed") / "seed-0").rename("run-odd-seed/seed-²")
    (broken("no-environment") / "environment.json").unlink()
    (broken("environment-list") / "environment.json").write_text("[]")
    (broken("environment-number") / "environment.json").write_text('{"command": 5}')
    folder = broken("config-folder") / "config.json"
    folder.unlink()
    folder.mkdir()

    def policy(name: str) -> Path:
        return broken(f"policy-{name}") / "seed-0" / "policy.npz"

    policy("missing").unlink()
    policy("empty").write_bytes(b"")
    policy("truncated").write_bytes(Path("run/seed-0/policy.npz").read_bytes()[:700])
    policy("garbage").write_bytes(b"PK\x03\x04 nothing" * 100)
    shutil.copy("small.hdf5", policy("renamed"))
    shutil.copy("small.npz", policy("keyless"))
    save_policy(policy("no-layers"), pendulum_policy(layers=()))
    kernel, bias = np.zeros((3, 1), np.float32), np.zeros(1, np.float32)
    save_policy(policy("nan"), pendulum_policy(layers=((kernel * np.nan, bias),)))
    save_policy(policy("shapes"), pendulum_policy(layers=((kernel, bias), (kernel, bias))))
    with np.load("run/seed-0/policy.npz") as file:
        good = dict(file)
    np.savez(policy("bounds"), **(good | {"action_low": np.full(2, -2, np.float32)}))
    np.savez(policy("meta"), **(good | {"meta": np.array('["env"]')}))
    np.savez(policy("bias"), **(good | {"bias_0": np.zeros(4, np.float32)}))
    save_policy(policy("env"), pendulum_policy(meta={"env": 5}))
    save_policy(policy("no-env"), pendulum_policy(meta={"env": None}))
    (Path("run-policy-no-env") / "config.json").write_text('{"identity": "0"}')
    save_policy(policy("nowhere"), pendulum_policy(meta={"env": "Nowhere-v4"}))
    wide = ((np.zeros((6, 2), np.float32), np.zeros(2, np.float32)),)
    two = np.ones(2, np.float32)
    save_policy(
        policy("wide"),
        pendulum_policy(layers=wide, normalizer=identity_normalizer(6), action_low=-two, action_high=two),
    )
    folder = policy("folder")
    folder.unlink()
    folder.mkdir()

    def returns_of(name: str, **changed: np.ndarray) -> None:
        arrays = {"update": np.array([5, 10]), "episode_return": returns, "episode_length": lengths}
        np.savez(broken(f"returns-{name}") / "seed-0" / "returns.npz", **(arrays | changed))

    returns_of("rows", episode_return=returns[:1])
    returns_of("flat", episode_return=returns[:, 0])
    returns_of("words", episode_return=returns.astype(str))
    returns_of("nan", episode_return=returns * np.nan)
    returns_of("no-episodes", episode_return=returns[:, :0], episode_length=lengths[:, :0])
    returns_of("none", update=np.zeros(0, np.int64), episode_return=returns[:0], episode_length=lengths[:0])
    file = broken("returns-missing") / "seed-0" / "returns.npz"
    file.unlink()
    file = broken("returns-keyless") / "seed-0" / "returns.npz"
    shutil.copy("small.npz", file)
    file = broken("returns-truncated") / "seed-0" / "returns.npz"
    file.write_bytes(file.read_bytes()[:300])
    file = broken("returns-empty") / "seed-0" / "returns.npz"
    file.write_bytes(b"")
    two_seeds = broken("returns-apart")
    shutil.copytree(two_seeds / "seed-0", two_seeds / "seed-1")
    np.savez(
        two_seeds / "seed-1" / "returns.npz",
        update=np.array([6, 11]), episode_return=returns, episode_length=lengths,
    )  # fmt: skip
    half = broken("half-evaluated")
    (half / "seed-1").mkdir()
    shutil.copy("run/seed-0/policy.npz", half / "seed-1")


def make_own_runs() -> None:
    """Folders of the very run that `TRAIN` asks for, with one thing broken each."""
    config = run_config(make_parser().parse_args(shlex.split(TRAIN)))
    transitions, _ = load_data(config.data, must_exist=False)

    def own(name: str) -> Path:
        run = RunFolder(Path(f"own-{name}"))
        run.claim(to_dict(config), identity(config, transitions.info), {"command": "reweigh train"})
        run.seed(0).path.mkdir()
        return run.seed(0).path

    (own("checkpoint-empty") / "checkpoint.npz").write_bytes(b"")
    (own("checkpoint-garbage") / "checkpoint.npz").write_bytes(b"PK\x03\x04 nothing" * 100)
    np.savez(own("checkpoint-keyless") / "checkpoint.npz", leaf_0=np.zeros(3))
    np.savez(own("checkpoint-past") / "checkpoint.npz", update=np.array(-4), metrics_bytes=np.array(0))
    np.savez(own("checkpoint-words") / "checkpoint.npz", update="x", metrics_bytes=np.array(0))
    np.savez(own("checkpoint-bytes") / "checkpoint.npz", update=np.array(2), metrics_bytes=np.array(-9))
    np.savez(own("checkpoint-later") / "checkpoint.npz", update=np.array(HUGE // 10**18),
             metrics_bytes=np.array(0))  # fmt: skip
    (own("returns-garbage") / "returns.npz").write_bytes(b"PK\x03\x04 nothing" * 100)
    for name, text in (("list", "[]"), ("empty", ""), ("words", '{"last_ten_score": "good"}')):
        (own(f"result-{name}") / "result.json").write_text(text)
    path = own("unclaimed")
    (path / "result.json").write_text("{}")
    (path.parent / "config.json").unlink()
    (own("seed-file")).rmdir()
    Path("own-seed-file/seed-0").write_text("a file")
    (own("config-list").parent / "config.json").write_text("[]")


def make_quickstarts() -> None:
    for name, arm in (("first", "uniform"), ("last", "aw")):
        shutil.copytree("run", f"quick-{name}/{arm}")
    for name, text in (("empty", ""), ("list", "[]"), ("garbage", "{")):
        Path(f"quick-{name}/oper-r").mkdir(parents=True)
        Path(f"quick-{name}/oper-r/config.json").write_text(text)
    Path("quick-file").mkdir()
    Path("quick-file/uniform").write_text("a file")
    Path("quick-figure/quickstart.png").mkdir(parents=True)
    shutil.copytree("run/seed-0", "quick-unclaimed/uniform/seed-0")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder of small files, most of them broken."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_datasets()
        make_weights()
        make_runs()
        make_own_runs()
        make_quickstarts()
    return folder


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder, with what changes when it is written."""
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


@pytest.fixture
def refusal(world, monkeypatch, capsys):
    """Run a command line in the world -> the one line that it was refused with."""
    monkeypatch.chdir(world)
    monkeypatch.setenv("REWEIGH_CACHE", str(world / "cache"))

    def no_training(*arguments: object, **options: object) -> None:
        raise AssertionError("training would begin")

    for module in ("launch", "studies"):
        monkeypatch.setattr(f"reweigh.commands.{module}.run_jobs", no_training)

    def run(line: str, code: int = 1) -> str:
        argv = shlex.split(line)
        before = contents(world)
        try:
            found = main(argv)
        except SystemExit as ended:
            found = ended.code
        captured = capsys.readouterr()
        assert found == code, captured
        assert captured.out == ""
        assert captured.err.count("\n") == 1, captured.err
        assert captured.err.startswith(f"reweigh {argv[0]}: ")
        assert contents(world) == before, "something was written"
        return captured.err

    return run


SPECS = "expected a file ending in .hdf5 or .npz, builtin:NAME, d4rl:NAME, suite:NAME or minari:ID"

BAD_INSPECT = [
    ("inspect nowhere.hdf5", "expected a dataset at nowhere.hdf5, but there is no such file"),
    ("inspect folder", "expected a file, but folder is a folder"),
    ("inspect folder.hdf5", "expected a file, but folder.hdf5 is a folder"),
    ("inspect folder.npz", "expected a file, but folder.npz is a folder"),
    (
        "inspect small.csv",
        SPECS,
    ),
    (
        "inspect file",
        f"{SPECS}, but found 'file'",
    ),
    ("inspect empty.hdf5", "expected a complete HDF5 file"),
    ("inspect empty.npz", "expected a complete .npz file of plain arrays"),
    ("inspect truncated.hdf5", "expected a complete HDF5 file"),
    ("inspect truncated.npz", "expected a complete .npz file of plain arrays"),
    ("inspect garbage.hdf5", "expected a complete HDF5 file"),
    ("inspect garbage.npz", "expected a complete .npz file of plain arrays"),
    ("inspect renamed.npz", "expected a complete .npz file of plain arrays, but renamed.npz cannot be read"),
    ("inspect renamed.hdf5", "expected a complete HDF5 file"),
    ("inspect nan.hdf5", "expected finite numbers in 'rewards'"),
    ("inspect inf.npz", "expected finite numbers in 'observations'"),
    ("inspect outside.hdf5", "expected actions in [-1, 1]"),
    ("inspect flags.hdf5", "expected 0 or 1 in 'terminals', but row 9 is 2 in flags.hdf5"),
    ("inspect flat.npz", "expected 'observations' of shape (rows, width)"),
    ("inspect uneven.hdf5", "expected 400 rows as in 'observations', but 'rewards' has 399 in uneven.hdf5"),
    ("inspect endless.hdf5", "expected 'timeouts' or a known episode limit, but endless.hdf5 has neither"),
    ("inspect cut-off.hdf5", "expected at least one transition"),
    ("inspect keyless.hdf5", "expected the keys observations, actions, rewards, terminals"),
    ("inspect words.npz", "expected numbers in 'rewards', but found type <U4 in words.npz"),
    ("inspect pickled.npz", "expected a complete .npz file of plain arrays"),
    ("inspect source.hdf5", "expected 1 (good), 0 (bad) or -1 (unknown) in 'source'"),
    ("inspect one.hdf5", "expected at least 2 rows, but one.hdf5 has 1"),
    ("inspect .", "expected a file, but . is a folder"),
    ("inspect builtin:", "expected builtin:bandit or builtin:hopper-random-expert"),
    ("inspect builtin:nothing", "expected builtin:bandit or builtin:hopper-random-expert"),
    ("inspect Δ-ünï.hdf5", "expected a dataset at Δ-ünï.hdf5, but there is no such file"),
    (f"inspect {LONG}.hdf5", "expected a dataset at"),
    ("inspect 'no\nsuch.hdf5'", "expected a dataset at no\\nsuch.hdf5, but there is no such file"),
    ("inspect small.hdf5 --max-episode-steps 0", "expected max_episode_steps of at least 1, but found 0"),
    ("inspect small.hdf5 --max-episode-steps -3", "expected max_episode_steps of at least 1, but found -3"),
    (
        "inspect small.hdf5 --max-episode-steps 50",
        "expected no episode limit for a dataset that has",
    ),
    (f"inspect endless.hdf5 --max-episode-steps {HUGE}", "expected max_episode_steps of at most 2147483647"),
]

BAD_WEIGH = [
    ("weigh small.hdf5 --method rw --out small.npz", "cannot write small.npz: what is there was not written"),
    (
        "weigh small.hdf5 --method oper-a-file --out out/w.npz",
        "expected a file of published weights, but none",
    ),
    (
        "weigh nowhere.hdf5 --method rw --out out/w.npz",
        "expected a dataset at nowhere.hdf5, but there is no such file",
    ),
    ("weigh folder --method rw --out out/w.npz", "expected a file, but folder is a folder"),
    ("weigh --method rw --out out/w.npz", "expected a dataset, or several with --suite, but found none"),
    ("weigh small.hdf5 --suite small.npz --method rw --out out", "with --suite, but found both"),
    ("weigh --suite '*.nothing' --method rw --out out", "datasets that match '*.nothing', but found none"),
    (
        "weigh --suite suite:chess-* --method rw --out out",
        "datasets that match 'suite:chess-*', but found none",
    ),
    ("weigh --suite small.npz small.hdf5 --method rw --out out", "both give out/small.npz"),
    ("weigh --suite small.npz --method rw --out .", "cannot write small.npz: it is one of the datasets"),
    ("weigh --suite small.npz --method rw --out file", "cannot write in file (File exists)"),
    ("weigh --suite small.npz --method rw --base 1 --out out", "--base has no meaning for --method rw"),
    (
        "weigh small.npz --method oper-a --format oper --std 2 --out out/w_%s.npy",
        "--std has no meaning with --format oper, which holds every stage",
    ),
    (
        "weigh small.npz --method rw --temperature 0.5 --target-ess 0.5 --out out/w.npz",
        "--temperature and --target-ess both fix how uneven the weights are",
    ),
    (
        f"{MIX} --max-episode-steps 7 --out out/m.hdf5",
        "--max-episode-steps is for sources without 'timeouts'",
    ),
    (
        "weigh --suite small.npz --method oper-a --format oper --out out",
        "--format oper has no meaning with --suite",
    ),
    (
        "weigh small.csv --method rw --out out/w.npz",
        SPECS,
    ),
    ("weigh empty.hdf5 --method rw --out out/w.npz", "expected a complete HDF5 file"),
    ("weigh truncated.npz --method rw --out out/w.npz", "expected a complete .npz file of plain arrays"),
    ("weigh renamed.hdf5 --method rw --out out/w.npz", "expected a complete HDF5 file"),
    ("weigh nan.hdf5 --method rw --out out/w.npz", "expected finite numbers in 'rewards'"),
    (
        "weigh endless.hdf5 --method rw --out out/w.npz",
        "expected 'timeouts' or a known episode limit, but endless.hdf5 has neither",
    ),
    (
        "weigh keyless.hdf5 --method rw --out out/w.npz",
        "expected the keys observations, actions, rewards, terminals",
    ),
    (
        "weigh builtin:nothing --method rw --out out/w.npz",
        "expected builtin:bandit or builtin:hopper-random-expert",
    ),
    (
        "weigh 'no\nsuch.hdf5' --method rw --out out/w.npz",
        "expected a dataset at no\\nsuch.hdf5, but there is no such file",
    ),
    (f"{WEIGH} --temperature nan", "expected temperature above 0, from 1e-09 to 1e+09, but found nan"),
    (f"{WEIGH} --temperature inf", "expected temperature above 0, from 1e-09 to 1e+09, but found inf"),
    (f"{WEIGH} --temperature 0", "expected temperature above 0, from 1e-09 to 1e+09, but found 0.0"),
    (f"{WEIGH} --temperature -1", "expected temperature above 0, from 1e-09 to 1e+09, but found -1.0"),
    (f"{WEIGH} --temperature 1e-320", "expected temperature above 0, from 1e-09 to 1e+09, but found 1e-320"),
    (f"{WEIGH} --temperature 1e-300", "expected temperature above 0, from 1e-09 to 1e+09, but found 1e-300"),
    (f"{WEIGH} --temperature 1e308", "expected temperature above 0, from 1e-09 to 1e+09, but found 1e+308"),
    (f"{WEIGH} --temperature 1e400", "expected temperature above 0, from 1e-09 to 1e+09, but found inf"),
    (f"{WEIGH} --base 1", "--base has no meaning for --method rw"),
    (f"{WEIGH} --fraction 1", "--fraction has no meaning for --method rw"),
    (f"{WEIGH} --inverse", "--inverse has no meaning for --method rw"),
    (f"{WEIGH} --iteration 1", "--iteration has no meaning for --method rw"),
    (f"{WEIGH} --solver fast", "--solver has no meaning for --method rw"),
    (f"{WEIGH} --preset antmaze", "--preset has no meaning for --method rw"),
    (f"{WEIGH} --set stages=1", "--set has no meaning for --method rw"),
    (f"{WEIGH} --std 1", "std belongs to the linear transform"),
    (f"{WEIGH} --transform linear --std nan", "expected std from 0 to 1e+09, but found nan"),
    (f"{WEIGH} --transform linear --std inf", "expected std from 0 to 1e+09, but found inf"),
    (f"{WEIGH} --transform linear --std -1", "expected std from 0 to 1e+09, but found -1.0"),
    (f"{WEIGH} --transform linear --std 1e308 --eps 0", "expected std from 0 to 1e+09, but found 1e+308"),
    (f"{WEIGH} --transform linear --std 5", "expected non-negative probabilities"),
    (
        f"{WEIGH} --transform linear --eps-max 0",
        "expected eps_max above eps and 0, but found eps=None and eps_max=0.0",
    ),
    (
        f"{WEIGH} --transform linear --eps 3 --eps-max 1",
        "expected eps_max above eps and 0, but found eps=3.0 and eps_max=1.0",
    ),
    (f"{WEIGH} --transform linear --eps inf", "expected eps from 0 to 1e+09, but found inf"),
    (f"{WEIGH} --transform linear --eps 1e308", "expected eps from 0 to 1e+09, but found 1e+308"),
    (f"{WEIGH} --transform linear --strength 1", "strength belongs to the exp and power transforms"),
    (f"{WEIGH} --transform exp --strength nan", "expected strength from 0 to 1e+09, but found nan"),
    (f"{WEIGH} --transform exp --strength inf", "expected strength from 0 to 1e+09, but found inf"),
    (f"{WEIGH} --transform exp --strength 1e308", "expected strength from 0 to 1e+09, but found 1e+308"),
    (f"{WEIGH} --transform power --strength nan", "expected strength from 0 to 1e+09, but found nan"),
    (f"{WEIGH} --transform power --strength -1", "expected strength from 0 to 1e+09, but found -1.0"),
    (f"{WEIGH} --transform power --strength inf", "expected strength from 0 to 1e+09, but found inf"),
    (f"{WEIGH} --transform power --strength 1e308", "expected strength from 0 to 1e+09, but found 1e+308"),
    (f"{WEIGH} --strength 2", "strength belongs to the exp and power transforms"),
    (f"{WEIGH} --target-ess nan", "expected target_ess strictly between 0 and 1, but found nan"),
    (f"{WEIGH} --target-ess 0", "expected target_ess strictly between 0 and 1, but found 0.0"),
    (f"{WEIGH} --target-ess 1", "expected target_ess strictly between 0 and 1, but found 1.0"),
    (f"{WEIGH} --target-ess 2", "expected target_ess strictly between 0 and 1, but found 2.0"),
    (
        f"{WEIGH} --target-ess 1e-9",
        "expected target_ess between 0.0237 and 1, which this method can reach on",
    ),
    (f"{WEIGH} --target-ess 0.5 --std 1", "std and target_ess both fix how uneven the weights are"),
    (f"{WEIGH} --target-ess 0.5 --transform exp", "target_ess finds a temperature or a std"),
    (f"{WEIGH} --max-episode-steps 0", "expected max_episode_steps of at least 1, but found 0"),
    (
        "weigh small.hdf5 --method oper-r --base nan --out out/w.npz",
        "expected base from 0 to 1e+09, but found nan",
    ),
    (
        "weigh small.hdf5 --method oper-r --base -1 --out out/w.npz",
        "expected base from 0 to 1e+09, but found -1.0",
    ),
    (
        "weigh small.hdf5 --method oper-r --base inf --out out/w.npz",
        "expected base from 0 to 1e+09, but found inf",
    ),
    (
        "weigh small.hdf5 --method oper-r --base 1e308 --out out/w.npz",
        "expected base from 0 to 1e+09, but found 1e+308",
    ),
    (
        f"weigh small.hdf5 --method oper-r --base {HUGE} --out out/w.npz",
        "expected base from 0 to 1e+09, but found 1e+30",
    ),
    (
        "weigh small.hdf5 --method top --fraction 0 --out out/w.npz",
        "expected fraction in (0, 1], but found 0.0",
    ),
    (
        "weigh small.hdf5 --method top --fraction nan --out out/w.npz",
        "expected fraction in (0, 1], but found nan",
    ),
    (
        "weigh small.hdf5 --method top --fraction 1.5 --out out/w.npz",
        "expected fraction in (0, 1], but found 1.5",
    ),
    (
        "weigh small.hdf5 --method uniform --paper oper --out out/w.npz",
        "--paper oper has no meaning for --method uniform",
    ),
    (
        "weigh small.hdf5 --method reward --paper oper --out out/w.npz",
        "--paper oper has no meaning for --method reward",
    ),
    (
        "weigh small.hdf5 --method oper-a --paper aw-iql --out out/w.npz",
        "--paper aw-iql has no meaning for --method oper-a",
    ),
    (
        "weigh small.hdf5 --method reward --by-length --out out/w.npz",
        "--by-length has no meaning for --method reward",
    ),
    (
        "weigh small.hdf5 --method uniform --target-ess 0.5 --out out/w.npz",
        "expected target_ess between 1 and 1, which this method can reach on this",
    ),
    (
        "weigh small.hdf5 --method rw --out w.txt",
        "expected --out ending in .npz or .parquet, but found 'w.txt'",
    ),
    (
        "weigh small.hdf5 --method rw --out folder.npz",
        "cannot write folder.npz: it is a folder. Name a file.",
    ),
    (
        "weigh small.npz --method rw --out small.npz",
        "cannot write small.npz: it is read by this very command. Choose another --out.",
    ),
    (
        "weigh small.npz --method rw --out ./folder/../small.npz",
        "cannot write folder/../small.npz: it is read by this very command. Choose",
    ),
    (
        "weigh small.hdf5 --method rw --out nowhere/w.npz",
        "cannot write nowhere/w.npz: there is no folder nowhere. Make it first.",
    ),
    (
        "weigh small.hdf5 --method rw --out file/w.npz",
        "cannot write file/w.npz: there is no folder file. Make it first.",
    ),
    (f"weigh small.hdf5 --method rw --out {LONG}.npz", "cannot write"),
    (
        "weigh small.hdf5 --method rw --out /proc/w.npz",
        "cannot write /proc/w.npz (No such file or directory). Choose a writable path.",
    ),
    (
        "weigh small.hdf5 --method oper-a --out nowhere/w.npz",
        "cannot write nowhere/w.npz: there is no folder nowhere. Make it first.",
    ),
    (
        "weigh small.hdf5 --method oper-a --out folder.npz",
        "cannot write folder.npz: it is a folder. Name a file.",
    ),
    (
        "weigh small.hdf5 --method oper-a --out file/w.npz",
        "cannot write file/w.npz: there is no folder file. Make it first.",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --iteration 9",
        "expected iteration from 1 to 5, the number of stages, but found 9",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --iteration 0",
        "expected iteration from 1 to 5, the number of stages, but found 0",
    ),
    (
        f"weigh small.hdf5 --method oper-a --out out/w.npz --iteration {HUGE}",
        "expected iteration from 1 to 5, the number of stages",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --temperature 1",
        "--temperature has no meaning for --method oper-a",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set stages=0",
        "expected stages of at least 1, but found 0",
    ),
    (
        f"weigh small.hdf5 --method oper-a --out out/w.npz --set stages={HUGE}",
        "expected stages of at most 2147483647",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set stages=x",
        "expected stages to be int, but found 'x'",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set stages",
        "expected --set PATH=VALUE, but found 'stages'",
    ),
    ("weigh small.hdf5 --method oper-a --out out/w.npz --set =1", "expected a field of"),
    ("weigh small.hdf5 --method oper-a --out out/w.npz --set ''", "expected --set PATH=VALUE, but found ''"),
    ("weigh small.hdf5 --method oper-a --out out/w.npz --set stage=1", "expected a field of"),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set learning=1",
        "learning cannot be set on the command line",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set learning.stages.x=1",
        "expected a field after 'stages', but it has none",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set learning.=1",
        "learning. cannot be set on the command line",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set hidden=0",
        "expected hidden to be one or more positive widths, but found (0,)",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set hidden=",
        "expected hidden to be one or more positive widths, but found ()",
    ),
    (
        f"weigh small.hdf5 --method oper-a --out out/w.npz --set hidden={HUGE}",
        "expected hidden to be one or more positive widths",
    ),
    (
        f"weigh small.hdf5 --method oper-a --out out/w.npz --set batch_size={HUGE}",
        "expected batch_size of at most 2147483647",
    ),
    (
        f"weigh small.hdf5 --method oper-a --out out/w.npz --set stage_updates={HUGE}",
        "expected stage_updates of at most 2147483647",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set value_seeds=",
        "expected distinct value_seeds from 0 to 4294967295, but found []",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set value_seeds=0,0",
        "expected distinct value_seeds from 0 to 4294967295, but found [0, 0]",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set value_seeds=-1",
        "expected distinct value_seeds from 0 to 4294967295, but found [-1]",
    ),
    (
        f"weigh small.hdf5 --method oper-a --out out/w.npz --set value_seeds={HUGE}",
        "expected distinct value_seeds from 0 to 4294967295",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set discount=nan",
        "expected discount in [0, 1], but found nan",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set discount=2",
        "expected discount in [0, 1], but found 2.0",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set learning_rate=nan",
        "expected learning_rate above 0, but found nan",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set learning_rate=inf",
        "expected learning_rate above 0, but found inf",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set target_rate=2",
        "expected target_rate in (0, 1], but found 2.0",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set timeouts_end=maybe",
        "expected timeouts_end to be bool, but found 'maybe'",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set critic=w",
        "expected critic to be one of v, doublev, vq, but found 'w'",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --set solver=slow",
        "expected solver to be one of published, fast, but found 'slow'",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --eps 3 --eps-max 1",
        "expected eps_max above eps and 0, but found eps=3.0 and eps_max=1.0",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --std nan",
        "expected std of at least 0, but found nan",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --target-ess 2",
        "expected target_ess strictly between 0 and 1, but found 2.0",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --transform power --strength -1",
        "expected strength from 0 to 1e+09, but found -1.0",
    ),
    ("weigh nan.hdf5 --method oper-a --out out/w.npz", "expected finite numbers in 'rewards'"),
    ("weigh one.hdf5 --method oper-a --out out/w.npz", "expected at least 2 rows, but one.hdf5 has 1"),
]

BAD_TRAIN = [
    (
        "train nowhere.hdf5 --algorithm bc --num-updates 10 --out out/r",
        "expected a dataset at nowhere.hdf5, but there is no such file",
    ),
    ("train folder --algorithm bc --num-updates 10 --out out/r", "expected a file, but folder is a folder"),
    (
        "train small.csv --algorithm bc --num-updates 10 --out out/r",
        SPECS,
    ),
    ("train empty.hdf5 --algorithm bc --num-updates 10 --out out/r", "expected a complete HDF5 file"),
    (
        "train truncated.npz --algorithm bc --num-updates 10 --out out/r",
        "expected a complete .npz file of plain arrays",
    ),
    ("train renamed.hdf5 --algorithm bc --num-updates 10 --out out/r", "expected a complete HDF5 file"),
    ("train nan.hdf5 --algorithm bc --num-updates 10 --out out/r", "expected finite numbers in 'rewards'"),
    (
        "train endless.hdf5 --algorithm bc --num-updates 10 --out out/r",
        "expected 'timeouts' or a known episode limit, but endless.hdf5 has neither",
    ),
    (
        "train keyless.hdf5 --algorithm bc --num-updates 10 --out out/r",
        "expected the keys observations, actions, rewards, terminals",
    ),
    (
        "train builtin:nothing --algorithm bc --num-updates 10 --out out/r",
        "expected builtin:bandit or builtin:hopper-random-expert",
    ),
    (f"{BC} --out out/r --weights w-nan.npz", "expected finite, non-negative weights, not all 0"),
    (f"{BC} --out out/r --weights w-negative.npz", "expected finite, non-negative weights, not all 0"),
    (f"{BC} --out out/r --weights w-zero.npz", "expected finite, non-negative weights, not all 0"),
    (f"{BC} --out out/r --weights w-inf.npz", "expected finite, non-negative weights, not all 0"),
    (
        f"{BC} --out out/r --weights w-words.npz",
        "expected an array 'weight' of shape (N,), but w-words.npz has none",
    ),
    (
        f"{BC} --out out/r --weights w-flat.npz",
        "expected an array 'weight' of shape (N,), but w-flat.npz has none",
    ),
    (f"{BC} --out out/r --weights w-tiny.npz", "expected finite, non-negative weights, not all 0"),
    (f"{BC} --out out/r --weights w-twice.npz", "expected each 'index' from 0 to 379 once in w-twice.npz"),
    (f"{BC} --out out/r --weights w-episode.npz", "expected integers 'episode' of shape (380,)"),
    (f"{BC} --out out/r --weights w-raw.npz", "expected integers 'raw_index' of shape (380,)"),
    (f"{BC} --out out/r --weights w-priority.npz", "expected 'priority' of shape (seeds, stages, 380)"),
    (f"{BC} --out out/r --weights w-meta.npz", "expected a complete weights file"),
    (f"{BC} --out out/r --weights w-text.npz", "expected a complete weights file"),
    (f"{BC} --out out/r --weights w-digest.npz", "expected weights of"),
    (
        f"{BC} --out out/r --weights w-keyless.npz",
        "expected an array 'weight' of shape (N,), but w-keyless.npz has none",
    ),
    (
        f"{BC} --out out/r --weights w-short.npz",
        "expected 380 weights for small.hdf5, but w-short.npz holds 379",
    ),
    (f"{BC} --out out/r --weights w-truncated.npz", "expected a complete weights file"),
    (
        f"{BC} --out out/r --weights w-garbage.parquet",
        "expected a complete parquet file, but w-garbage.parquet cannot be read",
    ),
    (
        f"{BC} --out out/r --weights w-renamed.parquet",
        "expected a complete parquet file, but w-renamed.parquet cannot be read",
    ),
    (
        f"{BC} --out out/r --weights w-bandit.npz",
        "expected 380 weights for small.hdf5, but w-bandit.npz holds 10000",
    ),
    (
        f"{BC} --out out/r --weights small.npz",
        "expected an array 'weight' of shape (N,), but small.npz has none",
    ),
    (
        f"{BC} --out out/r --weights renamed.npz",
        "expected a complete weights file, but renamed.npz cannot be read (it is not a .npz",
    ),
    (f"{BC} --out out/r --weights empty.npz", "expected a complete weights file"),
    (f"{BC} --out out/r --weights garbage.npz", "expected a complete weights file"),
    (f"{BC} --out out/r --weights folder.npz", "expected a weights file at folder.npz, but there is none"),
    (f"{BC} --out out/r --weights nowhere.npz", "expected a weights file at nowhere.npz, but there is none"),
    (f"{BC} --out out/r --weights {LONG}.npz", "expected a weights file at"),
    (f"{BC} --out out/r --weights pickled.npz", "expected a complete weights file"),
    (
        f"{BC} --out out/r --weights '0.5*aw+0.5*w-nan.npz'",
        "expected finite, non-negative weights, not all 0",
    ),
    (f"{BC} --out out/r --weights aw:", "expected --weights aw:key=value, but found ''"),
    (
        f"{BC} --out out/r --weights aw:temperature",
        "expected --weights aw:key=value, but found 'temperature'",
    ),
    (f"{BC} --out out/r --weights aw:temperature=", "expected temperature to be float, but found ''"),
    (f"{BC} --out out/r --weights aw:temperature=x", "expected temperature to be float, but found 'x'"),
    (
        f"{BC} --out out/r --weights aw:temperature=nan",
        "expected temperature above 0, from 1e-09 to 1e+09, but found nan",
    ),
    (
        f"{BC} --out out/r --weights aw:temperature=inf",
        "expected temperature above 0, from 1e-09 to 1e+09, but found inf",
    ),
    (
        f"{BC} --out out/r --weights aw:temperature=0",
        "expected temperature above 0, from 1e-09 to 1e+09, but found 0.0",
    ),
    (
        f"{BC} --out out/r --weights aw:temperature=1e-320",
        "expected temperature above 0, from 1e-09 to 1e+09, but found 1e-320",
    ),
    (
        f"{BC} --out out/r --weights aw:=1",
        "expected a field of AW (by_length, guard, kept_rows_only, reward_shift, temperature)",
    ),
    (
        f"{BC} --out out/r --weights aw:heat=1",
        "expected a field of AW (by_length, guard, kept_rows_only, reward_shift, temperature)",
    ),
    (
        f"{BC} --out out/r --weights aw:temperature=1:x=2",
        "expected temperature to be float, but found '1:x=2'",
    ),
    (f"{BC} --out out/r --weights aw:temperature=1,", "expected --weights aw:key=value, but found ''"),
    (
        f"{BC} --out out/r --weights awx",
        "expected --weights to be one of uniform, oper-r, rw, aw, top, reward,",
    ),
    (
        f"{BC} --out out/r --weights AW",
        "expected --weights to be one of uniform, oper-r, rw, aw, top, reward,",
    ),
    (
        f"{BC} --out out/r --weights :",
        "expected --weights to be one of uniform, oper-r, rw, aw, top, reward,",
    ),
    (f"{BC} --out out/r --weights uniform:x=1", "expected a field of Uniform (), but found 'x'"),
    (
        f"{BC} --out out/r --weights 0.5*aw",
        "expected a mixture like 0.7*aw+0.3*uniform, whose shares add up to 1",
    ),
    (
        f"{BC} --out out/r --weights 0.5*aw+0.6*rw",
        "expected a mixture like 0.7*aw+0.3*uniform, whose shares add up to 1",
    ),
    (
        f"{BC} --out out/r --weights '0.5*aw+0.5'",
        "expected a mixture like 0.7*aw+0.3*uniform, whose shares add up to 1",
    ),
    (
        f"{BC} --out out/r --weights '0.5*aw+0.5*'",
        "expected --weights to be one of uniform, oper-r, rw, aw, top, reward,",
    ),
    (f"{BC} --out out/r --weights '*aw+*rw'", "expected a number before * in '*aw+*rw', but found ''"),
    (
        f"{BC} --out out/r --weights '0.5*0.4*aw+0.5*rw'",
        "expected a mixture like 0.7*aw+0.3*uniform, whose shares add up to 1",
    ),
    (
        f"{BC} --out out/r --weights '0.5*+0.5*rw'",
        "expected --weights to be one of uniform, oper-r, rw, aw, top, reward,",
    ),
    (f"{BC} --out out/r --weights 'nan*aw+nan*rw'", "expected share in [0, 1], but found nan"),
    (f"{BC} --out out/r --weights '2*aw+-1*rw'", "expected share in [0, 1], but found 2.0"),
    (f"{BC} --out out/r --weights 'inf*aw+-inf*rw'", "expected share in [0, 1], but found inf"),
    (
        f"{BC} --out out/r --weights 'x*aw+0.5*rw'",
        "expected a number before * in 'x*aw+0.5*rw', but found 'x'",
    ),
    (
        f"{BC} --out out/r --weights '0.5*awx+0.5*rw'",
        "expected --weights to be one of uniform, oper-r, rw, aw, top, reward,",
    ),
    (
        f"{BC} --out out/r --weights oper-a:iteration=9",
        "expected iteration from 1 to 5, the number of stages, but found 9",
    ),
    (f"{BC} --out out/r --weights oper-a:stages=0", "expected stages of at least 1, but found 0"),
    (
        f"{BC} --out out/r --weights oper-a:iteration=0",
        "expected iteration from 1 to 5, the number of stages, but found 0",
    ),
    (
        f"{BC} --out out/r --weights oper-a:value_seeds=",
        "expected distinct value_seeds from 0 to 4294967295, but found []",
    ),
    (f"{BC} --out out/r --weights oper-a:learning=1", "learning cannot be set on the command line"),
    (
        f"{BC} --out out/r --weights oper-a:hidden=0",
        "expected hidden to be one or more positive widths, but found (0,)",
    ),
    (f"{BC} --out out/r --weights oper-r:base=-1", "expected base from 0 to 1e+09, but found -1.0"),
    (f"{BC} --out out/r --weights oper-r:base=1e308", "expected base from 0 to 1e+09, but found 1e+308"),
    (f"{BC} --out out/r --weights oper-r:inverse=maybe", "expected inverse to be bool, but found 'maybe'"),
    (f"{BC} --out out/r --weights top:fraction=0", "expected fraction in (0, 1], but found 0.0"),
    (f"{BC} --out out/r --weights top:fraction=nan", "expected fraction in (0, 1], but found nan"),
    (
        f"{BC} --out out/r --weights reward:temperature=-1",
        "expected temperature above 0, from 1e-09 to 1e+09, but found -1.0",
    ),
    (
        f"{BC} --out out/r --weights w.npz:x=1",
        "expected --weights to be one of uniform, oper-r, rw, aw, top, reward,",
    ),
    (
        f"{BC} --out out/r --weights w.txt",
        "expected --weights to be one of uniform, oper-r, rw, aw, top, reward,",
    ),
    (
        f"{BC} --out out/r --weights small.hdf5",
        "expected --weights to be one of uniform, oper-r, rw, aw, top, reward,",
    ),
    (
        f"{BC} --out out/r --weights '0.5*uniform+0.5*uniform+0.5*aw'",
        "expected a mixture like 0.7*aw+0.3*uniform, whose shares add up to 1",
    ),
    (f"{BC} --out out/r --weights oper-a:stages={HUGE}", "expected stages of at most 2147483647"),
    (f"{TRAIN} --out out/r --seeds 0 0", "expected distinct --seeds from 0 to 4294967295, but found [0, 0]"),
    (f"{TRAIN} --out out/r --seeds -1", "expected distinct --seeds from 0 to 4294967295, but found [-1]"),
    (f"{TRAIN} --out out/r --seeds {HUGE}", "expected distinct --seeds from 0 to 4294967295"),
    (
        f"{TRAIN} --out out/r --seeds 4294967296",
        "expected distinct --seeds from 0 to 4294967295, but found [4294967296]",
    ),
    (
        f"{TRAIN} --out out/r --terms all,policy",
        "expected --terms all, policy, or some of evaluation,improvement,constraint",
    ),
    (
        f"{TRAIN} --out out/r --terms policy,",
        "expected --terms all, policy, or some of evaluation,improvement,constraint",
    ),
    (
        f"{TRAIN} --out out/r --terms wrong",
        "expected --terms all, policy, or some of evaluation,improvement,constraint",
    ),
    (
        f"{TRAIN} --out out/r --terms improvement",
        "expected --terms all, policy or evaluation for resampling, which draws at",
    ),
    (f"{TRAIN} --out out/r --hidden 0", "expected hidden to be one or more positive widths, but found (0,)"),
    (
        f"{TRAIN} --out out/r --hidden -4",
        "expected hidden to be one or more positive widths, but found (-4,)",
    ),
    (f"{TRAIN} --out out/r --hidden {HUGE}", "expected hidden to be one or more positive widths"),
    (f"{TRAIN} --out out/r --num-updates 0", "expected num_updates of at least 1, but found 0"),
    (f"{TRAIN} --out out/r --num-updates -2", "expected num_updates of at least 1, but found -2"),
    (
        f"{TRAIN} --out out/r --num-updates 11",
        "expected num_updates to be a multiple of 2 for td3-bc, whose updates are of 2 kinds",
    ),
    (f"{TRAIN} --out out/r --num-updates {HUGE}", "expected num_updates of at most 2147483647"),
    (f"{TRAIN} --out out/r --batch-size 0", "expected batch_size of at least 1, but found 0"),
    (f"{TRAIN} --out out/r --batch-size {HUGE}", "expected batch_size of at most 2147483647"),
    (f"{TRAIN} --out out/r --eval-interval 0", "expected evaluation interval of at least 1, but found 0"),
    (f"{TRAIN} --out out/r --eval-interval {HUGE}", "expected evaluation interval of at most 2147483647"),
    (f"{TRAIN} --out out/r --eval-episodes 0", "expected evaluation episodes of at least 1, but found 0"),
    (f"{TRAIN} --out out/r --eval-episodes {HUGE}", "expected evaluation episodes of at most 2147483647"),
    (
        f"{TRAIN} --out out/r --checkpoint-interval 0",
        "expected checkpoint_interval of at least 1, but found 0",
    ),
    (
        f"{TRAIN} --out out/r --checkpoint-interval {HUGE}",
        "expected checkpoint_interval of at most 2147483647",
    ),
    (f"{TRAIN} --out out/r --max-episode-steps 0", "expected max_episode_steps of at least 1, but found 0"),
    (f"{TRAIN} --out out/r --env Nowhere-v4", "expected an installed gymnasium environment"),
    (f"{TRAIN} --out out/r --env CartPole-v1", "expected a box of one axis as action space"),
    (
        f"{TRAIN} --out out/r --env Hopper-v4",
        "expected finite action bounds of 2 dimensions, as in small.hdf5",
    ),
    (
        f"{TRAIN} --out out/r --env Swimmer-v4",
        "expected an environment with observations (3,) as in the data",
    ),
    (f"{TRAIN} --out out/r --env a:b", "expected an installed gymnasium environment"),
    (f"{TRAIN} --out out/r --env a:b:c", "expected an installed gymnasium environment"),
    (f"{TRAIN} --out out/r --env :", "expected an installed gymnasium environment"),
    (
        f"{TRAIN} --out out/r --env ..:x",
        "expected an installed gymnasium environment, but '..:x' is none (the",
    ),
    (f"{TRAIN} --out out/r --env Hopper-v2", "expected an installed gymnasium environment"),
    (f"{TRAIN} --out out/r --env Hopper-v99", "expected an installed gymnasium environment"),
    (f"{TRAIN} --out out/r --env 'Höpper-v4'", "expected an installed gymnasium environment"),
    (f"{TRAIN} --out out/r --env {LONG}-v4", "expected an installed gymnasium environment"),
    (
        f"{TRAIN} --out out/r --env Pendulum-v1 --weights oper-a",
        "expected finite action bounds of 2 dimensions, as in small.hdf5",
    ),
    (f"{TRAIN} --out out/r --env Nowhere-v4 --weights oper-a", "expected an installed gymnasium environment"),
    (
        f"{TRAIN} --out out/r --env Swimmer-v4 --weights oper-a",
        "expected an environment with observations (3,) as in the data",
    ),
    (f"{TRAIN} --out file --weights oper-a", "cannot write in file (File exists). Choose another --out."),
    (
        f"{TRAIN} --out out/r --weights '0.5*oper-a+0.5*w-nan.npz'",
        "expected finite, non-negative weights, not all 0",
    ),
    (f"{TRAIN} --out run", "expected an empty folder or the same run in run"),
    (f"{TRAIN} --out file", "cannot write in file (File exists). Choose another --out."),
    (f"{TRAIN} --out file/r", "cannot write in file/r (Not a directory). Choose another --out."),
    (f"{TRAIN} --out {LONG}", "cannot write in"),
    (f"{TRAIN} --out /proc/r", "cannot write in /proc/r (No such file or directory). Choose another --out."),
    (f"{TRAIN} --out run-config-empty", "expected a run's config.json at run-config-empty/config.json"),
    (f"{TRAIN} --out run-config-list", "expected a run's config.json at run-config-list/config.json"),
    (
        f"{TRAIN} --out run-config-truncated",
        "expected a run's config.json at run-config-truncated/config.json",
    ),
    (f"{TRAIN} --out run-config-bytes", "expected a run's config.json at run-config-bytes/config.json"),
    (f"{TRAIN} --out run-config-folder", "expected a run's config.json at run-config-folder/config.json"),
    (f"{TRAIN} --out run-no-config", "expected run-no-config/config.json beside the trained seeds"),
    (
        f"{TRAIN} --out own-checkpoint-empty",
        "expected a checkpoint at own-checkpoint-empty/seed-0/checkpoint.npz",
    ),
    (
        f"{TRAIN} --out own-checkpoint-garbage",
        "expected a checkpoint at own-checkpoint-garbage/seed-0/checkpoint.npz",
    ),
    (
        f"{TRAIN} --out own-checkpoint-keyless",
        "expected a checkpoint at own-checkpoint-keyless/seed-0/checkpoint.npz",
    ),
    (
        f"{TRAIN} --out own-checkpoint-past",
        "expected a checkpoint at own-checkpoint-past/seed-0/checkpoint.npz",
    ),
    (
        f"{TRAIN} --out own-checkpoint-words",
        "expected a checkpoint at own-checkpoint-words/seed-0/checkpoint.npz",
    ),
    (
        f"{TRAIN} --out own-checkpoint-bytes",
        "expected a checkpoint at own-checkpoint-bytes/seed-0/checkpoint.npz",
    ),
    (f"{TRAIN} --out own-returns-garbage", "expected evaluations at own-returns-garbage/seed-0/returns.npz"),
    (f"{TRAIN} --out own-result-list", "expected a run's result.json at own-result-list/seed-0/result.json"),
    (
        f"{TRAIN} --out own-result-empty",
        "expected a run's result.json at own-result-empty/seed-0/result.json",
    ),
    (
        f"{TRAIN} --out own-result-words",
        "expected a number as last_ten_score in own-result-words/seed-0/result.json",
    ),
    (f"{TRAIN} --out own-unclaimed", "expected own-unclaimed/config.json beside the trained seeds"),
    (
        f"{TRAIN} --out own-seed-file",
        "cannot write in own-seed-file/seed-0, which is a file. Choose another --out.",
    ),
    (f"{TRAIN} --out own-config-list", "expected a run's config.json at own-config-list/config.json"),
    (f"{TRAIN} --out out/r --set alpha=1", "Did you mean algorithm.alpha?"),
    (f"{TRAIN} --out out/r --set algorithm.constraint_clip=hard", "expected weights on the constraint term"),
    (f"{TRAIN} --out out/r --set algorithm.alpha=much", "expected alpha to be float, but found 'much'"),
    (f"{TRAIN} --out out/r --set algorithm.alpha=nan", "expected alpha of at least 0, but found nan"),
    (f"{TRAIN} --out out/r --set algorithm.alpha=inf", "expected alpha of at least 0, but found inf"),
    (f"{TRAIN} --out out/r --set algorithm.alpha=-1", "expected alpha of at least 0, but found -1.0"),
    (
        f"{TRAIN} --out out/r --set algorithm.policy_noise=inf",
        "expected policy_noise of at least 0, but found inf",
    ),
    (
        f"{TRAIN} --out out/r --set algorithm.learning_rate=inf",
        "expected learning_rate above 0, but found inf",
    ),
    (f"{TRAIN} --out out/r --set algorithm.learning_rate=0", "expected learning_rate above 0, but found 0.0"),
    (f"{TRAIN} --out out/r --set algorithm.alpha", "expected --set PATH=VALUE, but found 'algorithm.alpha'"),
    (f"{TRAIN} --out out/r --set ''", "expected --set PATH=VALUE, but found ''"),
    (f"{TRAIN} --out out/r --set =", "expected a field of"),
    (f"{TRAIN} --out out/r --set algorithm=iql", "algorithm cannot be set on the command line"),
    (f"{TRAIN} --out out/r --set algorithm.=1", "algorithm. cannot be set on the command line"),
    (f"{TRAIN} --out out/r --set .alpha=1", "expected a field of"),
    (f"{TRAIN} --out out/r --set algorithm.alpha.x=1", "expected a field after 'alpha', but it has none"),
    (f"{TRAIN} --out out/r --set algorithm.name=iql", "expected a field of"),
    (
        f"{TRAIN} --out out/r --set algorithm.hidden=",
        "expected hidden to be one or more positive widths, but found ()",
    ),
    (f"{TRAIN} --out out/r --set algorithm.hidden=x", "expected hidden to be tuple, but found 'x'"),
    (f"{TRAIN} --out out/r --set rebalance.weights=aw", "weights cannot be set on the command line"),
    (
        f"{TRAIN} --out out/r --set rebalance.terms=x",
        "expected terms to be one of all, policy, evaluation, but found 'x'",
    ),
    (
        f"{TRAIN} --out out/r --set rebalance.progressive_updates=0",
        "expected progressive_updates of at least 1, but found 0",
    ),
    (
        f"{TRAIN} --out out/r --set rebalance.progressive_updates={HUGE}",
        "expected progressive_updates of at most 2147483647",
    ),
    (f"{TRAIN} --out out/r --set discount=nan", "expected discount in [0, 1], but found nan"),
    (f"{TRAIN} --out out/r --set discount=1.5", "expected discount in [0, 1], but found 1.5"),
    (f"{TRAIN} --out out/r --set action_limit=0", "expected action_limit in (0, 1], but found 0.0"),
    (f"{TRAIN} --out out/r --set action_limit=nan", "expected action_limit in (0, 1], but found nan"),
    (
        f"{TRAIN} --out out/r --set reward=more",
        "expected reward to be one of none, minus-one, minus-ten, return-range, kept-return-range",
    ),
    (
        f"{TRAIN} --out out/r --set normalize_observations=perhaps",
        "expected normalize_observations to be bool, but found 'perhaps'",
    ),
    (f"{TRAIN} --out out/r --set log_interval=0", "expected log_interval of at least 1, but found 0"),
    (
        f"{TRAIN} --out out/r --set log_interval=7",
        "expected log_interval to be a multiple of 2 for td3-bc, whose updates are of 2 kinds",
    ),
    (f"{TRAIN} --out out/r --set log_interval={HUGE}", "expected log_interval of at most 2147483647"),
    (
        f"{TRAIN} --out out/r --set data.spec=nowhere.hdf5",
        "expected a dataset at nowhere.hdf5, but there is no such file",
    ),
    (
        f"{TRAIN} --out out/r --set data.max_episode_steps=0",
        "expected max_episode_steps of at least 1, but found 0",
    ),
    (
        f"{TRAIN} --out out/r --set data.episode_ends=x",
        "expected episode_ends to be one of flags, discontinuity, but found 'x'",
    ),
    (
        f"{TRAIN} --out out/r --set evaluation.interval=0",
        "expected evaluation interval of at least 1, but found 0",
    ),
    (f"{TRAIN} --out out/r --set evaluation.enabled=2", "expected enabled to be bool, but found '2'"),
    (f"{TRAIN} --out out/r --paper aw-iql", "expected --algorithm iql with --paper aw-iql, but found td3-bc"),
    (
        f"{BC} --out out/r --terms evaluation",
        "expected the constraint term among the weighted ones, because it is the",
    ),
    (
        f"{BC} --out out/r --set algorithm.policy=x",
        "expected policy to be one of normal, truncated, squashed, deterministic",
    ),
    (
        f"{BC} --out out/r --rebalance reweight --terms evaluation",
        "expected the constraint term among the weighted ones, because it is the",
    ),
    (
        f"{IQL} --out out/r --set algorithm.expectile=1",
        "expected expectile strictly between 0 and 1, but found 1.0",
    ),
    (
        f"{IQL} --out out/r --set algorithm.inverse_temperature=inf",
        "expected inverse_temperature of at least 0, but found inf",
    ),
    (
        f"{IQL} --out out/r --set algorithm.advantage_limit=nan",
        "expected advantage_limit above 0, but found nan",
    ),
    (
        f"{IQL} --out out/r --rebalance reweight --terms improvement",
        "expected improvement and constraint to be weighted alike for iql, whose",
    ),
    (
        f"{IQL} --out out/r --paper aw-td3bc",
        "expected --algorithm td3-bc with --paper aw-td3bc, but found iql",
    ),
    ("train elsewhere.npz --algorithm bc --out out/r", "expected an installed gymnasium environment"),
]

BAD_MIX = [
    (f"{MIX} --out wide.hdf5", "cannot write wide.hdf5: what is there was not written"),
    (
        "mix --good nowhere.hdf5 --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected a dataset at nowhere.hdf5, but there is no such file",
    ),
    (
        "mix --bad nowhere.hdf5 --good small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected a dataset at nowhere.hdf5, but there is no such file",
    ),
    (
        "mix --good folder --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected a file, but folder is a folder",
    ),
    (
        "mix --good small.csv --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        SPECS,
    ),
    (
        "mix --good empty.hdf5 --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected a complete HDF5 file",
    ),
    (
        "mix --good truncated.npz --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected a complete .npz file of plain arrays",
    ),
    (
        "mix --good renamed.hdf5 --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected a complete HDF5 file",
    ),
    (
        "mix --good nan.hdf5 --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected finite numbers in 'rewards'",
    ),
    (
        "mix --bad nan.hdf5 --good small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected finite numbers in 'rewards'",
    ),
    (
        "mix --good endless.hdf5 --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected 'timeouts' or a known episode limit in both sources",
    ),
    (
        "mix --good keyless.hdf5 --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected the keys observations, actions, rewards, terminals",
    ),
    (
        "mix --good builtin:nothing --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected builtin:bandit or builtin:hopper-random-expert",
    ),
    (
        "mix --good 'no\nsuch.hdf5' --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected a dataset at no\\nsuch.hdf5, but there is no such file",
    ),
    (
        "mix --bad 'no\nsuch.hdf5' --good small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "expected a dataset at no\\nsuch.hdf5, but there is no such file",
    ),
    (f"{MIX} --out out/m.txt", "expected --out ending in .hdf5 or .h5, but found 'out/m.txt'"),
    (f"{MIX} --out out/m", "expected --out ending in .hdf5 or .h5, but found 'out/m'"),
    (f"{MIX} --out folder.hdf5", "cannot write folder.hdf5: it is a folder. Name a file."),
    (
        f"{MIX} --out small.hdf5",
        "cannot write small.hdf5: it is read by this very command. Choose another --out.",
    ),
    (
        f"{MIX} --out ./folder/../small.hdf5",
        "cannot write folder/../small.hdf5: it is read by this very command. Choose",
    ),
    (
        f"{MIX} --out nowhere/m.hdf5",
        "cannot write nowhere/m.hdf5: there is no folder nowhere. Make it first.",
    ),
    (f"{MIX} --out file/m.hdf5", "cannot write file/m.hdf5: there is no folder file. Make it first."),
    (f"{MIX} --out {LONG}.hdf5", "cannot write"),
    (f"{MIX} --out /proc/m.hdf5", "cannot write /proc/m.hdf5 ([Errno 2] Unable to synchronously create file"),
    (f"{MIX} --out .hdf5", "expected --out ending in .hdf5 or .h5, but found '.hdf5'"),
    (f"{MIX} --out out", "expected --out ending in .hdf5 or .h5, but found 'out'"),
    (f"{MIX} --out out/m.hdf5 --ratio nan", "expected ratio strictly between 0 and 1, but found nan"),
    (f"{MIX} --out out/m.hdf5 --ratio inf", "expected ratio strictly between 0 and 1, but found inf"),
    (f"{MIX} --out out/m.hdf5 --ratio 0", "expected ratio strictly between 0 and 1, but found 0.0"),
    (f"{MIX} --out out/m.hdf5 --ratio 1", "expected ratio strictly between 0 and 1, but found 1.0"),
    (f"{MIX} --out out/m.hdf5 --ratio -0.5", "expected ratio strictly between 0 and 1, but found -0.5"),
    (f"{MIX} --out out/m.hdf5 --ratio 1e-300", "expected a ratio that asks for rows of the good source"),
    (f"{MIX} --out out/m.hdf5 --size 0", "expected size from 2 to 2147483647 rows, but found 0"),
    (f"{MIX} --out out/m.hdf5 --size 1", "expected size from 2 to 2147483647 rows, but found 1"),
    (f"{MIX} --out out/m.hdf5 --size -5", "expected size from 2 to 2147483647 rows, but found -5"),
    (f"{MIX} --out out/m.hdf5 --size {HUGE}", "expected size from 2 to 2147483647 rows"),
    (f"{MIX} --out out/m.hdf5 --seed -1", "expected seed from 0 to below 2^63, but found -1"),
    (f"{MIX} --out out/m.hdf5 --seed {HUGE}", "expected seed from 0 to below 2^63"),
    (
        f"{MIX} --out out/m.hdf5 --max-episode-steps 0",
        "expected --max-episode-steps of at least 1, but found 0",
    ),
    (
        f"{MIX} --out out/m.hdf5 --max-episode-steps -1",
        "expected --max-episode-steps of at least 1, but found -1",
    ),
    (
        f"{MIX} --out out/m.hdf5 --without-replacement --size 100000",
        "expected 50000 rows of the good source, but all its 40 episodes hold 400",
    ),
    (
        f"{MIX.replace('--bad small', '--bad wide')} --out out/m.hdf5",
        "expected sources of equal observation width",
    ),
    (
        f"{MIX.replace('--bad small', '--bad pendulum')} --out out/m.hdf5",
        "expected sources of equal action width",
    ),
    ("mix --good small.hdf5 --ratio 0.5 --out out/m.hdf5", "but --bad is missing"),
    ("mix --bad small.hdf5 --ratio 0.5 --out out/m.hdf5", "but --good is missing"),
    ("mix --good small.hdf5 --bad small.hdf5 --out out/m.hdf5", "but --ratio is missing"),
    (MIX, "expected --out F.hdf5, the file to write, but found none"),
    ("mix --suite hopper-random-expert-0.05-v2", "expected --out F.hdf5, the file to write, but found none"),
    (
        "mix --suite hopper-random-expert-0.07-v2 --out out/m.hdf5",
        "expected the name of an imbalanced dataset, but found 'hopper-random-expert-0.07-v2'. Did you mean "
        "hopper-random-expert-0.05-v2",
    ),
    (
        "mix --suite ant-random-expert-partial-0.1-50000-v2 --out out/m.hdf5",
        "expected the name of an imbalanced dataset, but found 'ant-random-expert-partial-0.1-50000-v2'",
    ),
    (
        "mix --suite hopper-random-expert-0.05-v2 --kind segments --out out/m.hdf5",
        "--kind has no meaning with --suite, whose name fixes it",
    ),
    (
        f"{MIX} --suite hopper-random-expert-0.05-v2 --out out/m.hdf5",
        "--ratio has no meaning with --suite, whose name fixes it",
    ),
    (
        "mix --suite hopper-random-expert-0.05-v2 --good small.hdf5 --out out/m.hdf5",
        "but --bad is missing",
    ),
    (
        "mix --suite ant-random-expert-0.1-v2 --good small.hdf5:0.2 --bad small.hdf5:0.8 --out out/m.hdf5",
        "expected one --good and one --bad without shares with --suite",
    ),
    (
        f"{MIX} --bad small.hdf5 --out out/m.hdf5",
        "--ratio belongs to one --good and one --bad",
    ),
    (
        "mix --good small.hdf5:0.5 --bad small.hdf5 --out out/m.hdf5",
        "expected a share after each of several sources, as small.hdf5:0.3, but small.hdf5 has none",
    ),
    (
        "mix --good small.hdf5:0.5 --bad small.hdf5:0.6 --out out/m.hdf5",
        "that add up to 1, but found 0.5, 0.6, together 1.1",
    ),
    (
        "mix --good small.hdf5:nan --bad small.hdf5:0.6 --out out/m.hdf5",
        "that add up to 1, but found nan, 0.6, together nan",
    ),
    (
        "mix --good small.hdf5:1.5 --bad small.hdf5:-0.5 --out out/m.hdf5",
        "that add up to 1, but found 1.5, -0.5, together 1",
    ),
    (
        "mix --good small.hdf5:0.5 --bad small.hdf5:0.25 --bad wide.hdf5:0.25 --out out/m.hdf5",
        "expected sources of equal observation width, but the good (small.hdf5) one has 3 and the bad "
        "(wide.hdf5) one 6",
    ),
    (
        f"{MIX} --share episodes --without-replacement --out out/m.hdf5",
        "expected 50 episodes of the good source, but all its 40 episodes are drawn",
    ),
    ("inspect suite:hopper", "expected the name of an imbalanced dataset, but found 'hopper'"),
    ("inspect suite:", "expected the name of an imbalanced dataset, but found ''"),
    ("train suite:nothing --algorithm bc --out out/r", "expected the name of an imbalanced dataset"),
    (
        "mix --good endless.hdf5 --bad small.hdf5 --ratio 0.5 --out out/m.hdf5 --max-episode-steps 0",
        "expected --max-episode-steps of at least 1, but found 0",
    ),
    (
        "mix --good endless.hdf5 --bad small.hdf5 --ratio 0.5 --out out/m.hdf5 --max-episode-steps -5",
        "expected --max-episode-steps of at least 1, but found -5",
    ),
]

BAD_PLOT = [
    (
        "plot weights w.npz --data nowhere.hdf5 --out out/p.png",
        "expected a dataset at nowhere.hdf5, but there is no such file",
    ),
    ("plot weights w.npz --data folder --out out/p.png", "expected a file, but folder is a folder"),
    (
        "plot weights w.npz --data small.csv --out out/p.png",
        SPECS,
    ),
    ("plot weights w.npz --data empty.hdf5 --out out/p.png", "expected a complete HDF5 file"),
    (
        "plot weights w.npz --data truncated.npz --out out/p.png",
        "expected a complete .npz file of plain arrays",
    ),
    ("plot weights w.npz --data renamed.hdf5 --out out/p.png", "expected a complete HDF5 file"),
    ("plot weights w.npz --data nan.hdf5 --out out/p.png", "expected finite numbers in 'rewards'"),
    (
        "plot weights w.npz --data endless.hdf5 --out out/p.png",
        "expected 'timeouts' or a known episode limit, but endless.hdf5 has neither",
    ),
    (
        "plot weights w.npz --data keyless.hdf5 --out out/p.png",
        "expected the keys observations, actions, rewards, terminals",
    ),
    (
        "plot weights w.npz --data builtin:nothing --out out/p.png",
        "expected builtin:bandit or builtin:hopper-random-expert",
    ),
    ("plot weights w-nan.npz --out out/p.png", "expected finite, non-negative weights, not all 0"),
    ("plot weights w-negative.npz --out out/p.png", "expected finite, non-negative weights, not all 0"),
    ("plot weights w-zero.npz --out out/p.png", "expected finite, non-negative weights, not all 0"),
    ("plot weights w-inf.npz --out out/p.png", "expected finite, non-negative weights, not all 0"),
    (
        "plot weights w-words.npz --out out/p.png",
        "expected an array 'weight' of shape (N,), but w-words.npz has none",
    ),
    (
        "plot weights w-flat.npz --out out/p.png",
        "expected an array 'weight' of shape (N,), but w-flat.npz has none",
    ),
    ("plot weights w-tiny.npz --out out/p.png", "expected finite, non-negative weights, not all 0"),
    ("plot weights w-twice.npz --out out/p.png", "expected each 'index' from 0 to 379 once in w-twice.npz"),
    ("plot weights w-episode.npz --out out/p.png", "expected integers 'episode' of shape (380,)"),
    ("plot weights w-raw.npz --out out/p.png", "expected integers 'raw_index' of shape (380,)"),
    ("plot weights w-priority.npz --out out/p.png", "expected 'priority' of shape (seeds, stages, 380)"),
    ("plot weights w-meta.npz --out out/p.png", "expected a complete weights file"),
    ("plot weights w-text.npz --out out/p.png", "expected a complete weights file"),
    ("plot weights w-digest.npz --out out/p.png", "expected weights of"),
    (
        "plot weights w-homeless.npz --out out/p.png",
        "expected the dataset of w-homeless.npz, but the file names none",
    ),
    (
        "plot weights w-moved.npz --out out/p.png",
        "expected a dataset at moved.hdf5, but there is no such file",
    ),
    (
        "plot weights w-number.npz --out out/p.png",
        "expected the dataset of w-number.npz, but the file names none",
    ),
    (
        "plot weights w-keyless.npz --out out/p.png",
        "expected an array 'weight' of shape (N,), but w-keyless.npz has none",
    ),
    (
        "plot weights w-short.npz --out out/p.png",
        "expected the dataset of w-short.npz, but the file names none",
    ),
    ("plot weights w-truncated.npz --out out/p.png", "expected a complete weights file"),
    (
        "plot weights w-garbage.parquet --out out/p.png",
        "expected a complete parquet file, but w-garbage.parquet cannot be read",
    ),
    (
        "plot weights w-renamed.parquet --out out/p.png",
        "expected a complete parquet file, but w-renamed.parquet cannot be read",
    ),
    (
        "plot weights small.npz --out out/p.png",
        "expected an array 'weight' of shape (N,), but small.npz has none",
    ),
    (
        "plot weights renamed.npz --out out/p.png",
        "expected a complete weights file, but renamed.npz cannot be read (it is not a .npz",
    ),
    ("plot weights empty.npz --out out/p.png", "expected a complete weights file"),
    ("plot weights garbage.npz --out out/p.png", "expected a complete weights file"),
    ("plot weights folder.npz --out out/p.png", "expected a weights file at folder.npz, but there is none"),
    ("plot weights nowhere.npz --out out/p.png", "expected a weights file at nowhere.npz, but there is none"),
    (f"plot weights {LONG}.npz --out out/p.png", "expected a weights file at"),
    ("plot weights pickled.npz --out out/p.png", "expected a complete weights file"),
    (
        "plot weights '0.5*aw+0.5*w-nan.npz' --out out/p.png",
        "expected a weights file at 0.5*aw+0.5*w-nan.npz, but there is none",
    ),
    (
        "plot runs nowhere --out out/p.png",
        "expected a run's config.json at nowhere/config.json",
    ),
    (
        "plot runs file --out out/p.png",
        "expected a run's config.json at file/config.json",
    ),
    ("plot runs . --out out/p.png", "expected a run's config.json at config.json"),
    (
        "plot runs folder --out out/p.png",
        "expected a run's config.json at folder/config.json",
    ),
    (
        "plot runs small.hdf5 --out out/p.png",
        "expected a run's config.json at small.hdf5/config.json",
    ),
    (
        "plot runs w.npz --out out/p.png",
        "expected a run's config.json at w.npz/config.json",
    ),
    (f"plot runs {LONG} --out out/p.png", "expected a run's config.json at"),
    (
        "plot runs 'no\nsuch' --out out/p.png",
        "expected a run's config.json at no\\nsuch/config.json",
    ),
    ("plot runs Δ --out out/p.png", "expected a run's config.json at Δ/config.json"),
    (
        "plot runs run/seed-0 --out out/p.png",
        "expected a run's config.json at run/seed-0/config.json",
    ),
    (
        "plot runs run/config.json --out out/p.png",
        "expected a run's config.json at run/config.json/config.json",
    ),
    ("plot runs run-no-seeds --out out/p.png", "expected evaluated seeds in run-no-seeds"),
    ("plot runs run-odd-seed --out out/p.png", "expected evaluated seeds in run-odd-seed"),
    (
        "plot runs run-policy-missing --out out/p.png",
        "expected a policy at run-policy-missing/seed-0/policy.npz",
    ),
    ("plot runs run-policy-empty --out out/p.png", "expected a policy at run-policy-empty/seed-0/policy.npz"),
    (
        "plot runs run-policy-truncated --out out/p.png",
        "expected a policy at run-policy-truncated/seed-0/policy.npz",
    ),
    (
        "plot runs run-policy-garbage --out out/p.png",
        "expected a policy at run-policy-garbage/seed-0/policy.npz",
    ),
    (
        "plot runs run-policy-renamed --out out/p.png",
        "expected a policy at run-policy-renamed/seed-0/policy.npz",
    ),
    (
        "plot runs run-policy-keyless --out out/p.png",
        "expected a policy at run-policy-keyless/seed-0/policy.npz",
    ),
    (
        "plot runs run-policy-no-layers --out out/p.png",
        "expected layers that lead from observations to actions in",
    ),
    ("plot runs run-policy-nan --out out/p.png", "expected a policy at run-policy-nan/seed-0/policy.npz"),
    (
        "plot runs run-policy-shapes --out out/p.png",
        "expected layers that lead from observations to actions in",
    ),
    (
        "plot runs run-policy-bias --out out/p.png",
        "expected layers that lead from observations to actions in",
    ),
    (
        "plot runs run-policy-bounds --out out/p.png",
        "expected layers that lead from observations to actions in",
    ),
    ("plot runs run-policy-meta --out out/p.png", "expected 'meta' to name an environment or none in"),
    ("plot runs run-policy-env --out out/p.png", "expected 'meta' to name an environment or none in"),
    (
        "plot runs run-policy-folder --out out/p.png",
        "expected a policy at run-policy-folder/seed-0/policy.npz",
    ),
    (
        "plot runs run-returns-rows --out out/p.png",
        "expected a row of returns and lengths for each update in",
    ),
    (
        "plot runs run-returns-flat --out out/p.png",
        "expected a row of returns and lengths for each update in",
    ),
    (
        "plot runs run-returns-words --out out/p.png",
        "expected a row of returns and lengths for each update in",
    ),
    ("plot runs run-returns-nan --out out/p.png", "expected finite returns in run-returns-nan"),
    (
        "plot runs run-returns-no-episodes --out out/p.png",
        "expected a row of returns and lengths for each update in",
    ),
    (
        "plot runs run-returns-none --out out/p.png",
        "expected evaluated seeds in run-returns-none",
    ),
    (
        "plot runs run-returns-missing --out out/p.png",
        "expected evaluated seeds in run-returns-missing",
    ),
    (
        "plot runs run-returns-keyless --out out/p.png",
        "expected evaluations at run-returns-keyless/seed-0/returns.npz",
    ),
    (
        "plot runs run-returns-truncated --out out/p.png",
        "expected evaluations at run-returns-truncated/seed-0/returns.npz",
    ),
    (
        "plot runs run-returns-empty --out out/p.png",
        "expected evaluations at run-returns-empty/seed-0/returns.npz",
    ),
    (
        "plot runs run-returns-apart --out out/p.png",
        "expected seeds evaluated at the same updates",
    ),
    (
        "plot runs run-half-evaluated --out out/p.png",
        "expected evaluated seeds in run-half-evaluated",
    ),
    (
        "plot weights w.npz --out out/p.txt",
        "expected --out ending in .png or .pdf or .svg, but found 'out/p.txt'",
    ),
    ("plot runs run --out out/p.txt", "expected --out ending in .png or .pdf or .svg, but found 'out/p.txt'"),
    ("plot weights w.npz --out out/p", "expected --out ending in .png or .pdf or .svg, but found 'out/p'"),
    ("plot runs run --out out/p", "expected --out ending in .png or .pdf or .svg, but found 'out/p'"),
    ("plot weights w.npz --out folder", "expected --out ending in .png or .pdf or .svg, but found 'folder'"),
    ("plot runs run --out folder", "expected --out ending in .png or .pdf or .svg, but found 'folder'"),
    (
        "plot weights w.npz --out small.hdf5",
        "expected --out ending in .png or .pdf or .svg, but found 'small.hdf5'",
    ),
    (
        "plot runs run --out small.hdf5",
        "expected --out ending in .png or .pdf or .svg, but found 'small.hdf5'",
    ),
    (
        "plot weights w.npz --out nowhere/p.png",
        "cannot write nowhere/p.png: there is no folder nowhere. Make it first.",
    ),
    (
        "plot runs run --out nowhere/p.png",
        "cannot write nowhere/p.png: there is no folder nowhere. Make it first.",
    ),
    (
        "plot weights w.npz --out file/p.png",
        "cannot write file/p.png: there is no folder file. Make it first.",
    ),
    ("plot runs run --out file/p.png", "cannot write file/p.png: there is no folder file. Make it first."),
    (f"plot weights w.npz --out {LONG}.png", "cannot write"),
    (f"plot runs run --out {LONG}.png", "cannot write"),
    (
        "plot weights w.npz --out /proc/p.png",
        "cannot write /proc/p.png (No such file or directory). Choose a writable path.",
    ),
    (
        "plot runs run --out /proc/p.png",
        "cannot write /proc/p.png (No such file or directory). Choose a writable path.",
    ),
    ("plot weights w.npz --out .png", "expected --out ending in .png or .pdf or .svg, but found '.png'"),
    ("plot runs run --out .png", "expected --out ending in .png or .pdf or .svg, but found '.png'"),
    ("plot weights w.npz --out out", "expected --out ending in .png or .pdf or .svg, but found 'out'"),
    ("plot runs run --out out", "expected --out ending in .png or .pdf or .svg, but found 'out'"),
    ("plot weights w.npz --out w.npz", "expected --out ending in .png or .pdf or .svg, but found 'w.npz'"),
    ("plot runs run --out w.npz", "expected --out ending in .png or .pdf or .svg, but found 'w.npz'"),
    ("plot runs run --data small.hdf5 --out out/p.png", "--data has no meaning for plot runs"),
    ("plot weights run --out out/p.png", "expected a weights file at run, but there is none"),
    (
        "plot weights w.npz nowhere.npz --out out/p.png",
        "expected a weights file at nowhere.npz, but there is none",
    ),
    ("plot weights w.npz w-nan.npz --out out/p.png", "expected finite, non-negative weights, not all 0"),
    (
        "plot weights w.npz --data builtin:bandit --out out/p.png",
        "expected 10000 weights for builtin:bandit, but w.npz holds 380",
    ),
    ("plot weights w.npz --data wide.hdf5 --out out/p.png", "expected weights of"),
    (
        "plot weights w.png --out w.png",
        "cannot write w.png: it is read by this very command. Choose another --out.",
    ),
    (
        "plot runs run run-returns-none --out out/p.png",
        "expected evaluated seeds in run-returns-none",
    ),
    (
        "plot runs run nowhere --out out/p.png",
        "expected a run's config.json at nowhere/config.json",
    ),
]

BAD_USAGE = [
    ("inspect ''", "argument DATA: expected a name, but found ''"),
    ("weigh '' --method rw --out out/w.npz", "argument DATA: expected a name, but found ''"),
    ("train '' --algorithm bc --num-updates 10 --out out/r", "argument DATA: expected a name, but found ''"),
    (
        "mix --good '' --bad small.hdf5 --ratio 0.5 --size 100 --out out/m.hdf5",
        "argument --good: expected a name, but found ''",
    ),
    ("plot weights w.npz --data '' --out out/p.png", "argument --data: expected a name, but found ''"),
    ("inspect small.hdf5 --max-episode-steps 1.5", "argument --max-episode-steps: invalid int value: '1.5'"),
    ("inspect small.hdf5 --max-episode-steps nan", "argument --max-episode-steps: invalid int value: 'nan'"),
    ("inspect small.hdf5 --episode-ends maybe", "argument --episode-ends: invalid choice: 'maybe'"),
    ("inspect small.hdf5 --envv x", "unknown argument --envv; did you mean --env?"),
    ("inspect small.hdf5 ''", "unknown argument ''"),
    ("inspect small.hdf5 extra", "unknown argument extra"),
    ("inspect small.hdf5 --env ''", "argument --env: expected a name, but found ''"),
    ("inspect small.hdf5 --env", "argument --env: expected one argument"),
    ("inspect", "the following arguments are required: DATA"),
    ("inspect --json", "the following arguments are required: DATA"),
    (f"{WEIGH} --temperature x", "argument --temperature: invalid float value: 'x'"),
    (f"{WEIGH} --temperature ''", "argument --temperature: invalid float value: ''"),
    (f"{WEIGH} --method bad", "argument --method: invalid choice: 'bad'"),
    (f"{WEIGH} --paper x", "argument --paper: invalid choice: 'x'"),
    (f"{WEIGH} --transform exp --strength -1e308", "argument --strength: expected one argument"),
    (f"{WEIGH} --transform cubic", "argument --transform: invalid choice: 'cubic'"),
    (f"{WEIGH} --clip-actions=3", "argument --clip-actions: ignored explicit argument '3'"),
    ("weigh small.hdf5 --method rw --out ''", "argument --out: expected a name, but found ''"),
    ("weigh small.hdf5 --method rw", "the following arguments are required: --out"),
    ("weigh small.hdf5 --out w.npz", "the following arguments are required: --method"),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --solver slow",
        "argument --solver: invalid choice: 'slow'",
    ),
    (
        "weigh small.hdf5 --method oper-a --out out/w.npz --preset chess",
        "argument --preset: invalid choice: 'chess'",
    ),
    (f"{BC} --out out/r --weights ''", "argument --weights: expected a name, but found ''"),
    (f"{TRAIN} --out out/r --seeds", "argument --seeds: expected at least one argument"),
    (f"{TRAIN} --out out/r --seeds x", "argument --seeds: invalid int value: 'x'"),
    (f"{TRAIN} --out out/r --seeds 1.5", "argument --seeds: invalid int value: '1.5'"),
    (f"{TRAIN} --out out/r --terms ''", "argument --terms: expected a name, but found ''"),
    (f"{TRAIN} --out out/r --rebalance sometimes", "argument --rebalance: invalid choice: 'sometimes'"),
    (f"{TRAIN} --out out/r --hidden", "argument --hidden: expected at least one argument"),
    (f"{TRAIN} --out out/r --hidden 1.5", "argument --hidden: invalid int value: '1.5'"),
    (f"{TRAIN} --out out/r --num-updates 1e6", "argument --num-updates: invalid int value: '1e6'"),
    (f"{TRAIN} --out out/r --episode-ends x", "argument --episode-ends: invalid choice: 'x'"),
    (f"{TRAIN} --out out/r --env ''", "argument --env: expected a name, but found ''"),
    (f"{TRAIN} --out ''", "argument --out: expected a name, but found ''"),
    (f"{TRAIN} --out out/r --paper x", "argument --paper: invalid choice: 'x'"),
    (f"{TRAIN} --out out/r --preset x", "argument --preset: invalid choice: 'x'"),
    (f"{TRAIN} --out out/r --algorithm x", "argument --algorithm: invalid choice: 'x'"),
    (f"{TRAIN} --out out/r --num-updates", "argument --num-updates: expected one argument"),
    (f"{TRAIN} --out out/r --weigths aw", "unknown argument --weigths; did you mean --weights?"),
    ("train small.hdf5", "the following arguments are required: --algorithm"),
    ("train --algorithm bc", "the following arguments are required: DATA"),
    ("evaluate '' --episodes 1", "argument RUN: expected a name, but found ''"),
    (
        "collect --env Pendulum-v1 --policy '' --num-steps 4 --out out/c.hdf5",
        "argument --policy: expected a name, but found ''",
    ),
    ("plot runs '' --out out/p.png", "argument FILE: expected a name, but found ''"),
    (f"{MIX} --out ''", "argument --out: expected a name, but found ''"),
    (f"{COLLECT} --out ''", "argument --out: expected a name, but found ''"),
    ("plot weights w.npz --out ''", "argument --out: expected a name, but found ''"),
    ("plot runs run --out ''", "argument --out: expected a name, but found ''"),
    ("evaluate run --episodes 1.5", "argument --episodes: invalid int value: '1.5'"),
    ("evaluate run --episodes nan", "argument --episodes: invalid int value: 'nan'"),
    ("evaluate run --env ''", "argument --env: expected a name, but found ''"),
    ("evaluate", "the following arguments are required: RUN"),
    ("evaluate run extra", "unknown argument extra"),
    ("evaluate run --episodes 5 --verbose", "unknown argument --verbose"),
    (f"{MIX} --out out/m.hdf5 --ratio x", "argument --ratio: invalid float value: 'x'"),
    (f"{MIX} --out out/m.hdf5 --ratio ''", "argument --ratio: invalid float value: ''"),
    (f"{MIX} --out out/m.hdf5 --size 1e6", "argument --size: invalid int value: '1e6'"),
    (f"{MIX} --out out/m.hdf5 --size nan", "argument --size: invalid int value: 'nan'"),
    (f"{MIX} --out out/m.hdf5 --seed x", "argument --seed: invalid int value: 'x'"),
    (f"{MIX} --out out/m.hdf5 --kind pieces", "argument --kind: invalid choice: 'pieces'"),
    (f"{COLLECT} --out out/c.hdf5 --num-steps 1.5", "argument --num-steps: invalid int value: '1.5'"),
    (f"{COLLECT} --out out/c.hdf5 --num-steps nan", "argument --num-steps: invalid int value: 'nan'"),
    (f"{COLLECT} --out out/c.hdf5 --seed x", "argument --seed: invalid int value: 'x'"),
    (
        f"{COLLECT} --out out/c.hdf5 --policy run --action-noise x",
        "argument --action-noise: invalid float value: 'x'",
    ),
    (
        f"{COLLECT} --out out/c.hdf5 --policy run --policy-seed x",
        "argument --policy-seed: invalid int value: 'x'",
    ),
    (f"{COLLECT} --out out/c.hdf5 --env ''", "argument --env: expected a name, but found ''"),
    (
        "collect --env Pendulum-v1 --out out/c.hdf5",
        "the following arguments are required: --num-steps",
    ),
    (
        "collect --env Pendulum-v1 --num-steps 4 --out out/c.hdf5",
        "one of the arguments --policy --family is required",
    ),
    (f"{COLLECT} --out out/c.hdf5 --family", "argument --family: not allowed with argument --policy"),
    ("collect", "the following arguments are required: --env, --num-steps, --out"),
    ("plot", "the following arguments are required: what, FILE"),
    ("plot weights", "the following arguments are required: FILE"),
    ("plot runs", "the following arguments are required: FILE"),
    ("plot pies w.npz", "argument what: invalid choice: 'pies'"),
    ("quickstart --out ''", "argument --out: expected a name, but found ''"),
    ("quickstart --out out/q --seeds x", "argument --seeds: invalid int value: 'x'"),
    ("quickstart --out out/q --seeds 1.5", "argument --seeds: invalid int value: '1.5'"),
    ("quickstart --out out/q --seeds ''", "argument --seeds: invalid int value: ''"),
    ("quickstart --out out/q --seeds", "argument --seeds: expected at least one argument"),
    ("quickstart --out out/q --sedes 1", "unknown argument --sedes; did you mean --seeds?"),
    ("quickstart --out out/q extra", "unknown argument extra"),
    ("quickstart --out", "argument --out: expected one argument"),
    ("quickstart --quite", "unknown argument --quite; did you mean --quiet?"),
    ("doctor --out ''", "argument --out: expected a name, but found ''"),
    ("doctor --out", "argument --out: expected one argument"),
    ("doctor extra", "unknown argument extra"),
    ("doctor --jsn", "unknown argument --jsn; did you mean --json?"),
    ("doctor ''", "unknown argument ''"),
]

BAD_EVALUATE = [
    (
        "evaluate nowhere --episodes 1",
        "expected a run's config.json at nowhere/config.json, but it cannot be read",
    ),
    ("evaluate file --episodes 1", "expected a run's config.json at file/config.json, but it cannot be read"),
    ("evaluate . --episodes 1", "expected a run's config.json at config.json, but it cannot be read"),
    (
        "evaluate folder --episodes 1",
        "expected a run's config.json at folder/config.json, but it cannot be read",
    ),
    ("evaluate small.hdf5 --episodes 1", "expected a run's config.json at small.hdf5/config.json"),
    (
        "evaluate w.npz --episodes 1",
        "expected a policy at w.npz, but it cannot be read",
    ),
    (f"evaluate {LONG} --episodes 1", "expected a run's config.json at"),
    (
        "evaluate 'no\nsuch' --episodes 1",
        "expected a run's config.json at no\\nsuch/config.json, but it cannot be read",
    ),
    ("evaluate Δ --episodes 1", "expected a run's config.json at Δ/config.json, but it cannot be read"),
    ("evaluate run/seed-0 --episodes 1", "expected a run's config.json at run/seed-0/config.json"),
    ("evaluate run/config.json --episodes 1", "expected a run's config.json at run/config.json/config.json"),
    ("evaluate run-no-config --episodes 1", "expected a run's config.json at run-no-config/config.json"),
    ("evaluate run-config-list --episodes 1", "expected a run's config.json at run-config-list/config.json"),
    (
        "evaluate run-config-empty --episodes 1",
        "expected a run's config.json at run-config-empty/config.json",
    ),
    (
        "evaluate run-config-truncated --episodes 1",
        "expected a run's config.json at run-config-truncated/config.json",
    ),
    (
        "evaluate run-config-bytes --episodes 1",
        "expected a run's config.json at run-config-bytes/config.json",
    ),
    (
        "evaluate run-config-folder --episodes 1",
        "expected a run's config.json at run-config-folder/config.json",
    ),
    ("evaluate run-no-seeds --episodes 1", "expected trained seeds in run-no-seeds, but found none"),
    ("evaluate run-odd-seed --episodes 1", "expected trained seeds in run-odd-seed, but found none"),
    ("evaluate run-policy-missing --episodes 1", "expected a policy at run-policy-missing/seed-0/policy.npz"),
    ("evaluate run-policy-empty --episodes 1", "expected a policy at run-policy-empty/seed-0/policy.npz"),
    (
        "evaluate run-policy-truncated --episodes 1",
        "expected a policy at run-policy-truncated/seed-0/policy.npz",
    ),
    ("evaluate run-policy-garbage --episodes 1", "expected a policy at run-policy-garbage/seed-0/policy.npz"),
    ("evaluate run-policy-renamed --episodes 1", "expected a policy at run-policy-renamed/seed-0/policy.npz"),
    ("evaluate run-policy-keyless --episodes 1", "expected a policy at run-policy-keyless/seed-0/policy.npz"),
    (
        "evaluate run-policy-no-layers --episodes 1",
        "expected layers that lead from observations to actions in",
    ),
    ("evaluate run-policy-nan --episodes 1", "expected a policy at run-policy-nan/seed-0/policy.npz"),
    ("evaluate run-policy-shapes --episodes 1", "expected layers that lead from observations to actions in"),
    ("evaluate run-policy-bias --episodes 1", "expected layers that lead from observations to actions in"),
    ("evaluate run-policy-bounds --episodes 1", "expected layers that lead from observations to actions in"),
    ("evaluate run-policy-meta --episodes 1", "expected 'meta' to name an environment or none in"),
    ("evaluate run-policy-env --episodes 1", "expected 'meta' to name an environment or none in"),
    (
        "evaluate run-policy-no-env --episodes 1",
        "expected an environment for run-policy-no-env, but it names none",
    ),
    ("evaluate run-policy-nowhere --episodes 1", "expected an installed gymnasium environment"),
    ("evaluate run-policy-wide --episodes 1", "expected an environment with"),
    ("evaluate run-policy-folder --episodes 1", "expected a policy at run-policy-folder/seed-0/policy.npz"),
    ("evaluate run --episodes 0", "expected --episodes from 1 to 1000000, but found 0"),
    ("evaluate run --episodes -1", "expected --episodes from 1 to 1000000, but found -1"),
    (f"evaluate run --episodes {HUGE}", "expected --episodes from 1 to 1000000"),
    ("evaluate run --env Nowhere-v4", "expected an installed gymnasium environment"),
    ("evaluate run --env Hopper-v4", "expected an environment with"),
    ("evaluate run --env CartPole-v1", "expected a box of one axis as action space"),
    ("evaluate run --env a:b:c", "expected an installed gymnasium environment"),
    ("evaluate run --env ..:x", "expected an installed gymnasium environment, but '..:x' is none (the"),
    ("evaluate run --env :", "expected an installed gymnasium environment"),
]

FAMILY = "collect --family --num-steps 50000"

BAD_COLLECT = [
    (f"{FAMILY} --env Pendulum-v1 --out file", "cannot write in file/training"),
    (
        f"{FAMILY} --env Nowhere-v4 --out out/f",
        "expected an installed gymnasium environment, but 'Nowhere-v4'",
    ),
    (f"{FAMILY} --env CartPole-v1 --out out/f", "expected a box of one axis as action space"),
    (
        f"{FAMILY} --env Pendulum-v1 --num-steps 20000 --out out/f",
        "expected start_steps from 0 to below num_ste",
    ),
    (f"{FAMILY} --env Pendulum-v1 --set x --out out/f", "expected --set PATH=VALUE, but found 'x'"),
    (
        "collect --env Pendulum-v1 --policy nowhere --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds, but nowhere has none",
    ),
    (
        "collect --env Pendulum-v1 --policy file --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds, but file has none",
    ),
    (
        "collect --env Pendulum-v1 --policy . --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds, but . has none",
    ),
    (
        "collect --env Pendulum-v1 --policy folder --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds, but folder has none",
    ),
    (
        "collect --env Pendulum-v1 --policy small.hdf5 --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds",
    ),
    (
        "collect --env Pendulum-v1 --policy w.npz --num-steps 4 --out out/c.hdf5",
        "expected a policy at w.npz, but it cannot be read",
    ),
    (
        f"collect --env Pendulum-v1 --policy {LONG} --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds, but",
    ),
    (
        "collect --env Pendulum-v1 --policy 'no\nsuch' --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds, but no\\nsuch has none",
    ),
    (
        "collect --env Pendulum-v1 --policy Δ --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds, but Δ has none",
    ),
    (
        "collect --env Pendulum-v1 --policy run/seed-0 --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds",
    ),
    (
        "collect --env Pendulum-v1 --policy run/config.json --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds",
    ),
    (
        "collect --env Pendulum-v1 --policy run-no-seeds --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds",
    ),
    (
        "collect --env Pendulum-v1 --policy run-odd-seed --num-steps 4 --out out/c.hdf5",
        "expected --policy random or a run with trained seeds",
    ),
    (
        "collect --env Pendulum-v1 --policy run-no-environment --num-steps 4 --out out/c.hdf5",
        "expected a run's environment.json at run-no-environment/environment.json",
    ),
    (
        "collect --env Pendulum-v1 --policy run-environment-list --num-steps 4 --out out/c.hdf5",
        "expected a run's environment.json at run-environment-list/environment.json",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-missing --num-steps 4 --out out/c.hdf5",
        "expected a policy at run-policy-missing/seed-0/policy.npz",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-empty --num-steps 4 --out out/c.hdf5",
        "expected a policy at run-policy-empty/seed-0/policy.npz",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-truncated --num-steps 4 --out out/c.hdf5",
        "expected a policy at run-policy-truncated/seed-0/policy.npz",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-garbage --num-steps 4 --out out/c.hdf5",
        "expected a policy at run-policy-garbage/seed-0/policy.npz",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-renamed --num-steps 4 --out out/c.hdf5",
        "expected a policy at run-policy-renamed/seed-0/policy.npz",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-keyless --num-steps 4 --out out/c.hdf5",
        "expected a policy at run-policy-keyless/seed-0/policy.npz",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-no-layers --num-steps 4 --out out/c.hdf5",
        "expected layers that lead from observations to actions in",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-nan --num-steps 4 --out out/c.hdf5",
        "expected a policy at run-policy-nan/seed-0/policy.npz",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-shapes --num-steps 4 --out out/c.hdf5",
        "expected layers that lead from observations to actions in",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-bias --num-steps 4 --out out/c.hdf5",
        "expected layers that lead from observations to actions in",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-bounds --num-steps 4 --out out/c.hdf5",
        "expected layers that lead from observations to actions in",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-meta --num-steps 4 --out out/c.hdf5",
        "expected 'meta' to name an environment or none in",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-env --num-steps 4 --out out/c.hdf5",
        "expected 'meta' to name an environment or none in",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-wide --num-steps 4 --out out/c.hdf5",
        "expected an environment with",
    ),
    (
        "collect --env Pendulum-v1 --policy run-policy-folder --num-steps 4 --out out/c.hdf5",
        "expected a policy at run-policy-folder/seed-0/policy.npz",
    ),
    (f"{COLLECT} --out out/m.txt", "expected --out ending in .hdf5 or .h5, but found 'out/m.txt'"),
    (f"{COLLECT} --out out/m", "expected --out ending in .hdf5 or .h5, but found 'out/m'"),
    (f"{COLLECT} --out folder.hdf5", "cannot write folder.hdf5: it is a folder. Name a file."),
    (
        f"{COLLECT} --out nowhere/m.hdf5",
        "cannot write nowhere/m.hdf5: there is no folder nowhere. Make it first.",
    ),
    (f"{COLLECT} --out file/m.hdf5", "cannot write file/m.hdf5: there is no folder file. Make it first."),
    (f"{COLLECT} --out {LONG}.hdf5", "cannot write"),
    (
        f"{COLLECT} --out /proc/m.hdf5",
        "cannot write /proc/m.hdf5 ([Errno 2] Unable to synchronously create file",
    ),
    (f"{COLLECT} --out .hdf5", "expected --out ending in .hdf5 or .h5, but found '.hdf5'"),
    (f"{COLLECT} --out out", "expected --out ending in .hdf5 or .h5, but found 'out'"),
    (f"{COLLECT} --out out/c.hdf5 --num-steps 0", "expected num_steps from 2 to 2147483647, but found 0"),
    (f"{COLLECT} --out out/c.hdf5 --num-steps 1", "expected num_steps from 2 to 2147483647, but found 1"),
    (f"{COLLECT} --out out/c.hdf5 --num-steps -1", "expected num_steps from 2 to 2147483647, but found -1"),
    (f"{COLLECT} --out out/c.hdf5 --num-steps {HUGE}", "expected num_steps from 2 to 2147483647"),
    (
        f"{COLLECT} --out out/c.hdf5 --num-steps 1000000000000000",
        "expected num_steps from 2 to 2147483647, but found 1000000000000000",
    ),
    (f"{COLLECT} --out out/c.hdf5 --seed -1", "expected seed from 0 to below 2^63, but found -1"),
    (f"{COLLECT} --out out/c.hdf5 --seed {HUGE}", "expected seed from 0 to below 2^63"),
    (
        f"{COLLECT} --out out/c.hdf5 --action-noise 0.1",
        "expected action_noise 0 with random actions, but found 0.1",
    ),
    (f"{COLLECT} --out out/c.hdf5 --action-noise nan", "expected action_noise from 0 to 1000, but found nan"),
    (f"{COLLECT} --out out/c.hdf5 --action-noise -1", "expected action_noise from 0 to 1000, but found -1.0"),
    (
        f"{COLLECT} --out out/c.hdf5 --policy run --action-noise nan",
        "expected action_noise from 0 to 1000, but found nan",
    ),
    (
        f"{COLLECT} --out out/c.hdf5 --policy run --action-noise inf",
        "expected action_noise from 0 to 1000, but found inf",
    ),
    (
        f"{COLLECT} --out out/c.hdf5 --policy run --action-noise -1",
        "expected action_noise from 0 to 1000, but found -1.0",
    ),
    (
        f"{COLLECT} --out out/c.hdf5 --policy run --action-noise 1e308",
        "expected action_noise from 0 to 1000, but found 1e+308",
    ),
    (f"{COLLECT} --out out/c.hdf5 --policy-seed 3", "--policy-seed has no meaning with --policy random"),
    (
        f"{COLLECT} --out out/c.hdf5 --policy run --policy-seed 3",
        "expected --policy random or a run with trained seeds",
    ),
    (
        f"{COLLECT} --out out/c.hdf5 --policy run --policy-seed -1",
        "expected --policy random or a run with trained seeds",
    ),
    (
        f"{COLLECT} --out out/c.hdf5 --policy run --policy-seed {HUGE}",
        "expected --policy random or a run with trained seeds",
    ),
    (
        f"{COLLECT} --out out/c.hdf5 --policy Random",
        "expected --policy random or a run with trained seeds, but Random has none",
    ),
    (f"{COLLECT} --out out/c.hdf5 --env Nowhere-v4", "expected an installed gymnasium environment"),
    (f"{COLLECT} --out out/c.hdf5 --env CartPole-v1", "expected a box of one axis as action space"),
    (f"{COLLECT} --out out/c.hdf5 --env a:b:c", "expected an installed gymnasium environment"),
    (
        f"{COLLECT} --out out/c.hdf5 --env ..:x",
        "expected an installed gymnasium environment, but '..:x' is none (the",
    ),
    (f"{COLLECT} --out out/c.hdf5 --env :", "expected an installed gymnasium environment"),
    (f"{COLLECT} --out out/c.hdf5 --policy run --env Hopper-v4", "expected an environment with"),
]

BAD_QUICKSTART = [
    ("quickstart --out file", "cannot write in file/uniform (Not a directory). Choose another --out."),
    ("quickstart --out file/q", "cannot write in file/q/uniform (Not a directory). Choose another --out."),
    (f"quickstart --out {LONG}", "cannot write in"),
    (
        "quickstart --out /proc/q",
        "cannot write in /proc/q/uniform (No such file or directory). Choose another",
    ),
    ("quickstart --out quick-first", "expected an empty folder or the same run in quick-first/uniform"),
    ("quickstart --out quick-last", "expected an empty folder or the same run in quick-last/aw"),
    ("quickstart --out quick-empty", "expected a run's config.json at quick-empty/oper-r/config.json"),
    ("quickstart --out quick-list", "expected a run's config.json at quick-list/oper-r/config.json"),
    ("quickstart --out quick-garbage", "expected a run's config.json at quick-garbage/oper-r/config.json"),
    (
        "quickstart --out quick-file",
        "cannot write in quick-file/uniform (File exists). Choose another --out.",
    ),
    (
        "quickstart --out quick-figure",
        "cannot write quick-figure/quickstart.png, which is a folder. Choose another",
    ),
    (
        "quickstart --out quick-unclaimed",
        "expected quick-unclaimed/uniform/config.json beside the trained seeds",
    ),
    (
        "quickstart --out small.hdf5",
        "cannot write in small.hdf5/uniform (Not a directory). Choose another --out.",
    ),
    (
        "quickstart --out out/q --seeds 0 0",
        "expected distinct --seeds from 0 to 4294967295, but found [0, 0]",
    ),
    ("quickstart --out out/q --seeds -1", "expected distinct --seeds from 0 to 4294967295, but found [-1]"),
    (f"quickstart --out out/q --seeds {HUGE}", "expected distinct --seeds from 0 to 4294967295"),
    (
        "quickstart --out out/q --seeds 4294967296",
        "expected distinct --seeds from 0 to 4294967295, but found [4294967296]",
    ),
]


REFUSED = [
    *BAD_INSPECT,
    *BAD_WEIGH,
    *BAD_TRAIN,
    *BAD_EVALUATE,
    *BAD_MIX,
    *BAD_COLLECT,
    *BAD_PLOT,
    *BAD_QUICKSTART,
]


@pytest.mark.parametrize(("line", "words"), REFUSED)
def test_what_cannot_be_done_is_refused_in_one_line_and_nothing_is_written(line, words, refusal):
    assert words in refusal(line)


@pytest.mark.parametrize(("line", "words"), BAD_USAGE)
def test_a_line_that_cannot_be_parsed_is_refused_in_one_line(line, words, refusal):
    assert words in refusal(line, code=2)


COMMANDS = (
    "inspect",
    "weigh",
    "train",
    "evaluate",
    "mix",
    "collect",
    "plot weights",
    "plot runs",
    "quickstart",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_tried_with_twenty_kinds_of_bad_input(command):
    lines = {line for line, _ in [*REFUSED, *BAD_USAGE]}
    assert sum(line.startswith(command) for line in lines) >= 20


@pytest.mark.parametrize(
    "out", ["file", "file/below", "small.hdf5", "w.npz", LONG, "/proc", "/proc/Δ", "/proc/no\nsuch"]
)
def test_doctor_names_a_folder_that_cannot_be_written_among_its_findings(out, world, monkeypatch, capsys):
    monkeypatch.chdir(world)
    before = contents(world)
    assert main(["doctor", "--json", "--out", out]) == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    found = {finding["what"]: finding for finding in json.loads(captured.out)}
    assert found["run folder"]["status"] == "problem"
    assert "cannot write" in found["run folder"]["found"]
    assert contents(world) == before


def test_doctor_says_so_where_jax_finds_no_device(monkeypatch, capsys):
    def devices() -> None:
        raise RuntimeError("Unknown backend: 'quantum' requested,\nbut no platforms are present")

    monkeypatch.setattr("jax.devices", devices)
    assert main(["doctor", "--json"]) == 1
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found["devices"]["status"] == "problem"
    assert "\n" not in found["devices"]["found"]


def test_memory_that_is_not_there_is_no_traceback(world, monkeypatch, capsys):
    def greedy(*arguments: object, **options: object) -> None:
        raise MemoryError("Unable to allocate 7.11 PiB")

    monkeypatch.chdir(world)
    monkeypatch.setattr("reweigh.commands.datasets.load_data", greedy)
    assert main(["inspect", "small.hdf5"]) == 1
    assert (
        capsys.readouterr().err
        == "reweigh inspect: not enough memory (Unable to allocate 7.11 PiB). Ask for less.\n"
    )
