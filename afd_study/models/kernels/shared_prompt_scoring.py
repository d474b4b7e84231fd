"""Many responses a prompt, scored behind it: each prompt goes through the model once for all of them.

Prompts are held in tables (prompts x responses, `prefix.SharedPrefix`). Each prompt's responses stand in
order of length, and a table is read in slices of its columns, so that what is read at once is about as long.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from afd_study.models.batches import Batch, Example, collate
from afd_study.models.kernels.shared_prefix import Pass, SharedPrefix, applies

FEWEST = 4  # responses a prompt, on average, from which a table pays (book/log.md)


class _Table(NamedTuple):
    prompts: tuple[tuple[int, ...], ...]
    rows: np.ndarray  # (prompts, most responses): the example's number, or -1


def pays(lm: Any, examples: Sequence[Example]) -> bool:
    """Tell whether to score behind prompts: the model can be read so, and has prompts with many responses."""
    return applies(lm) and len(examples) >= FEWEST * len({each.prompt for each in examples})


def behind_prompts(
    lm: Any,
    examples: Sequence[Example],
    run: Callable[[SharedPrefix, Batch], Tensor],
    *,
    max_tokens: int,
    through: Pass | None = None,
) -> np.ndarray:
    """Apply `run` (prompts and a batch of responses behind them -> one number each) to all examples.

    The batch's rows are the prompts' responses, as many for each; its ids are those of the responses alone,
    and `starts` are 0. `through` is how `lm` reads, see `SharedPrefix`. At most `max_tokens` tokens of
    responses, with padding, are read at once.
    """
    out = np.zeros(len(examples))
    for table in _tables(examples, max_tokens):
        prefix = SharedPrefix(lm, table.prompts, through=through)
        for columns in _slices(table, examples, max_tokens):
            rows = columns.flatten()
            tails = [_tail(examples[i]) if i >= 0 else Example((0,), 0) for i in rows]
            batch = collate(tails).to(lm.device)
            prefix.begin(columns.shape[1], batch.ids.shape[1])
            found = run(prefix, batch).double().cpu().numpy()
            out[rows[rows >= 0]] = found[rows >= 0]
    return out


def _tail(example: Example) -> Example:
    return Example(example.ids[example.start :], 0)


def _tables(examples: Sequence[Example], max_tokens: int) -> Iterator[_Table]:
    """Yield all examples by prompt: prompts of similar length with similarly many responses together."""
    asked: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        asked[example.prompt].append(row)
    order = sorted(asked, key=lambda ids: (-len(asked[ids]), -len(ids)))
    first = 0
    while first < len(order):
        most, longest = len(asked[order[first]]), len(order[first])
        part = [
            ids for ids in order[first : first + max(1, max_tokens // longest)] if 2 * len(asked[ids]) > most
        ]
        rows = np.full((len(part), most), -1)
        for place, ids in enumerate(part):
            by_length = sorted(asked[ids], key=lambda i: len(examples[i].ids), reverse=True)
            rows[place, : len(by_length)] = by_length
        yield _Table(tuple(part), rows)
        first += len(part)


def _slices(table: _Table, examples: Sequence[Example], max_tokens: int) -> Iterator[np.ndarray]:
    """Cut a table into runs of columns that hold at most `max_tokens` tokens, and at least one column."""
    tokens = np.array([
        [len(examples[i].ids) - examples[i].start if i >= 0 else 0 for i in row] for row in table.rows
    ])  # fmt: skip
    longest = tokens.max(0)  # falls from column to column
    first = 0
    while first < len(longest):
        count = max(1, max_tokens // max(1, int(longest[first]) * len(table.rows)))
        yield table.rows[:, first : first + count]
        first += count
