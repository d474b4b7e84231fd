"""Layouts of examples by their columns: which of them a file has, or how far the nearest is."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from afd_study.align.readers import (
    Reader,
    alpaca,
    answered,
    messages,
    prompt_alone,
    whole_dialogues,
)
from afd_study.align.rows import names_of
from afd_study.errors import DataError, nearest, unknown_name
from afd_study.worlds.reading import SEPARATORS

Kind = Literal["demonstrations", "prompts", "preferences"]


class Layout(NamedTuple):
    """A layout: the columns that it needs and may have, what it is, and how a row of it is read.

    `read` takes the place of a row, for errors, and its fields. `answers` is how many responses a row holds.
    """

    needs: tuple[str, ...]
    may: tuple[str, ...]
    about: str
    answers: int
    read: Reader


_MORE = ("system", "finish_reason")
LAYOUTS: Mapping[str, Layout] = {
    "messages": Layout(
        ("messages",),
        _MORE,
        "a list of {role, content}",
        1,
        partial(messages, name="messages", who="role", says="content"),
    ),
    "sharegpt": Layout(
        ("conversations",),
        _MORE,
        "ShareGPT's list of {from, value}",
        1,
        partial(messages, name="conversations", who="from", says="value"),
    ),
    "prompt_response": Layout(
        ("prompt", "response"),
        _MORE,
        "a question, or a dialogue, and the answer",
        1,
        partial(answered, prompt="prompt", responses=("response",)),
    ),
    "prompt_completion": Layout(
        ("prompt", "completion"),
        _MORE,
        "TRL's, as texts or as messages",
        1,
        partial(answered, prompt="prompt", responses=("completion",)),
    ),
    "alpaca": Layout(
        ("instruction", "output"),
        ("input", *_MORE),
        "Alpaca's, with an input or without",
        1,
        partial(alpaca, response="output"),
    ),
    "alpaca_eval": Layout(
        ("instruction", "output_2"),
        (),
        "AlpacaEval's annotations: the system's answers",
        1,
        partial(alpaca, response="output_2"),
    ),
    "prompt_chosen_rejected": Layout(
        ("prompt", "chosen", "rejected"),
        ("system",),
        "TRL's preferences, as texts or as messages",
        2,
        partial(answered, prompt="prompt", responses=("chosen", "rejected")),
    ),
    "prompt_preferred_rejected": Layout(
        ("prompt", "preferred", "rejected"),
        ("system",),
        "preferences as texts",
        2,
        partial(answered, prompt="prompt", responses=("preferred", "rejected")),
    ),
    "chosen_rejected": Layout(
        ("chosen", "rejected"),
        ("system",),
        "two whole dialogues: HH-RLHF's texts, or messages",
        2,
        whole_dialogues,
    ),
    "prompt": Layout(("prompt",), ("system",), "prompts alone", 0, prompt_alone),
}
"""Layouts by name; of several that fit the first counts, those of the kind with the fewest answers first."""
ANSWERS: Mapping[Kind, tuple[int, ...]] = {
    "demonstrations": (1, 2),
    "prompts": (1, 2, 0),
    "preferences": (2,),
}
"""What is read -> how many answers its layouts hold, the likeliest number first."""


def fitting(columns: Sequence[str], kind: Kind) -> list[str]:
    """Return the layouts of a kind whose columns are all there; the first is the one to take."""
    fit = [name for name, layout in LAYOUTS.items() if set(layout.needs) <= set(columns)]
    return [name for n in ANSWERS[kind] for name in fit if LAYOUTS[name].answers == n]


def layout_of(path: Path, columns: Sequence[str], kind: Kind, name: str | None) -> str:
    """Return the layout of a file with these columns: the one asked for by name, or the first that fits.

    Raises SpecError for a name that no layout of the kind has, DataError for columns that the layout lacks,
    or that no layout has.
    """
    known = [each for each, layout in LAYOUTS.items() if layout.answers in ANSWERS[kind]]
    if name is not None and name not in known:
        raise unknown_name(f"layout of {kind}", name, known)
    fit = fitting(columns, kind)
    if name is None and fit:
        return fit[0]
    if name in fit:
        return str(name)
    close = name or max(known, key=lambda each: _closeness(LAYOUTS[each], columns))
    layout = LAYOUTS[close]
    lacks = [each for each in layout.needs if each not in columns]
    mark = next((sign for sign in SEPARATORS if len(columns) == 1 and sign in columns[0]), None)
    free = [each for each in columns if each not in layout.needs]
    meant = (f"did you mean {hint!r} by '{each}'?" for each in lacks if (hint := nearest(each, free)))
    hint = f"the fields seem to be separated by {SEPARATORS[mark]}; use commas" if mark else ", ".join(meant)
    problem = f"is not laid out as {name}" if name else f"has no layout of {kind} that is known"
    nearest_one = "it" if name else f"the nearest is {close} ({layout.about}), which"
    raise DataError(
        f"{path} {problem}: {nearest_one} lacks {names_of(lacks)}{f' ({hint})' if hint else ''}. Found: "
        f"{names_of(columns)}. Rename the columns, or name another layout: --layout {'|'.join(known)}"
    )


def _closeness(layout: Layout, columns: Sequence[str]) -> tuple[float, float]:
    """Return how much of a layout is there: the share of its columns, and of those with a near name."""
    there = sum(each in columns for each in layout.needs)
    free = [each for each in columns if each not in layout.needs]
    near = sum(each not in columns and nearest(each, free) is not None for each in layout.needs)
    return (there + near / 2) / len(layout.needs), float(there)
