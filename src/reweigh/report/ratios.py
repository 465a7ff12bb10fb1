"""A report's blocks on learned density ratios: how uneven they are, and whether they separate sources."""

from collections.abc import Mapping, Sequence

from reweigh.report.cells import median_and_range
from reweigh.report.collect import Group
from reweigh.report.document import Block, Table, Text

# With fewer effective rows in a batch, a handful of transitions trains the agent.
_FEWEST_ROWS = 4.0
# Published settings end at 0.56 to 0.76; if nearly all logits are clipped, the limit alone sets the weight.
_MOST_CLIPPED = 0.95
# A largest weight this close to 1 changes no loss measurably.
_UNIFORM = 1e-3


def ratio_note(seed: int, metrics: Mapping[str, float], batch_size: int) -> str | None:
    """A note on density ratios that have collapsed or have no effect; None: neither.

    Args:
        seed: its number.
        metrics: its last row of metrics.csv.
        batch_size: `B`.
    """
    if "ratio/ess" not in metrics:  # metrics.csv was removed
        return None
    count = metrics["ratio/ess"] * batch_size
    if count < _FEWEST_ROWS:
        return (
            f"the weights of seed {seed} have collapsed: a batch of {batch_size} counts as {count:.1f} rows. "
            "Raise ratio.divergence or ratio.temperature."
        )
    if metrics["ratio/clipped"] > _MOST_CLIPPED:
        return (
            f"the logits of seed {seed} are nearly all clipped ({metrics['ratio/clipped']:.3f} of them), so "
            "that weights take the two values that ratio.clip allows. Raise ratio.divergence or ratio.clip."
        )
    largest = metrics["ratio/largest"]
    if largest < 1 + _UNIFORM:
        return (
            f"the weights of seed {seed} are uniform to rounding (the largest is {largest:.6f}): this is "
            "training without weights. Lower ratio.divergence, ratio.flow or ratio.temperature."
        )
    return None


def ratio_blocks(groups: Sequence[Group]) -> list[Block]:
    """The learned ratios of a dataset's groups at the end of training; empty if none were learned.

    Args:
        groups: of one dataset.
    """
    learned = [group for group in groups if group.learns_ratios and group.finished]
    if not learned:
        return []
    columns = {
        "ratio/ess": "effective share of a batch",
        "ratio/largest": "largest weight in a batch",
        "ratio/clipped": "share of logits clipped",
        "ratio/data_ess": "ESS/N of the dataset",
        "ratio/auc": "AUC",
    }
    rows = [
        (group.label, *(median_and_range(_values(group, name), ".3g") for name in columns))
        for group in learned
    ]
    note = (
        "Median over seeds (least to most) of the last row of metrics.csv, which averages batches over the "
        "log interval. Weights have mean 1 in a batch. The AUC asks how well the ratio tells the good "
        "source's rows from the others, where a dataset knows its sources."
    )
    table = Table(
        "Learned density ratios", ("group", *columns.values()), tuple(rows), words=(0,), notes=(note,)
    )
    said = [
        f"{group.label}: {words}"
        for group in learned
        for seed in group.finished
        if (words := ratio_note(seed.number, seed.metrics, group.settings["batch_size"]))
    ]
    return [table, *(Text(words, warning=True) for words in said)]


def _values(group: Group, name: str) -> list[float]:
    return [seed.metrics[name] for seed in group.finished if name in seed.metrics]
