"""Damaged files put through every reader: each loads as something valid or is refused in one line.

    python tests/fuzz_readers.py --cases 10000 --out docs/results/fuzz.md

Files are made by changing small valid ones, bytes or contents; case I of a seed is always the same file. They
are read in processes of their own, of which a silent one is ended and named, as is one that crashes.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import json
import math
import os
import pickle
import platform
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reweigh.datasets.decoded import SourceFile, read_decoded, write_decoded
from reweigh.datasets.files import read_hdf5
from reweigh.datasets.load import load
from reweigh.datasets.normalizer import identity_normalizer
from reweigh.errors import ReweighError
from reweigh.policy import Policy, load_policy, save_policy
from reweigh.priorities.file import read_weights, weights_of, write_weights
from reweigh.priorities.published import read_published, write_published
from reweigh.runs import RunFolder
from reweigh.seed_folder import Returns, SeedFolder
from reweigh.sweeps.grid import read_sweep
from reweigh.system.atomic import write_text

ROWS = 60
TRANSITIONS = 57
LIMIT_S = 60.0
"""Of one file, by the clock. Each takes milliseconds; what takes longer than this does not end."""
SLOW_S = 2.0
"""Of one file, of the processor."""
MEMORY = 8 * 2**30

Mutation = Callable[[Path, np.random.Generator], str]


# Small valid files.


def good_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    row = np.arange(ROWS)
    return {
        "observations": rng.normal(size=(ROWS, 3)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (ROWS, 2)).astype(np.float32),
        "rewards": rng.normal(size=ROWS).astype(np.float32),
        "terminals": row % 20 == 9,
        "timeouts": row % 20 == 19,
    }


def more_arrays() -> dict[str, np.ndarray]:
    arrays = good_arrays()
    following = np.roll(arrays["observations"], -1, axis=0)
    return arrays | {"next_observations": following, "source": np.arange(ROWS) % 3 - 1}


def write_hdf5(path: Path, arrays: dict[str, np.ndarray], libver: str = "earliest", **options: Any) -> None:
    with h5py.File(path, "w", libver=libver) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)
        file.attrs["env"] = "Hopper-v4"
        file.attrs["history"] = "reweigh collect --env Hopper-v4\nreweigh mix"
        file.attrs["count"] = 7
        file["infos/qpos"] = np.zeros((ROWS, 2))


def make_valid(folder: Path) -> None:
    """Every kind of file, under the name that `READERS` knows it by."""
    packed = {"compression": "gzip", "chunks": True, "shuffle": True}
    write_hdf5(folder / "plain.hdf5", good_arrays())
    write_hdf5(folder / "packed.hdf5", more_arrays(), **packed)
    write_hdf5(folder / "latest.hdf5", more_arrays(), libver="latest", fletcher32=True)
    np.savez(folder / "plain.npz", **good_arrays())
    np.savez_compressed(folder / "packed.npz", **more_arrays(), env=np.array("Hopper-v4"))
    transitions = load(folder / "plain.hdf5")
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.1, 2, len(transitions))
    priority = rng.uniform(0.1, 2, (2, 3, len(transitions)))
    for ending, kept in ((".npz", priority), (".parquet", None)):
        weights = weights_of(weight / weight.sum(), transitions, {"method": "aw", "settings": {}}, kept)
        with contextlib.suppress(ReweighError):  # without pyarrow there is no .parquet to read
            write_weights(folder / f"weights{ending}", weights)
    write_published(folder / "published.npy", priority[0], first_stage_updates=10, stage_updates=5)
    layer = (np.ones((3, 2), np.float32), np.zeros(2, np.float32))
    ones = np.ones(2, np.float32)
    policy = Policy((layer,), identity_normalizer(3), -ones, ones, {"env": "Hopper-v4"})
    run = RunFolder(folder / "run")
    run.claim({"data": {"spec": "plain.hdf5"}, "num_updates": 10}, "0" * 64, {"command": "reweigh train x"})
    seed = run.seed(0)
    seed.path.mkdir()
    for update in (5, 10):
        seed.append_metrics(update, {"actor/loss": 0.5, "critic/loss": 1 / update})
    seed.save_checkpoint(10, [np.arange(4.0), np.array([1, 2], np.uint32)])
    seed.save_returns(Returns(np.array([5, 10]), np.full((2, 3), -1.5), np.full((2, 3), 200)))
    seed.save_policy(policy)
    save_policy(folder / "policy.npz", policy)
    seed.finish({"num_updates": 10, "updates_per_second": 5.0, "last_score": 1.5})
    (folder / "sweep.toml").write_text(
        'seeds = [0, 1]\n\n[[runs]]\ndata = ["a.hdf5", "b.hdf5"]\nalgorithm = ["bc", "iql"]\n'
        'weights = "aw"\nnum-updates = 1000\nset = [["a.b=1", "c=2"]]\n'
    )
    rows = read_hdf5(folder / "packed.hdf5")
    rows = dataclasses.replace(rows, attributes={"history": "reweigh collect"})
    write_decoded(folder / "decoded", "rows", SourceFile.of(folder / "sweep.toml"), "0" * 64, rows)


# What a valid reading is.


def expect(holds: Any, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def check_dataset(path: Path) -> None:
    found = load(path)
    count = len(found)
    for field in dataclasses.fields(found):
        column = getattr(found, field.name)
        if isinstance(column, np.ndarray):
            expect(len(column) == count, f"{field.name} has {len(column)} rows, not {count}")
            expect(np.isfinite(column).all(), f"{field.name} is not finite")
    expect(np.abs(found.action).max() <= 1, "actions leave [-1, 1]")
    expect(np.isfinite(found.episodes.whole_return).all(), "returns are not finite")
    expect(found.episodes.kept_length.sum() == count, "episodes do not hold every transition")
    expect(isinstance(found.info.env, str | None), "the environment is no name")


def check_weights(path: Path) -> None:
    found = read_weights(path)
    expect(np.isfinite(found.weight).all() and (found.weight >= 0).all(), "weights are not finite")
    expect(math.isclose(found.weight.mean(), 1, rel_tol=1e-6), "weights are not of mean 1")
    expect(found.raw_index.dtype == found.episode.dtype == np.int64, "rows are no integers")
    expect(found.priority is None or np.isfinite(found.priority).all(), "priorities are not finite")
    expect(isinstance(found.meta, dict), "meta is no dict")


def check_published(path: Path) -> None:
    found = read_published([path], TRANSITIONS)
    expect(np.isfinite(found).all() and np.allclose(found.mean(axis=2), 1), "weights are not of mean 1")


def check_policy(path: Path) -> None:
    policy = load_policy(path)
    width = len(policy.normalizer.mean)
    action = policy(np.zeros((2, width), np.float32))
    expect(np.isfinite(action).all(), "actions are not finite")


def check_checkpoint(path: Path) -> None:
    found = seed_of(path).load_checkpoint()
    expect(found is not None and found.update >= 0 and found.metrics_bytes >= 0, "counts below 0")


def check_returns(path: Path) -> None:
    found = seed_of(path).load_returns()  # NaN is what a policy may earn: plots and reports refuse it
    expect(found.episode_return.shape == found.episode_length.shape, "shapes differ")


def check_metrics(path: Path) -> None:
    found = seed_of(path).last_metrics()
    expect(all(isinstance(value, float) for value in found.values()), "metrics are no numbers")


def check_decoded(path: Path) -> None:
    folder = path.parent.parent
    found = read_decoded(folder, "rows", SourceFile.of(folder.parent / "sweep.toml"))
    if found is None:
        raise ReweighError("decoded again")
    digest, rows = found
    expect(isinstance(digest, str) and isinstance(rows.attributes, dict), "no record of the file")
    types = {"terminal": bool, "timeout": bool, "source": np.int8}
    for field in dataclasses.fields(rows):
        column = getattr(rows, field.name)
        if field.name not in ("env", "attributes") and column is not None:
            expect(column.dtype == types.get(field.name, np.float32), f"{field.name} is {column.dtype}")
            expect(len(column) == len(rows), f"{field.name} has {len(column)} rows")
            expect(np.isfinite(column).all(), f"{field.name} is not finite")


def seed_of(path: Path) -> SeedFolder:
    return RunFolder(path.parent.parent).seed(0)


def check_run(path: Path) -> None:
    run = RunFolder(path.parent)
    run.config()
    run.started()


READERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "plain.hdf5": ("dataset, HDF5", check_dataset),
    "packed.hdf5": ("dataset, HDF5", check_dataset),
    "latest.hdf5": ("dataset, HDF5", check_dataset),
    "plain.npz": ("dataset, .npz", check_dataset),
    "packed.npz": ("dataset, .npz", check_dataset),
    "weights.npz": ("weights, .npz", check_weights),
    "weights.parquet": ("weights, .parquet", check_weights),
    "published.npy": ("published weights, .npy", check_published),
    "policy.npz": ("policy.npz", check_policy),
    "run/seed-0/checkpoint.npz": ("checkpoint.npz", check_checkpoint),
    "run/seed-0/returns.npz": ("returns.npz", check_returns),
    "run/seed-0/metrics.csv": ("metrics.csv", check_metrics),
    "run/seed-0/result.json": ("result.json", lambda path: seed_of(path).result() and None),
    "run/config.json": ("config.json", check_run),
    "run/environment.json": ("environment.json", check_run),
    "sweep.toml": ("sweep, TOML", lambda path: read_sweep(str(path), None) and None),
    "decoded/*/meta.json": ("decoded rows", check_decoded),
    "decoded/*/observation.npy": ("decoded rows", check_decoded),
    "decoded/*/terminal.npy": ("decoded rows", check_decoded),
}


# Ways of damaging a file. Each returns what it did.


def flip_bits(path: Path, rng: np.random.Generator) -> str:
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    where = rng.integers(len(content), size=rng.integers(1, 5))
    content[where] ^= (1 << rng.integers(8, size=len(where))).astype(np.uint8)
    path.write_bytes(content.tobytes())
    return f"bits flipped in bytes {where.tolist()}"


def flip_early_bits(path: Path, rng: np.random.Generator) -> str:
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    where = rng.integers(min(len(content), 3000), size=rng.integers(1, 3))
    content[where] = rng.integers(256, size=len(where))
    path.write_bytes(content.tobytes())
    return f"bytes {where.tolist()} replaced"


def overwrite(path: Path, rng: np.random.Generator) -> str:
    content = bytearray(path.read_bytes())
    begin, count = int(rng.integers(len(content))), int(rng.integers(1, 64))
    filler = [b"\0" * count, b"\xff" * count, rng.bytes(count), b"\x7f\xc0" * count][rng.integers(4)]
    content[begin : begin + count] = filler[:count]
    path.write_bytes(bytes(content))
    return f"{count} bytes from {begin} overwritten"


def huge_number(path: Path, rng: np.random.Generator) -> str:
    content = bytearray(path.read_bytes())
    size = int(rng.choice([2, 4, 8]))
    begin = int(rng.integers(len(content)))
    value = [0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (4 * size), 2 ** (8 * size - 2)][
        rng.integers(6)
    ]
    content[begin : begin + size] = value.to_bytes(size, "little")
    path.write_bytes(bytes(content))
    return f"{value} written as {size} bytes at {begin}"


def truncate(path: Path, rng: np.random.Generator) -> str:
    content = path.read_bytes()
    count = int(rng.integers(len(content)))
    path.write_bytes(content[:count])
    return f"cut to {count} bytes"


def move_block(path: Path, rng: np.random.Generator) -> str:
    content = bytearray(path.read_bytes())
    begin, to, count = (int(rng.integers(len(content))) for _ in range(3))
    block = content[begin : begin + count % 512]
    way = ["copied over", "inserted", "cut out"][rng.integers(3)]
    if way == "copied over":
        content[to : to + len(block)] = block
    elif way == "inserted":
        content[to:to] = block
    else:
        del content[begin : begin + len(block)]
    path.write_bytes(bytes(content))
    return f"{len(block)} bytes from {begin} {way} at {to}"


BYTES = (flip_bits, flip_early_bits, overwrite, huge_number, truncate, move_block)


def odd_array(array: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """An array of another type, shape or content."""
    way = int(rng.integers(12))
    if way == 0:
        kinds = ("f2", ">f4", "f8", ">f8", "i1", "u8", "i8", "?", "c8", "S3", "S1")
        kind = str(rng.choice(kinds)) if array.dtype.kind != "U" else "S"
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return array.astype(kind), f"as {kind}"
    if way == 1 and array.ndim:
        return array[: int(rng.integers(len(array) + 1))], "cut short"
    if way == 2:
        return np.concatenate([array, array]) if array.ndim else np.stack([array, array]), "doubled"
    if way == 3 and array.ndim:
        return array.reshape(1, *array.shape), "one axis more"
    if way == 4:
        return array.reshape(-1), "flat"
    if way == 5 and array.ndim == 2:
        return np.asfortranarray(array.T), "transposed"
    if way == 6:
        return array[..., :0] if array.ndim else np.zeros(0), "empty"
    if way in (7, 8) and array.size and array.dtype.kind in "fi":
        changed = array.astype(np.float64)
        value = float(rng.choice([np.nan, np.inf, -np.inf, 1e300, -1e39, 1e38, -1.0, 2.0, 5e-324]))
        changed.reshape(-1)[rng.integers(array.size)] = value
        return changed if rng.integers(2) or array.dtype.kind == "i" else cast(
            changed, array.dtype
        ), f"{value} in it"
    if way == 9:
        with np.errstate(all="ignore"):
            return cast(
                array.astype(np.float64) * -1e38 if array.dtype.kind in "fi" else array, np.float32
            ), "scaled"
    if way == 10:
        return np.zeros((), array.dtype), "one number"
    return rng.permutation(array) if array.ndim else array, "in another order"


def cast(array: np.ndarray, dtype: Any) -> np.ndarray:
    if array.dtype.kind not in "fiub":
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def change_hdf5(path: Path, rng: np.random.Generator) -> str:
    with h5py.File(path, "a") as file:
        name = str(rng.choice([name for name in file if name != "infos"]))
        way = int(rng.integers(16))
        if way < 6:
            array, how = odd_array(file[name][()], rng)
            del file[name]
            file[name] = array
            return f"{name} {how}"
        if way == 6:
            del file[name]
            return f"{name} left out"
        if way == 7:
            other = str(rng.choice([other for other in file if other != "infos"]))
            first, second = file[name][()], file[other][()]
            del file[name]
            file[name] = second
            if other != name:
                del file[other]
                file[other] = first
            return f"{name} and {other} swapped"
        if way == 8:
            del file[name]
            file.create_dataset(f"{name}/deep/{name}", data=np.zeros(ROWS))
            return f"{name} is a group"
        if way == 9:
            target = [
                h5py.SoftLink("/nowhere"), h5py.SoftLink(f"/{name}"), h5py.SoftLink("/infos/qpos"),
                h5py.SoftLink("/"), h5py.ExternalLink("nowhere.hdf5", "/x"),
                h5py.ExternalLink(path.name, f"/{name}"),
                h5py.ExternalLink("/dev/zero", "/x"),
            ][rng.integers(7)]  # fmt: skip
            del file[name]
            file[name] = target
            return f"{name} is {target!r}"
        if way == 10:
            count = int(rng.choice([0, 1, ROWS + 1, 10**6, 3 * 10**8, 10**12, 10**15]))
            shape = [(count,), (count, 3), (count, count % 7, 2)][rng.integers(3)]
            del file[name]
            with contextlib.suppress(ValueError, OSError):
                file.create_dataset(
                    name, shape=shape, dtype=rng.choice(["f4", "f8", "?"]), chunks=True, compression="gzip"
                )
            return f"{name} declares {shape}"
        if way == 11:
            del file[name]
            kind = [
                h5py.string_dtype(), h5py.vlen_dtype(np.float32), h5py.ref_dtype, np.dtype("V5"),
                h5py.enum_dtype({"A": 1}), np.dtype([("x", "f4"), ("y", "i4")]), np.dtype(("f4", (3,))),
                h5py.opaque_dtype(np.dtype("M8[s]")),
            ][rng.integers(8)]  # fmt: skip
            file.create_dataset(name, shape=(ROWS,), dtype=kind)
            return f"{name} as {kind}"
        if way == 12:
            del file[name]
            file[name] = h5py.Empty("f4")
            return f"{name} without content"
        return change_attributes(file, name, rng)


def change_attributes(file: h5py.File, name: str, rng: np.random.Generator) -> str:
    value = [
        "", "x" * 60_000, "Nowhere-v4", "two\nlines", b"\xff\xfe", 5, np.nan, np.zeros(5),
        np.array([b"a", b"b"]), ["a", "b"], h5py.Empty("f4"), file.ref, file[name].ref,
        np.array([1, 2], "i8"), True,
    ][rng.integers(15)]  # fmt: skip
    attribute = str(rng.choice(["env", "history", "count", "extra"]))
    kind = h5py.ref_dtype if isinstance(value, h5py.Reference) else None
    file.attrs.create(attribute, value, dtype=kind)
    return f"attribute {attribute} is {str(value)[:30]!r}"


def change_npz(path: Path, rng: np.random.Generator) -> str:
    with np.load(path) as file:
        arrays: dict[str, Any] = dict(file)
    name = str(rng.choice(list(arrays)))
    way = int(rng.integers(12))
    said = f"{name} left out"
    if way < 6:
        arrays[name], how = odd_array(arrays[name], rng)
        said = f"{name} {how}"
    elif way == 6:
        del arrays[name]
    elif way == 7:
        other = str(rng.choice(list(arrays)))
        arrays[name], arrays[other] = arrays[other], arrays[name]
        said = f"{name} and {other} swapped"
    elif way == 8:
        arrays[name] = np.array([None, {"a": 1}], object)
        said = f"{name} pickled"
    elif way == 9:
        text = [
            "",
            "{",
            "[1]",
            "null",
            '{"env": 5}',
            "[" * 100_000,
            '{"a": ' * 50_000,
            "1" * 5000,
            "NaN",
            "\0",
        ]
        arrays[name] = np.array(text[rng.integers(len(text))])
        said = f"{name} is text"
    elif way == 10:
        arrays[
            str(rng.choice(["extra", "kernel_1", "leaf_7", "leaf_-1", "priority", "candidate_noise", "é\n"]))
        ] = np.zeros(3)
        said = "an array more"
    if way < 11:
        np.savez(path, **arrays)
        return said
    return change_member(path, name, rng)


def change_member(path: Path, name: str, rng: np.random.Generator) -> str:
    """A header that lies, in an archive that is sound."""
    header = [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (500000000,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.5,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }",
        "{'descr': [('a', '<f4'), ('b', '|S3')], 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f4', 'shape': (3,), }",
        "{" * 3000,
        "(" * 200,
        "__import__('os').getcwd()",
    ][rng.integers(12)]
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    padded = header.encode() + b"\n"
    members[f"{name}.npy"] = b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + bytes(24)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return f"{name} says {header[:60]}"


def change_published(path: Path, rng: np.random.Generator) -> str:
    weight = np.ones((TRANSITIONS, 1))
    bad = weight.copy()
    bad[5] = [np.nan, -1, np.inf, 1e308][rng.integers(4)]
    good = {"iter": 2, 1: weight, 2: weight}
    content: Any = [
        good | {2: bad}, good | {2: np.full_like(weight, 1e308)},
        good | {3: weight[:5]}, good | {"3": weight},        good | {True: weight},
        good | {2: weight.astype(complex)}, good | {2: "text"}, good | {2: None},
        good | {2: weight.astype(object)}, good | {10**30: weight}, good | {2: weight * 0},
        good | {2: weight.astype(str)}, [], "text", 5, {}, {1: []}, good | {2: weight.astype("M8[s]")},
        good | {1: weight.astype(np.uint8)}, good | {2: weight.T[:, :, None]},
    ][rng.integers(20)]  # fmt: skip
    if rng.integers(4):
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    else:
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
        odd = [
            b"r\xff\xff\xff\x0f",
            b"\x8e" + b"\xff" * 8,
            b"(" * 1000,
            pickle.dumps(print),
            b"N.",
            b"I" + b"9" * 9000 + b"\n.",
        ]
        path.write_bytes(stream.getvalue() + b"\x80\x04N" + odd[rng.integers(len(odd))])
    return "another object"


ODD_JSON: list[Any] = [
    None, True, -1, 10**400, 1.5, math.nan, math.inf, "", "x" * 10_000, "a\nb", [], [[]], {},
    {"a": {"b": []}},    "\ud800",
]  # fmt: skip


def change_json(path: Path, rng: np.random.Generator) -> str:
    content = json.loads(path.read_text())
    way = int(rng.integers(8))
    if way == 0:
        texts = [
            "[" * 100_000,
            '{"a":' * 100_000,
            "",
            "null",
            "[]",
            "1" * 6000,
            '{"a": 1' + "0" * 5000 + "}",
            "\ufeff{}",
            "{} {}",
        ]
        path.write_text(texts[rng.integers(len(texts))])
        return "another text"
    places = list(leaves(content))
    holder, key = places[rng.integers(len(places))]
    if way == 1:
        del holder[key]
        said = f"{key} left out"
    else:
        value = ODD_JSON[rng.integers(len(ODD_JSON))]
        holder[key] = value
        said = f"{key} is {str(value)[:30]!r}"
    path.write_text(json.dumps(content, ensure_ascii=True), encoding="utf-8")
    return said


def leaves(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else []
    for key in list(keys):
        yield content, key
        yield from leaves(content[key])


def change_text(path: Path, rng: np.random.Generator) -> str:
    """Words or lines in another place, or odd ones among them."""
    lines = path.read_text().split("\n")
    odd = [
        "", "nan", "inf", "1e999", '"""', "\0", "é", "[[runs]]", "x = [", "= 5", "a.b.c = {}",
        ",,,", "1979-05-27", "[" * 5000, "-" * 200_000, "true", "data = 5", "seeds = [1e3]",
        "seeds = [-1]", "algorithm = {}",
        "set = 5", '"', "\r",
    ]  # fmt: skip
    word = odd[rng.integers(len(odd))]
    at = int(rng.integers(len(lines)))
    way = ["line replaced by", "line more:", "value replaced by", "lines swapped near"][rng.integers(4)]
    if way == "line replaced by":
        lines[at] = word
    elif way == "line more:":
        lines.insert(at, word)
    elif way == "value replaced by":
        head, equals, _ = lines[at].partition("=" if path.suffix == ".toml" else ",")
        lines[at] = head + equals + word
    else:
        random.Random(int(rng.integers(2**31))).shuffle(lines)
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"{way} {word[:20]!r}"


def change_npy(path: Path, rng: np.random.Generator) -> str:
    array, how = odd_array(np.load(path), rng)
    np.save(path, array)
    return how


CHANGES: dict[str, Mutation] = {
    ".hdf5": change_hdf5,
    ".npz": change_npz,
    ".npy": change_npy,
    ".json": change_json,
    ".toml": change_text,
    ".csv": change_text,
}


def make_case(number: int, seed: int, valid: Path, folder: Path) -> tuple[str, Path, str]:
    """Copy the valid files and damage one of them: its reader's key, its place, what was done."""
    rng = np.random.default_rng([seed, number])
    keys = [key for key in READERS if any(valid.glob(key))]
    key = keys[number % len(keys)]
    shutil.rmtree(folder, ignore_errors=True)
    first = key.partition("/")[0]
    if first == key:
        folder.mkdir()
        shutil.copy2(valid / key, folder)
    else:
        shutil.copytree(valid / first, folder / first)
    if first == "decoded":  # it belongs to a file in its very state
        shutil.copy2(valid / "sweep.toml", folder)
        place = f"rows-{SourceFile.of(folder / 'sweep.toml').key}"
        next((folder / first).glob("rows-*")).rename(folder / first / place)
    path = next(iter(sorted(folder.glob(key))))
    change = CHANGES.get(path.suffix) if rng.integers(2) else None
    if change and key == "published.npy":
        change = change_published
    return key, path, (change or BYTES[rng.integers(len(BYTES))])(path, rng)


def read_case(key: str, path: Path) -> tuple[str, str]:
    """What came of reading a damaged file: loaded, refused, or a fault with its words."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            READERS[key][1](path)
    except ReweighError as error:
        text = str(error)
        return ("refused", "") if text.isprintable() or "\n" not in text else ("several lines", text)
    except AssertionError as error:
        return "invalid reading", str(error)
    except BaseException as error:  # whatever it is, a user would see a traceback
        return "traceback", f"{type(error).__name__}: {str(error)[:200]}"
    ours = [str(one.message) for one in said]
    return ("warned", ours[0][:200]) if ours else ("loaded", "")


def work(first: int, last: int, step: int, seed: int, valid: Path) -> None:
    """Read cases, saying of each when it begins and what came of it, a line each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number in range(first, last, step):
            key, path, done = make_case(number, seed, valid, Path(folder) / "case")
            print(json.dumps([number, READERS[key][0], done]), flush=True)
            before = time.process_time()
            outcome, words = read_case(key, path)
            if time.process_time() - before > SLOW_S:
                outcome, words = "slow", f"{time.process_time() - before:.1f} s"
            print(json.dumps([number, outcome, words]), flush=True)


@dataclasses.dataclass
class Found:
    """What came of all cases."""

    counts: dict[str, collections.Counter] = dataclasses.field(default_factory=dict)
    faults: list[str] = dataclasses.field(default_factory=list)

    def add(self, number: int, reader: str, done: str, outcome: str, words: str) -> None:
        self.counts.setdefault(reader, collections.Counter())[outcome] += 1
        if outcome not in ("loaded", "refused"):
            self.faults.append(f"case {number}, {reader}, {done}: {outcome} {words}")


def fuzz(cases: int, seed: int = 0, first: int = 0) -> Found:
    """Read so many damaged files.

    Args:
        cases: how many.
        seed: of the damage.
        first: number of the first one.
    """
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        valid = Path(folder) / "valid"
        valid.mkdir()
        make_valid(valid)
        number = first
        while number < first + cases:
            number = run_worker(number, first + cases, seed, valid, found) + 1
    return found


def run_worker(first: int, last: int, seed: int, valid: Path, found: Found) -> int:
    """Read cases in one process until the last, or until one that does not end; its number."""
    command = [sys.executable, __file__, "--work", str(first), str(last), "1", str(seed), str(valid)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert worker.stdout is not None
    begun: list[Any] = [first, "none", "none"]
    patience = 2 * LIMIT_S  # for its start
    try:
        while True:
            ready, _, _ = select.select([worker.stdout], [], [], patience)
            line = worker.stdout.readline() if ready else b""
            patience = LIMIT_S
            if not line:
                outcome = "crash" if ready else "hang"
                if ready and worker.wait() == 0:
                    return last
                found.add(*begun, outcome, f"(exit {worker.poll()})")
                return begun[0]
            message = json.loads(line)
            if message[1] in OUTCOMES:
                found.add(*begun, message[1], message[2])
            else:
                begun = message
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()


OUTCOMES = ("loaded", "refused", "several lines", "invalid reading", "traceback", "warned", "slow")


def page(found: Found, cases: int, seed: int, seconds: float) -> str:
    """The counts as Markdown."""
    with contextlib.suppress(ImportError):
        pass
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}", f"h5py {h5py.__version__}"]
    versions += [f"HDF5 {h5py.version.hdf5_version}"]
    versions += [f"pyarrow {sys.modules['pyarrow'].__version__}"] if "pyarrow" in sys.modules else []
    others = sorted({kind for counts in found.counts.values() for kind in counts} - {"loaded", "refused"})
    lines = [
        "# Damaged files",
        "",
        f"{cases} files, made of small valid ones by changing bytes or contents (seed {seed}), put",
        "through every reader. Each must load as something valid, or be refused in one line; no traceback,",
        "warning, crash or endless loop. A changed number that is still a number is valid: most formats hold",
        "no checksums.",
        f"{datetime.now(UTC):%Y-%m-%d}; {', '.join(versions)}; {seconds / 60:.0f} minutes on one core.",
        "",
        "| reader | files | loaded | refused |" + ("".join(f" {kind} |" for kind in others) or " others |"),
        f"|---|--:|--:|--:|{'--:|' * (len(others) or 1)}",
    ]
    total: collections.Counter = collections.Counter()
    for reader, counts in [*found.counts.items(), ("all", total)]:
        if counts is not total:
            total.update(counts)
        rest = "".join(f" {counts[kind]} |" for kind in others) or " 0 |"
        lines.append(f"| {reader} | {counts.total()} | {counts['loaded']} | {counts['refused']} |{rest}")
    lines += [
        "",
        f"Made by `python tests/fuzz_readers.py --cases {cases} --seed {seed} --out docs/results/fuzz.md`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="write the counts here, as Markdown")
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        first, last, step, seed = map(int, arguments.work[:4])
        work(first, last, step, seed, Path(arguments.work[4]))
        return
    began = time.monotonic()
    found = fuzz(arguments.cases, arguments.seed, arguments.first)
    text = page(found, arguments.cases, arguments.seed, time.monotonic() - began)
    print(text)
    print("\n".join(found.faults))
    if arguments.out:
        write_text(Path(arguments.out), text)
    sys.exit(bool(found.faults))


if __name__ == "__main__":
    main()
