"""Variants of the world `harmless`: other categories, clauses, authors and judges (see `variants.py`)."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from afd_study.worlds.harmless_judge import BEST, Weights
from afd_study.worlds.harmless_speech import SCRIPT, Behaviour, Demonstrators, inventory
from afd_study.worlds.speech import Script, Traits, read_script
from afd_study.worlds.variants import Draws

CATEGORIES = {"harmful": 4, "benign": 3}  # drawn of each kind
USED = {"style": 1, "closing": 1, "dodge": 2, "insult": 2, "boast": 1, "connector": 2}  # clauses of each sort


@cache
def traits(variant: int) -> Traits:
    """Return what a variant draws. Raises SpecError for a number outside the design."""
    draws = Draws("harmless", variant)
    wordings = draws.group("wordings")
    words = _script(draws, wordings)
    return Traits(
        script=words,
        inventory=inventory(words),
        web=Behaviour(**draws.speaker("web")),
        demonstrators=_demonstrators(draws),
        judge=_weights(draws),
        wordings=(wordings["stance"], wordings["reason"], wordings["offer"]),
        **draws.shared(),
    )


def _demonstrators(draws: Draws) -> Demonstrators:
    """Draw the demonstrators, who do right whatever they can at quality 1."""
    behaviour = draws.speaker("demonstrators")
    for name in ("refuse", "answer_right", "right"):
        behaviour[name] = (behaviour[name], 1 - behaviour[name])
    behaviour["reason"] = 1 - behaviour.pop("stop") - behaviour["offer_at_once"]
    return Demonstrators(**behaviour)


def _weights(draws: Draws) -> Weights:
    """Draw the judge, for whom stance, reason and offer are worth as much together as in every world."""
    points = draws.weights()
    return Weights(stance=BEST - points["reason"] - points["offer"], **points)


def _script(draws: Draws, wordings: Mapping[str, int]) -> Script:
    """Draw categories, voices and clauses from the pool; requests are put as in every world."""
    pool = read_script("harmless_variants")

    def some(texts: Sequence[str], n: int, *use: str) -> list[str]:
        return draws.some(" ".join(use), texts, n)

    chosen = {kind: some(list(pool[kind]), n, kind) for kind, n in CATEGORIES.items()}

    def voice(name: str) -> dict[str, Any]:
        said: dict[str, Any] = {
            part: some(pool["voices"][name][part], wordings["stance"], name, part)
            for part in ("refusal", "agreement")
        }
        for kind, categories in chosen.items():
            said[kind] = {
                category: {
                    part: some(pool[kind][category][name][part], wordings[part], name, category, part)
                    for part in ("reason", "offer")
                }
                for category in categories
            }
        for category in chosen["benign"]:
            options = pool["benign"][category][name]["instruction"]
            said["benign"][category]["instruction"] = some(options, 1, name, category, "instruction")[0]
        return said

    topics: dict[str, Any] = {
        kind: {name: {"activities": pool[kind][name]["activities"]} for name in names}
        for kind, names in chosen.items()
    }
    for name, entry in topics["harmful"].items():
        entry["instruction"] = some(pool["harmful"][name]["instruction"], 1, name, "instruction")[0]
    return {
        "openers": SCRIPT["openers"],
        "qualifiers": SCRIPT["qualifiers"],
        **{sort: some(pool[sort], n, sort) for sort, n in USED.items()},
        **topics,
        "voices": [voice(name) for name in draws.voices(list(pool["voices"]))],
    }
