"""Steps that have rules read people's pairs which nobody learned from: texts, log-probabilities, scores.

The two answers of a pair stand as two texts of one source, PAIRS, so that the steps that score texts score
them as they are: draw 2 d is the preferred answer of a prompt's pair d, and draw 2 d + 1 the rejected one.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from afd_study.errors import DataError
from afd_study.evaluation.text_features import LENGTHS
from afd_study.methods.frozen_heads import head_of, head_rewards
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import context_length, load_policy, n_parameters
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.tokenizers import decode
from afd_study.study.steps.encoding import CommonInputs, response_ids
from afd_study.study.steps.frozen_rewards import HEAD, STATES
from afd_study.study.steps.scoring import refuse_infinite
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.entries import opening

PAIRS = "pairs"
SIDES = ("preferred", "rejected")


def held_out_pairs(out: Path, context: Context, *, part: str, splits: Sequence[str], corpus: Path) -> None:
    """Take the pairs of one part's prompts out of a data set, as texts of source PAIRS.

    Those of the part "pairs" are taken too, of whatever split. Raises DataError where there is none.
    """
    prompts = read_table(corpus, "prompts", ["prompt_id", "split", "part"])
    own = (prompts["part"] == part) & prompts["split"].isin(list(splits))
    kept = prompts[own | (prompts["part"] == PAIRS)]
    labels = read_table(corpus, "preferences")
    labels = labels[labels["prompt_id"].isin(kept["prompt_id"])]
    if not len(labels):
        raise DataError(
            f"no prompt of the {part}'s part ({', '.join(splits)}) has a pair that people compared: give "
            "more preferences, raise pairs_share or world.test, or lower judge_share"
        )
    write_table(out, "demonstrations", as_texts(labels))


def pair_logprobs(out: Path, context: Context, *, common: CommonInputs, policy: Path, pairs: Path) -> None:
    """Give both answers of each pair the log-probability (nats) of a policy: table `samples`.

    Answers are as long as a policy's own may be. `text` is what is left of them then.
    """
    lm, table = load_policy(policy), read_table(pairs, "demonstrations")
    tokenizer = common.policy_tokenizer
    ids = response_ids(table["text"].tolist(), tokenizer, common.sampling)
    table = table.assign(source=PAIRS, token_ids=pd.Series(ids, dtype=object), text=decode(tokenizer, ids))
    examples = list(common.examples(table, tokenizer, context=context_length(lm))["example"])
    context.spend(tokens=sum(len(each.ids) for each in examples), parameters=n_parameters(lm), passes=1)
    table["logprob"] = map_across_ranks(examples, partial(sequence_logprobs, lm))
    write_table(out, "samples", table)


def frozen_pair_scores(
    out: Path, context: Context, *, scorer: str, reward_model: Path, corpus: Path, states_corpus: Path
) -> None:
    """Score all pairs of a data set by a head on their states: table `scores`, of source PAIRS."""
    labels, states = read_table(corpus, "preferences"), load_file(states_corpus / STATES)
    head = head_of(load_file(reward_model / HEAD))
    values = np.concatenate([head_rewards(head, states[side]) for side in SIDES])
    table = as_texts(labels)[["prompt_id", "draw"]].assign(source=PAIRS)
    refuse_infinite(values, table, scorer, context)
    write_table(out, "scores", table.assign(scorer=scorer, reward=values))


def as_texts(labels: pd.DataFrame) -> pd.DataFrame:
    """Return the answers of table `preferences` as texts: all preferred ones, then all rejected ones."""
    sides = [
        labels[["prompt_id"]].assign(draw=2 * labels["draw"] + number, text=labels[side])
        for number, side in enumerate(SIDES)
    ]
    return pd.concat(sides, ignore_index=True)


def read_texts(texts: Sequence[str], common: CommonInputs) -> list[str]:
    """Return texts as far as models read them: cut at the horizon of a policy's own responses."""
    tokenizer = common.reader_tokenizer
    return decode(tokenizer, response_ids(list(texts), tokenizer, common.sampling))


def gaps(scores: pd.DataFrame) -> pd.DataFrame:
    """Return each scorer's reward of the preferred answer less the rejected one's, of source PAIRS.

    A row a pair, (prompt_id, number) its index, a column a scorer. Raises DataError where a score is missing.
    """
    own = scores[scores["source"] == PAIRS]
    keys = [own["prompt_id"], (own["draw"] // 2).rename("number"), own["scorer"]]
    sided = own["reward"].where(own["draw"] % 2 == 0, -own["reward"])
    grouped = sided.groupby(keys)
    if not (grouped.size() == 2).all():
        raise DataError("some answers of people's pairs have no score: score both sides with all rules")
    wide = grouped.sum().unstack("scorer")
    if wide.isna().to_numpy().any():
        lacking = wide.columns[wide.isna().any()].tolist()
        raise DataError(f"the rules {lacking} have no score for some of people's pairs: score all with all")
    return wide


def differences_in_length(texts: pd.DataFrame) -> "pd.Series[float]":
    """Return the preferred answer's log(1 + words) less the rejected one's, of texts as `as_texts` has."""
    lengths = texts.assign(source=PAIRS, scorer="length", reward=texts["text"].map(LENGTHS["words"]))
    return gaps(lengths)["length"]


def openings(prompts: pd.DataFrame, ids: "pd.Index[str]") -> np.ndarray:
    """Return how the dialogue of each prompt opens, which groups its continuations."""
    return prompts.set_index("prompt_id")["text"].loc[ids].map(opening).to_numpy(dtype=str)
