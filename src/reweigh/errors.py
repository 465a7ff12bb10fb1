"""What a user can do wrong, one class a place where it enters."""


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


def first_line(error: BaseException) -> str:
    """What another library's error says, short enough to stand in one of ours.

    Args:
        error: of any kind; one without words gives its type.
    """
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
