"""D4RL's datasets by name: where their files are, whether they are unchanged, and their rows."""

import contextlib
import os
import re
from dataclasses import replace
from pathlib import Path

from reweigh.datasets.decoded import SourceFile, read_decoded, write_decoded
from reweigh.datasets.download import Patience, Received, Remote, Report, download
from reweigh.datasets.files import read_hdf5, unlike_d4rl
from reweigh.datasets.rows import Rows
from reweigh.datasets.scores import D4RL_PREFIX, SUITE_PREFIX, Entry, catalog
from reweigh.errors import DatasetError, did_you_mean
from reweigh.system import atomic
from reweigh.system.cache import cache_folder
from reweigh.system.digests import file_digest

BASE_URL = "http://rail.eecs.berkeley.edu/datasets/offline_rl/"
D4RL_VARIABLE = "REWEIGH_D4RL"

DOMAIN_OF_FAMILY = {
    **dict.fromkeys(("hopper", "halfcheetah", "walker2d", "ant"), "mujoco"),
    **dict.fromkeys(("pen", "door", "hammer", "relocate"), "adroit"),
    "antmaze": "antmaze",
    "kitchen": "kitchen",
}
DOMAINS = ("mujoco", "antmaze", "kitchen", "adroit")
"""Domains with published settings."""


def _silent(received: Received) -> None:
    """Report nothing."""


def entry_of(name: str) -> Entry:
    """D4RL's catalog entry of a dataset.

    Args:
        name: for example `hopper-medium-v2`.

    Raises:
        DatasetError: there is no such dataset.
    """
    known = catalog()
    if name not in known:
        raise DatasetError(
            f"expected one of D4RL's {len(known)} datasets after {D4RL_PREFIX}, but found {name!r}. "
            f"{did_you_mean(name, known, 'hopper-medium-v2')}"
        )
    return known[name]


def domain_of(*names: str | None) -> str | None:
    """The domain whose published settings apply to a run; None: no name has one.

    Args:
        names: of its dataset and environment, if known; the first with a domain counts. `suite:NAME` is
            D4RL's too.
    """
    for name in names:
        if name and name.startswith((D4RL_PREFIX, SUITE_PREFIX)):
            domain = DOMAIN_OF_FAMILY.get(name.partition(":")[2].partition("-")[0])
            if domain:
                return domain
    return None


def is_d4rl(spec: str) -> bool:
    """Whether a dataset is named as one of D4RL's."""
    return spec.startswith(D4RL_PREFIX)


def fetch(name: str, *, report: Report = _silent, patience: Patience | None = None) -> Path:
    """The file of a dataset, from the folder in `$REWEIGH_D4RL`, the cache, or the network.

    Args:
        name: for example `hopper-medium-v2`.
        report: called during the download.
        patience: with the server; None: 30 s without a byte, four tries.

    Raises:
        DatasetError: there is no such dataset, or its file cannot be obtained.
    """
    entry = entry_of(name)
    place = os.environ.get(D4RL_VARIABLE) or BASE_URL
    if not _is_url(place):
        return _in_folder(entry, place)
    path = _cached(entry)
    if path.is_file():
        return path
    source = Remote(
        url=place.rstrip("/") + "/" + entry.file,
        check=unlike_d4rl,
        remedy=f"Connect to the network and run the same command again, put the file at {path}, or set "
        f"{D4RL_VARIABLE} to a mirror's URL or to a folder that holds it.",
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.held(path.with_name(path.name + ".lock"), wait=True):
            if not path.is_file():  # else another process downloaded it while we waited
                download(source, path, patience or Patience(), report)
                if _read_digest(path) is None:  # else the file was removed, and its replacement must match
                    _write_digest(path, file_digest(path))
    except OSError as error:
        raise DatasetError(
            f"cannot write {path} ({error.strerror}). Set REWEIGH_CACHE to a writable folder, or "
            f"{D4RL_VARIABLE} to a folder that holds the file."
        ) from error
    return path


def d4rl_is_here(name: str) -> bool:
    """Whether `fetch` needs no download.

    Args:
        name: for example `hopper-medium-v2`.

    Raises:
        DatasetError: there is no such dataset.
    """
    place = os.environ.get(D4RL_VARIABLE) or BASE_URL
    return not _is_url(place) or _cached(entry_of(name)).is_file()


def d4rl_rows(name: str) -> Rows:
    """The rows of a dataset, decoded once and then memory-mapped from the cache.

    Args:
        name: for example `hopper-medium-v2`.

    Raises:
        DatasetError: the file cannot be obtained, read or trusted.
    """
    entry = entry_of(name)
    path = fetch(name)
    kept_as = entry.file.removesuffix(".hdf5").replace("/", "-")
    folder = cache_folder() / "d4rl" / "decoded"
    try:
        source = SourceFile.of(path)
        recorded = _read_digest(path)
        found = read_decoded(folder, kept_as, source)
        if found is not None and recorded in (None, found[0]):
            return replace(found[1], env=entry.env)
        digest = file_digest(path)
    except OSError as error:
        raise DatasetError(f"cannot read {path} ({error.strerror}). Make it readable.") from error
    if recorded not in (None, digest):
        raise DatasetError(
            f"expected {path} with the SHA-256 {recorded} that it had when it came, but found {digest}. "
            f"Remove the file to have it brought again, or {_digest_file(path).name} beside it to trust it."
        )
    rows = read_hdf5(path)
    if recorded is None and path.is_relative_to(cache_folder()):
        with contextlib.suppress(OSError):  # a read-only cache is usable, only without a digest
            _write_digest(path, digest)
    write_decoded(folder, kept_as, source, digest, rows)
    return replace(rows, env=entry.env)


def _is_url(place: str) -> bool:
    return re.match("https?://", place) is not None


def _cached(entry: Entry) -> Path:
    return cache_folder() / "d4rl" / entry.file


def _in_folder(entry: Entry, place: str) -> Path:
    """A file in the user's folder, by D4RL's path, its last part, or the dataset's name."""
    folder = Path(place)
    if not os.path.isdir(folder):
        raise DatasetError(
            f"expected {D4RL_VARIABLE} to be a URL that begins with http:// or https://, or a folder, but "
            f"found {place!r}. Correct it, or unset it to use D4RL's server."
        )
    for name in (entry.file, Path(entry.file).name, f"{entry.name}.hdf5"):
        if (folder / name).is_file():
            return folder / name
    raise DatasetError(
        f"expected {entry.file} (or {Path(entry.file).name}) in {folder}, which {D4RL_VARIABLE} names, but "
        f"there is none. Put it there, or unset {D4RL_VARIABLE} to use D4RL's server."
    )


def _digest_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _read_digest(path: Path) -> str | None:
    """The digest beside a file, as `sha256sum` writes it."""
    record = _digest_file(path)
    if not record.is_file():
        return None
    digest = (record.read_text(encoding="utf-8", errors="replace").split() or [""])[0]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise DatasetError(
            f"expected a SHA-256 in {record}, but found {digest[:80]!r}. Remove it to trust {path.name} as "
            "it is."
        )
    return digest


def _write_digest(path: Path, digest: str) -> None:
    atomic.write_text(_digest_file(path), f"{digest}  {path.name}\n")
