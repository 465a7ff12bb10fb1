"""Run folders -> tables, figures and a page."""

import datetime
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reweigh import __version__
from reweigh.errors import RunError
from reweigh.report.across import Across, across_table, compare_across
from reweigh.report.cells import counted
from reweigh.report.collect import Dataset, Group, group_runs, read_run
from reweigh.report.comparison_figures import plot_across, plot_curves, plot_intervals, plot_profiles
from reweigh.report.document import (
    Block,
    Heading,
    Picture,
    Table,
    Text,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
)
from reweigh.report.provenance_sections import cost_section, provenance_section, settings_section
from reweigh.report.ratios import ratio_blocks
from reweigh.report.scores import Help, Summary, did_it_help, summarize_scores
from reweigh.report.sections import (
    CSV_HEADER,
    CURVES_HEADER,
    HELP_HEADER,
    about_dataset,
    csv_rows,
    curve_rows,
    help_rows,
    help_table,
    how_to_read,
    score_tables,
)
from reweigh.runs import find_runs, make_folder
from reweigh.sweeps.requests import requested_below
from reweigh.system.atomic import write_text

_TITLE = "Offline RL runs compared"
_NAMED = 3


@dataclass(frozen=True)
class _Part:
    """A dataset's share of the report."""

    dataset: Dataset
    groups: list[Group]
    summaries: list[dict[str, Summary]]
    helped: list[Help]

    @property
    def tables(self) -> list[Table]:
        comparison = help_table(self.dataset, self.helped)
        return score_tables(self.dataset, self.groups, self.summaries) + ([comparison] if comparison else [])


def write_report(roots: Sequence[Path], out: Path, *, allow_unfinished: bool = False) -> list[Group]:
    """Write `report.{html,md}`, `tables.{md,tex,csv}`, `improvement.csv`, `curves.csv` and `figures/`.

    Args:
        roots: run folders, or folders that contain some.
        out: folder to write in.
        allow_unfinished: report the finished seeds of unfinished groups, marked as such.

    Returns:
        The groups.

    Raises:
        RunError: a run is damaged, unfinished, or requested by a sweep but never started; or the report
            cannot be written.
    """
    requested = requested_below(roots)
    runs = [read_run(folder, requested.pop(os.path.realpath(folder.path), ())) for folder in find_runs(roots)]
    groups = group_runs(runs)
    absent = [
        f"{counted(len(seeds), 'seed')} of {os.path.relpath(run)} (never started)"
        for run, seeds in requested.items()
    ]
    if not allow_unfinished:
        _refuse_unfinished(groups, absent)
    parts = _parts(groups)
    make_folder(out / "figures")
    together = compare_across(groups)
    blocks = [*_opening(groups, absent), how_to_read(), *_together(together, out / "figures")]
    profiled = {group for a in together for column in a.columns if column.iqm for group in column.groups}
    for number, part in enumerate(parts, 1):
        profiles = any(group not in profiled for group in part.groups)
        pictures = _pictures(part, out / "figures", number, profiles=profiles)
        about = about_dataset(part.dataset, part.groups)
        blocks += [Heading(part.dataset.label), *about, *pictures, *part.tables, *ratio_blocks(part.groups)]
    blocks += [*cost_section(groups), *settings_section(groups), *provenance_section(groups)]
    tables = [across_table(across) for across in together]
    tables += [table for part in parts for table in part.tables]
    earlier = _pictures_of(out / "report.md")
    rows = [row for part in parts
            for pair in zip(part.groups, part.summaries, strict=True) for row in csv_rows(*pair)]  # fmt: skip
    for name, text in (
        ("tables.md", to_markdown(tables, out)),
        ("tables.tex", to_latex(tables)),
        ("tables.csv", to_csv(CSV_HEADER, rows)),
        ("improvement.csv", to_csv(HELP_HEADER, [row for part in parts for row in help_rows(part.helped)])),
        ("curves.csv", to_csv(CURVES_HEADER, [row for group in groups for row in curve_rows(group)])),
        ("report.md", to_markdown(blocks, out)),
        ("report.html", to_html(_TITLE, blocks)),
    ):
        try:
            write_text(out / name, text)
        except OSError as error:
            raise RunError(f"cannot write {out / name} ({error.strerror}). Choose another --out.") from error
    for name in earlier - _pictures_of(out / "report.md"):
        (out / "figures" / name).unlink(missing_ok=True)
    return groups


def _pictures_of(page: Path) -> set[str]:
    """The names of a report's figures; none if there is no report."""
    try:
        text = page.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return set(re.findall(r"\]\(figures/([A-Za-z0-9-]+\.png)\)", text))


def _refuse_unfinished(groups: Sequence[Group], absent: Sequence[str]) -> None:
    missing = [phrase for group in groups if not group.complete for phrase in group.what_is_missing]
    missing += absent
    if missing:
        more = f", and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise RunError(
            f"expected finished seeds only, but found {len(missing)} unfinished: "
            f"{', '.join(missing[:_NAMED])}{more}. Finish them with reweigh train or reweigh sweep, or "
            "report the others with --allow-unfinished."
        )


def _parts(groups: Sequence[Group]) -> list[_Part]:
    summaries, helped = summarize_scores(groups), did_it_help(groups)
    parts = []
    for dataset in dict.fromkeys(group.dataset for group in groups):
        own = [number for number, group in enumerate(groups) if group.dataset is dataset]
        parts.append(
            _Part(
                dataset=dataset,
                groups=[groups[number] for number in own],
                summaries=[summaries[number] for number in own],
                helped=[item for item in helped if item.group.dataset is dataset],
            )
        )
    return parts


def _together(compared: Sequence[Across], folder: Path) -> list[Block]:
    """The section on all datasets together; empty if no weights occur on two of them."""
    blocks: list[Block] = [Heading("All datasets together")] if compared else []
    for number, across in enumerate(compared, 1):
        if any(column.iqm for column in across.columns):
            path = folder / f"all-{number:02d}-{_file_name(across.algorithm)}.png"
            plot_across(across, path)
            blocks.append(Picture(path, f"{across.algorithm}: IQM over datasets and seeds, and profiles"))
        blocks.append(across_table(across))
    return blocks


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")


def _pictures(part: _Part, folder: Path, number: int, *, profiles: bool) -> list[Block]:
    """A dataset's figures; none if nothing was evaluated."""
    scored = [i for i, group in enumerate(part.groups) if group.scored]
    if not scored:
        return []
    groups = [part.groups[i] for i in scored]
    name = f"{number:02d}-{_file_name(part.dataset.label)}"
    curves, spans, shares = (folder / f"{name}-{what}.png" for what in ("curves", "scores", "profiles"))
    plot_curves(groups, curves)
    plot_intervals(groups, [part.summaries[i] for i in scored], spans)
    label = part.dataset.label
    pictures: list[Block] = [
        Picture(curves, f"{label}: learning curves, each beside that of uniform weights"),
        Picture(spans, f"{label}: scores of every group with intervals over seeds"),
    ]
    if profiles:
        plot_profiles(groups, shares)
        pictures.append(Picture(shares, f"{label}: performance profiles by algorithm"))
    return pictures


def _opening(groups: Sequence[Group], absent: Sequence[str]) -> list[Block]:
    runs = sum(len(group.runs) for group in groups)
    seeds = sum(len(group.finished) for group in groups)
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    count = f"{counted(seeds, 'finished seed')} of {counted(runs, 'run')} in {counted(len(groups), 'group')}"
    made = Text(f"{count}; made by reweigh {__version__}, {today}.")
    blocks: list[Block] = [Heading(_TITLE, level=1), made]
    for group in groups:
        if not group.complete:
            what = "; ".join(group.what_is_missing)
            text = f"Unfinished, and so not in any number here: {group.dataset.label}, {group.label}: {what}."
            blocks.append(Text(text, warning=True))
    if absent:
        blocks.append(Text(f"Asked for by a sweep, and in no table: {'; '.join(absent)}.", warning=True))
    return blocks
