"""The step that has a pretrained model read all systems' answers, chunk by chunk: it takes an hour or two."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from afd_study.models.chat_layout import chat_examples
from afd_study.models.policy import device, n_parameters, pretrained
from afd_study.models.specs import ModelSpec
from afd_study.models.text_states import TextStates, text_states
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.alpaca_eval import AlpacaEvalSpec, load_answers

STATES = "states.safetensors"
AT_ONCE = 10  # prompts a chunk


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
    bounds = {"max_prompt_tokens": max_prompt_tokens, "max_new_tokens": max_new_tokens}

    def read(own: pd.DataFrame, place: Path) -> tuple[TextStates, list[bool]]:
        prompts = asked.loc[own["prompt_id"]].tolist()
        examples, cut = chat_examples(tokenizer, prompts, own["text"].tolist(), **bounds)
        context.spend(tokens=sum(len(each.ids) for each in examples), parameters=n_parameters(lm), passes=1)
        known = _stored(place, len(examples))
        if known is None:
            known = text_states(lm, examples, layer=layer, max_tokens=2048)
            _store(known, place)
        return known, cut

    states, tables, chunks = dict[int, np.ndarray](), [], list(_chunks(sorted(set(rows["prompt_id"]))))
    for number, chunk in enumerate(chunks):
        own = rows[rows["prompt_id"].isin(chunk)]
        found, cut = read(own, context.workspace / f"chunk-{number:04d}.safetensors")
        states |= dict(zip(own["row"], found.states, strict=True))
        table = own[["prompt_id", "system", "row"]]
        tables.append(table.assign(logprob=found.logprobs, tokens=found.tokens, cut=cut))
        context.progress((number + 1) / len(chunks), f"part {number + 1} of {len(chunks)}")
    save_file({"states": np.stack([states[row] for row in sorted(states)])}, out / STATES)
    write_table(out, "system_logprobs", pd.concat(tables, ignore_index=True))


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
