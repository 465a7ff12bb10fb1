"""The authors' weight files: read without trusting them."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from reweigh.errors import ConfigError, WeightsError
from reweigh.priorities.published import OperAFile, read_published, write_published

N = 7


def published(path: Path, content) -> Path:
    np.save(path, content, allow_pickle=True)
    return path


def ordinary(**changes) -> dict:
    rng = np.random.default_rng(0)
    content = {"iter": 2, "first_eval_steps": 1_000_000, "eval_steps": 1_000_000}
    return content | {1: rng.uniform(0.5, 1.5, (N, 1)), 2: rng.uniform(0.5, 1.5, (N, 1))} | changes


def test_the_authors_dict_becomes_weights_of_mean_one(tmp_path):
    content = ordinary()
    paths = [published(tmp_path / f"w_{seed}.npy", content) for seed in (1, 2)]
    found = read_published(paths, N)
    assert found.shape == (2, 2, N)
    np.testing.assert_allclose(found[1, 0], content[1][:, 0] / content[1].mean())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_of_arrays_is_read(tmp_path, protocol):
    path = tmp_path / "w.npy"
    content = ordinary(iter=np.int64(2))
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(np.array(content, dtype=object), file, protocol=protocol)
    assert read_published([path], N).shape == (1, 2, N)


def test_what_is_written_is_read_back_and_is_the_authors_form(tmp_path):
    weight = np.random.default_rng(1).uniform(0, 2, (3, N))
    weight /= weight.mean(axis=1, keepdims=True)
    write_published(tmp_path / "w.npy", weight, first_stage_updates=10, stage_updates=5)
    np.testing.assert_allclose(read_published([tmp_path / "w.npy"], N)[0], weight)
    content = np.load(tmp_path / "w.npy", allow_pickle=True).item()
    assert list(content) == ["iter", "first_eval_steps", "eval_steps", 1, 2, 3]
    assert content[1].shape == (N, 1)


class Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return self.command


@pytest.mark.parametrize(
    "command",
    [
        lambda target: (os.mkdir, (target,)),
        lambda target: (eval, (f"__import__('os').mkdir({target!r})",)),
        lambda target: (exec, (f"import os; os.mkdir({target!r})",)),
        lambda target: (np.memmap, (target, "uint8", "w+", 0, 10)),
        lambda target: (np.save, (target, 1)),
        lambda target: (pickle.loads, (b"N.",)),
    ],
)
def test_a_hostile_pickle_is_refused_before_it_runs(tmp_path, command):
    target = tmp_path / "touched"
    path = published(tmp_path / "w.npy", ordinary(iter=Hostile(command(str(target)))))
    with pytest.raises(WeightsError, match="which no weights need"):
        read_published([path], N)
    assert not list(tmp_path.glob("touched*"))


def test_an_array_that_asks_for_all_memory_is_refused(tmp_path):
    reconstruct = np.empty(0).__reduce__()[0]
    huge = Hostile((reconstruct, (np.ndarray, (10**15,), b"b")))
    path = published(tmp_path / "w.npy", ordinary(iter=huge))
    with pytest.raises(WeightsError, match="not plain"):
        read_published([path], N)


def test_a_length_that_does_not_fit_is_refused_with_both_numbers(tmp_path):
    path = published(tmp_path / "w.npy", ordinary())
    with pytest.raises(WeightsError, match=r"expected 9 weights.* holds 7"):
        read_published([path], 9)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"iter": 1}, "found none"),
        (ordinary() | {4: np.ones(N)}, r"found \[1, 2, 4\]"),
        ({1: "text"}, "array of numbers under 1"),
        ({1: np.full(N, np.nan)}, "finite, non-negative"),
        ({1: -np.ones(N)}, "finite, non-negative"),
        ({1: np.zeros(N)}, "not all 0"),
        ([1, 2], "holds an array"),
        ("text", "holds an array"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, words):
    path = published(tmp_path / "w.npy", content)
    with pytest.raises(WeightsError, match=words):
        read_published([path], N)


def test_missing_damaged_and_unequal_files_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        read_published([tmp_path / "absent.npy"], N)
    whole = published(tmp_path / "w.npy", ordinary())
    for cut in (0, 5, 60, 200, len(whole.read_bytes()) - 3):
        (tmp_path / "cut.npy").write_bytes(whole.read_bytes()[:cut])
        with pytest.raises(WeightsError, match="cannot"):
            read_published([tmp_path / "cut.npy"], N)
    short = published(tmp_path / "short.npy", {1: np.ones(N)})
    with pytest.raises(WeightsError, match="equally many iterations"):
        read_published([whole, short], N)


def test_a_pattern_names_a_file_for_each_seed():
    assert OperAFile("w_%s.npy").paths == [Path("w_1.npy"), Path("w_2.npy"), Path("w_3.npy")]
    assert OperAFile("w.npy").paths == [Path("w.npy")]
    with pytest.raises(ConfigError):
        OperAFile("w_%s.npy", file_seeds=())
