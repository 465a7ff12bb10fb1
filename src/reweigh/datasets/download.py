"""A URL -> a file, whole or not at all; downloads are resumed, and retried where that can help."""

import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reweigh.errors import DatasetError
from reweigh.system import atomic

_BLOCK_BYTES = 2**20
# HTTP statuses worth a retry; every other error status is final.
_PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a download."""

    stall_s: float = 30.0
    """A connection that delivers no byte for this long is dropped."""
    waits_s: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Before each retry."""


@dataclass(frozen=True)
class Received:
    """Progress of a download."""

    file: str
    num_bytes: int
    total: int | None
    """None: unknown."""
    trouble: str = ""
    """Why the download is retried."""


Report = Callable[[Received], None]


@dataclass(frozen=True)
class Remote:
    """Where a file comes from, and how to check it."""

    url: str
    check: Callable[[Path], str | None]
    """Says what is wrong with a complete file; None: nothing."""
    remedy: str
    """A sentence: what to do if it cannot be obtained."""


def download(source: Remote, path: Path, patience: Patience, report: Report) -> None:
    """Download a file, which appears at its path only when complete and checked.

    After a failure, what was received stays beside it as `.part`; the next call resumes from there if the
    server still has the same file.

    Args:
        source: the file's origin.
        path: its destination; the folder must exist.
        patience: with the server.
        report: called after every block, and before each retry.

    Raises:
        DatasetError: the server cannot be reached, lacks the file or sends another, or it cannot be written.
    """
    part = _Part(path)
    trouble = ""
    for wait_s in (*patience.waits_s, None):
        try:
            _receive(source, part, patience.stall_s, report)
            break
        except ValueError as error:
            raise DatasetError(
                f"expected a URL that can be opened, but found {source.url!r}. {source.remedy}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            trouble = _words(error, patience.stall_s)
            if isinstance(error, urllib.error.HTTPError) and error.code not in _PASSING:
                raise DatasetError(
                    f"expected {path.name} at {source.url}, but found {trouble}. {source.remedy}"
                ) from error
        if wait_s is None:
            kept = f"; {part.size()} bytes are kept, from which the next try goes on" if part.known() else ""
            raise DatasetError(
                f"expected {path.name} from {source.url}, but {trouble} "
                f"({len(patience.waits_s) + 1} tries{kept}). {source.remedy}"
            )
        report(Received(path.name, part.size(), part.total(), trouble))
        time.sleep(wait_s)
    wrong = source.check(part.path)
    if wrong:
        part.remove()
        raise DatasetError(f"expected {path.name} from {source.url}, but {wrong}. {source.remedy}")
    part.finish()


class _Part:
    """The beginning of a file, and the server's facts about it, which must not have changed since."""

    def __init__(self, path: Path):
        self.whole = path
        self.path = path.with_name(path.name + ".part")
        self.note = path.with_name(path.name + ".part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def known(self) -> dict[str, Any]:
        """`validator` and `total` of the partial file; empty if there is nothing to resume."""
        try:
            known = atomic.parse_json(self.note.read_text(encoding="utf-8"))
            validator = None if known["validator"] is None else str(known["validator"])
            return {"validator": validator, "total": int(known["total"])} if self.size() else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def total(self) -> int | None:
        return self.known().get("total")

    def begin(self, response: http.client.HTTPResponse) -> None:
        """Discard the old part, and record which file comes now."""
        self.remove()
        length = response.headers.get("Content-Length", "")
        if length.isdigit():
            known = {"validator": _validator(response), "total": int(length)}
            atomic.write_text(self.note, json.dumps(known))

    def remove(self) -> None:
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        with open(self.path, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.path, self.whole)
        self.note.unlink(missing_ok=True)


def _receive(source: Remote, part: _Part, stall_s: float, report: Report) -> None:
    """One try, resuming where the last one stopped."""
    known = part.known()
    begin = part.size() if known else 0
    if known and begin == known["total"]:
        return
    request = urllib.request.Request(
        source.url, headers={"User-Agent": "reweigh", "Accept-Encoding": "identity"}
    )
    if begin:
        request.add_header("Range", f"bytes={begin}-")
        if known["validator"]:
            request.add_header("If-Range", known["validator"])
    try:
        response = urllib.request.urlopen(request, timeout=stall_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416:
            raise
        with _writing(part):
            part.remove()
        raise ConnectionError("the file has changed on the server") from error
    with response:
        if response.status == 206 and not _goes_on(response, begin, known):
            with _writing(part):
                part.remove()
            raise ConnectionError("the file has changed on the server")
        if response.status != 206:
            begin = 0
            with _writing(part):
                part.begin(response)
        _append(response, part, begin, report)


def _append(response: http.client.HTTPResponse, part: _Part, begin: int, report: Report) -> None:
    """Append the whole response to what is there."""
    length = response.headers.get("Content-Length", "")
    total = begin + int(length) if length.isdigit() else None
    with _writing(part):
        free = shutil.disk_usage(part.path.parent).free
        file = open(part.path, "ab" if begin else "wb")  # noqa: SIM115 - closed by the block that follows
    with file:
        if total is not None and free < total - begin:
            raise DatasetError(
                f"expected {total - begin} bytes of free disk for {part.whole.name}, but {part.path.parent} "
                f"has {free}. Free some, or set REWEIGH_CACHE to another folder."
            )
        received = begin
        while block := response.read1(_BLOCK_BYTES):
            with _writing(part):
                file.write(block)
                file.flush()
            received += len(block)
            report(Received(part.whole.name, received, total))
    if total is not None and received < total:
        raise ConnectionError(f"the connection ended after {received} of {total} bytes")


@contextmanager
def _writing(part: _Part) -> Iterator[None]:
    """Tell disk errors, which no retry fixes, from network errors."""
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"cannot write {part.path} ({error.strerror}). Free some disk, or set REWEIGH_CACHE to another "
            "folder."
        ) from error


def _validator(response: http.client.HTTPResponse) -> str | None:
    """The server's name for this state of the file, in the form for `If-Range`."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _goes_on(response: http.client.HTTPResponse, begin: int, known: dict[str, Any]) -> bool:
    """Whether this is the same file, from the requested byte to its end."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
    total = known.get("total")
    return match is not None and list(map(int, match.groups())) == [begin, (total or 0) - 1, total]


def _words(error: Exception, stall_s: float) -> str:
    """A network error in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        text = f"the answer HTTP {error.code} {error.reason}".strip()
    else:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            return f"no byte came for {stall_s:g} s"
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return text.splitlines()[0][:200]
