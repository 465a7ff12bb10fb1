"""Detect damage in HDF5's variable-length text that would make libhdf5 read forever."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Signature, version and reserved bytes of a global heap collection (HDF5 file format, section III.E).
_COLLECTION = b"GCOL\x01\0\0\0"
_HEADER = 16
_BLOCK = 2**20


def damaged_heap(path: Path) -> int | None:
    """Offset of a global heap that its objects do not fill end to end; None: there is none.

    libhdf5 steps from object to object by their own sizes, and loops forever if one is 0. Only 8-byte lengths
    are supported, which all current writers use.

    Args:
        path: of an HDF5 file.
    """
    with open(path, "rb") as file:
        for begin in _collections(file):
            if not _is_whole(file, begin):
                return begin
    return None


def _collections(file: BinaryIO) -> Iterator[int]:
    """Every offset of the signature; the file is read in blocks."""
    at, tail = 0, b""
    while True:
        file.seek(at)
        block = file.read(_BLOCK)
        if not block:
            return
        text, base = tail + block, at - len(tail)
        found = text.find(_COLLECTION)
        while found >= 0:
            yield base + found
            found = text.find(_COLLECTION, found + 1)
        tail = text[-(len(_COLLECTION) - 1) :]
        at += len(block)


def _is_whole(file: BinaryIO, begin: int) -> bool:
    file.seek(begin + len(_COLLECTION))
    size = int.from_bytes(file.read(8), "little")
    at = _HEADER
    while at + _HEADER <= size:
        file.seek(begin + at)
        header = file.read(_HEADER)
        if len(header) < _HEADER:
            return False
        index, _, _, length = struct.unpack("<HHIQ", header)
        # Object 0 is the free space, whose size includes its header; others are padded to 8 bytes.
        step = length if index == 0 else _HEADER + -(-length // 8) * 8
        if step < _HEADER or at + step > size:
            return False
        at += step
    return True
