"""What commands set up for JAX: one thread, and compiled programs that processes share."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reweigh.system.jax_setup import set_up_jax
from reweigh.system.processes import usable_cores

TRAIN = "train builtin:bandit --algorithm td3-bc --hidden 8 --num-updates 20 --batch-size 8"
# Large enough for XLA to split its sums among threads.
LARGE = "train builtin:bandit --algorithm td3-bc --hidden 256 256 --num-updates 20"
OURS = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


def train(out: Path, cache: Path, words: str = TRAIN) -> str:
    """What a training in a process of its own says on standard error."""
    environment = {name: value for name, value in os.environ.items() if name not in (*OURS, "NPROC")}
    environment |= {"REWEIGH_CACHE": str(cache)}
    command = [sys.executable, "-m", "reweigh", *words.split(), "--out", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    return done.stderr


def programs(cache: Path) -> dict[str, int]:
    """Kept programs, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in (cache / "programs").glob("*/*-cache")}


def assert_same_end(one: Path, other: Path) -> None:
    left, right = (np.load(run / "seed-0" / "checkpoint.npz") for run in (one, other))
    assert left.files == right.files
    for name in left.files:
        np.testing.assert_array_equal(left[name], right[name])


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """A finished run beside the cache that it filled."""
    folder = tmp_path_factory.mktemp("first")
    train(folder / "run", folder / "cache")
    return folder


def test_a_second_process_takes_the_programs_of_the_first_and_ends_with_the_same_bits(first, tmp_path):
    kept = programs(first / "cache")
    assert any(name.startswith("jit_run") for name in kept)
    train(tmp_path / "run", first / "cache")
    # On a busy machine a small program may now have taken long enough to be worth a file.
    found = programs(first / "cache")
    assert kept.items() <= found.items()
    assert not any(name.startswith("jit_run") for name in found.keys() - kept.keys())
    assert_same_end(first / "run", tmp_path / "run")


def test_a_damaged_program_is_compiled_again(first, tmp_path):
    shutil.copytree(first / "cache", tmp_path / "cache")
    for path in (tmp_path / "cache" / "programs").glob("*/*-cache"):
        path.write_bytes(path.read_bytes()[:1000])
    train(tmp_path / "run", tmp_path / "cache")
    assert_same_end(first / "run", tmp_path / "run")


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A finished run of a size at which threads would matter."""
    folder = tmp_path_factory.mktemp("large")
    train(folder / "run", folder / "cache", LARGE)
    return folder / "run"


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores"
)
def test_a_run_ends_with_the_same_bits_on_one_core_and_on_all(large, tmp_path):
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        train(tmp_path / "one", tmp_path / "cache", LARGE)
    finally:
        os.sched_setaffinity(0, cores)
    assert_same_end(large, tmp_path / "one")


def test_a_program_that_sets_jax_up_ends_with_the_same_bits_as_the_command(large, tmp_path):
    program = f"""
import reweigh
reweigh.set_up_jax()
from pathlib import Path
from reweigh.options.arguments import run_config
from reweigh.cli import make_parser
reweigh.train(run_config(make_parser().parse_args({LARGE.split()!r})), [0], Path({str(tmp_path / "run")!r}))
"""
    environment = {name: value for name, value in os.environ.items() if name not in (*OURS, "NPROC")}
    environment |= {"REWEIGH_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=300, check=True)
    assert_same_end(large, tmp_path / "run")


def test_without_a_place_for_programs_each_process_compiles_for_itself(first, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert "compilation cache" not in train(tmp_path / "run", tmp_path / "cache")
    assert_same_end(first / "run", tmp_path / "run")


def test_what_the_user_has_set_for_jax_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    monkeypatch.setenv("XLA_FLAGS", "--xla_one=1")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    set_up_jax()
    set_up_jax()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["XLA_FLAGS"].startswith("--xla_one=1 ")
    assert os.environ["XLA_FLAGS"].count("multi_thread_eigen=false") == 1
    assert not (tmp_path / "programs").exists()


def test_no_more_trainings_run_at_once_than_the_variable_says(monkeypatch):
    monkeypatch.delenv("REWEIGH_CORES", raising=False)
    own = usable_cores()
    for asked, found in (("1", 1), ("9999", own)):
        monkeypatch.setenv("REWEIGH_CORES", asked)
        assert usable_cores() == found


def test_kinds_of_processors_keep_their_programs_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path))
    monkeypatch.setenv("XLA_FLAGS", "")

    def folder(cpuinfo: str) -> str:
        monkeypatch.setattr(Path, "read_text", lambda path, **kinds: cpuinfo)
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        set_up_jax()
        return os.environ["JAX_COMPILATION_CACHE_DIR"]

    own = folder("model name\t: X\ncpu MHz\t\t: 2000\nflags\t\t: fpu avx2\n")
    assert folder("model name\t: X\ncpu MHz\t\t: 2445\nflags\t\t: fpu avx2\n") == own
    assert folder("model name\t: X\ncpu MHz\t\t: 2000\nflags\t\t: fpu\n") != own
    assert folder("model name\t: Y\ncpu MHz\t\t: 2000\nflags\t\t: fpu avx2\n") != own
