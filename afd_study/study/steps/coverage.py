"""Steps that measure covering and seeking: densities under both laws, and what follows from them."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from afd_study.evaluation.coverage import coverage as measure_coverage, distinct_good
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import context_length, load_policy, n_parameters
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import SamplingSpec
from afd_study.models.tokenizers import load_tokenizer
from afd_study.study.steps.encoding import ROW, examples_from, spoken_words
from afd_study.study.steps.texts import open_world
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table


def densities(
    out: Path, context: Context, *, world: dict[str, Any], source: str, sampling: SamplingSpec, policy: Path,
    tokenizers: Path, prompts: Path, samples: Path, held_out: Path, judged: Path,
) -> None:  # fmt: skip
    """Give a policy's samples and held-out demonstrations their log-probabilities under both exact laws.

    Table `densities`: prompt_id, source, draw, text, n_tokens, logprob (policy), logprob_demo
    (demonstrators; nats of whole responses), n_stray (words that only the stray law explains), value (judge).
    """
    tokenizer, lm = load_tokenizer(tokenizers / "policy"), load_policy(policy)
    asked = read_table(prompts, "prompts")
    drawn = read_table(samples, "samples")
    shown = read_table(held_out, "demonstrations").assign(source="demonstrations")
    rows = examples_from(shown, asked, tokenizer, sampling, context=context_length(lm))
    examples = list(rows["example"])
    context.spend(tokens=sum(len(e.ids) for e in examples), parameters=n_parameters(lm), passes=1)
    ids = pd.Series([example.ids[example.start :] for example in examples], dtype=object)
    shown = shown.assign(
        token_ids=ids.to_numpy(), logprob=map_across_ranks(examples, partial(sequence_logprobs, lm))
    )
    both = pd.concat([drawn[drawn["source"] == source], shown])[[*ROW, "text", "token_ids", "logprob"]]
    both = both.merge(
        read_table(judged, "components")[[*ROW, "value"]], on=ROW, how="left", validate="one_to_one"
    )
    known, facts = open_world(world), asked.set_index("prompt_id")
    laws = {
        name: known.law("demonstrators", facts.loc[name].to_dict()) for name in both["prompt_id"].unique()
    }
    words = [spoken_words(each, tokenizer) for each in both["token_ids"]]
    exact = [
        (law.logprobs(said).sum(), law.n_stray(said), len(said))
        for law, said in zip(both["prompt_id"].map(laws), words, strict=True)
    ]
    both[["logprob_demo", "n_stray", "n_tokens"]] = pd.DataFrame(exact, index=both.index)
    write_table(out, "densities", both.drop(columns="token_ids"))


def coverage(
    out: Path, context: Context, *, task: str, seed: int, good: float, pi_init: Path, pi_sft: Path
) -> None:
    """Measure covering and seeking of both policies: tables `coverage` and `distinct_good`."""
    tables = {
        name: read_table(folder, "densities") for name, folder in (("pi_init", pi_init), ("pi_sft", pi_sft))
    }
    named: dict[str, Any] = {"task": task, "seed": seed, "good": good}
    measured = [measure_coverage(table, policy=name, **named) for name, table in tables.items()]
    distinct = [distinct_good(table, policy=name, **named) for name, table in tables.items()]
    write_table(out, "coverage", pd.concat(measured, ignore_index=True))
    found = pd.concat(distinct, ignore_index=True)
    write_table(out, "distinct_good", found.drop_duplicates(["source", "k", "prompt_id"]))
