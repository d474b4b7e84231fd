"""What a data set on disk gives: prompts, demonstrations, preferences, and a report of every line.

A data set's reader turns each line into an `Entry` (see entries.py). `assemble` makes ids, splits, tables and
report of them, in the same way for every data set, with the texts on disk all the while (see spool.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from afd_study.errors import DataError
from afd_study.records import SPLITS, checked
from afd_study.settings import Settings
from afd_study.worlds.entries import IN_TEST_FILE, NO_DEMONSTRATION, NO_FAULTS
from afd_study.worlds.spool import Spool


class CorpusSpec(Settings):
    """How a data set is split, whatever its format. Shares are of prompts' openings (see `splits_of`)."""

    validation: float = Field(0.1, gt=0, lt=1, description="share for validation")
    test: float = Field(0.1, gt=0, lt=1, description="share for test, where no file is set aside for it")
    split_seed: int = Field(0, description="another seed, other splits")
    max_dropped: float = Field(0.5, ge=0, le=1, description="share of rows that may be unusable")

    @model_validator(mode="after")
    def _something_to_train_on(self) -> "CorpusSpec":
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation + test = {self.validation + self.test:g} leaves nothing to train on"
            )
        return self


@dataclass(frozen=True)
class Corpus:
    """The tables of a data set (see records.py), and `report`: file, line, kept, reason for every line.

    `batches` yields a table piece by piece; the properties of the same names hold a whole one in memory.
    `rows` has a line for each entry: what `Spool.facts` has, `split`, and the entry's draw in both tables of
    answers.
    """

    spool: Spool
    rows: pd.DataFrame

    def batches(self, name: str) -> Iterator[pd.DataFrame]:
        """Yield table `name` (prompts, demonstrations or preferences) in its order, in pieces."""
        wanted, draw, texts = {
            "prompts": ("first", "split", {"prompt": "text"}),
            "demonstrations": ("demonstrated", "demonstration_draw", {"demonstration": "text"}),
            "preferences": (
                "compared",
                "preference_draw",
                {"preferred": "preferred", "rejected": "rejected"},
            ),
        }[name]
        for batch in self.spool.texts(list(texts)):
            rows = self.rows.loc[batch.index]
            rows = rows.loc[rows[wanted], ["prompt_id", draw]].rename(columns={draw: draw.rpartition("_")[2]})
            yield checked(name, rows.join(batch.rename(columns=texts)))

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """Table `prompts`."""
        return self._whole("prompts")

    @cached_property
    def demonstrations(self) -> pd.DataFrame:
        """Table `demonstrations`."""
        return self._whole("demonstrations")

    @cached_property
    def preferences(self) -> pd.DataFrame:
        """Table `preferences`."""
        return self._whole("preferences")

    @property
    def report(self) -> pd.DataFrame:
        """What became of every line: file, line, kept, reason."""
        return report_of(self.rows)

    def line(self) -> str:
        """Return the report's counts as words."""
        return counted(self.report)

    def describe(self) -> pd.DataFrame:
        """Return the report's counts: kept, reason, rows, examples (the first lines concerned)."""
        return summarised(self.report)

    def _whole(self, name: str) -> pd.DataFrame:
        return pd.concat(self.batches(name), ignore_index=True)


def assemble(spool: Spool, spec: CorpusSpec, *, source: str) -> Corpus:
    """Build the corpus: split by opening, check that no split is empty, keep a report of every entry.

    Where some kept entries are `from_test` and others not, the former are the test split, and of the latter
    those with an opening found there are dropped; else all splits are hashed out of all entries. `source`
    names the data set in errors.

    Raises DataError where nothing can be used, where more rows than `max_dropped` can't be used, where a
    split has no demonstration, or where two prompts share an id.
    """
    fixed_test = _drop_leaks(spool)
    rows = spool.facts
    report = report_of(rows)
    if not rows["demonstrated"].any():
        raise DataError(f"{source}: no row can be used as a demonstration. {_counts(report)}")
    _refuse_many_dropped(report, spec.max_dropped, source)
    usable = rows["prompt_id"] != ""
    _refuse_shared_ids(rows[usable], source)
    test = 0.0 if fixed_test else spec.test
    hashed = splits_of(rows["place"].to_numpy(), validation=spec.validation, test=test)
    rows["split"] = np.where(fixed_test & rows["from_test"], "test", hashed)
    rows["first"] = usable & ~rows["prompt_id"].where(usable).duplicated()
    for answer, flag in (("demonstration", "demonstrated"), ("preference", "compared")):
        rows[f"{answer}_draw"] = rows[rows[flag]].groupby("prompt_id").cumcount()
        rows[f"{answer}_draw"] = rows[f"{answer}_draw"].fillna(0).astype(np.int64)
    demonstrated = rows["prompt_id"].isin(rows.loc[rows["demonstrated"], "prompt_id"])
    alone = usable & (rows["split"] == "test") & ~demonstrated
    rows.loc[alone & (rows["reason"] == ""), "reason"] = NO_DEMONSTRATION
    _refuse_empty_split(rows[rows["first"] & demonstrated], rows, source)
    return Corpus(spool, rows)


def report_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return file, line, kept, reason for every entry."""
    return rows[["file", "line"]].assign(kept=rows["prompt_id"] != "", reason=rows["reason"])


def refuse_no_preference(corpus: Corpus, source: str) -> None:
    """Raise DataError where a data set that should hold preferences has none that can be used."""
    if not corpus.rows["compared"].any():
        raise DataError(f"{source}: no row can be used as a preference. {_counts(corpus.report)}")


def _drop_leaks(spool: Spool) -> bool:
    """Drop entries that would leak into a given test split; tell whether one is given."""
    rows = spool.facts
    usable, tested = rows["prompt_id"] != "", rows["from_test"]
    if not (usable & tested).any() or not (usable & ~tested).any():
        return False
    openings = rows.loc[usable & tested, "opening"]
    spool.drop((usable & ~tested & rows["opening"].isin(openings)).to_numpy(), IN_TEST_FILE)
    return True


def splits_of(places: np.ndarray, *, validation: float, test: float) -> np.ndarray:
    """Return train, validation or test for each place (n,) in [0, 1): a hash of the dialogue's opening.

    A dialogue and its continuations go to one split, for the longer holds the answers to the shorter. So the
    splits are disjoint by prompt, whatever the rows' order, and a prompt stays where it is as data are added.
    """
    bounds = np.array([test, test + validation])
    return np.array(["test", "validation", "train"])[np.searchsorted(bounds, places, side="right")]


def _refuse_shared_ids(rows: pd.DataFrame, source: str) -> None:
    """Raise DataError where two prompts share an id: one in 10^4 data sets of a quarter million prompts."""
    prompts = rows.drop_duplicates(["prompt_id", "whole"])
    shared = prompts.loc[prompts["prompt_id"].duplicated(keep=False)]
    if len(shared):
        places = _places(shared.head(2))
        raise DataError(f"{source}: two prompts have one id, by chance ({places}): take one of them out")


def _refuse_many_dropped(report: pd.DataFrame, most: float, source: str) -> None:
    """Raise DataError where a larger share of rows than `most` has a fault."""
    rows = report[~report["reason"].isin(NO_FAULTS)]
    share = 1 - rows["kept"].mean() if len(rows) else 0.0
    if share > most:
        raise DataError(
            f"{source}: {share:.0%} of the rows can't be used, more than world.max_dropped={most:g}. "
            f"{_counts(report)} Mend the rows, or raise world.max_dropped"
        )


def counted(report: pd.DataFrame) -> str:
    """Return a report's counts as words, such as `60 rows kept, 2 dropped (empty prompt 2)`."""
    kept = report["kept"]
    words = [f"{kept.sum()} rows kept", f"{(~kept).sum()} dropped"]
    for place, rows in enumerate((report[kept], report[~kept])):
        counts = rows.loc[rows["reason"] != "", "reason"].value_counts()
        if len(counts):
            words[place] += f" ({', '.join(f'{reason} {n}' for reason, n in counts.items())})"
    return ", ".join(words)


def summarised(report: pd.DataFrame) -> pd.DataFrame:
    """Count a report's rows by kept and reason; columns kept, reason, rows, examples (at most five lines)."""
    table = (
        report.groupby(["kept", "reason"], sort=False)
        .apply(lambda rows: pd.Series({"rows": len(rows), "examples": _places(rows.head(5))}))
        .reset_index()
    )
    return table.sort_values(["kept", "rows"], ascending=False, kind="stable").reset_index(drop=True)


def _places(rows: pd.DataFrame) -> str:
    """Return the rows' places as text, such as `a.jsonl: 3, 7; b.jsonl: 1`."""
    lines = rows.groupby("file", sort=False)["line"].agg(lambda numbers: ", ".join(map(str, numbers)))
    return "; ".join(f"{file}: {numbers}" for file, numbers in lines.items())


def _refuse_empty_split(demonstrated: pd.DataFrame, rows: pd.DataFrame, source: str) -> None:
    """Raise DataError unless each split has a prompt that was demonstrated."""
    sizes = {split: int((demonstrated["split"] == split).sum()) for split in SPLITS}
    if not all(sizes.values()):
        raise DataError(
            f"{source}: {len(demonstrated)} prompts with demonstrations are too few to fill every split: "
            + ", ".join(f"{split} {size}" for split, size in sizes.items())
            + ". Give more prompts, larger shares for validation and test, or another split_seed. "
            + _counts(report_of(rows))
        )


def _counts(report: pd.DataFrame) -> str:
    """Return the report's counts as one sentence."""
    table = summarised(report)
    parts = [
        f"{rows} {'kept' if kept else 'dropped'}{f', {reason} ({examples})' if reason else ''}"
        for kept, reason, rows, examples in table.itertuples(index=False)
    ]
    return f"Of {len(report)} lines: {'; '.join(parts)}."
