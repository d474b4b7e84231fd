"""Verdicts on real systems: each contrast over lineages, by the study's five words.

A lineage of systems stands for a world: its triples are averaged, and the interval is Student's over
lineages. So a verdict is about one more lineage of such systems, judged on such prompts. What the choice of
prompts adds is common to all lineages, and no part of it; the intervals of single triples hold it.
"""

from collections.abc import Iterator

import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.statistics import require_columns
from afd_study.evaluation.systems.agreement import RESIDUAL
from afd_study.evaluation.systems.triples import Contrast, Triples
from afd_study.evaluation.verdicts import with_verdicts
from afd_study.evaluation.world_effects import WorldEffect, effect_over_worlds
from afd_study.evaluation.world_rows import world_means

PLACE = ("reader", "prompts")
TRIPLE = ("base", "tuned", "demonstrator")
COLUMNS = (
    *("id", "sentence", *PLACE, "kind", "margin"),
    *WorldEffect._fields,
    *("n_triples", "n_above", "primary", "verdict", "p"),
)
PRIMARY = "all"  # prompts


def contrast_values(table: pd.DataFrame, contrast: Contrast) -> pd.DataFrame:
    """Return a contrast's primary measure in each triple: PLACE, TRIPLE, value, low, high.

    `table` is `agreement.agreement` of several triples, with columns PLACE and TRIPLE.
    """
    require_columns(table, (*PLACE, *TRIPLE, "method", "less_method", "means", "adjustment", "value"))
    mask = (
        (table["method"] == contrast.method)
        & (table["less_method"].fillna("") == contrast.less)
        & (table["means"] == RESIDUAL)
        & (table["adjustment"] == contrast.adjustment)
    )
    return table.loc[mask, [*PLACE, *TRIPLE, "value", "low", "high"]].reset_index(drop=True)


def verdicts(table: pd.DataFrame, triples: Triples) -> pd.DataFrame:
    """Judge every contrast on the judged triples: a table of COLUMNS, a row a contrast, reader and prompts.

    Raises DataError where a judged triple is missing: a verdict on some of them is none.
    """
    rows = pd.DataFrame(
        [row for name, contrast in triples.contrasts.items() for row in _of(name, contrast, table, triples)]
    )
    return with_verdicts(rows)[list(COLUMNS)]


def _of(name: str, contrast: Contrast, table: pd.DataFrame, triples: Triples) -> Iterator[dict[str, object]]:
    judged = {each.triple for each in triples.judged}
    for place, part in contrast_values(table, contrast).groupby(list(PLACE), sort=False):
        own = part[[tuple(row) in judged for row in part[list(TRIPLE)].itertuples(index=False)]]
        if len(own) != len(judged):
            raise DataError(
                f"contrast {name} has {len(own)} of {len(judged)} judged triples: compute them all"
            )
        worlds = pd.DataFrame(
            {
                "world": own["base"].map(triples.lineage),
                "seed": range(len(own)),
                "replicate": 0,
                "effect": own["value"],
            }
        )
        effect = effect_over_worlds(world_means(worlds, strata=()), strata=())
        counts = {"n_triples": len(own), "n_above": int((own["value"] > 0).sum())}
        reader, prompts = place if isinstance(place, tuple) else (place, "")
        yield {
            **{"id": name, "sentence": contrast.sentence, "reader": reader, "prompts": prompts},
            **{"kind": contrast.kind, "margin": contrast.margin, "primary": prompts == PRIMARY},
            **effect._asdict(),
            **counts,
        }
