"""Steps for models and data as others published them: prompts of bounded length, and a judge by name."""

from pathlib import Path

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.methods.best_of_n import JUDGE
from afd_study.models.classifier_judge import Classifier, Judged, judge_texts, load_classifier
from afd_study.models.policy import n_parameters
from afd_study.models.specs import ClassifierSpec, SamplingSpec
from afd_study.models.tokenizers import load_tokenizer
from afd_study.study.steps.encoding import ROW, encoded_prompts, texts_of
from afd_study.study.steps.scoring import refuse_infinite
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import (
    of_prompts,
    read_batches,
    read_table,
    write_batches,
    write_table,
)


def short_prompts(
    out: Path, context: Context, *, max_prompt_tokens: int, corpus: Path, tokenizers: Path
) -> None:
    """Leave prompts of more than `max_prompt_tokens` out of a data set: its tables, and `left_out`.

    `left_out` has prompt_id, split, tokens.

    Raises DataError where a split keeps no prompt.
    """
    tokenizer = load_tokenizer(tokenizers / "policy")

    def measured(piece: pd.DataFrame) -> pd.DataFrame:
        ids = encoded_prompts(piece, tokenizer, SamplingSpec())
        return piece[["prompt_id", "split"]].assign(tokens=[len(ids[name]) for name in piece["prompt_id"]])

    prompts = pd.concat(map(measured, read_batches(corpus, "prompts")), ignore_index=True)
    short = prompts["tokens"] <= max_prompt_tokens
    empty = set(prompts["split"]) - set(prompts.loc[short, "split"])
    if empty:
        raise DataError(
            f"no prompt of {', '.join(sorted(empty))} has at most {max_prompt_tokens} tokens: raise "
            "sampling.max_prompt_tokens, or set sampling.long_prompts to cut"
        )
    ids = prompts.loc[short, "prompt_id"]
    for name in ("prompts", "demonstrations", "preferences"):
        write_batches(out, name, of_prompts(read_batches(corpus, name), ids))
    write_table(out, "left_out", prompts[~short])


def published_verdicts(
    out: Path, context: Context, *, judge: ClassifierSpec, prompts: Path, **texts: Path
) -> None:
    """Let a published judge score samples and demonstrations: tables `scores` and `judge_reading`.

    `judge_reading` says of each source how many texts were judged, and how many were too long and lost their
    beginning: source, n, n_cut.
    """
    classifier, prompt_table = load_classifier(judge), read_table(prompts, "prompts")
    scores, reading = [], []
    for source, folder in texts.items():
        table = texts_of(folder, source)
        verdicts = _judge(classifier, prompt_table, table, context)
        scores.append(table[ROW].assign(scorer=JUDGE, reward=verdicts.rewards))
        reading.append((source, len(table), int(verdicts.cut.sum())))
    write_table(out, "scores", pd.concat(scores, ignore_index=True))
    write_table(out, "judge_reading", pd.DataFrame(reading, columns=["source", "n", "n_cut"]))


def published_edit_scores(
    out: Path, context: Context, *, judge: ClassifierSpec, edits: Path, prompts: Path
) -> None:
    """Let a published judge score edited texts: table `edit_scores`."""
    table = read_table(edits, "edits")
    verdicts = _judge(load_classifier(judge), read_table(prompts, "prompts"), table, context)
    write_table(out, "edit_scores", table[[*ROW, "edit"]].assign(scorer=JUDGE, reward=verdicts.rewards))


def _judge(
    classifier: Classifier, prompt_table: pd.DataFrame, table: pd.DataFrame, context: Context
) -> Judged:
    """Score a table's texts as HH-RLHF lays them out: a space behind the assistant's name."""
    prompts = prompt_table.set_index("prompt_id")["text"].loc[table["prompt_id"]].tolist()
    verdicts = judge_texts(classifier, prompts, [f" {text}" for text in table["text"]])
    refuse_infinite(verdicts.rewards, table, JUDGE, context)
    tokens = int(np.sum(verdicts.tokens))
    context.spend(tokens=tokens, parameters=n_parameters(classifier.model), passes=1)
    return verdicts
