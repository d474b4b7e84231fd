"""Sentences that rest on verdicts: checked against the ledger's table, their numbers taken from it.

A sentence names the rows that it rests on, and what each must say. A sentence whose rows have changed stops
the book, so that prose cannot go out of step with the data. Numbers stand in braces, and are looked up:
`{R2a harmless, h = 0: effect}`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import Field, ValidationError

from afd_study.errors import SpecError, unknown_name
from afd_study.evaluation.ledger.judging import KEY
from afd_study.evaluation.verdicts import NEGLIGIBLE, REVERSED, VERDICTS, YES
from afd_study.plain_yaml import read_yaml
from afd_study.settings import Settings

SIDES = ("above zero", "below zero")
LARGEST_Q = 0.05  # a sentence may state no verdict with more
NUMBERS = {
    "effect": "{effect:.2f}",
    "low": "{low:.2f}",
    "high": "{high:.2f}",
    "interval": "{low:.2f} to {high:.2f}",
    "prediction": "{prediction_low:.2f} to {prediction_high:.2f}",
    "k": "{n_positive:.0f} of {n_worlds:.0f}",
    "q": "{q:.2g}",
}
"""What may be looked up of a row, and how it is written."""
_REFERENCE = re.compile(r"\{(?P<id>\w+) (?P<family>\w+), (?P<setting>[^:{}]+): (?P<what>\w+)\}")


class Sentence(Settings):
    """A sentence, and what it rests on: claim -> verdict -> family -> settings.

    Beside the verdicts, "above zero" and "below zero" ask for an interval wholly on that side.
    """

    says: str
    rests_on: dict[str, dict[str, dict[str, tuple[str, ...]]]] = Field(min_length=1)

    def rows(self) -> Iterator[tuple[tuple[str, str, str], str]]:
        """Yield (claim, family, setting) and what the ledger must say there."""
        for claim, verdicts in self.rests_on.items():
            for verdict, families in verdicts.items():
                if verdict not in (*VERDICTS, *SIDES):
                    raise unknown_name(f"verdict (of {claim} in a sentence)", verdict, (*VERDICTS, *SIDES))
                for family, settings in families.items():
                    yield from (((claim, family, setting), verdict) for setting in settings)


def read_sentences(text: str, *, place: str) -> list[Sentence]:
    """Read sentences from YAML; `place` names the file. Raises SpecError for what are none."""
    entries = read_yaml(text, place)
    try:
        return [Sentence.model_validate(entry) for entry in entries]
    except (ValidationError, TypeError) as fault:
        raise SpecError(f"{place} holds no sentences: {fault}") from None


def said(sentences: Sequence[Sentence], table: pd.DataFrame, *, place: str) -> list[str]:
    """Return the sentences with their numbers, each checked against the rows that it rests on.

    Raises SpecError where the ledger says something else, has no such row, or a verdict has q > .05: the
    sentence has to be written anew in `place`.
    """
    rows = {tuple(row[name] for name in KEY): row for row in table.to_dict("records")}
    return [_checked(sentence, rows, place) for sentence in sentences]


def _checked(sentence: Sentence, rows: Mapping[tuple[Any, ...], Mapping[Any, Any]], place: str) -> str:
    front = f"'{sentence.says[:60]}...'"
    for key, verdict in sentence.rows():
        row = _row(rows, key, f"(sentence {front})")
        holds = [
            str(row["verdict"]),
            *(["above zero"] * (row["low"] > 0)),
            *(["below zero"] * (row["high"] < 0)),
        ]
        if verdict not in holds:
            raise SpecError(
                f"{front} rests on {key} being {verdict}, but the ledger has {' and '.join(holds)}: write it "
                f"anew in {place}"
            )
        if verdict in (YES, REVERSED, NEGLIGIBLE) and row["primary"] and not row["q"] <= LARGEST_Q:
            raise SpecError(f"{front} states {key}, whose q is {row['q']:.2g}: state only q <= {LARGEST_Q}")

    def number(match: re.Match[str]) -> str:
        row = _row(rows, (match["id"], match["family"], match["setting"]), f"(sentence {front})")
        if match["what"] not in NUMBERS:
            raise unknown_name(f"number (sentence {front})", match["what"], NUMBERS)
        return NUMBERS[match["what"]].format(**row)

    text = _REFERENCE.sub(number, sentence.says)
    if "{" in text or "}" in text:
        raise SpecError(f"{front} has braces that name no number: write {{id family, setting: effect}}")
    return text


def _row(
    rows: Mapping[tuple[Any, ...], Mapping[Any, Any]], key: tuple[str, str, str], where: str
) -> Mapping[Any, Any]:
    if key not in rows:
        raise unknown_name(f"row of the ledger {where}", ", ".join(key), [", ".join(each) for each in rows])
    return rows[key]


def behind(sentences: Sequence[Sentence], table: pd.DataFrame) -> pd.DataFrame:
    """Return the five numbers of every row that some sentence rests on, in the sentences' order.

    Columns of KEY, sentence (its number, from 1), effect, low, high, prediction_low, prediction_high,
    n_positive, n_worlds, q and verdict.
    """
    keys = [(place, *key) for place, each in enumerate(sentences, 1) for key, _ in each.rows()]
    order = pd.DataFrame(keys, columns=["sentence", *KEY]).drop_duplicates()
    names = ["effect", "low", "high", "prediction_low", "prediction_high", "n_positive", "n_worlds", "q"]
    return order.merge(table[[*KEY, *names, "verdict"]], on=list(KEY), how="left", validate="many_to_one")
