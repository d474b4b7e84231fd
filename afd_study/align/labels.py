"""What a person chose on a blind page, read back against the key: the picks' win rate, and what it shows.

The key says which side is the pick, and lies in a file of its own. Both files are read strictly: a result
that rests on some of the pairs, or on another page, would look like any other.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import AwareDatetime, Field
from scipy import stats

from afd_study.align.blind_power import (
    LEVEL,
    SMALL_GAIN,
    count_of,
    least_wins,
    needed_pairs,
    percent,
)
from afd_study.align.json_records import read_record
from afd_study.errors import DataError
from afd_study.evaluation.statistics import preference_accuracy
from afd_study.settings import Settings

ANSWERS = ("first", "second", "same")
SHOWN = 5  # ids in an error
_SAVE_AGAIN = "open the page again and save the answers by its button"
_WRITE_AGAIN = "write the page again, and label the new one"

Side = Literal["first", "second"]
Verdict = Literal["picks are preferred", "plain samples are preferred", "not settled"]


class KeyPair(Settings):
    """Where a pair's pick stands on the page, and which of the writer's pairs it is, from 0."""

    pair: str
    pick: Side
    row: int = Field(ge=0)


class BlindKey(Settings):
    """What a blind page hides. `page` is the digest of what the page shows.

    `n_alike` and `n_repeated` pairs were left off it: both texts were equal, or the prompt stood there.
    """

    page: str
    pairs: tuple[KeyPair, ...] = Field(min_length=1)
    n_alike: int = Field(0, ge=0)
    n_repeated: int = Field(0, ge=0)


class SavedAnswer(Settings):
    """One answer as the page saves it."""

    pair: str
    answer: str


class SavedLabels(Settings):
    """The file that the page saves."""

    page: str
    answers: tuple[SavedAnswer, ...]
    saved_at: AwareDatetime


class LabelResult(Settings):
    """How often a person preferred the pick to the plain sample, and what that shows.

    `n_picks`, `n_plain` and `n_same` add up to `n_pairs`. `win_rate` counts a pair without a difference half.
    `decided_rate` leaves such pairs out; `low` and `high` are its exact interval (Clopper and Pearson), and
    `p_value` is of the exact two-sided test that it is 1/2. Both are NaN, null in JSON, without a decided
    pair. `n_first` of the decided pairs went to the response that stood first.
    """

    page: str
    saved_at: AwareDatetime
    n_pairs: int
    n_picks: int
    n_plain: int
    n_same: int
    n_first: int
    n_alike: int
    n_repeated: int
    level: float
    win_rate: float
    decided_rate: float
    low: float
    high: float
    p_value: float
    verdict: Verdict

    @property
    def n_decided(self) -> int:
        """The pairs in which one response was preferred."""
        return self.n_picks + self.n_plain

    def sentences(self) -> list[str]:
        """Return the result in plain English: what was counted, what it shows, and what it doesn't."""
        return [_counts(self), _conclusion(self), *_habit(self), _reach(self)]


def read_key(path: Path) -> BlindKey:
    """Read the key of a blind page. Raises DataError for a file that is no such key."""
    key = read_record(path, BlindKey, _WRITE_AGAIN)
    _refuse(path, "more than one side of the pairs", _repeated(each.pair for each in key.pairs), _WRITE_AGAIN)
    return key


def read_labels(file: Path, key: Path, *, level: float = LEVEL) -> LabelResult:
    """Read the answers that a blind page saved, and count them by the page's key.

    Raises DataError, with the file and the remedy, where one of both can't be read in full, is no JSON or
    holds something else, and where answers are of another page, are missing, repeated, unknown or of no
    pair. Raises SpecError for a level that is no probability.
    """
    sides = read_key(key)
    saved = read_record(
        file, SavedLabels, "is it the file that the page's button saves? If so, " + _SAVE_AGAIN
    )
    if saved.page != sides.page:
        raise DataError(
            f"{file} holds answers of another page ({saved.page[:40]!r}) than the key {key} "
            f"({sides.page[:40]!r}): give the key that was written with the page, or label the page beside it"
        )
    known = {each.pair for each in sides.pairs}
    ids = [each.pair for each in saved.answers]
    _refuse(file, "answers to pairs that the page has not", (each for each in ids if each not in known))
    _refuse(file, "more than one answer to the pairs", _repeated(ids))
    answers = {each.pair: each.answer for each in saved.answers}
    _refuse(
        file,
        f"other answers than {', '.join(ANSWERS)} to the pairs",
        (pair for pair, answer in answers.items() if answer not in ANSWERS),
    )
    missing = [each.pair for each in sides.pairs if each.pair not in answers]
    _refuse(file, f"no answers to {len(missing)} of {len(known)} pairs:", missing)
    return _result(sides, saved, answers, level)


def _result(key: BlindKey, saved: SavedLabels, answers: Mapping[str, str], level: float) -> LabelResult:
    decided = [(answers[each.pair], each.pick) for each in key.pairs if answers[each.pair] != "same"]
    wins = np.array([answer == pick for answer, pick in decided], dtype=int)
    n, n_same, n_picks = len(key.pairs), len(key.pairs) - len(wins), int(wins.sum())
    rate, low, high = preference_accuracy(
        preferred=wins, rejected=1 - wins, level=level, method="clopper_pearson"
    )
    verdict: Verdict = "not settled"
    if low > 0.5 or high < 0.5:
        verdict = "picks are preferred" if low > 0.5 else "plain samples are preferred"
    return LabelResult(
        page=key.page,
        saved_at=saved.saved_at,
        n_pairs=n,
        n_picks=n_picks,
        n_plain=len(wins) - n_picks,
        n_same=n_same,
        n_first=sum(answer == "first" for answer, _ in decided),
        n_alike=key.n_alike,
        n_repeated=key.n_repeated,
        level=level,
        win_rate=(n_picks + n_same / 2) / n,
        decided_rate=float(rate),
        low=float(low),
        high=float(high),
        p_value=float(stats.binomtest(n_picks, len(wins)).pvalue) if len(wins) else math.nan,
        verdict=verdict,
    )


def _counts(result: LabelResult) -> str:
    same = f"no difference in {result.n_same}" if result.n_same else "a difference in each"
    win_rate = f"the picks' win rate is {percent(result.win_rate)}"
    halves = f"{win_rate}, with half a win for each pair without a difference" if result.n_same else win_rate
    return (
        f"Of {count_of(result.n_pairs, 'pair')} you preferred the pick in {result.n_picks} and the plain "
        f"sample in {result.n_plain}, and saw {same}: {halves}."
    )


def _conclusion(result: LabelResult) -> str:
    """Return what the exact interval shows, or what it would have taken."""
    n = result.n_decided
    if not n:
        return "No pair was decided, so nothing is shown about which is better."
    interval = (
        f"Among the {count_of(n, 'decided pair')} it is {percent(result.decided_rate)} (exact "
        f"{percent(result.level)} interval by Clopper and Pearson: {percent(result.low)} to "
        f"{percent(result.high)}; p = {result.p_value:.2g} of the exact two-sided binomial test)"
    )
    if result.verdict == "picks are preferred":
        return f"{interval}. The interval lies above one half: you prefer the picks to plain samples."
    if result.verdict == "plain samples are preferred":
        return f"{interval}. The interval lies below one half: you prefer plain samples to the picks."
    wins = int(least_wins(n, level=result.level))
    enough = (
        f"{wins} wins of {n} ({percent(wins / n)}) would have shown that you prefer one of them."
        if wins <= n
        else f"No outcome of {count_of(n, 'decided pair')} would have shown a preference."
    )
    return (
        f"{interval}. The interval holds one half: neither a preference nor its absence is shown. "
        f"{enough} To show a true win rate of {percent(0.5 + SMALL_GAIN)} takes "
        f"{needed_pairs(SMALL_GAIN, level=result.level):,} decided pairs."
    )


def _habit(result: LabelResult) -> list[str]:
    """Return a sentence about a habit of choosing one side, where the exact test shows one."""
    n = result.n_decided
    if not n or stats.binomtest(result.n_first, n).pvalue > 1 - result.level:
        return []
    return [
        f"You chose the first response in {result.n_first} of {count_of(n, 'decided pair')}. Sides were "
        "drawn by chance, so a habit of choosing one side favours neither kind, but it hides differences."
    ]


def _reach(result: LabelResult) -> str:
    """Return what no such result can show, with the pairs that were left off the page."""
    alike = (
        f" {count_of(result.n_alike, 'further pair')} of equal texts had been left off the page; a win rate "
        "over all pairs is closer to one half."
        if result.n_alike
        else ""
    )
    return (
        "This holds for you as the judge and for prompts like these; it says nothing of other judges, nor of "
        f"how much better a response is.{alike}"
    )


def _repeated(ids: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(ids).items() if count > 1]


def _refuse(path: Path, what: str, ids: Iterable[str], remedy: str = _SAVE_AGAIN) -> None:
    """Raise DataError that lists the first of these pairs, if there are any."""
    listed = list(ids)
    if listed:
        more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
        names = ", ".join(repr(each[:40]) for each in listed[:SHOWN])
        raise DataError(f"{path} holds {what} {names}{more}: {remedy}")
