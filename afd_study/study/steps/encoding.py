"""Tables to examples: the one place where texts meet tokenizers in a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from afd_study.models.batches import Example, Pair, join
from afd_study.models.specs import SamplingSpec
from afd_study.models.tokenizers import encode, opening_ids
from afd_study.study.workflow.tables import read_table
from afd_study.worlds.grammar import EOS

ROW = ["prompt_id", "source", "draw"]


def encoded_prompts(
    prompts: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, sampling: SamplingSpec
) -> Mapping[str, tuple[int, ...]]:
    """Return each prompt's ids behind the tokenizer's begin mark (if it has one), as many as are allowed.

    Of a prompt that is longer than `max_prompt_tokens` with its mark, the last ids are kept.
    """
    begin = opening_ids(tokenizer)
    room = (sampling.max_prompt_tokens or 2**31) - len(begin)
    encoded = encode(tokenizer, prompts["text"].tolist())
    return {
        name: (*begin, *ids[max(0, len(ids) - room) :])
        for name, ids in zip(prompts["prompt_id"], encoded, strict=True)
    }


def response_ids(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, sampling: SamplingSpec
) -> list[tuple[int, ...]]:
    """Return responses as ids that end with the end mark, cut at the horizon as a policy's own are.

    A response follows "Assistant:" after a space, which byte-level vocabularies keep with the word behind it.
    """
    spaced = [f" {text}" for text in texts]
    return [
        tuple([*ids, tokenizer.eos_token_id][: sampling.max_new_tokens]) for ids in encode(tokenizer, spaced)
    ]


def spoken_words(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """Return a response's words as a controlled world's law reads them, with the grammar's end mark."""
    named = tokenizer.convert_ids_to_tokens([int(each) for each in ids])
    return [EOS if word == tokenizer.eos_token else word for word in named]


def examples_from(
    table: pd.DataFrame,
    prompts: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    sampling: SamplingSpec,
    *,
    context: int,
    whole: bool = False,
) -> pd.DataFrame:
    """Return prompt_id, draw, split, example for a table of texts or samples, in its order.

    Samples keep the ids that were drawn; texts are encoded. With `whole` the loss falls on the prompt too
    (all but its first token), as in pretraining.

    Raises DataError where an example exceeds the context.
    """
    asked = prompts.set_index("prompt_id")
    ids = encoded_prompts(prompts[prompts["prompt_id"].isin(set(table["prompt_id"]))], tokenizer, sampling)
    if "token_ids" in table.columns:
        responses = [tuple(map(int, drawn)) for drawn in table["token_ids"]]
    else:
        responses = response_ids(table["text"].tolist(), tokenizer, sampling)
    examples = join([ids[name] for name in table["prompt_id"]], responses, eos_id=None, context=context)
    if whole:
        examples = [Example(example.ids, 1) for example in examples]
    frame = table[["prompt_id", "draw"]].reset_index(drop=True)
    frame["split"] = asked["split"].reindex(frame["prompt_id"]).to_numpy()
    frame["example"] = pd.Series(examples, dtype=object)
    return frame


def split_examples(rows: pd.DataFrame) -> tuple[list[Example], list[Example]]:
    """Return the examples of training and of validation prompts."""
    train, validation = (rows.loc[rows["split"] == split, "example"] for split in ("train", "validation"))
    return list(train), list(validation)


def paired_examples(
    rows: pd.DataFrame,
    sides: tuple[str, str],
    prompts: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    sampling: SamplingSpec,
    *,
    context: int,
) -> tuple[list[Pair], np.ndarray]:
    """Return pairs (the first side is to score high) and the split of each, for rows prompt_id, draw, sides.

    A side holds texts, or the ids of samples.
    """
    encoded = []
    for side in sides:
        kind = "text" if isinstance(rows[side].iloc[0], str) else "token_ids"
        table = rows[["prompt_id", "draw"]].assign(**{kind: rows[side].to_numpy()})
        encoded.append(examples_from(table, prompts, tokenizer, sampling, context=context))
    pairs = [Pair(*both) for both in zip(encoded[0]["example"], encoded[1]["example"], strict=True)]
    return pairs, encoded[0]["split"].to_numpy()


def texts_of(folder: Path, source: str) -> pd.DataFrame:
    """Read samples, or demonstrations with their source named as samples have it."""
    if (folder / "samples.parquet").exists():
        return read_table(folder, "samples")
    return read_table(folder, "demonstrations").assign(source=source)


def responses_of(sources: dict[str, Path]) -> dict[str, pd.DataFrame]:
    """Return each source's responses: ids where they were drawn, text where they were written."""
    tables: dict[str, pd.DataFrame] = {}
    for name, folder in sources.items():
        source = name.removeprefix("source_")
        if source == "preferences":
            table = read_table(folder, "preferences")
            tables["preferred"] = table.rename(columns={"preferred": "response"})
            tables["rejected"] = table.rename(columns={"rejected": "response"})
        else:
            table = texts_of(folder, source)
            column = "token_ids" if "token_ids" in table.columns else "text"
            tables[source] = table.rename(columns={column: "response"})
    return tables
