"""Your own data, from JSONL or CSV: demonstrations, and if you have them further prompts and preferences.

Each row of a file is an example, with named columns. A plain prompt becomes the question of a dialogue that
waits for the assistant (see entries.py). A prompt that is such a dialogue already stays as it is.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from afd_study.settings import HomePath
from afd_study.worlds.corpus import Corpus, CorpusSpec, assemble, refuse_no_preference
from afd_study.worlds.data_path import shown
from afd_study.worlds.entries import BLANK, EMPTY_PROMPT, NO_PREFERENCE, Entry, content_fault
from afd_study.worlds.normalising import ASSISTANT, HUMAN, holds_turn, visible
from afd_study.worlds.reading import read_rows
from afd_study.worlds.spool import Spool

HALF_LAID_OUT = "prompt holds turns but does not wait for the assistant"


class OwnDataSpec(CorpusSpec):
    """Where your data lie, what the columns are called, and how to split by prompt."""

    name: Literal["own_data"] = "own_data"
    demonstrations: HomePath = Field(description="columns: prompt, response")
    prompts: HomePath | None = Field(None, description="further prompts without a response; column: prompt")
    preferences: HomePath | None = Field(None, description="columns: prompt, preferred, rejected")
    prompt_column: str = Field("prompt", min_length=1)
    response_column: str = Field("response", min_length=1)
    preferred_column: str = Field("preferred", min_length=1)
    rejected_column: str = Field("rejected", min_length=1)


def load(spec: OwnDataSpec, spool_in: Path | None = None, *, keep_texts: bool = True) -> Corpus:
    """Read the files of `spec` and return what can be used, with a report of every line.

    The texts wait on disk, below `spool_in` (None: where temporary files go), until they are asked for.
    Without `keep_texts` the corpus has no tables of texts, only `rows`.

    Prompts of all files are pooled. Equal responses to a prompt are kept: how often a thing is said is
    part of the demonstrators' law.

    Raises DataError where a file is missing or damaged, nothing of it is usable, or a split stays empty.
    """
    spool = Spool(spool_in, split_seed=spec.split_seed, keep_texts=keep_texts)
    spool.add(_entries(spec))
    corpus = assemble(spool, spec, source=str(spec.demonstrations))
    if spec.preferences is not None:
        refuse_no_preference(corpus, str(spec.preferences))
    return corpus


def files(spec: OwnDataSpec) -> list[Path]:
    """Return the files that `load` reads: hash them with reading.digest to key a step."""
    paths = (spec.demonstrations, spec.prompts, spec.preferences)
    return [path for path in paths if path is not None]


def laid_out(prompt: str) -> str:
    r"""Return a prompt in the layout of entries.py, or "" where it holds turns in any other way.

    >>> laid_out("Why is the sky blue?")
    '\n\nHuman: Why is the sky blue?\n\nAssistant:'
    """
    text = prompt.strip()
    dialogue = "\n\n" + text
    if dialogue.startswith(HUMAN) and dialogue.endswith(ASSISTANT):
        return dialogue
    if holds_turn(dialogue):
        return ""
    return f"{HUMAN} {text}{ASSISTANT}"


def _entries(spec: OwnDataSpec) -> Iterator[Entry]:
    prompt = spec.prompt_column
    columns = {
        "demonstrations": (prompt, spec.response_column),
        "prompts": (prompt,),
        "preferences": (prompt, spec.preferred_column, spec.rejected_column),
    }
    for role, names in columns.items():
        path = getattr(spec, role)
        if path is not None:
            yield from read_entries(path, names)


def read_entries(path: Path, columns: tuple[str, ...]) -> Iterator[Entry]:
    """Yield the entries of one file: of columns for prompt; prompt, response; or prompt, preferred, rejected.

    Raises DataError where the file is missing or damaged, or lacks a column.
    """
    for row in read_rows(path, columns):
        yield _entry(Entry(file=shown(path), line=row.line), row.fields)


def _entry(entry: Entry, fields: tuple[str, ...] | None) -> Entry:
    """Fill an entry from the fields of a row: prompt; prompt, response; or prompt, preferred, rejected."""
    if fields is None:
        return entry.dropped(BLANK)
    prompt, *responses = fields
    if not visible(prompt):
        return entry.dropped(EMPTY_PROMPT)
    prompt = laid_out(prompt)
    if not prompt:
        return entry.dropped(HALF_LAID_OUT)
    if fault := content_fault(prompt, *responses):
        return entry.dropped(fault)
    entry = replace(entry, prompt=prompt)
    match [response.strip() for response in responses]:
        case [response]:
            return replace(entry, demonstration=response)
        case [preferred, rejected] if preferred == rejected:
            return replace(entry, reason=NO_PREFERENCE)
        case [preferred, rejected]:
            return replace(entry, preferred=preferred, rejected=rejected)
    return entry
