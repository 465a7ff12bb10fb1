"""Hashes that identify things, and random numbers determined by a text."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

# Increase it when the same settings give different numbers than before: then runs begun with the old ones are
# not resumed, and their cached results are not used.
ARITHMETIC = 2


def settings_digest(plain: Any) -> str:
    """SHA-256 of settings as JSON types, and of this version's arithmetic."""
    return json_digest({"arithmetic": ARITHMETIC, "settings": plain})


def json_digest(plain: Any) -> str:
    """SHA-256 of JSON types, independent of the order of their keys."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def generator(text: str) -> np.random.Generator:
    """Random numbers determined by a text, in every version and on every machine.

    Args:
        text: the same text gives the same numbers.
    """
    digest = hashlib.sha256(text.encode()).digest()
    # NumPy's generator, not Python's: its stream is fixed across versions.
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
