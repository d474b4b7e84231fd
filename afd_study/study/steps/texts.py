"""Steps that make texts and tokenizers: of a controlled world, or of a data set."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from afd_study.models.policy import pretrained
from afd_study.models.specs import ModelSpec
from afd_study.models.tokenizers import save_tokenizer, train_bpe, word_tokenizer
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds import hh_rlhf, own_data
from afd_study.worlds.controlled import ControlledWorld
from afd_study.worlds.corpus import opening, unit_hash
from afd_study.worlds.tasks import CONTROLLED

CORPORA: Mapping[str, tuple[Any, Any]] = {  # imported by name, so that their code is part of a step's key
    "hh_rlhf": (hh_rlhf.load, hh_rlhf.HHRLHFSpec),
    "own_data": (own_data.load, own_data.OwnDataSpec),
}


def open_world(knobs: Mapping[str, Any]) -> ControlledWorld:
    """Return a controlled world that knows the given knobs and no others."""
    return CONTROLLED[knobs["name"]](SimpleNamespace(**knobs))


def world_table(out: Path, context: Context, *, table: str, world: dict[str, Any], seed: int) -> None:
    """Draw one table of a controlled world: prompts, demonstrations, or pretraining in the same columns."""
    found = getattr(open_world(world), table)(seed)
    if table == "demonstrations":
        context.cost["demonstrations"] = len(found)
    write_table(out, "prompts" if table == "prompts" else "demonstrations", found)


def held_out_demonstrations(
    out: Path, context: Context, *, world: dict[str, Any], per_prompt: int, seed: int
) -> None:
    """Draw demonstrations for the test prompts."""
    write_table(out, "demonstrations", open_world(world).held_out_demonstrations(seed, per_prompt))


def marked(out: Path, context: Context, *, world: dict[str, Any], seed: int, demonstrations: Path) -> None:
    """Put the world's mark on a share of demonstrations: what reward models read and policies don't."""
    write_table(
        out, "demonstrations", open_world(world).marked(read_table(demonstrations, "demonstrations"), seed)
    )


def corpus(
    out: Path, context: Context, *, world: dict[str, Any], digest: str, judge_share: float,
    files: dict[str, str],
) -> None:  # fmt: skip
    """Read a data set from disk: its tables, and a report of every line.

    Column `part` deals the prompts out between policy and judge, by a hash of how their dialogue opens: the
    judge never reads a dialogue that a policy was trained on.
    """
    load, spec_class = CORPORA[world["name"]]
    found = load(spec_class(**world, **files))
    draw = [unit_hash(opening(text), seed=0, use="judge") for text in found.prompts["text"]]
    prompts = found.prompts.assign(part=np.where(np.array(draw) < judge_share, "judge", "policy"))
    write_table(out, "prompts", prompts)
    write_table(out, "demonstrations", found.demonstrations)
    write_table(out, "preferences", found.preferences)
    write_table(out, "report", found.report)


def corpus_texts(out: Path, context: Context, *, part: str, kind: str, corpus: Path) -> None:
    """Take one part's texts out of a data set: demonstrations, held-out ones, or all to pretrain on."""
    prompts = read_table(corpus, "prompts").query("part == @part")
    found = read_table(corpus, "demonstrations")
    if kind == "pretraining":  # rejected answers are text too; their draws are numbered behind the others
        rejected = read_table(corpus, "preferences").rename(columns={"rejected": "text"})
        rejected = rejected.assign(draw=rejected["draw"] + found["draw"].max() + 1)
        found = pd.concat([found, rejected[["prompt_id", "draw", "text"]]], ignore_index=True)
    held_out = prompts["split"] == "test"
    wanted = prompts.loc[held_out if kind == "held_out" else ~held_out, "prompt_id"]
    write_table(out, "demonstrations", found[found["prompt_id"].isin(wanted)])


def corpus_preferences(out: Path, context: Context, *, part: str, corpus: Path) -> None:
    """Take one part's preferences out of a data set, and their preferred side as what sets their number."""
    prompts = read_table(corpus, "prompts").query("part == @part and split != 'test'")
    found = read_table(corpus, "preferences")
    found = found[found["prompt_id"].isin(prompts["prompt_id"])]
    found = found.assign(draw=found.groupby("prompt_id").cumcount())
    context.cost["labels"] = len(found)
    write_table(out, "preferences", found)
    write_table(
        out, "demonstrations", found.rename(columns={"preferred": "text"})[["prompt_id", "draw", "text"]]
    )


def tokenizers(
    out: Path, context: Context, *, world: dict[str, Any] | None, model: ModelSpec,
    vocabulary: int, prompts: Path | None = None, texts: Path | None = None,
) -> None:  # fmt: skip
    """Make the policy's tokenizer and the reader's, which differ in the marks alone."""
    if model.name_or_path is not None:
        policy = reader = pretrained(model)[1]
    elif world is not None:
        words = [word for word in open_world(world).alphabet if not word.startswith("<")]
        marks = open_world(world).marks
        policy, reader = word_tokenizer(words, dropped=marks), word_tokenizer(words, marks=marks)
    else:
        assert prompts is not None and texts is not None  # a data set's own words are all there is
        found, asked = (
            read_table(texts, "demonstrations"),
            read_table(prompts, "prompts").set_index("prompt_id"),
        )
        policy = reader = train_bpe(
            [*asked["text"].reindex(found["prompt_id"].unique()), *found["text"]], vocabulary
        )
    save_tokenizer(policy, out / "policy")
    save_tokenizer(reader, out / "reader")
