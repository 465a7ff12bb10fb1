"""Whatever is wrong with a dataset, the user reads one line that names the file."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from reweigh import DatasetError, load

ROWS = 24
REQUIRED = ("observations", "actions", "rewards", "terminals")
ENDINGS = ("hdf5", "npz")


def good_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "observations": rng.normal(size=(ROWS, 3)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (ROWS, 2)).astype(np.float32),
        "rewards": rng.normal(size=ROWS).astype(np.float32),
        "terminals": np.arange(ROWS) % 8 == 7,
        "timeouts": np.arange(ROWS) == 11,
    }


def write(path: Path, arrays: dict[str, np.ndarray], **options) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            # Attributes of variable length are left out: in those, libhdf5 itself can loop for ever.
            file.create_dataset(name, data=array, **options)
    return path


def refusal(path: Path | str, **options) -> str:
    """The message, after checking that it is one line and names the file."""
    with pytest.raises(DatasetError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def with_array(**arrays: np.ndarray) -> Callable[[], dict[str, np.ndarray]]:
    return lambda: {**good_arrays(), **arrays}


def at(array: np.ndarray, position, value) -> np.ndarray:
    array = array.copy()
    array[position] = value
    return array


GOOD = good_arrays()

BROKEN = {
    "wrong rank of observations": (
        with_array(observations=GOOD["observations"][:, 0]),
        "expected 'observations' of shape (rows, width), but found (24,)",
    ),
    "wrong rank of actions": (
        with_array(actions=GOOD["actions"][:, None]),
        "expected 'actions' of shape (rows, width), but found (24, 1, 2)",
    ),
    "wrong rank of rewards": (
        with_array(rewards=GOOD["observations"]),
        "expected 'rewards' of shape (rows,), but found (24, 3)",
    ),
    "scalar terminals": (
        with_array(terminals=np.array(True)),
        "expected 'terminals' of shape (rows,), but found ()",
    ),
    "observations of no width": (
        with_array(observations=np.zeros((ROWS, 0), np.float32)),
        "expected 'observations' of shape (rows, width), but found (24, 0)",
    ),
    "too few actions": (with_array(actions=GOOD["actions"][:-1]), "'actions' has 23"),
    "too many rewards": (with_array(rewards=np.zeros(25)), "'rewards' has 25"),
    "too few terminals": (with_array(terminals=np.zeros(2)), "'terminals' has 2"),
    "too few timeouts": (with_array(timeouts=np.zeros(2)), "'timeouts' has 2"),
    "too few sources": (with_array(source=np.zeros(2)), "'source' has 2"),
    "too few next observations": (
        with_array(next_observations=GOOD["observations"][1:]),
        "'next_observations' has 23",
    ),
    "next observations of another width": (
        with_array(next_observations=GOOD["observations"][:, :2]),
        "expected next_observations of width 3 as in 'observations', but found 2",
    ),
    "NaN among observations": (
        with_array(observations=at(GOOD["observations"], ([5, 9], [1, 2]), np.nan)),
        "finite numbers in 'observations', but 2 rows hold NaN or infinity (the first is row 5)",
    ),
    "infinite reward": (
        with_array(rewards=at(GOOD["rewards"], 7, -np.inf)),
        "finite numbers in 'rewards', but 1 rows hold NaN or infinity (the first is row 7)",
    ),
    "NaN among actions": (
        with_array(actions=at(GOOD["actions"], (0, 0), np.nan)),
        "finite numbers in 'actions', but 1 rows hold NaN or infinity (the first is row 0)",
    ),
    "reward beyond float32": (
        with_array(rewards=at(GOOD["rewards"].astype(np.float64), 3, 1e300)),
        "finite numbers in 'rewards'",
    ),
    "infinite next observation": (
        with_array(next_observations=at(GOOD["observations"], (1, 1), np.inf)),
        "finite numbers in 'next_observations'",
    ),
    "NaN among terminals": (with_array(terminals=np.full(ROWS, np.nan)), "expected 0 or 1 in 'terminals'"),
    "terminals of 2": (with_array(terminals=at(np.zeros(ROWS, int), 4, 2)), "expected 0 or 1 in 'terminals'"),
    "timeouts of a half": (with_array(timeouts=np.full(ROWS, 0.5)), "expected 0 or 1 in 'timeouts'"),
    "sources of 2": (with_array(source=np.full(ROWS, 2)), "expected 1 (good), 0 (bad) or -1"),
    "complex rewards": (
        with_array(rewards=GOOD["rewards"].astype(np.complex64)),
        "expected numbers in 'rewards', but found type complex64",
    ),
    "no rows": (lambda: {name: array[:0] for name, array in GOOD.items()}, "at least 2 rows, but"),
    "no rows, with next observations": (
        lambda: {name: array[:0] for name, array in GOOD.items()} | {"next_observations": np.zeros((0, 3))},
        "at least 1 rows, but",
    ),
    "one row": (lambda: {name: array[:1] for name, array in GOOD.items()}, "at least 2 rows, but"),
    "only timeouts": (with_array(timeouts=np.ones(ROWS)), "at least one transition"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_whole_file_loads(ending, tmp_path):
    assert len(load(write(tmp_path / f"rows.{ending}", good_arrays()))) == ROWS - 2


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("case", BROKEN)
def test_arrays_that_are_no_dataset_are_refused(case, ending, tmp_path):
    make, expected = BROKEN[case]
    assert expected in refusal(write(tmp_path / f"rows.{ending}", make()))


@pytest.mark.parametrize("case", BROKEN)
def test_the_same_arrays_in_memory_are_refused_alike(case):
    make, expected = BROKEN[case]
    with pytest.raises(DatasetError) as caught:
        load(make())
    assert expected in str(caught.value)
    assert "arrays" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_key_is_named_with_those_found(name, ending, tmp_path):
    arrays = good_arrays()
    arrays["reward\nlist"] = arrays.pop(name)
    message = refusal(write(tmp_path / f"rows.{ending}", arrays))
    assert f"'{name}' is missing" in message
    assert "'timeouts'" in message


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_without_any_known_key_is_refused(ending, tmp_path):
    message = refusal(write(tmp_path / f"rows.{ending}", {"obs": GOOD["observations"]}))
    assert "(found: 'obs')" in message
    assert "are missing" in message


@pytest.mark.parametrize("ending", ENDINGS)
def test_actions_out_of_bounds_are_counted_and_accepted_on_request(ending, tmp_path):
    action = at(at(GOOD["actions"], (2, 1), -5.125), (3, 0), 1.5)
    path = write(tmp_path / f"rows.{ending}", {**good_arrays(), "actions": action})
    message = refusal(path)
    assert "2 of 24 rows lie outside" in message
    assert "largest magnitude 5.125" in message
    assert "--clip-actions" in message
    with pytest.warns(UserWarning, match="2 of 24 rows had actions outside the bounds: clipped."):
        found = load(path, clip_actions=True)
    np.testing.assert_array_equal(found.action[2], [action[2, 0], -1])
    np.testing.assert_array_equal(found.action[3], [1, action[3, 1]])


def test_an_action_on_the_bound_up_to_rounding_is_no_violation():
    action = at(GOOD["actions"], (2, 1), np.nextafter(np.float32(1), np.float32(2)))
    assert load({**good_arrays(), "actions": action}).action.max() == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_timeouts_a_limit_is_asked_for(ending, tmp_path):
    arrays = good_arrays()
    del arrays["timeouts"]
    path = write(tmp_path / f"rows.{ending}", arrays)
    assert "--max-episode-steps" in refusal(path)
    assert len(load(path, max_episode_steps=1000)) == ROWS - 1


@pytest.mark.parametrize("name", REQUIRED)
def test_text_in_place_of_numbers_is_refused(name, tmp_path):
    text = np.full(ROWS, "3.5")
    assert f"expected numbers in '{name}'" in refusal(
        write(tmp_path / "rows.npz", {**good_arrays(), name: text})
    )
    fixed = {**good_arrays(), name: text.astype("S3")}
    assert f"expected numbers in '{name}'" in refusal(write(tmp_path / "rows.hdf5", fixed))


def test_records_of_several_fields_are_refused(tmp_path):
    fields = np.zeros(ROWS, [("x", np.float32), ("y", np.int32)])
    for ending in ENDINGS:
        path = write(tmp_path / f"rows.{ending}", {**good_arrays(), "rewards": fields})
        assert "expected numbers in 'rewards'" in refusal(path)


@pytest.mark.parametrize("what", ["group", "dangling link", "no content"])
def test_something_else_under_an_arrays_name_is_refused(what, tmp_path):
    arrays = good_arrays()
    del arrays["rewards"]
    path = write(tmp_path / "rows.hdf5", arrays)
    with h5py.File(path, "a") as file:
        if what == "group":
            file.create_group("rewards")
        elif what == "dangling link":
            file["rewards"] = h5py.SoftLink("/nowhere")
        else:
            file["rewards"] = h5py.Empty("f4")
    message = refusal(path)
    assert {"group": "found a group", "dangling link": "cannot be read", "no content": "numbers"}[
        what
    ] in message


def test_an_array_that_declares_more_than_it_stores_is_refused_before_memory_is_taken(tmp_path):
    for count in (3 * 10**8, 10**14):
        arrays = good_arrays()
        del arrays["rewards"]
        path = write(tmp_path / "rows.hdf5", arrays)
        with h5py.File(path, "a") as file:
            file.create_dataset("rewards", shape=(count,), dtype="f4", chunks=(1000,))
        assert f"declares {4 * count} bytes" in refusal(path)


def test_files_that_are_something_else_are_refused(tmp_path):
    for ending in ENDINGS:
        path = tmp_path / f"rows.{ending}"
        path.write_text("observations,actions\n1,2\n" * 100)
        assert "cannot be read" in refusal(path)
        path.write_bytes(b"")
        assert "cannot be read" in refusal(path)
    np.save(tmp_path / "one.npy", np.ones(3))
    one = (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    assert "cannot be read" in refusal(one)
    other = write(tmp_path / "rows.hdf5", good_arrays()).rename(tmp_path / "other.npz")
    assert "cannot be read" in refusal(other)
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as file:
        file.writestr("observations", "no array")
    assert "are missing" in refusal(tmp_path / "text.npz")


def test_names_that_lead_to_no_dataset_are_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "folder.hdf5").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.hdf5")
    assert "there is no such file" in refusal(tmp_path / "absent.hdf5")
    assert "there is no such file" in refusal(tmp_path / "absent.npz")
    assert "there is no such file" in refusal(tmp_path / f"{'long' * 100}.npz")
    (tmp_path / "rows.csv").write_text("1,2")
    assert "ending in .hdf5 or .npz" in refusal(tmp_path / "rows.csv")
    assert "expected builtin:bandit or builtin:hopper-random-expert, but found 'builtin:chess'" in refusal(
        "builtin:chess"
    )


class Trap:
    """Loading its pickle creates a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", [*REQUIRED, "timeouts", "env", "unknown"])
def test_pickled_objects_are_refused_and_never_loaded(name, tmp_path):
    marker = tmp_path / "loaded"
    trap = np.array([Trap(marker)] * ROWS, object)
    np.savez(tmp_path / "rows.npz", **{**good_arrays(), name: trap})
    refusal(tmp_path / "rows.npz")
    assert not marker.exists()
    with np.load(tmp_path / "rows.npz", allow_pickle=True) as file:
        assert file[name].shape == (ROWS,)
    assert marker.exists(), "the trap works"


def test_a_bare_pickle_is_refused_and_never_loaded(tmp_path):
    marker = tmp_path / "loaded"
    for ending in ENDINGS:
        (tmp_path / f"rows.{ending}").write_bytes(pickle.dumps(Trap(marker)))
        assert "cannot be read" in refusal(tmp_path / f"rows.{ending}")
    assert not marker.exists()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", [{}, {"compression": "gzip", "chunks": True}])
def test_a_file_cut_short_is_refused_at_every_length(ending, compression, tmp_path):
    path = write(tmp_path / f"rows.{ending}", good_arrays(), **compression)
    content = path.read_bytes()
    for length in [*range(0, 600, 50), *np.linspace(600, len(content) - 1, 30).astype(int)]:
        path.write_bytes(content[:length])
        assert "cannot be read" in refusal(path)


@pytest.mark.parametrize("kind", ["hdf5", "gzip.hdf5", "npz"])
def test_a_damaged_file_loads_or_is_refused_and_nothing_else(kind, tmp_path):
    options = {"compression": "gzip", "chunks": True} if "gzip" in kind else {}
    path = write(tmp_path / f"rows.{kind}", good_arrays(), **options)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(200):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[rng.integers(len(damaged), size=rng.integers(1, 4))] ^= np.uint8(1 << rng.integers(8))
        path.write_bytes(damaged.tobytes())
        try:
            load(path)
        except DatasetError as error:
            messages.append(str(error))
    assert len(messages) > 20, "the damage does not reach what is read"
    assert all(str(path) in message and "\n" not in message for message in messages)


def test_a_real_file_with_actions_beyond_the_bounds_says_so(real_data):
    path = real_data / "cs285-hopper-v4-expert.hdf5"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    assert "rows lie outside (largest magnitude" in refusal(path)
    with pytest.warns(UserWarning, match="1389 of 2000 rows"):
        found = load(path, clip_actions=True)
    assert np.abs(found.action).max() == 1
