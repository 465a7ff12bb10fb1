"""What a user can do wrong, one class a place where it enters."""

from collections.abc import Sequence


class ReweighError(Exception):
    """Base of every error that a user can cause and mend; its text is one line."""


class DatasetError(ReweighError):
    """A dataset cannot be read, or holds what no dataset should."""


class WeightsError(ReweighError):
    """Weights cannot be computed, read, or used on this dataset."""


class ConfigError(ReweighError):
    """Settings that contradict one another or lie outside their range."""


class RunError(ReweighError):
    """A run's folder cannot be read, written, or continued."""


# Counts and seeds are 32-bit integers on the device.
MOST = 2**31 - 1
MOST_SEED = 2**32 - 1


def check_count(name: str, count: int, remedy: str = "") -> None:
    """Refuse a count that means nothing, or that no device can count to.

    Args:
        name: of the setting, as the user knows it.
        count: what was given.
        remedy: a sentence more.

    Raises:
        ConfigError: it lies outside 1 to 2^31 - 1.
    """
    if count < 1:
        raise ConfigError(f"expected {name} of at least 1, but found {count}.{remedy}")
    if count > MOST:
        raise ConfigError(f"expected {name} of at most {MOST}, but found {count}.")


def check_seeds(name: str, seeds: Sequence[int]) -> None:
    """Refuse seeds that are none, appear twice, or that no random key can be made of.

    Args:
        name: of the setting, as the user knows it.
        seeds: what was given.

    Raises:
        ConfigError: they are.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) > MOST_SEED:
        raise ConfigError(f"expected different {name} from 0 to {MOST_SEED}, but found {list(seeds)}.")
