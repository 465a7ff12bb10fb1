"""The style of all figures, and how they are written."""

from pathlib import Path
from typing import Any

from reweigh.errors import RunError
from reweigh.system.atomic import atomic_path

# Okabe and Ito's palette, which color-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

ENDINGS = (".png", ".pdf", ".svg")
# Takes two thirds of the time of the default level 6, for files 4 % larger.
_SAVED_AS = {".png": {"pil_kwargs": {"compress_level": 3}}}


def pyplot() -> Any:
    """Matplotlib without a display, in the house style."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "font.size": 9,
            "axes.titlesize": 10,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
        }
    )
    return plt


def save(figure: Any, path: Path) -> None:
    """Write a figure, whole or not at all, in the format of its ending.

    Args:
        figure: closed afterwards.
        path: ending in .png, .pdf or .svg.

    Raises:
        RunError: the ending is unknown, or the file cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise RunError(f"expected a figure ending in .png, .pdf or .svg, but found {str(path)!r}.")
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            figure.savefig(file, format=path.suffix[1:], dpi=150, **_SAVED_AS.get(path.suffix, {}))
    except OSError as error:
        raise RunError(f"cannot write {path} ({error.strerror or error}). Choose a writable path.") from error
    finally:
        pyplot().close(figure)
