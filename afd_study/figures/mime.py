"""How the book shows an interactive figure: MyST-NB loads this class by the entry point in pyproject.toml.

A notebook stores a plotly figure as data (`application/vnd.plotly.v1+json`), which Sphinx cannot show by
itself. Here it becomes an empty box with a JSON text in it, nothing that runs: `book/_static/book.js` draws
the box when it scrolls into view, with the one plotly.js that `book/_ext/offline_book.py` puts into the site.
"""

import csv
import html
import io
import json
import unicodedata
from typing import Any

from docutils import nodes

from afd_study.errors import visible
from afd_study.figures.figure_data import CSV_MIME, link, of_plotly

MIME_TYPE = "application/vnd.plotly.v1+json"
PNG_MIME = "image/png"
FORMULA_SIGNS = tuple("=+-@＝＋－＠")  # of spreadsheets, in their wide forms too
DEFAULT_HEIGHT = 450  # plotly's own, in pixels


def figure_html(figure: dict[str, Any]) -> str:
    """Return the box and the data of a figure given as plotly's JSON (`data`, `layout`, perhaps `frames`).

    The figure's texts may be a model's samples: in the JSON `<`, `>` and `&` are written as unicode escapes,
    so that no text can end the script element or be read as markup. `layout.meta` stays behind: the caption
    and the table stand beside the box.
    """
    layout = figure.get("layout", {})
    parts = {key: figure[key] for key in ("data", "layout", "frames", "config") if key in figure}
    parts["layout"] = {key: value for key, value in layout.items() if key != "meta"}
    text = json.dumps(as_words(parts), separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    height = int(layout.get("height") or DEFAULT_HEIGHT)
    caption = html.escape(visible((layout.get("meta") or {}).get("caption", "interactive figure")))
    return (
        f'<div class="afd-figure" style="height:{height}px" role="figure" aria-label="{caption}">'
        f'<script type="application/json">{text}</script>'
        "<noscript>This figure needs JavaScript.</noscript></div>"
        + link(harmless_csv(of_plotly(figure)), str((layout.get("meta") or {}).get("caption", "figure")))
    )


def as_words(value: Any) -> Any:
    """Return plotly's JSON in which every text is shown as it stands.

    plotly reads a few elements and entities in names, titles and ticks, links among them. No figure of the
    book uses them.
    """
    if isinstance(value, str):
        return html.escape(visible(value), quote=False)
    if isinstance(value, dict):
        return {key: as_words(item) for key, item in value.items()}
    return [as_words(item) for item in value] if isinstance(value, list) else value


def harmless_csv(text: str) -> str:
    """Return a CSV in which no cell is a formula to a spreadsheet; numbers, and harmless texts, stay.

    A text that begins with a formula's sign gets an apostrophe in front, which spreadsheets read as `text`.
    """
    rows = list(csv.reader(io.StringIO(text, newline="")))
    harmless = [[_harmless(cell) for cell in row] for row in rows]
    if harmless == rows:
        return text
    target = io.StringIO(newline="")
    csv.writer(target, lineterminator="\n").writerows(harmless)
    return target.getvalue()


def _harmless(cell: str) -> str:
    seen = "".join(letter for letter in cell if not unicodedata.category(letter).startswith("C")).lstrip()
    if not seen.startswith(FORMULA_SIGNS) and not cell.startswith(("\t", "\r")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


class PlotlyRenderer:
    """MyST-NB's plug-in interface: which MIME type, and what to put on the page for it."""

    mime_priority_overrides = [("*", MIME_TYPE, 0)]

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Element] | None:
        """Return the figure as a raw HTML node, or None to leave the output to MyST-NB."""
        if inline or data.mime_type != MIME_TYPE:
            return None
        figure = data.content if isinstance(data.content, dict) else json.loads(data.content)
        return [nodes.raw(text=figure_html(figure), format="html")]


class CsvRenderer:
    """A still figure with its caption as alternative text, and the table beside it as a link."""

    mime_priority_overrides = [("*", CSV_MIME, 0)]

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Element] | None:
        """Return the picture or the link as a node, or None to leave the output to MyST-NB."""
        if data.mime_type == PNG_MIME and (data.output_metadata.get(PNG_MIME) or {}).get("alt"):
            pictures: list[nodes.Element] = renderer.render_image(data)
            for picture in pictures:
                picture["alt"] = str(data.output_metadata[PNG_MIME]["alt"])
            return pictures
        if inline or data.mime_type != CSV_MIME:
            return None
        caption = str((data.output_metadata.get(CSV_MIME) or {}).get("caption", "figure"))
        return [nodes.raw(text=link(harmless_csv(str(data.content)), caption), format="html")]
