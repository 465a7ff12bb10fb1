"""Damaged files through every reader, briefly; and one small file for each fault that was found this way."""

import collections
import csv
import dataclasses
import json
import struct

import h5py
import numpy as np
import pytest

from fuzz_readers import fuzz, make_valid
from reweigh import ConfigError, DatasetError
from reweigh.datasets.decoded import SourceFile, read_decoded, write_decoded
from reweigh.datasets.files import read_hdf5
from reweigh.datasets.heaps import damaged_heap
from reweigh.datasets.load import load
from reweigh.errors import RunError, WeightsError
from reweigh.policy import load_policy
from reweigh.priorities.file import read_weights
from reweigh.priorities.published import read_published
from reweigh.runs import RunFolder
from reweigh.sweeps.grid import read_sweep


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    make_valid(folder)
    return folder


def changed(path, **arrays):
    """The `.npz` with other arrays."""
    with np.load(path) as file:
        return dict(file) | arrays


def test_two_hundred_damaged_files_load_or_are_refused():
    found = fuzz(200, seed=1)
    assert found.faults == []
    outcomes = sum(found.counts.values(), start=collections.Counter())
    assert outcomes.total() == 200
    assert min(outcomes["loaded"], outcomes["refused"]) > 20


def test_text_that_libhdf5_would_read_for_ever_is_refused(valid, tmp_path):
    path = tmp_path / "rows.hdf5"
    content = bytearray((valid / "plain.hdf5").read_bytes())
    heap = content.index(b"GCOL")
    size = struct.unpack("<Q", content[heap + 8 : heap + 16])[0]
    first = struct.unpack("<Q", content[heap + 24 : heap + 32])[0]
    for at, number in [
        (heap + 24, size),  # the first object runs out of the heap
        (heap + 24, 2**64 - 16),  # or back to where it began
        (heap + 16, 0),  # it is the free rest, of no size
    ]:
        damaged = content.copy()
        damaged[at : at + 8] = struct.pack("<Q", number)
        if number == 0:
            damaged[heap + 24 : heap + 32] = struct.pack("<Q", 0)
        path.write_bytes(damaged)
        assert damaged_heap(path) == heap
        with pytest.raises(DatasetError, match=f"texts stored from byte {heap} on are damaged"):
            load(path)
    assert first > 0
    path.write_bytes(content)
    assert damaged_heap(path) is None
    assert len(load(path)) > 0


def test_a_heap_is_found_wherever_blocks_of_reading_part(valid, tmp_path, monkeypatch):
    content = (valid / "plain.hdf5").read_bytes()
    damaged = bytearray(content)
    heap = content.index(b"GCOL")
    damaged[heap + 24 : heap + 32] = bytes([255]) * 8
    path = tmp_path / "rows.hdf5"
    path.write_bytes(damaged)
    for block in (heap - 1, heap + 1, heap + 3, heap + 7, 100):
        monkeypatch.setattr("reweigh.datasets.heaps._BLOCK", block)
        assert damaged_heap(path) == heap


def test_texts_in_place_of_numbers_are_refused_unread(valid, tmp_path):
    path = tmp_path / "rows.hdf5"
    path.write_bytes((valid / "plain.hdf5").read_bytes())
    with h5py.File(path, "a") as file:
        del file["rewards"]
        file.create_dataset("rewards", shape=(60,), dtype=h5py.string_dtype())
    with pytest.raises(DatasetError, match="expected numbers in 'rewards', but found type object"):
        load(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000], ids=["lists", "objects"])
def test_json_that_is_nested_without_end_is_refused(text, valid, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match="it cannot be read"):
        RunFolder(tmp_path).config()
    np.savez(tmp_path / "policy.npz", **changed(valid / "policy.npz", meta=np.array(text)))
    with pytest.raises(RunError, match="it cannot be read"):
        load_policy(tmp_path / "policy.npz")
    np.savez(tmp_path / "w.npz", **changed(valid / "weights.npz", meta=np.array(text)))
    with pytest.raises(WeightsError, match="nested too deep"):
        read_weights(tmp_path / "w.npz")
    (tmp_path / "sweep.toml").write_text("x = " + text.replace('{"a":', "{a = "))
    with pytest.raises(ConfigError, match="expected a sweep in TOML"):
        read_sweep(str(tmp_path / "sweep.toml"), None)


def test_a_metrics_table_with_an_endless_field_is_refused(tmp_path):
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / "metrics.csv").write_text(f"update,loss\n1,{'1' * (csv.field_size_limit() + 1)}\n")
    with pytest.raises(RunError, match="expected a table of numbers"):
        RunFolder(tmp_path).seed(0).last_metrics()


@pytest.mark.parametrize("update", [np.inf, 2.5, [5], -1, True], ids=str)
def test_a_checkpoint_whose_count_is_none_is_refused(update, valid, tmp_path):
    (tmp_path / "seed-0").mkdir()
    arrays = changed(valid / "run/seed-0/checkpoint.npz", update=np.array(update))
    np.savez(tmp_path / "seed-0/checkpoint.npz", **arrays)
    with pytest.raises(RunError, match="expected a checkpoint"):
        RunFolder(tmp_path).seed(0).load_checkpoint()


def test_a_pickle_that_would_take_memory_for_numbers_of_its_own_is_refused(valid, tmp_path):
    content = (valid / "published.npy").read_bytes()
    begin = content.index(b"\x80")
    for code in (b"r\xff\xff\xff\x0f", b"p4000000000\n"):
        (tmp_path / "w.npy").write_bytes(content[:begin] + b"\x80\x04N" + code + b".")
        with pytest.raises(WeightsError, match="it numbers an object"):
            read_published([tmp_path / "w.npy"], 57)
    assert read_published([valid / "published.npy"], 57).shape == (1, 3, 57)


def test_a_policys_number_that_float32_cannot_hold_is_refused(valid, tmp_path):
    np.savez(tmp_path / "p.npz", **changed(valid / "policy.npz", action_high=np.array([1.0, 1e39])))
    with pytest.raises(RunError, match="expected a policy"):
        load_policy(tmp_path / "p.npz")


@pytest.mark.parametrize("what", ["NaN", "flag", "type", "header", "rows", "attributes"])
def test_decoded_rows_that_are_damaged_are_not_used(what, valid, tmp_path):
    source = SourceFile.of(valid / "packed.hdf5")
    rows = dataclasses.replace(read_hdf5(valid / "packed.hdf5"), attributes={})
    write_decoded(tmp_path, "rows", source, "0" * 64, rows)
    place = next(tmp_path.glob("rows-*"))
    assert read_decoded(tmp_path, "rows", source) is not None
    meta = json.loads((place / "meta.json").read_text())
    if what == "NaN":
        changed_rows = rows.reward.copy()
        changed_rows[5] = np.nan
        np.save(place / "reward.npy", changed_rows)
    elif what == "flag":
        content = bytearray((place / "terminal.npy").read_bytes())
        content[-3] = 7
        (place / "terminal.npy").write_bytes(content)
    elif what == "type":
        np.save(place / "reward.npy", rows.reward.astype(np.float64))
        meta["columns"]["reward"][0] = "<f8"
    elif what == "header":
        content = bytearray((place / "reward.npy").read_bytes())
        content[20] = ord("(")
        (place / "reward.npy").write_bytes(content)
    elif what == "rows":
        np.save(place / "reward.npy", rows.reward[:5])
        meta["columns"]["reward"][1] = [5]
    else:
        meta["attributes"] = 5
    (place / "meta.json").write_text(json.dumps(meta))
    assert read_decoded(tmp_path, "rows", source) is None
