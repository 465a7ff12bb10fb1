"""A page as a list of blocks, and its Markdown, LaTeX, CSV and HTML forms."""

import base64
import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """A title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph without markup."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """Text cells under a header; the first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)
    """Columns of words, aligned left; numbers are aligned right."""
    notes: tuple[str, ...] = ()
    folded: bool = False
    """Collapsed until opened, because it is long."""


@dataclass(frozen=True)
class Picture:
    """A figure, stored as a file beside the page."""

    path: Path
    alternative: str


Block = Heading | Text | Table | Picture

_STYLE = """\
:root { color-scheme: light dark;
  --ink: #1b1f24; --paper: #fff; --line: #d5d9de; --soft: #f3f5f7; --warn: #9a3b00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e6ea; --paper: #14171b; --line: #3a4048; --soft: #1f242a; --warn: #ffab70; }
}
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1rem 4rem;
  color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
p { max-width: 46rem; overflow-wrap: anywhere; } .warning { color: var(--warn); font-weight: 600; }
.wide { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
h3, summary { font-size: 1rem; font-weight: 600; margin: 1.5rem 0 .4rem; overflow-wrap: anywhere; }
summary { cursor: pointer; } figure { margin: 1rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { background: var(--soft); } .word { text-align: left; }
td.long { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
.note { font-size: .875rem; opacity: .85; margin: .2rem 0; }
img { max-width: 100%; background: #fff; border-radius: 4px; }
"""

# Longer word cells may wrap.
_LONG = 40


def to_markdown(blocks: Sequence[Block], folder: Path) -> str:
    """Markdown, with figure paths relative to a folder.

    Args:
        blocks: of the page.
        folder: the page's folder.
    """
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{'#' * block.level} {_markdown(block.text)}")
        elif isinstance(block, Text):
            text = _markdown(block.text)
            parts.append(f"**{text}**" if block.warning else text)
        elif isinstance(block, Picture):
            parts.append(f"![{_markdown(block.alternative)}]({block.path.relative_to(folder).as_posix()})")
        else:
            parts.append(_markdown_table(block))
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    rule = ["---" if i in table.words else "--:" for i in range(len(table.header))]
    lines = [f"**{_markdown(table.title)}**", "", f"| {' | '.join(map(_markdown, table.header))} |"]
    lines += [f"| {' | '.join(rule)} |", *(f"| {' | '.join(map(_markdown, row))} |" for row in table.rows)]
    for note in table.notes:
        lines += ["", _markdown(note)]
    return "\n".join(lines)


def _markdown(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\|*_`<>[]#" else c for c in text)


def to_latex(tables: Sequence[Table]) -> str:
    """LaTeX that needs no package.

    Args:
        tables: each becomes a `table`.
    """
    parts = []
    for table in tables:
        columns = "".join("l" if i in table.words else "r" for i in range(len(table.header)))
        lines = ["\\begin{table}", "\\centering", "\\small", f"\\caption{{{_latex(table.title)}}}"]
        lines += [f"\\begin{{tabular}}{{{columns}}}", "\\hline", _latex_row(table.header), "\\hline"]
        lines += [*map(_latex_row, table.rows), "\\hline", "\\end{tabular}"]
        lines += [f"\\par {_latex(note)}" for note in table.notes]
        parts.append("\n".join([*lines, "\\end{table}"]))
    return "\n\n".join(parts) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    # A bracket after \\ would be read as its optional argument.
    return f"{' & '.join('{}' + c if c.startswith('[') else c for c in map(_latex, cells))} \\\\"


def _latex(text: str) -> str:
    special = {
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        "±": "$\\pm$",
        "–": "--",
        "×": "$\\times$",
        "<": "$<$",
        ">": "$>$",
        **{c: f"\\{c}" for c in "&%$#_{}"},
    }
    return "".join(special.get(c, c) for c in text)


def to_csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Comma-separated, quoted where needed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    return text.getvalue()


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """One self-contained page.

    Args:
        title: of the window.
        blocks: of the page; figures are read from their paths.
    """
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        kind = ' class="warning"' if block.warning else ""
        return f"<p{kind}>{html.escape(block.text)}</p>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.path.read_bytes()).decode()
        image = f'<img src="data:image/png;base64,{data}" alt="{html.escape(block.alternative)}">'
        return f"<figure>{image}</figure>"
    return _html_table(block)


def _html_table(table: Table) -> str:
    title = html.escape(table.title)
    cells = [_html_row("th", table.header, table.words)]
    cells += [_html_row("td", row, table.words) for row in table.rows]
    text = '<div class="wide"><table>\n' + "\n".join(cells) + "\n</table></div>"
    text += "".join(f'\n<p class="note">{html.escape(note)}</p>' for note in table.notes)
    return (
        f"<details><summary>{title}</summary>{text}</details>" if table.folded else f"<h3>{title}</h3>{text}"
    )


def _html_row(tag: str, cells: Sequence[str], words: Sequence[int]) -> str:
    parts = []
    for number, cell in enumerate(cells):
        kinds = ["word"] * (number in words) + ["long"] * (number in words and len(cell) > _LONG)
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        parts.append(f"<{tag}{kind}>{html.escape(cell)}</{tag}>")
    return f"<tr>{''.join(parts)}</tr>"
