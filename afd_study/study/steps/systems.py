"""Steps on real systems: their answers as features, discriminators between them, and a judge of verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file
from scipy import sparse

from afd_study.evaluation.systems.agreement import agreement, values_of
from afd_study.evaluation.systems.discriminators import (
    Fitting,
    Triple,
    held_out_losses,
    scores_of,
    told_apart,
)
from afd_study.evaluation.systems.features import Features, arrays, bag, gram_counts
from afd_study.evaluation.systems.grid import Grid, grid_of
from afd_study.evaluation.systems.judges import (
    accuracy,
    crossed,
    held_out_gaps,
    tried,
    tried_without,
    verdict_pairs,
    weakest_first,
)
from afd_study.evaluation.systems.picks import WITHIN_POLICY, picks, within_policy
from afd_study.evaluation.systems.triples import LIKELIHOODS, PREFERENCES, JudgeFitting, Penalties, pool
from afd_study.study.steps.system_states import read_states
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.alpaca_eval import AlpacaEvalSpec, easy_prompts, load_answers
from afd_study.worlds.entries import unit_hash

COUNTS = "counts.npz"
SCORES, PENALTIES = "scores.safetensors", "penalties.csv"
HELD_OUT_PROMPTS, HELD_OUT_SYSTEMS = "prompts held out", "prompts and systems held out, {} of {}"


class Reading(NamedTuple):
    """The answers of all systems, a reader's features of them, and scores (P, S) that need no fitting."""

    grid: Grid
    features: Features
    scores: dict[str, np.ndarray]


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


def read_answers(folder: Path, states: Path | None = None) -> Reading:
    """Return what `system_answers` wrote, read by a bag of words, or by the model whose `states` there are.

    Such a model gives log-probabilities too: of an answer as far as it was read, and the same a token.
    """
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
    if states is None:
        return Reading(grid, bag(sparse.load_npz(folder / COUNTS)), {})
    read = read_table(states, "system_logprobs").sort_values("row")
    values = read["logprob"].to_numpy(), (read["logprob"] / read["tokens"]).to_numpy()
    by_cell = [np.where(grid.rows >= 0, each[np.maximum(grid.rows, 0)], np.nan) for each in values]
    return Reading(grid, arrays(read_states(states)), dict(zip(LIKELIHOODS, by_cell, strict=True)))


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
    judge: Path,
    states: Path | None = None,
) -> None:
    """Fit a triple's discriminators, and compare them with GPT-4's verdicts on answers.

    They are the answers of all systems but those `outside`. `datasets` are the sources of the prompts that
    discriminators are fitted and judged on; all if None. The judge stands beside them as a score.
    """
    grid, features, rules = _among(read_answers(answers, states), judge, answers, datasets)
    roles = Triple(**triple)
    scores = scores_of(grid, roles, features, fitting) | rules
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


def _among(reading: Reading, judge: Path, answers: Path, datasets: Sequence[str] | None) -> Reading:
    """Return a reading of the prompts from some sources alone, with the judge's scores beside it."""
    grid, rules = reading.grid, reading.scores | {PREFERENCES: _judge_scores(judge, reading.grid)}
    if datasets is None:
        return reading._replace(scores=rules)
    prompts = read_table(answers, "system_prompts")
    kept = grid.among(prompts.loc[prompts["dataset"].isin(datasets), "prompt_id"])
    is_kept = np.isin(grid.prompts, kept.prompts)
    return Reading(kept, reading.features, {name: each[is_kept] for name, each in rules.items()})


def _judge_scores(folder: Path, grid: Grid) -> np.ndarray:
    """Return the judge's scores of all answers (P, S)."""
    values = load_file(folder / SCORES)["scores"]
    return np.where(grid.rows >= 0, values[np.maximum(grid.rows, 0)], np.nan)


def system_judge(
    out: Path,
    context: Context,
    *,
    fitting: JudgeFitting,
    l2: float,
    answers: Path,
    states: Path | None = None,
) -> None:
    """Fit a judge to GPT-4's verdicts and try it: on prompts held out, then on systems held out as well.

    It scores every answer, by its number, where it saw no verdict on that prompt (`SCORES`).
    """
    grid, features, _ = read_answers(answers, states)

    def drawn(use: str) -> np.random.Generator:
        return np.random.default_rng(derived_seed(fitting.seed, use))

    pairs = verdict_pairs(grid, generator=drawn("pairs"), per_prompt=fitting.per_prompt)
    how: dict[str, Any] = {"l2": l2, "folds": fitting.folds, "seed": fitting.seed}
    scores = crossed(pairs, features, grid, **how)
    save_file({"scores": grid.per_text(scores)}, out / SCORES)
    tables = {HELD_OUT_PROMPTS: tried(pairs, features, **how)}
    parts = weakest_first(grid, fitting.parts)
    for number, part in enumerate(parts, 1):
        context.progress(number / (len(parts) + 1), f"part {number} of {len(parts)} left out")
        name = HELD_OUT_SYSTEMS.format(number, len(parts))
        tables[name] = tried_without(pairs, features, part, **how)
    rows = [accuracy(table, generator=drawn(name)).assign(tried=name) for name, table in tables.items()]
    write_table(out, "judge_strata", pd.concat(rows, ignore_index=True))


def system_penalties(
    out: Path,
    context: Context,
    *,
    triples: Sequence[Mapping[str, str]],
    fitting: Fitting,
    judge: JudgeFitting,
    penalties: Penalties,
    answers: Path,
    states: Path,
) -> None:
    """Try penalties on what no verdict of the study rests on: losses held out (`read_penalties`).

    Discriminators are of triples that were explored; the judge is of a share of the prompts.
    """
    grid, features, _ = read_answers(answers, states)
    few = grid.among(
        [
            name
            for name in grid.prompts
            if unit_hash(name, seed=penalties.seed, use="penalties") < penalties.share
        ]
    )
    generator = np.random.default_rng(derived_seed(judge.seed, "penalties"))
    pairs = verdict_pairs(few, generator=generator, per_prompt=judge.per_prompt)
    rows = list[tuple[str, str, float, float]]()
    for number, l2 in enumerate(penalties.grid):
        how = fitting.model_copy(update={"l2": l2})
        for triple in (Triple(**each) for each in triples):
            losses = held_out_losses(grid, triple, features, how)
            rows += [
                ("discriminator", f"{'/'.join(triple)} {name}", l2, loss) for name, loss in losses.items()
            ]
        gaps = held_out_gaps(pairs, features, l2=l2, folds=judge.folds, seed=judge.seed)
        rows.append(("judge", "verdicts", l2, float(np.logaddexp(0, -gaps).mean())))
        context.progress((number + 1) / len(penalties.grid), f"penalty {l2:g}")
    pd.DataFrame(rows, columns=["use", "of", "l2", "loss"]).to_csv(out / PENALTIES, index=False)


def read_penalties(folder: Path) -> pd.DataFrame:
    """Return what was tried: use (discriminator, judge), of, l2, loss (nats a text or a pair)."""
    return pd.read_csv(folder / PENALTIES)
