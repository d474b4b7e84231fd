"""Steps that make texts and tokenizers: of a controlled world, or of a data set."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from afd_study.errors import DataError
from afd_study.models import distributed
from afd_study.models.chat_layout import chat_tokenizer
from afd_study.models.policy import pretrained
from afd_study.models.specs import ModelSpec
from afd_study.models.tokenizers import save_tokenizer, train_bpe, word_tokenizer
from afd_study.records import SPLITS
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import (
    of_prompts,
    read_batches,
    read_table,
    write_batches,
    write_table,
)
from afd_study.worlds import alpaca_eval_corpus, hh_rlhf, own_data
from afd_study.worlds.controlled import open_world
from afd_study.worlds.corpus import Corpus
from afd_study.worlds.entries import opening, unit_hash

_PLACE = ["prompt_id", "split", "part"]  # of a prompt, without its text
World = Mapping[str, Any]  # the settings of a controlled world that a step depends on
CORPORA: Mapping[str, tuple[Callable[..., Corpus], Callable[..., Any]]] = {  # by name: part of a step's key
    "hh_rlhf": (hh_rlhf.load, hh_rlhf.HHRLHFSpec),
    "own_data": (own_data.load, own_data.OwnDataSpec),
}


def prompts(out: Path, context: Context, *, world: World, seed: int) -> None:
    """Lay out the prompts of a controlled world and their splits."""
    write_table(out, "prompts", open_world(world).prompts(seed))


def demonstrations(out: Path, context: Context, *, world: World, seed: int) -> None:
    """Draw demonstrations to training and validation prompts of a controlled world, without marks."""
    table = open_world(world).demonstrations(seed)
    context.cost["demonstrations"] = len(table)
    write_table(out, "demonstrations", table)


def pretraining(out: Path, context: Context, *, world: World, seed: int) -> None:
    """Draw the web's responses in a controlled world, which policies are pretrained on."""
    write_table(out, "demonstrations", open_world(world).pretraining(seed))


def held_out_demonstrations(out: Path, context: Context, *, world: World, per_prompt: int, seed: int) -> None:
    """Draw demonstrations for the test prompts."""
    write_table(out, "demonstrations", open_world(world).held_out_demonstrations(seed, per_prompt))


def marked_demonstrations(
    out: Path, context: Context, *, world: World, seed: int, demonstrations: Path
) -> None:
    """Put the world's mark on a share of demonstrations: what reward models read and policies don't."""
    table = read_table(demonstrations, "demonstrations")
    write_table(out, "demonstrations", open_world(world).marked(table, seed))


def corpus(
    out: Path,
    context: Context,
    *,
    world: Mapping[str, Any],
    digest: str,
    judge_share: float,
    files: Mapping[str, str],
    pairs_share: float = 0.0,
) -> None:
    """Read a data set from disk: its tables, and a report of every line, whose counts go to stderr.

    Column `part` deals the prompts out to the policy, to the judge, and to pairs that nobody learns from, by
    a hash of how their dialogue opens: none of them ever reads a dialogue of another's.

    Raises DataError where a part has too little to train on.
    """
    load, spec_class = CORPORA[world["name"]]
    tables = load(spec_class(**world, **files), context.workspace)
    _write_corpus(out, tables, name=world["name"], shares={"judge": judge_share, "pairs": pairs_share})


def system_corpus(
    out: Path,
    context: Context,
    *,
    world: Mapping[str, Any],
    digest: str,
    judge_share: float,
    files: Mapping[str, str],
    pairs_share: float = 0.0,
) -> None:
    """Read real systems' answers from disk, as `corpus` reads other data sets: the same tables.

    A step of its own, so that its reader is no part of the keys of studies of other data sets.

    Raises DataError where a part has too little to train on.
    """
    spec = alpaca_eval_corpus.AlpacaEvalCorpusSpec(**world, **files)
    tables = alpaca_eval_corpus.load(spec, context.workspace)
    _write_corpus(out, tables, name=world["name"], shares={"judge": judge_share, "pairs": pairs_share})


def _write_corpus(out: Path, tables: Corpus, *, name: str, shares: Mapping[str, float]) -> None:
    """Write a data set's tables with each prompt's part; the policy has what the `shares` leave."""
    bounds, parts = np.cumsum(list(shares.values())), np.array([*shares, "policy"])

    def dealt(piece: pd.DataFrame) -> pd.DataFrame:
        lots = [unit_hash(opening(text), seed=0, use="judge") for text in piece["text"]]
        part = parts[np.searchsorted(bounds, lots, side="right")]
        return piece.assign(part=pd.Series(part, index=piece.index, dtype="str"))

    if distributed.is_main():
        print(f"{name}: {tables.line()}", file=sys.stderr, flush=True)
    write_batches(out, "prompts", map(dealt, tables.batches("prompts")))
    _refuse_small_parts(read_table(out, "prompts", _PLACE), tables, shares["judge"])
    for table in ("demonstrations", "preferences"):
        write_batches(out, table, tables.batches(table))
    write_table(out, "report", tables.report)


def _refuse_small_parts(prompt_table: pd.DataFrame, tables: Corpus, judge_share: float) -> None:
    """Raise DataError where the policy's part lacks demonstrations in a split, or a part preferences.

    Of preferences each part needs some to train on and some to stop by, where the data set has any.
    """
    given = {"demonstrations": "demonstrated", "preferences": "compared"}
    wanted: dict[str, list[tuple[str, Sequence[str]]]] = {"demonstrations": [("policy", SPLITS)]}
    if tables.rows["compared"].any():
        parts = [part for part in prompt_table["part"].unique() if part != "pairs"]
        wanted["preferences"] = [(part, ("train", "validation")) for part in parts]
    for name, needs in wanted.items():
        ids = tables.rows.loc[tables.rows[given[name]], "prompt_id"]
        rows = prompt_table[prompt_table["prompt_id"].isin(ids)]
        for part, splits in needs:
            sizes = {
                split: int(((rows["part"] == part) & (rows["split"] == split)).sum()) for split in splits
            }
            if not all(sizes.values()):
                counts = ", ".join(f"{split} {size}" for split, size in sizes.items())
                raise DataError(
                    f"the {part}'s part of the prompts (judge_share={judge_share:g} is the judge's) has too "
                    f"few with {name}: {counts}. Give more, or change {'judge_share, ' * (judge_share > 0)}"
                    "world.validation, world.test or world.split_seed"
                )


def corpus_texts(out: Path, context: Context, *, part: str, kind: str, corpus: Path) -> None:
    """Take one part's texts out of a data set: demonstrations, held-out ones, or all to pretrain on."""
    prompt_table = read_table(corpus, "prompts", _PLACE).query("part == @part")
    held_out = prompt_table["split"] == "test"
    ids = prompt_table.loc[held_out if kind == "held_out" else ~held_out, "prompt_id"]
    pieces = read_batches(corpus, "demonstrations")
    if kind == "pretraining":
        pieces = chain(pieces, _rejected(corpus))
    write_batches(out, "demonstrations", of_prompts(pieces, ids))


def _rejected(corpus: Path) -> Iterator[pd.DataFrame]:
    """Yield rejected answers, which are text too; their draws are numbered behind the demonstrations'."""
    first = read_table(corpus, "demonstrations", ["draw"])["draw"].max() + 1
    for piece in read_batches(corpus, "preferences"):
        texts = piece.rename(columns={"rejected": "text"}).assign(draw=piece["draw"] + first)
        yield texts[["prompt_id", "draw", "text"]]


def corpus_preferences(out: Path, context: Context, *, part: str, corpus: Path) -> None:
    """Take one part's preferences out of a data set, and their preferred side as what sets their number."""
    prompt_table = read_table(corpus, "prompts", _PLACE).query("part == @part and split != 'test'")
    table = read_table(corpus, "preferences")
    table = table[table["prompt_id"].isin(prompt_table["prompt_id"])]
    table = table.assign(draw=table.groupby("prompt_id").cumcount())
    context.cost["labels"] = len(table)
    write_table(out, "preferences", table)
    preferred = table.rename(columns={"preferred": "text"})[["prompt_id", "draw", "text"]]
    write_table(out, "demonstrations", preferred)


def tokenizers(
    out: Path,
    context: Context,
    *,
    world: World | None,
    model: ModelSpec,
    vocabulary: int,
    chat: bool = False,
    prompts: Path | None = None,
    texts: Path | None = None,
) -> None:
    """Make the policy's tokenizer and the reader's, which differ in the marks alone.

    A published tokenizer keeps its chat template with `chat` alone: where there is one, texts are laid out
    by it.
    """
    if model.name_or_path is not None:
        policy = reader = _published(model, chat)
    elif world is not None:
        words = [word for word in open_world(world).alphabet if not word.startswith("<")]
        marks = open_world(world).marks
        policy, reader = word_tokenizer(words, dropped=marks), word_tokenizer(words, marks=marks)
    else:
        assert prompts is not None and texts is not None  # a data set's own words are all there is
        policy = reader = train_bpe(_own_words(prompts, texts), vocabulary)
    save_tokenizer(policy, out / "policy")
    save_tokenizer(reader, out / "reader")


def _published(model: ModelSpec, chat: bool) -> PreTrainedTokenizerBase:
    """Return a published model's tokenizer, with its chat template or without."""
    tokenizer = pretrained(model)[1]
    if tokenizer.chat_template and chat:
        return chat_tokenizer(tokenizer)
    tokenizer.chat_template = None
    return tokenizer


def _own_words(prompts: Path, texts: Path) -> Iterator[str]:
    """Yield the prompts of some texts, and these texts."""
    answered = read_table(texts, "demonstrations", ["prompt_id"])["prompt_id"].drop_duplicates()
    for piece in of_prompts(read_batches(prompts, "prompts"), answered):
        yield from piece["text"]
    for piece in read_batches(texts, "demonstrations"):
        yield from piece["text"]
