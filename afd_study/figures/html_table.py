"""A table that is ready to show: as HTML everything in it is escaped, and as text it is plain.

Either way `visible` spells out what cannot be seen, whichever function made the table.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from afd_study.errors import visible

IGNORED_BY_MATHS = "tex2jax_ignore mathjax_ignore"
LONG_WORDS = 40  # characters of a cell from which a table holds sentences, and is set smaller
WIDE = 85  # characters of a row, with its gaps, from which a table is set smaller too
NO_BREAK = "\N{NO-BREAK SPACE}"
INNER_SPACE = re.compile(r"(?<=,) |(?<=\d) (?=to )|(?<=to) | (?=%)")
NUMBERS = re.compile(r"[-+−]?\d(?:[\d.,%()\[\]+−–\s-]|e|to)*")


@dataclass(frozen=True)
class Shown:
    """A table ready to show: texts in cells, and a caption. As HTML everything is escaped."""

    frame: pd.DataFrame
    caption: str = ""
    wrap: bool = False
    links: Mapping[str, str] = field(default_factory=dict)  # a cell's whole text -> an address of the book

    def _repr_html_(self) -> str:
        names = [visible(name) for name in self.frame.columns]
        rows = [[visible(cell) for cell in row] for row in self.frame.itertuples(index=False)]
        columns = list(zip(names, *rows, strict=True))
        numbers = [not self.wrap and _are_numbers(cells) for _, *cells in columns]
        head = _row("th", map(html.escape, names), numbers)
        body = "\n".join(_row("td", map(self._linked, row), numbers) for row in rows)
        style = "overflow-x:auto" + (";white-space:pre-wrap;text-align:left" if self.wrap else "")
        caption = f"<p><em>{html.escape(visible(self.caption))}</em></p>" if self.caption else ""
        return (
            f'<div class="{self._kind(columns)} {IGNORED_BY_MATHS}">{caption}<div style="{style}">'
            f'<table class="afd-table {IGNORED_BY_MATHS}"><thead>{head}</thead>'
            f"<tbody>\n{body}\n</tbody></table></div></div>"
        )

    def _linked(self, cell: str) -> str:
        """Return a cell as HTML: text and nothing else, with a link of the book's own where it has one."""
        text = html.escape(cell.strip())
        if cell not in self.links:
            return text
        return f'<a href="{html.escape(self.links[cell], quote=True)}">{text}</a>'

    def _kind(self, columns: Sequence[tuple[str, ...]]) -> str:
        """Return the classes for the page's style: of untrusted texts, of sentences, of wide rows."""
        if self.wrap:
            return "afd-shown afd-texts"
        longest = max((len(cell) for _, *cells in columns for cell in cells), default=0)
        width = sum(max(map(len, column)) + 2 for column in columns)
        return "afd-shown" + " afd-words" * (longest > LONG_WORDS) + " afd-wide" * (width > WIDE)

    def __repr__(self) -> str:
        if self.wrap:
            rows = self.frame.to_dict("records")
            table = "\n".join(f"{visible(name)}: {value!r}" for row in rows for name, value in row.items())
        else:
            with pd.option_context("display.max_colwidth", None, "display.width", 200):
                table = visible(self.frame.to_string(index=False))
        return f"{visible(self.caption)}\n{table}" if self.caption else table


def _row(tag: str, inner: Iterable[str], numbers: Sequence[bool]) -> str:
    """Return a row of cells whose insides are HTML already."""
    cells = (_cell(tag, each, number) for each, number in zip(inner, numbers, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _cell(tag: str, inner: str, number: bool) -> str:
    """Return a cell; an interval is not broken within its brackets."""
    if not number:
        return f"<{tag}>{inner}</{tag}>"
    return f'<{tag} class="afd-number">{INNER_SPACE.sub(NO_BREAK, inner)}</{tag}>'


def _are_numbers(cells: Sequence[str]) -> bool:
    """Tell whether a column holds only numbers, shares or intervals, which stand on the right."""
    filled = [cell for cell in cells if cell not in ("", "–")]
    return bool(filled) and all(map(NUMBERS.fullmatch, filled))
