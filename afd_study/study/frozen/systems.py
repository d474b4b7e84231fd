"""What is frozen of the study of real systems: aggregates alone, and no text of AlpacaEval's."""

import pandas as pd

from afd_study.evaluation.systems.triples import load_triples
from afd_study.study.frozen.files import is_frozen, read_manifest
from afd_study.study.pipeline.systems import WORDS, Placed, SystemSteps, systems_by
from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store
from afd_study.study.workflow.tables import read_table

NAME = "systems"
DIGEST = "digest"  # in the manifest: of the files that were read
OF_TRIPLES = {
    "told_apart": "told_apart",
    "agreement": "agreement",
    "picks": "system_picks",
    "within_policy": "within_policy",
}
"""A frozen table -> the table of a triple's step."""


def frozen_steps() -> list[Step]:
    """Return the steps that the frozen tables rest on, by the digest of the files that were read then."""
    content = str(read_manifest(NAME).get(DIGEST, "")) if is_frozen(NAME) else ""
    return systems_by(content).all()


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
    judge = read_table(store.folder(steps.judge), "judge_strata").assign(reader=WORDS)
    return {"report": report, "prompts": counted.reset_index(), **tables, "judge": judge}


def _placed(placed: Placed, table: pd.DataFrame) -> pd.DataFrame:
    triple = placed.triple
    front = {
        **{"reader": WORDS, "prompts": placed.prompts, **triple.triple._asdict(), "band": triple.band},
        **{"explored": placed.explored, "of_reference": load_triples().is_reference(triple.triple)},
    }
    return pd.DataFrame(front, index=table.index).join(table)
