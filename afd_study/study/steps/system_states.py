"""The step that has a pretrained model read all systems' answers, chunk by chunk: it takes an hour or two."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from afd_study.models.chat_layout import chat_examples
from afd_study.models.policy import device, n_parameters, pretrained
from afd_study.models.specs import ModelSpec
from afd_study.models.text_states import TextStates, text_states
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.alpaca_eval import AlpacaEvalSpec, load_answers

STATES = "states.safetensors"
AT_ONCE = 10  # prompts a chunk


class Reader(NamedTuple):
    """A model that stays as it is, which of its layers is read, and how much of prompts and answers."""

    lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    layer: int
    max_prompt_tokens: int
    max_new_tokens: int


def system_states(
    out: Path,
    context: Context,
    *,
    spec: dict[str, Any],
    weights: str,
    layer: int,
    dtype: Literal["float32", "bfloat16"],
    max_prompt_tokens: int,
    max_new_tokens: int,
    folder: str,
    model: str,
    answers: Path,
) -> None:
    """Read every answer by a pretrained model that stays as it is: states of a layer, log-probabilities.

    `weights` is the digest of the model in the folder `model`. Answers are cut at `max_new_tokens`, and table
    `system_logprobs` says which. A chunk that was read before an interruption is not read again.
    """
    texts = load_answers(AlpacaEvalSpec(**spec, folder=Path(folder)))
    asked = texts.prompts.set_index("prompt_id")["text"]
    rows = read_table(answers, "system_grid")[["prompt_id", "system", "row"]].merge(
        texts.answers, on=["prompt_id", "system"], validate="one_to_one"
    )
    lm, tokenizer = pretrained(ModelSpec(name_or_path=model, dtype=dtype))
    lm.to(device())  # type: ignore[arg-type]  # transformers wraps it, and mypy loses its type
    reader = Reader(lm, tokenizer, layer, max_prompt_tokens, max_new_tokens)
    states, tables, chunks = dict[int, np.ndarray](), [], list(_chunks(sorted(set(rows["prompt_id"]))))
    for number, chunk in enumerate(chunks):
        own = rows[rows["prompt_id"].isin(chunk)]
        prompts, place = asked.loc[own["prompt_id"]].tolist(), f"chunk-{number:04d}.safetensors"
        found, cut = _read(reader, prompts, own["text"].tolist(), context, context.workspace / place)
        states |= dict(zip(own["row"], found.states, strict=True))
        table = own[["prompt_id", "system", "row"]]
        tables.append(table.assign(logprob=found.logprobs, tokens=found.tokens, cut=cut))
        context.progress((number + 1) / len(chunks), f"part {number + 1} of {len(chunks)}")
    save_file({"states": np.stack([states[row] for row in sorted(states)])}, out / STATES)
    write_table(out, "system_logprobs", pd.concat(tables, ignore_index=True))


def _read(
    reader: Reader, prompts: list[str], texts: list[str], context: Context, place: Path
) -> tuple[TextStates, list[bool]]:
    """Read a chunk, or what `place` has of it, and say which answers were cut."""
    bounds = {"max_prompt_tokens": reader.max_prompt_tokens, "max_new_tokens": reader.max_new_tokens}
    examples, cut = chat_examples(reader.tokenizer, prompts, texts, **bounds)
    tokens = sum(len(each.ids) for each in examples)
    context.spend(tokens=tokens, parameters=n_parameters(reader.lm), passes=1)
    known = _stored(place, len(examples))
    if known is None:
        known = text_states(reader.lm, examples, layer=reader.layer, max_tokens=2048)
        _store(known, place)
    return known, cut


def read_states(folder: Path) -> np.ndarray:
    """Return the states of all answers (rows, 2 x width), in float32."""
    return load_file(folder / STATES)["states"]


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    yield from (ids[first : first + AT_ONCE] for first in range(0, len(ids), AT_ONCE))


def _store(read: TextStates, place: Path) -> None:
    fresh = place.with_suffix(".fresh")
    save_file({name: np.ascontiguousarray(value) for name, value in read._asdict().items()}, fresh)
    fresh.replace(place)


def _stored(place: Path, n: int) -> TextStates | None:
    """Return a chunk that was read before; None where there is none, or a damaged one."""
    try:
        read = TextStates(**load_file(place))
    except (OSError, SafetensorError, TypeError):
        return None
    return read if len(read.logprobs) == n else None
