"""Which responses to which prompts go through a model side by side."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

Ids = tuple[int, ...]


class PromptTable(NamedTuple):
    """Prompts with the responses to each: `rows` (prompts, most responses) says which they are.

    An entry of `rows` is a response's place among all, or -1 where a prompt has fewer than the most.
    """

    prompts: tuple[Ids, ...]
    rows: np.ndarray


def places_by_prompt(prompts: Sequence[Ids]) -> dict[Ids, list[int]]:
    """Return, for each distinct prompt, the places at which it stands."""
    places: dict[Ids, list[int]] = defaultdict(list)
    for place, ids in enumerate(prompts):
        places[ids].append(place)
    return places


def prompt_table(members: Sequence[tuple[Ids, Sequence[int]]]) -> PromptTable:
    """Lay prompts and the places of their responses out as a table."""
    rows = np.full((len(members), max(len(places) for _, places in members)), -1)
    for number, (_, places) in enumerate(members):
        rows[number, : len(places)] = places
    return PromptTable(tuple(ids for ids, _ in members), rows)


def tables_to_draw(prompts: Sequence[Ids], max_rows: int, *, mixed: bool) -> Iterator[PromptTable]:
    """Yield tables of at most `max_rows` rows in which every response has its place; `prompts` has one each.

    The prompts of a table are equally long, unless `mixed`.
    """

    def order(item: tuple[Ids, list[int]]) -> tuple[int, int]:
        # side by side what wastes least: equally many draws first where lengths may differ
        length, draws = len(item[0]), -len(item[1])
        return (draws, length) if mixed else (length, draws)

    chunks = [
        (ids, places[first : first + max_rows])
        for ids, places in sorted(places_by_prompt(prompts).items(), key=order)
        for first in range(0, len(places), max_rows)
    ]
    members: list[tuple[Ids, list[int]]] = []
    widest = 0
    for ids, places in chunks:
        wider = max(widest, len(places))
        alike = mixed or not members or len(members[0][0]) == len(ids)
        if members and not (alike and (len(members) + 1) * wider <= max_rows):
            yield prompt_table(members)
            members, wider = [], len(places)
        members.append((ids, places))
        widest = wider
    if members:
        yield prompt_table(members)
