"""Steps that measure covering and seeking: densities under both laws, and what follows from them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from afd_study.evaluation import demonstrator_thresholds as probability_sets
from afd_study.evaluation.coverage import coverage as measure_coverage, distinct_good
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import context_length, load_policy, n_parameters
from afd_study.models.scoring import sequence_logprobs
from afd_study.study.steps.encoding import ROW, CommonInputs, spoken_words
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.controlled import open_world


def densities(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    world: Mapping[str, Any],
    source: str,
    policy: Path,
    samples: Path,
    held_out: Path,
    judged: Path,
) -> None:
    """Give a policy's samples and held-out demonstrations their log-probabilities under both exact laws.

    Table `densities`: prompt_id, source, draw, text, n_tokens, logprob (policy), logprob_demo
    (demonstrators; nats of whole responses), n_stray (words that only the stray law explains), value (judge).
    """
    responses = read_table(samples, "samples")
    rows = pd.concat([responses[responses["source"] == source], _written(common, context, policy, held_out)])
    rows = rows[[*ROW, "text", "token_ids", "logprob"]]
    verdicts = read_table(judged, "components")[[*ROW, "value"]]
    rows = rows.merge(verdicts, on=ROW, how="left", validate="one_to_one")
    facts, judge = common.prompt_table.set_index("prompt_id"), open_world(world)
    laws = {
        name: judge.law("demonstrators", facts.loc[name].to_dict()) for name in rows["prompt_id"].unique()
    }
    words = [spoken_words(ids, common.policy_tokenizer) for ids in rows["token_ids"]]
    exact = [
        (law.logprobs(said).sum(), law.n_stray(said), len(said))
        for law, said in zip(rows["prompt_id"].map(laws), words, strict=True)
    ]
    rows[["logprob_demo", "n_stray", "n_tokens"]] = pd.DataFrame(exact, index=rows.index)
    write_table(out, "densities", rows.drop(columns="token_ids"))


def _written(common: CommonInputs, context: Context, policy: Path, held_out: Path) -> pd.DataFrame:
    """Return held-out demonstrations with token ids and the policy's log-probabilities, as samples have."""
    lm = load_policy(policy)
    table = read_table(held_out, "demonstrations").assign(source="demonstrations")
    examples = list(common.examples(table, common.policy_tokenizer, context=context_length(lm))["example"])
    context.spend(tokens=sum(len(e.ids) for e in examples), parameters=n_parameters(lm), passes=1)
    ids = pd.Series([example.ids[example.start :] for example in examples], dtype=object)
    values = map_across_ranks(examples, partial(sequence_logprobs, lm))
    return table.assign(token_ids=ids.to_numpy(), logprob=values)


def demonstrator_thresholds(
    out: Path,
    context: Context,
    *,
    world: Mapping[str, Any],
    seed: int,
    draws: int,
    max_words: int,
    prompts: Path,
) -> None:
    """Draw from the demonstrators' law where its highest-probability sets begin, for the test prompts.

    Table `demonstrator_thresholds`: evaluation.demonstrator_thresholds.
    """
    asked = read_table(prompts, "prompts").query("split == 'test'")
    sizes: dict[str, int] = {"seed": seed, "draws": draws, "max_words": max_words}
    table = probability_sets.demonstrator_thresholds(open_world(world), asked, **sizes)
    write_table(out, "demonstrator_thresholds", table)


def coverage(
    out: Path,
    context: Context,
    *,
    task: str,
    seed: int,
    good: float,
    thresholds: Path,
    pi_init: Path,
    pi_sft: Path,
) -> None:
    """Measure covering and seeking of both policies: tables `coverage` and `distinct_good`."""
    folders = {"pi_init": pi_init, "pi_sft": pi_sft}
    tables = {name: read_table(folder, "densities") for name, folder in folders.items()}
    common: dict[str, Any] = {"task": task, "seed": seed, "good": good}
    sets = read_table(thresholds, "demonstrator_thresholds")
    measured = [
        measure_coverage(table, policy=name, thresholds=sets, **common) for name, table in tables.items()
    ]
    distinct = [distinct_good(table, policy=name, **common) for name, table in tables.items()]
    write_table(out, "coverage", pd.concat(measured, ignore_index=True))
    rows = pd.concat(distinct, ignore_index=True).drop_duplicates(["source", "k", "prompt_id"])
    write_table(out, "distinct_good", rows)
