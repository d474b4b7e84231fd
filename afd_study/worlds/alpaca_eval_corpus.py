"""AlpacaEval as a data set to learn from: one system demonstrates, and GPT-4 compares the others.

Li et al. 2023 (github.com/tatsu-lab/alpaca_eval); `alpaca_eval` says how a folder is laid out. A system is
the demonstrator, and its answers are the demonstrations. A preference is a pair of two other systems' answers
to one prompt. GPT-4 compared each of them with the reference's answer, and the two verdicts differ by half a
point or more. No pair holds an answer of the demonstrator or of a system that is left out, such as its
relatives.

The texts are CC BY-NC 4.0. A study reads them where they lie and keeps tables of them in its store; none of
them is to be published. They are untrusted: text to learn from, never markup or code.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
from pydantic import Field, model_validator

from afd_study.errors import DataError, unknown_name
from afd_study.worlds.alpaca_eval import REFERENCE, AlpacaEvalSpec, SystemAnswers, load_answers
from afd_study.worlds.alpaca_eval_files import (
    FILE,
    RESULTS,
    read_records,
    refuse_other_layout,
    system_folders,
)
from afd_study.worlds.corpus import Corpus, CorpusSpec, assemble
from afd_study.worlds.data_path import shown
from afd_study.worlds.entries import Entry, content_fault, prompt_id, unit_hash
from afd_study.worlds.own_data import HALF_LAID_OUT, laid_out
from afd_study.worlds.spool import Spool

APART = 0.5  # verdicts that differ by less make no pair, as in evaluation/systems/judges.py
NO_VERDICT = "GPT-4 did not compare it with the reference's answer"
NOT_DEMONSTRATED = "the demonstrator has no answer to it"
SAME_PROMPT = "two of AlpacaEval's instructions are this prompt"
TERMS = "texts are CC BY-NC 4.0: they lie there and in the store's tables, and none is to be published"


class AlpacaEvalCorpusSpec(AlpacaEvalSpec, CorpusSpec):
    """Which system demonstrates, whose answers are compared, and how the prompts are split.

    `systems` and `leave_out` are of the comparisons. The demonstrator is always read, and never compared.
    """

    name: Literal["alpaca_eval"] = "alpaca_eval"
    demonstrator: str = Field(
        "gpt4", min_length=1, description=f"a system's folder, or {REFERENCE}, the reference, which has none"
    )
    pairs_per_prompt: int = Field(4, ge=1, description="preferences that a prompt has at most")
    pair_seed: int = Field(0, description="another seed, another choice of pairs")

    @model_validator(mode="after")
    def _demonstrator_is_read(self) -> "AlpacaEvalCorpusSpec":
        if self.demonstrator in self.leave_out:
            raise ValueError(
                f"the demonstrator {self.demonstrator!r} stands in leave_out: take it out there (its answers "
                "are never compared), or name another demonstrator"
            )
        return self


class _Answer(NamedTuple):
    """A system's answer to a prompt, and the share of GPT-4's preference that it gets (NaN: no verdict)."""

    system: str
    text: str
    value: float


def load(spec: AlpacaEvalCorpusSpec, spool_in: Path | None = None, *, keep_texts: bool = True) -> Corpus:
    """Read the systems of `spec` and return what can be used, with a report.

    The texts wait on disk, below `spool_in` (None: where temporary files go), until they are asked for.
    Without `keep_texts` the corpus has no tables of texts, only `rows`.

    The report's `file` names a system. Of a pair it names both, `A over B`: A wrote the preferred answer.
    Preferences are in the order of these lines. `line` is the number of the prompt's record in the
    demonstrator's file, or in another's where it lacks the prompt.

    Raises what `load_answers` does, and DataError for a demonstrator without answers, where no pair of
    verdicts is half a point apart, and where a split stays empty.
    """
    answers = load_answers(_all_read(spec))
    spool = Spool(spool_in, split_seed=spec.split_seed, keep_texts=keep_texts)
    spool.add(_entries(spec, answers))
    facts = spool.facts
    if not facts["demonstrated"].any():
        raise DataError(
            f"{spec.folder}: {spec.demonstrator} has no answer to these prompts that can be used: name "
            "another demonstrator"
        )
    if not facts["compared"].any():
        n = len(named(spec).systems or ())
        raise DataError(
            f"{spec.folder}: no two of {n} systems (without the demonstrator {spec.demonstrator} and what is "
            "left out) have verdicts that differ by half a point on one prompt: read more systems"
        )
    return assemble(spool, spec, source=str(spec.folder))


def files(spec: AlpacaEvalCorpusSpec) -> list[Path]:
    """Return the files that `load` reads, by system: reading.digest of them and `named` key a step.

    Raises DataError for a folder that has another layout, and for a demonstrator without verdicts;
    SpecError for a system that is not there, with the nearest name.
    """
    known = system_folders(spec.folder)
    return [known[name] for name in _all_read(spec).systems or ()]


def named(spec: AlpacaEvalCorpusSpec) -> AlpacaEvalCorpusSpec:
    """Return `spec` with the systems named that it compares: their names are not in what their files hold.

    Raises what `files` does.
    """
    refuse_other_layout(spec.folder)
    known = system_folders(spec.folder)
    wanted = known if spec.systems is None else spec.systems
    for name in (*wanted, *(set(spec.leave_out) - {REFERENCE})):  # which is compared with nobody in any case
        if name not in known:
            raise unknown_name(f"system of {spec.folder}", name, known)
    if spec.demonstrator not in (*known, REFERENCE):
        if (spec.folder / RESULTS / spec.demonstrator).is_dir():
            raise DataError(
                f"{spec.folder / RESULTS / spec.demonstrator} holds no {FILE}, and so no answer of the "
                "demonstrator that is read: name another demonstrator"
            )
        raise unknown_name(f"demonstrator of {spec.folder}", spec.demonstrator, [*known, REFERENCE])
    compared = set(wanted) - {spec.demonstrator, REFERENCE, *spec.leave_out}
    for name in compared:
        if shown(Path(name)) != name:
            raise DataError(
                f"{spec.folder / RESULTS}: the folder's name {name!r} is not valid Unicode: rename it"
            )
    return spec.model_copy(update={"systems": tuple(sorted(compared)), "leave_out": ()})


def remarks(spec: AlpacaEvalCorpusSpec) -> str:
    """Return who demonstrates, who is left out and on which terms texts are used, as words."""
    out = f"; left out: {', '.join(spec.leave_out)}" if spec.leave_out else ""
    return f"{spec.demonstrator} demonstrates, and the others are compared{out}; {TERMS}"


def _all_read(spec: AlpacaEvalCorpusSpec) -> AlpacaEvalSpec:
    """Return which folders are read: those compared, and the demonstrator's if it has one.

    The reference's answers stand in any system's file.
    """
    known, compared = system_folders(spec.folder), named(spec).systems or ()
    read = {*compared, *({spec.demonstrator} & known.keys())} or set(list(known)[:1])
    return AlpacaEvalSpec(folder=spec.folder, systems=tuple(sorted(read)), datasets=spec.datasets)


def _entries(spec: AlpacaEvalCorpusSpec, answers: SystemAnswers) -> Iterator[Entry]:
    """Yield demonstrations and pairs, prompt by prompt in the order of their ids."""
    wanted = {*(named(spec).systems or ()), spec.demonstrator}
    rows = answers.answers[answers.answers["system"].isin(wanted)]
    rows = rows.merge(answers.verdicts, how="left", on=["prompt_id", "system"])
    rows = rows.drop_duplicates(["prompt_id", "system"])
    answered = {
        name: [_Answer(*row) for row in part[list(_Answer._fields)].itertuples(index=False)]
        for name, part in rows.groupby("prompt_id")
    }
    numbers, ids = _numbers(spec, answers.prompts), answers.prompts["prompt_id"]
    for prompt, name, twice in zip(answers.prompts["text"], ids, ids.duplicated(keep=False), strict=True):
        if twice or laid_out(prompt) != prompt:
            reason = SAME_PROMPT if twice else HALF_LAID_OUT
            yield Entry(file=spec.demonstrator, line=numbers[name], reason=reason)
        else:
            yield from _of_prompt(spec, prompt, numbers[name], answered[name])


def _numbers(spec: AlpacaEvalCorpusSpec, prompts: pd.DataFrame) -> dict[str, int]:
    """Return the number of each prompt's record: in the demonstrator's file, else in another's."""
    numbers: dict[str, int] = {}
    for path in sorted(files(spec), key=lambda path: path.parts[-3] != spec.demonstrator):
        for number, record in enumerate(read_records(path), start=1):
            numbers.setdefault(prompt_id(laid_out(record.instruction) or record.instruction), number)
        if numbers.keys() >= set(prompts["prompt_id"]):
            break
    return numbers


def _of_prompt(
    spec: AlpacaEvalCorpusSpec, prompt: str, line: int, answers: Sequence[_Answer]
) -> Iterator[Entry]:
    """Yield what one prompt gives: its demonstration, what can't be compared and why, and its pairs."""
    faults = {each.system: content_fault(prompt, each.text) for each in answers}
    if spec.demonstrator not in faults:
        yield Entry(file=spec.demonstrator, line=line, reason=NOT_DEMONSTRATED)
    compared = []
    for each in answers:
        entry = Entry(file=each.system, line=line)
        if faults[each.system]:
            yield entry.dropped(faults[each.system])
        elif each.system == spec.demonstrator:
            yield Entry(file=each.system, line=line, prompt=prompt, demonstration=each.text.strip())
        elif pd.isna(each.value):
            yield entry.dropped(NO_VERDICT)
        else:
            compared.append(each)
    for preferred, rejected in _pairs(spec, prompt_id(prompt), compared):
        yield Entry(
            file=f"{preferred.system} over {rejected.system}",
            line=line,
            prompt=prompt,
            preferred=preferred.text.strip(),
            rejected=rejected.text.strip(),
        )


def _pairs(
    spec: AlpacaEvalCorpusSpec, prompt_name: str, answers: Sequence[_Answer]
) -> list[tuple[_Answer, _Answer]]:
    """Return (preferred, rejected) of the pairs that are half a point apart and hash lowest.

    A choice of more pairs holds every choice of fewer, and a further system displaces few.
    """
    apart = []
    for one, other in combinations(answers, 2):
        if abs(one.value - other.value) >= APART and one.text.strip() != other.text.strip():
            lot = unit_hash(f"{prompt_name}/{one.system}/{other.system}", seed=spec.pair_seed, use="pairs")
            apart.append((lot, *((one, other) if one.value > other.value else (other, one))))
    return [(preferred, rejected) for _, preferred, rejected in sorted(apart)[: spec.pairs_per_prompt]]
