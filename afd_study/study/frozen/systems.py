"""What is frozen of the study of real systems: aggregates alone, and no text of AlpacaEval's."""

from pathlib import Path

import pandas as pd

from afd_study.evaluation.systems.triples import load_triples
from afd_study.study.frozen.files import is_frozen, read_manifest
from afd_study.study.pipeline.systems import ModelPlace, Placed, SystemSteps, systems_by
from afd_study.study.steps.systems import read_penalties
from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store
from afd_study.study.workflow.tables import read_table

NAME = "systems"
DIGEST, WEIGHTS = "digest", "weights"  # in the manifest: of the files that were read, and of a model's
OF_TRIPLES = {
    "told_apart": "told_apart",
    "agreement": "agreement",
    "picks": "system_picks",
    "within_policy": "within_policy",
}
"""A frozen table -> the table of a triple's step."""


def frozen_steps() -> list[Step]:
    """Return the steps that the frozen tables rest on, by the digest of the files that were read then."""
    manifest = read_manifest(NAME) if is_frozen(NAME) else {}
    weights = manifest.get(WEIGHTS)
    model = ModelPlace(str(weights), Path()) if weights else None
    return systems_by(str(manifest.get(DIGEST, "")), model=model).all()


def system_tables(steps: SystemSteps, store: Store) -> dict[str, pd.DataFrame]:
    """Return the tables to freeze, of steps that have been computed.

    Tables of triples have columns reader, prompts, base, tuned, demonstrator, band, explored and
    of_reference (whether the demonstrator is what every verdict compares with).
    """
    report = read_table(store.folder(steps.answers), "system_report")
    prompts = read_table(store.folder(steps.answers), "system_prompts")
    counts = {"prompts": ("easy", "size"), "easy": ("easy", "sum"), "wins": ("wins", "mean")}
    counted = prompts.groupby("dataset").agg(**counts)
    tables = {
        name: pd.concat(
            [_placed(placed, read_table(store.folder(each), own)) for placed, each in steps.triples.items()],
            ignore_index=True,
        )
        for name, own in OF_TRIPLES.items()
    }
    judges = [
        read_table(store.folder(each), "judge_strata").assign(reader=reader)
        for reader, each in steps.judges.items()
    ]
    read = {"report": report, "prompts": counted.reset_index(), **tables, "judge": pd.concat(judges)}
    return read | _of_states(steps, store)


def _of_states(steps: SystemSteps, store: Store) -> dict[str, pd.DataFrame]:
    """Return what was tried of penalties, and how much of each system's answers a model read; or nothing."""
    if steps.states is None or steps.penalties is None:
        return {}
    read = read_table(store.folder(steps.states), "system_logprobs")
    counts = {"answers": ("cut", "size"), "cut": ("cut", "mean"), "tokens": ("tokens", "mean")}
    by_system = read.groupby("system").agg(**counts).reset_index()
    return {"penalties": read_penalties(store.folder(steps.penalties)), "read": by_system}


def _placed(placed: Placed, table: pd.DataFrame) -> pd.DataFrame:
    triple = placed.triple
    front = {
        **{
            "reader": placed.reader,
            "prompts": placed.prompts,
            **triple.triple._asdict(),
            "band": triple.band,
        },
        **{"explored": placed.explored, "of_reference": load_triples().is_reference(triple.triple)},
    }
    return pd.DataFrame(front, index=table.index).join(table)
