"""Tables to examples: the one place where texts meet tokenizers in a study."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from afd_study.errors import SpecError
from afd_study.models import distributed
from afd_study.models.batches import Example, Pair, join
from afd_study.models.chat_layout import Frame, encoded_responses, framed_prompts
from afd_study.models.packed_examples import PackedExamples, pack
from afd_study.models.specs import SamplingSpec
from afd_study.models.tokenizers import load_tokenizer
from afd_study.study.steps.training_texts import Asked, PackedPrompts, TrainingExamples
from afd_study.study.workflow.context import derived_seed
from afd_study.study.workflow.step import Bundle
from afd_study.study.workflow.tables import read_batches, read_table
from afd_study.worlds.grammar import EOS

ROW = ["prompt_id", "source", "draw"]
TRAINED_ON = ("train", "validation")  # the splits that training reads


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

    @cached_property
    def prompts_by_id(self) -> pd.DataFrame:
        """Table `prompts`, indexed by prompt_id."""
        return self.prompt_table.set_index("prompt_id")

    def prompt_ids(self, prompts: pd.DataFrame) -> Mapping[str, tuple[int, ...]]:
        """Return the ids of some prompts as a policy reads them, by prompt_id."""
        return encoded_prompts(prompts, self.policy_tokenizer, self.sampling)

    def examples(
        self, table: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, *, context: int
    ) -> pd.DataFrame:
        """Return `examples_from` a table of texts or samples."""
        return examples_from(table, self.prompts_by_id, tokenizer, self.sampling, context=context)

    def training_examples(
        self, texts: Path, workspace: Path, *, context: int, whole: bool = False
    ) -> TrainingExamples:
        """Return a step's texts as the policy reads them, to train on and for validation.

        They may be more than the memory holds: their ids lie in a file in the workspace. Arguments and errors
        as `examples_from`.
        """
        prompts, facts = self._packed_prompts(workspace), list[pd.DataFrame]()

        def encoded() -> Iterator[Example]:
            for piece in read_batches(texts, "demonstrations"):
                how: dict[str, Any] = {"context": context, "whole": whole, "first_row": sum(map(len, facts))}
                asked = prompts.to(piece["prompt_id"])
                rows = _joined(piece, asked, self.policy_tokenizer, self.sampling, **how)
                facts.append(rows.drop(columns=["prompt_id", "draw", "example"]))
                yield from rows["example"]

        examples = self._packed(encoded(), workspace, "examples")
        rows = pd.concat(facts, ignore_index=True)
        train, validation = (examples.rows(np.flatnonzero(rows["split"] == name)) for name in TRAINED_ON)
        bounds = (self.sampling.max_prompt_tokens or context, self.sampling.max_new_tokens)
        sides = ("prompt", "response")
        n_cut = [int(rows[f"{side}_cut"].sum()) for side in sides]
        cut = pd.DataFrame({"side": sides, "n": len(rows), "n_cut": n_cut, "bound": bounds})
        return TrainingExamples(train, validation, cut)

    def _packed_prompts(self, workspace: Path) -> PackedPrompts:
        """Return all prompts as the policy reads them, their ids in a file in the workspace."""
        names, splits, cuts = list[pd.Series](), list[pd.Series](), list[str]()

        def encoded() -> Iterator[Example]:
            for piece in read_batches(self.prompts, "prompts"):
                whole = framed_prompts(self.policy_tokenizer, piece["text"].tolist())
                ids, cut = _bounded_prompts(piece["prompt_id"], whole, self.sampling)
                names.append(piece["prompt_id"])
                splits.append(piece["split"])
                cuts.extend(cut)
                yield from (Example(each, 0) for each in ids.values())

        ids = self._packed(encoded(), workspace, "prompts")
        index = pd.Index(pd.concat(names, ignore_index=True))
        return PackedPrompts(index, ids, pd.concat(splits, ignore_index=True).to_numpy(), index.isin(cuts))

    def _packed(self, examples: Iterable[Example], workspace: Path, name: str) -> PackedExamples:
        """Put examples into a file of this process's own."""
        n_ids = max(self.policy_tokenizer.get_vocab().values()) + 1
        return pack(examples, workspace / f"{name}-{distributed.index()}.ids", n_ids=n_ids)

    def pairs(
        self,
        rows: pd.DataFrame,
        sides: tuple[str, str],
        tokenizer: PreTrainedTokenizerBase,
        *,
        context: int,
    ) -> tuple[list[Pair], np.ndarray]:
        """Return `paired_examples` of rows that hold two responses."""
        return paired_examples(rows, sides, self.prompts_by_id, tokenizer, self.sampling, context=context)


def encoded_prompts(
    prompts: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, sampling: SamplingSpec
) -> Mapping[str, tuple[int, ...]]:
    """Return each prompt's ids with what the tokenizer puts around them, as many as are allowed.

    That is a begin mark, if it has one, or what its chat template writes. Of a prompt that is longer than
    `max_prompt_tokens` with these, the last ids of its text are kept.
    """
    whole = framed_prompts(tokenizer, prompts["text"].tolist())
    return _bounded_prompts(prompts["prompt_id"], whole, sampling)[0]


def _bounded_prompts(
    names: Iterable[str], whole: Sequence[tuple[Frame, Sequence[int]]], sampling: SamplingSpec
) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """Return prompts' ids by prompt_id, as many as are allowed, and which of them lost their beginning.

    Raises SpecError where what stands around a prompt leaves no room for it.
    """
    bounded, cut = dict[str, tuple[int, ...]](), set[str]()
    for name, (frame, ids) in zip(names, whole, strict=True):
        around = len(frame.before) + len(frame.between)
        room = (sampling.max_prompt_tokens or 2**31) - around
        if room < 1:
            raise SpecError(
                f"sampling.max_prompt_tokens={sampling.max_prompt_tokens} leaves no room beside the {around} "
                "tokens that the tokenizer puts around a prompt"
            )
        if len(ids) > room:
            cut.add(name)
        bounded[name] = (*frame.before, *ids[max(0, len(ids) - room) :], *frame.between)
    return bounded, cut


def response_ids(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, sampling: SamplingSpec
) -> list[tuple[int, ...]]:
    """Return responses as ids that end with the end mark, cut at the horizon as a policy's own are."""
    encoded = encoded_responses(tokenizer, texts)
    return [tuple([*ids, tokenizer.eos_token_id][: sampling.max_new_tokens]) for ids in encoded]


def spoken_words(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return a response's words as a controlled world's law reads them, with the grammar's end mark."""
    words = tokenizer.convert_ids_to_tokens([int(each) for each in ids])
    return [EOS if word == tokenizer.eos_token else word for word in words]


def examples_from(
    table: pd.DataFrame,
    prompts_by_id: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    sampling: SamplingSpec,
    *,
    context: int,
    whole: bool = False,
) -> pd.DataFrame:
    """Return a row for each text or sample of a table, in its order, with its `example`.

    Columns: prompt_id, draw, split, example; whether the prompt lost its beginning (`prompt_cut`), and
    whether the response has no end mark (`response_cut`). Samples keep the ids that were drawn; texts are
    encoded. With `whole` the loss falls on the prompt too (all but its first token), as in pretraining.

    Raises DataError where an example exceeds the context.
    """
    prompts = prompts_by_id.loc[table["prompt_id"].unique()]
    ids, cut = _bounded_prompts(prompts.index, framed_prompts(tokenizer, prompts["text"].tolist()), sampling)
    names = table["prompt_id"].tolist()
    split = prompts["split"].loc[names].to_numpy()
    asked = Asked([ids[name] for name in names], np.array([name in cut for name in names], dtype=bool), split)
    return _joined(table, asked, tokenizer, sampling, context=context, whole=whole)


def _joined(
    table: pd.DataFrame,
    asked: Asked,
    tokenizer: PreTrainedTokenizerBase,
    sampling: SamplingSpec,
    *,
    context: int,
    whole: bool,
    first_row: int = 0,
) -> pd.DataFrame:
    """Return what `examples_from` returns, the prompts of the rows known; errors count from `first_row`."""
    if "token_ids" in table.columns:
        responses = [tuple(map(int, row)) for row in table["token_ids"]]
    else:
        responses = response_ids(table["text"].tolist(), tokenizer, sampling)
    examples = join(asked.ids, responses, eos_id=None, context=context, first_row=first_row)
    if whole:
        examples = [Example(example.ids, 1) for example in examples]
    frame = table[["prompt_id", "draw"]].reset_index(drop=True)
    frame["split"], frame["prompt_cut"] = asked.split, asked.cut
    frame["example"] = pd.Series(examples, dtype=object)
    frame["response_cut"] = [response[-1:] != (tokenizer.eos_token_id,) for response in responses]
    return frame


def split_pairs(pairs: list[Pair], split: np.ndarray) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs of training and of validation prompts; `split` (pairs,) says which is which."""
    train, validation = ([pairs[i] for i in np.flatnonzero(split == name)] for name in TRAINED_ON)
    return train, validation


def paired_examples(
    rows: pd.DataFrame,
    sides: tuple[str, str],
    prompts_by_id: pd.DataFrame,
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
        encoded.append(examples_from(table, prompts_by_id, tokenizer, sampling, context=context))
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
