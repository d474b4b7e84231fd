r"""What a data set on disk gives: prompts, demonstrations, preferences, and a report of every line.

A data set's reader turns each line into an `Entry`. `assemble` makes ids, splits, tables and report of them,
in the same way for every data set. A prompt has the layout of a dialogue that waits for the assistant, as in
HH-RLHF (Bai et al. 2022, arXiv 2204.05862):

    "\n\nHuman: <question>\n\nAssistant:"
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from afd_study.errors import DataError
from afd_study.records import SPLITS, TABLES, checked
from afd_study.settings import Settings
from afd_study.worlds.normalising import ASSISTANT, HUMAN, holds_turn, visible

BLANK = "blank line"
NOT_TEXT = "half a surrogate pair: not valid Unicode"
EMPTY_PROMPT = "empty prompt"
EMPTY_RESPONSE = "empty response"
FURTHER_TURN = "response holds a further turn"
NO_PREFERENCE = "no preference: both responses are the same"
NO_DEMONSTRATION = "test prompt without a demonstration: not compared with one"
IN_TEST_FILE = "its dialogue opens like one in a test file"
BEYOND_MAX_ROWS = "beyond max_rows"
UNKNOWN_PROMPT = "its prompt is none of the data set's"
NO_FAULTS = (BLANK, IN_TEST_FILE, BEYOND_MAX_ROWS, UNKNOWN_PROMPT)  # reasons to drop a row that is all right


class CorpusSpec(Settings):
    """How a data set is split, whatever its format. Shares are of prompts' openings (see `split_of`)."""

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
class Entry:
    """One line read: what it gives, or why it gives nothing.

    An entry without a prompt is dropped, and `reason` says why; with one it is kept, and a `reason` says what
    it does not give. `from_test` marks lines of a file that its authors set aside for testing.
    """

    file: str
    line: int
    prompt: str = ""
    demonstration: str = ""
    preferred: str = ""
    rejected: str = ""
    reason: str = ""
    from_test: bool = False

    def dropped(self, reason: str) -> "Entry":
        """Return the entry with nothing left to use, and why."""
        return Entry(file=self.file, line=self.line, reason=reason, from_test=self.from_test)


@dataclass(frozen=True)
class Corpus:
    """The tables of a data set (see records.py), and `report`: file, line, kept, reason for every line."""

    prompts: pd.DataFrame
    demonstrations: pd.DataFrame
    preferences: pd.DataFrame
    report: pd.DataFrame

    def line(self) -> str:
        """Return the report's counts as words."""
        return counted(self.report)

    def describe(self) -> pd.DataFrame:
        """Return the report's counts: kept, reason, rows, examples (the first lines concerned)."""
        return summarised(self.report)


def prompt_id(text: str) -> str:
    """Return 12 hex digits of the prompt's text: equal prompts share an id, in any file and order."""
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def opening(prompt: str) -> str:
    """Return the dialogue up to its first assistant turn, which it shares with all its continuations."""
    return prompt.split(ASSISTANT, 1)[0]


def unit_hash(text: str, *, seed: int, use: str) -> float:
    """Return a number in [0, 1), uniform over texts, and independent between seeds and uses."""
    whole = hashlib.blake2b(f"{seed}/{use}/{text}".encode(), digest_size=8).digest()
    return (int.from_bytes(whole, "big") >> 11) / 2**53


def split_of(prompt: str, *, validation: float, test: float, seed: int) -> str:
    """Return train, validation or test, by a hash of the dialogue's opening.

    A dialogue and its continuations go to one split, for the longer holds the answers to the shorter. So the
    splits are disjoint by prompt, whatever the rows' order, and a prompt stays where it is as data are added.
    """
    place = unit_hash(opening(prompt), seed=seed, use="split")
    return "test" if place < test else "validation" if place < test + validation else "train"


def content_fault(prompt: str, *responses: str) -> str:
    """Return why a prompt and its responses can't be used, or "".

    Responses are not stripped yet: in an empty answer with a turn behind it, that turn's blank line counts.
    """
    texts = (prompt, *responses)
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return NOT_TEXT
    if not visible(prompt.replace(HUMAN, "").replace(ASSISTANT, "")):
        return EMPTY_PROMPT
    if not all(map(visible, responses)):
        return EMPTY_RESPONSE
    return FURTHER_TURN if any(map(holds_turn, responses)) else ""


def assemble(entries: Sequence[Entry], spec: CorpusSpec, *, source: str) -> Corpus:
    """Build the corpus: split by opening, check that no split is empty, keep a report of every entry.

    Where some kept entries are `from_test` and others not, the former are the test split, and of the latter
    those with an opening found there are dropped; else all splits are hashed out of all entries. `source`
    names the data set in errors.

    Raises DataError where nothing can be used, where more rows than `max_dropped` can't be used, or where a
    split has no demonstration.
    """
    entries, fixed_test = _without_leaks(entries)
    usable = [entry for entry in entries if entry.prompt]
    report = _report(entries)
    if not any(entry.demonstration for entry in usable):
        raise DataError(f"{source}: no row can be used as a demonstration. {_counts(report)}")
    _refuse_many_dropped(report, spec.max_dropped, source)
    test = 0 if fixed_test else spec.test
    splits = {
        entry.prompt: "test"
        if entry.from_test and fixed_test
        else split_of(entry.prompt, validation=spec.validation, test=test, seed=spec.split_seed)
        for entry in usable
    }
    undemonstrated = {prompt for prompt, split in splits.items() if split == "test"}
    undemonstrated -= {entry.prompt for entry in usable if entry.demonstration}
    alone = [entry.prompt in undemonstrated for entry in entries]
    report.loc[np.array(alone) & (report["reason"] == ""), "reason"] = NO_DEMONSTRATION
    corpus = Corpus(
        prompts=checked("prompts", _prompts(splits)),
        demonstrations=_numbered(
            "demonstrations", [(e.prompt, e.demonstration) for e in usable if e.demonstration]
        ),
        preferences=_numbered(
            "preferences", [(e.prompt, e.preferred, e.rejected) for e in usable if e.preferred]
        ),
        report=report,
    )
    _refuse_empty_split(corpus, source)
    return corpus


def _report(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return file, line, kept, reason for every entry."""
    rows = [(entry.file, entry.line, bool(entry.prompt), entry.reason) for entry in entries]
    return pd.DataFrame(rows, columns=["file", "line", "kept", "reason"])


def refuse_no_preference(corpus: Corpus, source: str) -> None:
    """Raise DataError where a data set that should hold preferences has none that can be used."""
    if corpus.preferences.empty:
        raise DataError(f"{source}: no row can be used as a preference. {_counts(corpus.report)}")


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


def _without_leaks(entries: Sequence[Entry]) -> tuple[list[Entry], bool]:
    """Return the entries, those dropped that would leak into a given test split, and whether one is given."""
    tested = {opening(entry.prompt) for entry in entries if entry.prompt and entry.from_test}
    if not tested or not any(entry.prompt and not entry.from_test for entry in entries):
        return list(entries), False
    return [
        entry.dropped(IN_TEST_FILE)
        if entry.prompt and not entry.from_test and opening(entry.prompt) in tested
        else entry
        for entry in entries
    ], True


def _prompts(splits: Mapping[str, str]) -> pd.DataFrame:
    """Return table "prompts" from a mapping of each prompt to its split, in the order of the mapping."""
    rows = [(prompt_id(prompt), split, prompt) for prompt, split in splits.items()]
    return pd.DataFrame(rows, columns=list(TABLES["prompts"].columns))


def _numbered(name: str, rows: Iterable[tuple[str, ...]]) -> pd.DataFrame:
    """Return table `name` from (prompt, text, ...), with the draws of a prompt counted from 0."""
    draws: Counter[str] = Counter()
    numbered = []
    for prompt, *texts in rows:
        numbered.append((prompt_id(prompt), draws[prompt], *texts))
        draws[prompt] += 1
    return checked(name, pd.DataFrame(numbered, columns=list(TABLES[name].columns)))


def _refuse_empty_split(corpus: Corpus, source: str) -> None:
    """Raise DataError unless each split has a prompt that was demonstrated."""
    demonstrated = corpus.prompts[corpus.prompts["prompt_id"].isin(corpus.demonstrations["prompt_id"])]
    sizes = {split: int((demonstrated["split"] == split).sum()) for split in SPLITS}
    if not all(sizes.values()):
        raise DataError(
            f"{source}: {len(demonstrated)} prompts with demonstrations are too few to fill every split: "
            + ", ".join(f"{split} {size}" for split, size in sizes.items())
            + ". Give more prompts, larger shares for validation and test, or another split_seed. "
            + _counts(corpus.report)
        )


def _counts(report: pd.DataFrame) -> str:
    """Return the report's counts as one sentence."""
    table = summarised(report)
    parts = [
        f"{rows} {'kept' if kept else 'dropped'}{f', {reason} ({examples})' if reason else ''}"
        for kept, reason, rows, examples in table.itertuples(index=False)
    ]
    return f"Of {len(report)} lines: {'; '.join(parts)}."
