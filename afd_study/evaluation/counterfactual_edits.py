"""Counterfactual pairs: a text and the same text with one thing changed, for any text in sentences.

How much an edit changes a model's reward shows what the model has learned, beside how much it changes the
judge's score. A controlled world adds edits of its own (of its mark, its style, its substance).
"""

import re
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from afd_study.errors import unknown_name
from afd_study.evaluation.pools import ROW
from afd_study.evaluation.statistics import require_columns

ORIGINAL = "original"
OTHER = "another prompt's answer"
_SENTENCE = re.compile(r"[^.!?]*[.!?]+|[^.!?]+$")


def sentences(text: str) -> list[str]:
    """Cut a text behind every full stop, exclamation and question mark."""
    return [part.strip() for part in _SENTENCE.findall(text) if part.strip()]


def _cut(text: str) -> str:
    return " ".join(sentences(text)[:-1]) or text


def _twice(text: str) -> str:
    parts = sentences(text)
    return " ".join([*parts, *parts[-1:]])


def _doubled(text: str) -> str:
    """Double the word in the middle, as a slip of the pen would."""
    words = text.split()
    place = len(words) // 2
    return " ".join([*words[:place], *words[place : place + 1], *words[place:]])


EDITS: Mapping[str, Callable[[str], str]] = {
    "last sentence cut": _cut,
    "last sentence said twice": _twice,
    "sentences reversed": lambda text: " ".join(sentences(text)[::-1]),
    "one word doubled": _doubled,
    "full stop dropped": lambda text: text.rstrip().removesuffix("."),
}
"""Edits of any text; one that changes nothing does not apply."""


def counterfactuals(
    texts: pd.DataFrame, *, generator: np.random.Generator, extra: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return originals and edited texts: prompt_id, source, draw, edit, text.

    `texts`: prompt_id, source, draw, text. "another prompt's answer" is drawn by `generator`; `extra` holds
    further edited texts in the same columns as the result.
    """
    require_columns(texts, (*ROW, "text"))
    base = texts[[*ROW, "text"]].reset_index(drop=True)
    frames = [base.assign(edit=ORIGINAL)]
    for name, edit in EDITS.items():
        changed = base.assign(edit=name, text=base["text"].map(edit))
        frames.append(changed[(changed["text"] != base["text"]) & (changed["text"] != "")])
    order = generator.permutation(len(base))
    other = base.iloc[order].reset_index(drop=True)
    swapped = base.assign(edit=OTHER, text=other["text"])
    frames.append(swapped[(other["prompt_id"] != base["prompt_id"]) & (swapped["text"] != base["text"])])
    if extra is not None:
        require_columns(extra, (*ROW, "edit", "text"))
        frames.append(extra)
    return pd.concat(frames, ignore_index=True)[[*ROW, "edit", "text"]]


def edit_effects(scores: pd.DataFrame, *, task: str, seed: int, spread: Mapping[str, float]) -> pd.DataFrame:
    """Return how each edit changes each scorer's reward: columns task, seed, method, edit, prompt_id, value.

    `scores`: prompt_id, source, draw, edit, scorer, reward. A value is the mean over a prompt's texts of
    (edited - original), divided by `spread`, the scorer's standard deviation within prompts on its pool, so
    that scorers compare. Raises SpecError for a scorer without a spread.
    """
    require_columns(scores, (*ROW, "edit", "scorer", "reward"))
    for scorer in set(scores["scorer"].unique()):
        if scorer not in spread:
            raise unknown_name("scorer (no spread was given for it)", scorer, spread)
    keys = [*ROW, "scorer"]
    before = scores[scores["edit"] == ORIGINAL].rename(columns={"reward": "before"})[[*keys, "before"]]
    after = scores[scores["edit"] != ORIGINAL].merge(before, on=keys, validate="many_to_one")
    value = (after["reward"] - after["before"]) / after["scorer"].map(spread)
    table = after.assign(value=value, method=after["scorer"])
    means = table.groupby(["method", "edit", "prompt_id"], sort=True)["value"].mean().reset_index()
    return means.assign(task=task, seed=seed)[["task", "seed", "method", "edit", "prompt_id", "value"]]
