"""Hashes that name things, and random numbers that a name fixes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

# Raise it when the same settings give other numbers than before: then no run that was begun with the old ones
# goes on, and nothing that they left in a cache is used.
ARITHMETIC = 1


def settings_digest(plain: Any) -> str:
    """SHA-256 of settings as JSON's types, and of the arithmetic of this version."""
    return json_digest({"arithmetic": ARITHMETIC, "settings": plain})


def json_digest(plain: Any) -> str:
    """SHA-256 of JSON's types, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def generator(text: str) -> np.random.Generator:
    """Random numbers fixed by a text, in every version and on every machine.

    Args:
        text: the same text, the same numbers.
    """
    digest = hashlib.sha256(text.encode()).digest()
    # NumPy's generator, not Python's: its stream is fixed across versions.
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
