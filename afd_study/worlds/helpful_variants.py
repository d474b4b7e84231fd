"""Variants of the world `helpful`: other topics, aspects, clauses, authors and judges (see `variants.py`)."""

from functools import cache
from typing import Any

from afd_study.worlds.helpful_judge import Weights
from afd_study.worlds.helpful_speech import SCRIPT, Behaviour, Demonstrators, inventory
from afd_study.worlds.speech import Script, Traits, read_script
from afd_study.worlds.variants import Draws

N_TOPICS, N_ASPECTS = 6, 3  # drawn
USED = {"style": 1, "closing": 1, "dodge": 2, "connector": 2}  # clauses of each sort


@cache
def traits(variant: int) -> Traits:
    """Return what a variant draws. Raises SpecError for a number outside the design."""
    draws = Draws("helpful", variant)
    wordings = draws.value("wordings")
    words = _script(draws, wordings)
    return Traits(
        script=words,
        inventory=inventory(words),
        web=Behaviour(**_stops(draws.speaker("web")), order=draws.value("order")),
        demonstrators=_demonstrators(draws),
        judge=Weights(**draws.weights()),
        wordings=(wordings, False),
        **draws.shared(),
    )


def _stops(behaviour: dict[str, Any]) -> dict[str, Any]:
    """Return a behaviour with its chances of stopping in one tuple."""
    stop = tuple(behaviour.pop(f"stop_{n}") for n in range(5))
    return behaviour | {"stop": stop}


def _demonstrators(draws: Draws) -> Demonstrators:
    """Draw the demonstrators, who have no faults at quality 1."""
    behaviour = _stops(draws.speaker("demonstrators"))
    behaviour["hasty"] = (behaviour.pop("hasty_1"), behaviour.pop("hasty_2"))
    behaviour["right"] = (behaviour["right"], 1 - behaviour["right"])
    return Demonstrators(**behaviour, order=draws.value("order"))


def _script(draws: Draws, wordings: int) -> Script:
    """Draw topics, aspects, voices and clauses from the pool; requests are put as in every world."""
    pool = read_script("helpful_variants")
    aspects = draws.some("aspects", list(next(iter(pool["voices"].values()))), N_ASPECTS)
    topics = draws.some("topics", list(pool["topics"]), N_TOPICS)
    voices = [
        {
            "aspects": {
                aspect: {
                    slot: draws.some(f"{name} {slot}", texts, wordings)
                    for slot, texts in pool["voices"][name][aspect].items()
                }
                for aspect in aspects
            }
        }
        for name in draws.voices(list(pool["voices"]))
    ]
    return {
        "openers": SCRIPT["openers"],
        "qualifiers": SCRIPT["qualifiers"],
        **{sort: draws.some(sort, pool[sort], n) for sort, n in USED.items()},
        "aspects": voices[0]["aspects"],
        "topics": {name: pool["topics"][name] for name in topics},
        "voices": voices,
    }
