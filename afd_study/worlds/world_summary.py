"""What can be said of a controlled world before anything is trained in it: a line of numbers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from afd_study.errors import unknown_name
from afd_study.worlds.controlled import GOOD, ControlledWorld
from afd_study.worlds.grammar import EOS, Automaton
from afd_study.worlds.law_measures import extent, likeliest
from afd_study.worlds.tasks import CONTROLLED
from afd_study.worlds.variants import cell, no_room, numbers

KINDS = 5  # of requests, at most: every second, third, ... of them where there are more
DRAWS = 80  # of each author to each kind of request
TOP = 10  # likeliest answers


class _Sample(NamedTuple):
    value: np.ndarray  # the judge's points (draws,)
    length: np.ndarray  # words, the end mark among them
    ratio: np.ndarray  # log demonstrators - log web (nats)
    distinct: int


def variant_table(family: str, variants: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the summary of some variants of a family (None: all for exploration), a row each.

    Raises SpecError for an unknown family, and for a variant that it has not.
    """
    chosen = numbers("exploration") if variants is None else variants
    if family not in CONTROLLED:
        raise unknown_name("controlled world", family, CONTROLLED)
    world = CONTROLLED[family]
    rows = []
    for variant in chosen:
        place = {"family": family, "variant": variant} | cell(family, variant)._asdict()
        rows.append(place | summary(world(world.SPEC(name=family, variant=variant))))
    return pd.DataFrame(rows)


def summary(world: ControlledWorld, *, draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
    """Return what differs between worlds, as means over at most five kinds of requests.

    Exact are `mode_good` (share of kinds of requests whose likeliest answer is good), `top_good` (of the ten
    likeliest), `mode_mass` (probability of the likeliest), entropies (nats), lengths (words) and `web_stops`
    (share of web texts that end before the horizon). The rest are estimates from `draws` responses of each
    author to each kind of request: means of the judge's values, their difference (`gap`, with its standard
    error), the share of good answers, distinct answers among `draws`, the slope of values on length (points
    a word, of demonstrations), and AUCs between demonstrators and web, by the exact log ratio and by length
    alone.
    """
    conditions = _conditions(world)
    rng = np.random.default_rng([seed, 5])
    demo, web = (
        [_sample(world, who, facts, draws, rng) for facts in conditions] for who in ("demonstrators", "web")
    )
    value = {who: np.stack([part.value for part in parts]) for who, parts in (("d", demo), ("w", web))}
    errors = [(part.var(axis=1, ddof=1) / draws).mean() / len(conditions) for part in value.values()]
    gap = float(value["d"].mean() - value["w"].mean())
    length, ratio = (
        tuple(np.concatenate([getattr(part, name) for part in parts]) for parts in (demo, web))
        for name in ("length", "ratio")
    )
    centred = [part.length - part.length.mean() for part in demo]
    slope = sum(x @ part.value for x, part in zip(centred, demo, strict=True)) / sum(x @ x for x in centred)
    return {
        "n_clauses": len(world.inventory().clauses),
        "n_words": len(world.alphabet),
        "gap": gap,
        "gap_error": float(np.sqrt(sum(errors))),
        "room": gap >= no_room(),
        "demonstrators": float(value["d"].mean()),
        "web": float(value["w"].mean()),
        "good": float((value["d"] >= GOOD).mean()),
        **_likely(world, conditions),
        **_extents(world, conditions),
        "distinct": float(np.mean([part.distinct for part in demo])),
        "slope": float(slope),
        "auc": auc(ratio[0], ratio[1]),
        "auc_length": auc(length[0], length[1]),
    }


def _conditions(world: ControlledWorld) -> list[Mapping[str, str]]:
    kinds = world.requests()[list(world.CONDITIONS)].drop_duplicates()
    kinds = kinds.iloc[:: -(-len(kinds) // KINDS)]
    return [dict(zip(world.CONDITIONS, row, strict=True)) for row in kinds.itertuples(index=False, name=None)]


def _likely(world: ControlledWorld, conditions: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Return how good demonstrators' likeliest answers are, and how likely."""
    rows = []
    for facts in conditions:
        best = likeliest(world.law("demonstrators", facts), TOP)
        asked = [facts[name] for name in world.CONDITIONS]
        good = [sum(world.assess(words[:-1], *asked)) >= GOOD for words, _ in best]
        rows.append([float(good[0]), float(np.mean(good)), float(np.exp(best[0][1]))])
    return dict(zip(("mode_good", "top_good", "mode_mass"), np.mean(rows, axis=0).tolist(), strict=True))


def _extents(world: ControlledWorld, conditions: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Return entropies and lengths of both authors, and how often the web ends by itself."""
    demo, web = (
        np.mean([extent(world.law(who, facts), world.spec.max_words) for facts in conditions], axis=0)
        for who in ("demonstrators", "web")
    )
    lengths = {"length": float(demo[1]), "web_length": float(web[1]), "web_stops": float(web[2])}
    return {"entropy": float(demo[0]), "web_entropy": float(web[0]), **lengths}


def _sample(
    world: ControlledWorld, who: str, facts: Mapping[str, str], draws: int, rng: np.random.Generator
) -> _Sample:
    laws: list[Automaton] = [world.law(name, facts) for name in ("demonstrators", "web")]
    responses = [world.law(who, facts).sample(rng, world.spec.max_words) for _ in range(draws)]
    conditions = [facts[name] for name in world.CONDITIONS]
    plain = [[word for word in words if word != EOS] for words in responses]
    ratios = [np.subtract(*(law.logprobs(words).sum() for law in laws)) for words in responses]
    return _Sample(
        value=np.array([sum(world.assess(words, *conditions)) for words in plain]),
        length=np.array([len(words) for words in responses], dtype=float),
        ratio=np.array(ratios),
        distinct=len(set(map(tuple, responses))),
    )


def auc(high: np.ndarray, low: np.ndarray) -> float:
    """Return the chance that a value of `high` exceeds one of `low`, half of it where they are equal."""
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, "left") + np.searchsorted(ordered, high, "right")
    return float(below.mean() / (2 * len(low)))
