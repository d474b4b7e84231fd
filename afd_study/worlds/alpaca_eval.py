"""AlpacaEval: many systems' answers to one set of prompts, each compared by GPT-4 with a reference's answer.

Li et al. 2023 (github.com/tatsu-lab/alpaca_eval). The folder has that repository's own layout:
`results/SYSTEM/alpaca_eval_gpt4/annotations.json`, a list of records. A record holds a prompt
(`instruction`), where the prompt is from (`dataset`), the reference's answer (`output_1`), the system's
(`output_2`), and the verdict (`preference`: 1 where the reference is better, 2 where the system is, in
between where GPT-4 was less sure, 1.5 or 0 for a tie, null where GPT-4 gave none). The reference,
text_davinci_003, has no folder of its own.

The texts are CC BY-NC 4.0. They are read by path and stay there: what leaves is counted or averaged. None of
them is trusted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from afd_study.errors import DataError, unknown_name
from afd_study.settings import HomePath, Settings
from afd_study.worlds.alpaca_eval_files import (
    FILE,
    Record,
    read_records,
    refuse_other_layout,
    system_folders,
)
from afd_study.worlds.entries import prompt_id
from afd_study.worlds.own_data import laid_out

REFERENCE = "text_davinci_003"
HELPFUL_BASE = "helpful_base"  # the prompts that AlpacaEval took from HH-RLHF's helpful-base
SAME = 0.9  # share of equal answers from which two folders count as one system's


class AlpacaEvalSpec(Settings):
    """Which systems' answers to read, from where, and to which prompts."""

    folder: HomePath = Field(description="a copy of AlpacaEval that holds results/")
    systems: tuple[str, ...] | None = Field(None, description="names of folders; all that are there if None")
    leave_out: tuple[str, ...] = Field((), description="names of folders that are not read")
    datasets: tuple[str, ...] | None = Field(
        None, description="only prompts from these sources, such as helpful_base; all if None"
    )


@dataclass(frozen=True)
class SystemAnswers:
    """What a folder of AlpacaEval holds.

    `prompts`: prompt_id, dataset, text (laid out as a dialogue that waits for the assistant), in the order of
    their ids. `answers`: prompt_id, system, text, the reference's among them. `verdicts`: prompt_id, system,
    value, the share of GPT-4's preference that goes to the system (1 better than the reference, 0 worse, .5 a
    tie); answers without a verdict are missing. `report`: what became of each folder's records.
    """

    prompts: pd.DataFrame
    answers: pd.DataFrame
    verdicts: pd.DataFrame
    report: pd.DataFrame


def load_answers(spec: AlpacaEvalSpec) -> SystemAnswers:
    """Read the systems of `spec`, and the reference's answers beside them.

    A verdict that compares with another text than the reference's answer (the one that most folders hold) is
    left out and counted: such verdicts are on another scale. A generator whose name differs from its
    folder's is no fault.

    Raises DataError for a folder that has another layout, a damaged file, a record that lacks something, a
    system that answers other prompts, and for two folders with the same answers; SpecError for a system or
    a data set that is not there, with the nearest name.
    """
    records = {name: read_records(path) for name, path in _chosen(spec).items()}
    _refuse_same_answers(spec.folder, records)
    prompts = _prompts(records, spec)
    reference = _reference(records)
    answers, verdicts, report = [], [], []
    for name, found in records.items():
        rows = pd.DataFrame(found).drop_duplicates("instruction")
        kept = rows[rows["instruction"].isin(prompts["instruction"])]
        _refuse_other_prompts(spec.folder, name, len(kept), len(prompts))
        is_compared = kept["reference"] == kept["instruction"].map(reference)
        value = kept["preference"].where(is_compared)
        ids = kept["instruction"].map(prompts.set_index("instruction")["prompt_id"])
        answers.append(pd.DataFrame({"prompt_id": ids, "system": name, "text": kept["answer"]}))
        verdicts.append(pd.DataFrame({"prompt_id": ids, "system": name, "value": value}).dropna())
        report.append(_reported(name, kept, is_compared))
    named = prompts["instruction"].map(reference)
    answers.append(pd.DataFrame({"prompt_id": prompts["prompt_id"], "system": REFERENCE, "text": named}))
    return SystemAnswers(
        prompts=prompts[["prompt_id", "dataset", "text"]],
        answers=_sorted(answers),
        verdicts=_sorted(verdicts),
        report=pd.DataFrame(report).sort_values("system").reset_index(drop=True),
    )


def files(spec: AlpacaEvalSpec) -> list[Path]:
    """Return the files that `load_answers` reads: reading.digest of them keys a step."""
    return list(_chosen(spec).values())


def _chosen(spec: AlpacaEvalSpec) -> dict[str, Path]:
    """Return the file of each system that is to be read, in the order of names."""
    refuse_other_layout(spec.folder)
    known = system_folders(spec.folder)
    wanted = known if spec.systems is None else spec.systems
    for name in (*wanted, *spec.leave_out):
        if name not in known:
            raise unknown_name(f"system of {spec.folder}", name, known)
    return {name: known[name] for name in sorted(set(wanted) - set(spec.leave_out))}


def _prompts(records: Mapping[str, Sequence[Record]], spec: AlpacaEvalSpec) -> pd.DataFrame:
    """Return prompt_id, dataset, text and instruction of all prompts that are asked for."""
    rows = pd.DataFrame([record for found in records.values() for record in found])
    if not len(rows):
        raise DataError(f"no system of {spec.folder} is left to read: name one, or leave fewer out")
    rows = rows.drop_duplicates("instruction")
    if spec.datasets is not None:
        for name in spec.datasets:
            if name not in set(rows["dataset"]):
                raise unknown_name("data set of AlpacaEval", name, set(rows["dataset"]))
        rows = rows[rows["dataset"].isin(spec.datasets)]
    # a prompt that holds turns of its own stays as it is: nobody answers it but those who did
    texts = rows["instruction"].map(lambda text: laid_out(text) or text)
    table = rows[["instruction", "dataset"]].assign(text=texts, prompt_id=texts.map(prompt_id))
    return table.sort_values("prompt_id").reset_index(drop=True)


def _reference(records: Mapping[str, Sequence[Record]]) -> "pd.Series[str]":
    """Return the reference's answer by instruction: the text that most folders hold, the first of equals."""
    rows = pd.DataFrame([record for found in records.values() for record in found])
    counts = rows.groupby(["instruction", "reference"], sort=True).size().reset_index(name="n")
    most = counts.sort_values("n", ascending=False, kind="stable").drop_duplicates("instruction")
    return most.set_index("instruction")["reference"]


def _reported(name: str, rows: pd.DataFrame, is_compared: "pd.Series[bool]") -> dict[str, object]:
    """Count what became of one folder's records."""
    lengths = rows["answer"].str.len()
    return {
        "system": name,
        "n_answers": len(rows),
        "n_empty": int((lengths == 0).sum()),
        "n_no_verdict": int(rows["preference"].isna().sum()),
        "n_other_reference": int((~is_compared).sum()),
        "n_ties": int((rows["preference"] == 0.5).sum()),
        "wins": rows["preference"].where(is_compared).mean(),
        "median_characters": float(lengths.median()),
        "generator": ", ".join(sorted(set(rows["generator"]))),
        "annotator": ", ".join(sorted(set(rows["annotator"]))),
    }


def _refuse_same_answers(folder: Path, records: Mapping[str, Sequence[Record]]) -> None:
    """Raise DataError where two folders hold the answers of one system.

    Upstream's falcon-7b-instruct holds falcon-40b-instruct's.
    """
    answers = {
        name: {record.instruction: record.answer for record in found} for name, found in records.items()
    }
    for one, other in combinations(answers, 2):
        asked = answers[one].keys() & answers[other].keys()
        same = sum(answers[one][prompt] == answers[other][prompt] for prompt in asked)
        if asked and same > SAME * len(asked):
            raise DataError(
                f"{folder}: {same} of {len(asked)} answers of {one} and {other} are the same, so that one "
                f"system would count twice: name the folder that is wrong in leave_out"
            )


def _refuse_other_prompts(folder: Path, name: str, n_answers: int, n_prompts: int) -> None:
    if n_answers < n_prompts / 2:
        raise DataError(
            f"{folder / 'results' / name / FILE}: it answers {n_answers} of the {n_prompts} prompts that the "
            "folders hold together: is it from another evaluation? Name it in leave_out"
        )


def _sorted(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values(["prompt_id", "system"]).reset_index(drop=True)


def easy_prompts(answers: SystemAnswers, share: float = 0.9) -> pd.DataFrame:
    """Return for each prompt: prompt_id, dataset, wins, n_verdicts and `easy`.

    `wins` is GPT-4's mean preference for the systems. On an easy prompt at least the share `share` of the
    systems beat the reference, and a verdict there says little about an answer.
    """
    beats = answers.verdicts.assign(beats=answers.verdicts["value"] > 0.5).groupby("prompt_id")
    table = answers.prompts[["prompt_id", "dataset"]].set_index("prompt_id")
    table["wins"], table["n_verdicts"] = beats["value"].mean(), beats.size()
    table["easy"] = beats["beats"].mean().reindex(table.index) >= share
    table["n_verdicts"] = table["n_verdicts"].fillna(0).astype(np.int64)
    return table.reset_index()
