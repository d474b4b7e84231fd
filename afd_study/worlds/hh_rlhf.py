"""HH-RLHF: people's dialogues with an assistant, each with a preferred and a rejected last answer.

Bai et al. 2022 (arXiv 2204.05862). A line holds two whole dialogues, `chosen` and `rejected`. What they share
up to the last assistant turn is the prompt. The chosen answer serves as the demonstration, and both answers
as the preference. Demonstrations may also come from a file of other responses to the same prompts, such as a
stronger model's.

The data come from a folder in Anthropic's own layout, or from the hub if the spec names one. Nothing is
downloaded otherwise. Some of the text is offensive. None of it is trusted: it is text to learn from, never
markup or code.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from afd_study.errors import DataError, HubError, network_hint
from afd_study.settings import HomePath
from afd_study.worlds.corpus import Corpus, CorpusSpec, assemble, refuse_no_preference
from afd_study.worlds.data_path import shown
from afd_study.worlds.entries import (
    BEYOND_MAX_ROWS,
    BLANK,
    NO_PREFERENCE,
    UNKNOWN_PROMPT,
    Entry,
    content_fault,
    prompt_id,
)
from afd_study.worlds.normalising import ASSISTANT, normalised
from afd_study.worlds.own_data import read_entries
from afd_study.worlds.reading import read_rows
from afd_study.worlds.spool import Spool

Subset = Literal["harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled"]

COLUMNS = ("chosen", "rejected")
FILES = ("train.jsonl.gz", "train.jsonl", "test.jsonl.gz", "test.jsonl")
NO_TURN = "no assistant turn"
OTHER_PROMPT = "the dialogues don't share a prompt"


class HHRLHFSpec(CorpusSpec):
    """Which part of HH-RLHF to read, from where, and how to split it."""

    name: Literal["hh_rlhf"] = "hh_rlhf"
    folder: HomePath | None = Field(None, description="local folder that holds a folder for each subset")
    hub: str | None = Field(
        None,
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="data set on the hub, e.g. Anthropic/hh-rlhf; uses the network",
    )
    revision: str | None = Field(
        None, description="commit of the data set on the hub; the newest if not given"
    )
    demonstrations: HomePath | None = Field(
        None, description="JSONL or CSV with other responses to the same prompts, in place of the chosen ones"
    )
    prompt_column: str = Field("prompt", min_length=1, description="of demonstrations")
    response_column: str = Field("response", min_length=1, description="of demonstrations")
    subsets: tuple[Subset, ...] = Field(("harmless-base",), min_length=1)
    max_rows: int | None = Field(
        None, ge=1, description="use only so many rows, chosen by a hash of their prompt"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "HHRLHFSpec":
        if (self.folder is None) == (self.hub is None):
            raise ValueError(
                "give either folder= (a local copy) or hub= (e.g. Anthropic/hh-rlhf), and not both"
            )
        if self.revision is not None and self.hub is None:
            raise ValueError("revision= goes with hub= only")
        if len(set(self.subsets)) < len(self.subsets):
            raise ValueError(f"subsets are given twice: {self.subsets}")
        return self


def load(spec: HHRLHFSpec, spool_in: Path | None = None, *, keep_texts: bool = True) -> Corpus:
    """Read the subsets of `spec` and return what can be used, with a report of every line.

    The texts wait on disk, below `spool_in` (None: where temporary files go), until they are asked for.
    Without `keep_texts` the corpus has no tables of texts, only `rows`.

    Raises DataError for a missing folder, a damaged file or no usable pair; HubError where
    the hub gives no data.
    """
    source = str(spec.folder or spec.hub)
    spool = Spool(spool_in, split_seed=spec.split_seed, keep_texts=keep_texts)
    entries = _from_folder(spec) if spec.hub is None else _from_hub(spec)
    if spec.demonstrations is not None:
        entries = (replace(entry, demonstration="") for entry in entries)
    spool.add(entries)
    if spec.max_rows is not None:
        spool.drop(_beyond(spool.facts, spec.max_rows), BEYOND_MAX_ROWS)
    if spec.demonstrations is not None:
        columns = (spec.prompt_column, spec.response_column)
        spool.add(_to_known_prompts(read_entries(spec.demonstrations, columns), spool.facts))
    corpus = assemble(spool, spec, source=source)
    refuse_no_preference(corpus, source)
    return corpus


def files(spec: HHRLHFSpec) -> list[Path]:
    """Return the local files that `load` reads (of the hub's none); reading.digest of them keys a step."""
    paths = [] if spec.demonstrations is None else [spec.demonstrations]
    return paths + _data_files(spec)


def _to_known_prompts(others: Iterable[Entry], facts: pd.DataFrame) -> Iterator[Entry]:
    """Yield entries of other responses to prompts that are there; those to a test file's are for testing."""
    usable = facts[facts["prompt_id"] != ""]
    tested = usable.groupby("prompt_id")["from_test"].any().to_dict()
    for other in others:
        name = prompt_id(other.prompt)
        if name in tested:
            yield replace(other, from_test=tested[name])
        else:
            yield other.dropped(other.reason or UNKNOWN_PROMPT)


def _data_files(spec: HHRLHFSpec) -> list[Path]:
    if spec.folder is None:
        return []
    folder = spec.folder
    if not os.path.isdir(folder):
        raise DataError(
            f"there is no folder {folder}: expected one with {_wanted(spec.subsets)} inside, "
            "from a copy of Anthropic's hh-rlhf; or set hub=Anthropic/hh-rlhf to download it"
        )
    try:
        return [path for subset in spec.subsets for path in _files_of(folder, subset)]
    except OSError as fault:
        raise DataError(f"{folder} can't be read: {fault.strerror}") from fault


def entry_of(*, chosen: str, rejected: str, file: str, line: int, from_test: bool = False) -> Entry:
    """Split a pair of dialogues at the right-most assistant turn of each, or say why they can't be used."""
    entry = Entry(file=file, line=line, from_test=from_test)
    if ASSISTANT not in chosen or ASSISTANT not in rejected:
        return entry.dropped(NO_TURN)
    start, _, preferred = chosen.rpartition(ASSISTANT)
    other_start, _, dispreferred = rejected.rpartition(ASSISTANT)
    if start != other_start:
        return entry.dropped(OTHER_PROMPT)
    prompt = start + ASSISTANT
    if fault := content_fault(prompt, preferred, dispreferred):
        return entry.dropped(fault)
    preferred, dispreferred = preferred.strip(), dispreferred.strip()
    answered = replace(entry, prompt=prompt, demonstration=preferred)
    if preferred == dispreferred:
        return replace(answered, reason=NO_PREFERENCE)
    return replace(answered, preferred=preferred, rejected=dispreferred)


def _from_folder(spec: HHRLHFSpec) -> Iterator[Entry]:
    for path in _data_files(spec):
        file = shown(path)
        for row in read_rows(path, COLUMNS):
            if row.fields is None:
                yield Entry(file=file, line=row.line, reason=BLANK)
            else:
                chosen, rejected = row.fields
                yield entry_of(
                    chosen=chosen,
                    rejected=rejected,
                    file=file,
                    line=row.line,
                    from_test=path.name.startswith("test"),
                )


def _from_hub(spec: HHRLHFSpec) -> Iterator[Entry]:
    """Yield the entries of a data set on the hub; a line is a row of its split, counted from 1."""
    for subset in spec.subsets:
        for split, rows in _download(spec, subset).items():
            lacking = [column for column in COLUMNS if column not in rows.column_names]
            if lacking:
                raise DataError(f"{spec.hub} ({subset}, {split}) lacks {lacking}; it has {rows.column_names}")
            for line, row in enumerate(rows, start=1):
                sides = [row[column] or "" for column in COLUMNS]
                if not all(isinstance(side, str) for side in sides):
                    raise DataError(f"{spec.hub} ({subset}, {split}): row {line} holds no text in {COLUMNS}")
                yield entry_of(
                    chosen=normalised(sides[0]),
                    rejected=normalised(sides[1]),
                    file=f"{subset}/{split}",
                    line=line,
                    from_test=split == "test",
                )


def _download(spec: HHRLHFSpec, subset: str) -> Mapping[str, Any]:
    """Return a subset's splits by name. `datasets` runs no code from the hub."""
    import datasets  # the import takes a second, and local files do not need it

    try:
        return datasets.load_dataset(str(spec.hub), data_dir=subset, revision=spec.revision)
    except Exception as fault:  # the errors of `datasets` share no base class, and all mean the same here
        raise HubError(
            f"the data set {spec.hub} ({subset}) can't be had from the hub: {type(fault).__name__}: {fault}. "
            f"To use a local copy set folder= to a folder that holds {_wanted([subset])}." + network_hint()
        ) from fault


def _files_of(folder: Path, subset: str) -> list[Path]:
    """Return the files of one subset; raise DataError where there is none, or one twice."""
    paths = [folder / subset / name for name in FILES if (folder / subset / name).is_file()]
    if not paths:
        raise DataError(
            f"{folder} holds no data for {subset}: expected {_wanted([subset])}. {_seen(folder, subset)}"
        )
    for split in ("train", "test"):
        same = [path.name for path in paths if path.name.startswith(split)]
        if len(same) > 1:
            raise DataError(
                f"{folder / subset} holds both {' and '.join(same)}: which is meant? Move one away"
            )
    return paths


def _seen(folder: Path, subset: str) -> str:
    """Say what is in the folder instead."""
    if any((folder / name).is_file() for name in FILES):
        return (
            f"It holds the files themselves: is it the {subset} folder? Then give the folder that it lies in"
        )
    inner = folder / subset
    names = sorted(path.name for path in (inner if inner.is_dir() else folder).iterdir())
    listed = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
    return f"{inner if inner.is_dir() else folder} holds: {listed or 'nothing'}"


def _beyond(facts: pd.DataFrame, rows: int) -> np.ndarray:
    """Return a mask of the usable entries beyond `rows`.

    Those stay whose prompts hash lowest, so that the order of the lines doesn't matter.
    """
    usable = np.flatnonzero(facts["prompt_id"] != "")
    order = usable[np.argsort(facts["lot"].to_numpy()[usable], kind="stable")]
    beyond = np.zeros(len(facts), dtype=bool)
    beyond[order[rows:]] = True
    return beyond


def _wanted(subsets: Iterable[str]) -> str:
    return ", ".join(f"{subset}/train.jsonl.gz and/or {subset}/test.jsonl.gz" for subset in subsets)
