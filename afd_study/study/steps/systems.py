"""Steps on real systems: their answers as features, discriminators between them, and a judge of verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from afd_study.evaluation.systems.agreement import agreement, values_of
from afd_study.evaluation.systems.discriminators import Fitting, Triple, scores_of, told_apart
from afd_study.evaluation.systems.features import Features, bag, gram_counts
from afd_study.evaluation.systems.grid import Grid, grid_of
from afd_study.evaluation.systems.judges import accuracy, tried, tried_without, verdict_pairs, weakest_first
from afd_study.evaluation.systems.picks import WITHIN_POLICY, picks, within_policy
from afd_study.evaluation.systems.triples import JudgeFitting, pool
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.alpaca_eval import AlpacaEvalSpec, easy_prompts, load_answers

COUNTS = "counts.npz"
HELD_OUT_PROMPTS, HELD_OUT_SYSTEMS = "prompts held out", "prompts and systems held out, {} of {}"


class Reading(NamedTuple):
    """The answers of all systems, and a reader's features of them."""

    grid: Grid
    features: Features


def system_answers(out: Path, context: Context, *, spec: Mapping[str, Any], digest: str, folder: str) -> None:
    """Read AlpacaEval's folder: verdicts, lengths, and counts of words of every answer. Texts stay there."""
    answers = load_answers(AlpacaEvalSpec(**spec, folder=Path(folder)))
    grid = grid_of(answers.answers, answers.verdicts)
    context.progress(0.2, f"{len(answers.answers)} answers read")
    rows = np.nonzero(grid.rows >= 0)
    table = pd.DataFrame(
        {
            "prompt_id": grid.prompts[rows[0]],
            "system": np.array(grid.systems)[rows[1]],
            "row": grid.rows[rows],
            "value": grid.verdicts[rows],
            "length": grid.lengths[rows],
        }
    )
    write_table(out, "system_grid", table)
    write_table(out, "system_prompts", easy_prompts(answers))
    write_table(out, "system_report", answers.report)
    sparse.save_npz(out / COUNTS, gram_counts(answers.answers["text"].tolist()))


def read_answers(folder: Path) -> Reading:
    """Return what `system_answers` wrote."""
    table = read_table(folder, "system_grid")
    wide = {name: table.pivot(index="prompt_id", columns="system", values=name) for name in table.columns[2:]}
    rows = wide["row"]
    grid = Grid(
        prompts=rows.index.to_numpy(dtype=str),
        systems=tuple(map(str, rows.columns)),
        verdicts=wide["value"].to_numpy(dtype=float),
        rows=rows.fillna(-1).to_numpy(dtype=np.int64),
        lengths=wide["length"].to_numpy(dtype=float),
    )
    return Reading(grid, bag(sparse.load_npz(folder / COUNTS)))


def system_triple(
    out: Path,
    context: Context,
    *,
    triple: Mapping[str, str],
    outside: Sequence[str],
    datasets: Sequence[str] | None,
    fitting: Fitting,
    resamples: int,
    n: int,
    seed: int,
    answers: Path,
) -> None:
    """Fit a triple's discriminators, and compare them with GPT-4's verdicts on answers.

    They are the answers of all systems but those `outside`. `datasets` are the sources of the prompts that
    discriminators are fitted and judged on; all if None.
    """
    grid, features = read_answers(answers)
    prompts = read_table(answers, "system_prompts")
    if datasets is not None:
        grid = grid.among(prompts.loc[prompts["dataset"].isin(datasets), "prompt_id"])
    roles = Triple(**triple)
    scores = scores_of(grid, roles, features, fitting)
    write_table(out, "told_apart", told_apart(grid, roles, scores))
    context.progress(0.2, "told apart")

    def of(systems: Sequence[str]) -> dict[str, np.ndarray]:
        columns = [grid.column(name) for name in systems]
        return {name: each[:, columns] for name, each in scores.items()}

    own = grid.of(pool(grid, outside))
    values = values_of(of(own.systems), own.verdicts, own.lengths, names=own.systems)

    def drawn(use: str) -> np.random.Generator:
        return np.random.default_rng(derived_seed(seed, use))

    table = agreement(values, generator=drawn("agreement"), resamples=resamples)
    write_table(out, "agreement", table)
    context.progress(0.8, "compared with verdicts")
    write_table(out, "system_picks", picks(values, generator=drawn("picks"), n=n, resamples=resamples))
    single = within_policy(grid, of(WITHIN_POLICY), generator=drawn("within"), resamples=1000)
    write_table(out, "within_policy", single)


def system_judge(out: Path, context: Context, *, fitting: JudgeFitting, answers: Path) -> None:
    """Fit a judge to GPT-4's verdicts and try it: on prompts held out, then on systems held out as well."""
    grid, features = read_answers(answers)

    def drawn(use: str) -> np.random.Generator:
        return np.random.default_rng(derived_seed(fitting.seed, use))

    pairs = verdict_pairs(grid, generator=drawn("pairs"), per_prompt=fitting.per_prompt)
    how: dict[str, Any] = {"l2": fitting.l2, "folds": fitting.folds, "seed": fitting.seed}
    tables = {HELD_OUT_PROMPTS: tried(pairs, features, **how)}
    parts = weakest_first(grid, fitting.parts)
    for number, part in enumerate(parts, 1):
        context.progress(number / (len(parts) + 1), f"part {number} of {len(parts)} left out")
        name = HELD_OUT_SYSTEMS.format(number, len(parts))
        tables[name] = tried_without(pairs, features, part, **how)
    rows = [accuracy(table, generator=drawn(name)).assign(tried=name) for name, table in tables.items()]
    write_table(out, "judge_strata", pd.concat(rows, ignore_index=True))
