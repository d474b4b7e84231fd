"""Tables to examples: the one place where texts meet tokenizers in a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from afd_study.models.batches import Example, Pair, join
from afd_study.models.specs import SamplingSpec
from afd_study.models.tokenizers import encode, load_tokenizer, opening_ids
from afd_study.study.workflow.context import derived_seed
from afd_study.study.workflow.step import Bundle
from afd_study.study.workflow.tables import read_table
from afd_study.worlds.grammar import EOS

ROW = ["prompt_id", "source", "draw"]


@dataclass(frozen=True)
class CommonInputs(Bundle):
    """What nearly every step reads: prompts, both tokenizers, the bounds of texts, and the seed."""

    prompts: Path
    tokenizers: Path
    sampling: SamplingSpec
    seed: int = 0

    @cached_property
    def prompt_table(self) -> pd.DataFrame:
        """Table `prompts`."""
        return read_table(self.prompts, "prompts")

    @cached_property
    def policy_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of policies, which drops surface marks."""
        return load_tokenizer(self.tokenizers / "policy")

    @cached_property
    def reader_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of reward models: the policy's ids, and those of surface marks behind them."""
        return load_tokenizer(self.tokenizers / "reader")

    def derived_seed(self, *names: object) -> int:
        """Return a seed for one use, unlike that of any other use."""
        return derived_seed(self.seed, *names)

    def prompt_ids(self, prompts: pd.DataFrame) -> Mapping[str, tuple[int, ...]]:
        """Return the ids of some prompts as a policy reads them, by prompt_id."""
        return encoded_prompts(prompts, self.policy_tokenizer, self.sampling)

    def examples(
        self, table: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, *, context: int, whole: bool = False
    ) -> pd.DataFrame:
        """Return `examples_from` a table of texts or samples."""
        return examples_from(table, self.prompt_table, tokenizer, self.sampling, context=context, whole=whole)

    def pairs(
        self,
        rows: pd.DataFrame,
        sides: tuple[str, str],
        tokenizer: PreTrainedTokenizerBase,
        *,
        context: int,
    ) -> tuple[list[Pair], np.ndarray]:
        """Return `paired_examples` of rows that hold two responses."""
        return paired_examples(rows, sides, self.prompt_table, tokenizer, self.sampling, context=context)


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


def spoken_words(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return a response's words as a controlled world's law reads them, with the grammar's end mark."""
    words = tokenizer.convert_ids_to_tokens([int(each) for each in ids])
    return [EOS if word == tokenizer.eos_token else word for word in words]


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
    splits = prompts.set_index("prompt_id")["split"]
    ids = encoded_prompts(prompts[prompts["prompt_id"].isin(set(table["prompt_id"]))], tokenizer, sampling)
    if "token_ids" in table.columns:
        responses = [tuple(map(int, row)) for row in table["token_ids"]]
    else:
        responses = response_ids(table["text"].tolist(), tokenizer, sampling)
    examples = join([ids[name] for name in table["prompt_id"]], responses, eos_id=None, context=context)
    if whole:
        examples = [Example(example.ids, 1) for example in examples]
    frame = table[["prompt_id", "draw"]].reset_index(drop=True)
    frame["split"] = splits.reindex(frame["prompt_id"]).to_numpy()
    frame["example"] = pd.Series(examples, dtype=object)
    return frame


def split_examples(rows: pd.DataFrame) -> tuple[list[Example], list[Example]]:
    """Return the examples of training and of validation prompts."""
    train, validation = (rows.loc[rows["split"] == split, "example"] for split in ("train", "validation"))
    return list(train), list(validation)


def split_pairs(pairs: list[Pair], split: np.ndarray) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs of training and of validation prompts; `split` (pairs,) says which is which."""
    train, validation = (
        [pairs[i] for i in np.flatnonzero(split == name)] for name in ("train", "validation")
    )
    return train, validation


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


def responses_of(sources: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
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
