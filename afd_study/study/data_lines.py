"""What is said of a data set on the terminal: what is read, within which bounds, and what was dropped."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from afd_study.study.pipeline.texts import CORPORA
from afd_study.study.spec import WorldSpec
from afd_study.worlds.alpaca_eval_corpus import AlpacaEvalCorpusSpec, remarks
from afd_study.worlds.corpus import counted
from afd_study.worlds.text_files import MAX_BLANK, MAX_LINE, MAX_TEXT

_NAMED = 4  # files
_CUT = ("side", "n", "n_cut", "bound")
_BOUNDS = {"prompt": "max_prompt_tokens", "response": "max_new_tokens"}


def reading(world: WorldSpec) -> str:
    """Return which files will be read, how large they are and what bounds hold; "" where there are none.

    Raises DataError for a folder that is not there.
    """
    files = CORPORA[world.name].files(world) if world.name in CORPORA else []
    if not files:
        return ""
    short = _short_names(files)
    names = ", ".join(f"{short[place]!r} ({_size(file)})" for place, file in enumerate(files[:_NAMED]))
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    rows = getattr(world, "max_rows", None)
    line = (
        f"{world.name}: reads {names}{more}; at most {MAX_TEXT:,} characters a text, {MAX_LINE:,} bytes a "
        f"line, {MAX_BLANK:,} blank lines a file" + (f", {rows:,} rows" if rows else "")
    )
    return line + (f"; {remarks(world)}" if isinstance(world, AlpacaEvalCorpusSpec) else "")


def dropped(world: WorldSpec, report: pd.DataFrame) -> str:
    """Return how many rows of a report (columns kept, reason) were kept and dropped, and why."""
    return f"{world.name}: {counted(report)}"


def cut(world: WorldSpec, table: pd.DataFrame) -> str:
    """Return how many of SFT's demonstrations were cut at which bound, by table `cut`; "" where none was."""
    ends = {"prompt": "prompts lost their beginning", "response": "responses lost their end"}
    parts = [
        f"{n_cut:,} of {n:,} {ends[side]} (sampling.{_BOUNDS[side]}={bound})"
        for side, n, n_cut, bound in zip(*(table[name] for name in _CUT), strict=True)
        if n_cut
    ]
    return f"{world.name}: {', '.join(parts)}" if parts else ""


def _short_names(files: Sequence[Path]) -> list[str]:
    """Return the ends of some paths: as many folders as tell them apart, or names alone where none do."""
    for depth in (1, 2, 3):
        names = ["/".join(file.parts[-depth:]) for file in files]
        if len(set(names)) == len(names):
            return names
    return [file.name for file in files]


def _size(file: Path) -> str:
    try:
        size = float(file.stat().st_size)
    except OSError:
        return "size unknown"  # whoever reads it says why
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
