"""The world `helpful`: its requests, the points of answers, and how many answers are best."""

from itertools import permutations, product

import numpy as np
import pytest
from pydantic import ValidationError

from afd_study.worlds.grammar import EOS, split_words
from afd_study.worlds.helpful import HelpfulSpec, HelpfulWorld
from afd_study.worlds.helpful_judge import BEST, COMPONENTS, assess
from afd_study.worlds.helpful_speech import (
    SCRIPT,
    WORDINGS,
    Demonstrators,
    inventory,
    requested_slots,
    slots,
    wordings_of,
)

OWL = [wordings_of("owl", slot)[0] for slot in ("meal", "mealtime", "place", "bed")]
WHALE, HABIT = wordings_of("whale", "meal")[0], wordings_of("owl", "skill")[0]
STYLE, CLOSING, DODGE = (SCRIPT[kind][0] for kind in ("style", "closing", "dodge"))


def parts(text, topic="owl", aspects="food+home"):
    points = assess(
        split_words(text),
        topic=topic,
        requested=requested_slots(aspects),
        slots=list(slots()),
        inventory=inventory(),
    )
    return dict(zip(COMPONENTS, points, strict=True))


def value(text, **request):
    return sum(parts(text, **request).values())


def test_a_prompt_asks_for_two_aspects_of_a_topic_in_either_order():
    prompts = HelpfulWorld(HelpfulSpec()).prompts(0)
    both = prompts[prompts["aspects"] == "food+home"]["text"]
    for order in ("the food and the home", "the home and the food"):
        assert both.str.contains(order).any()
    assert set(prompts["aspects"]) == {"food+home", "food+habits", "home+habits"}
    assert (prompts.groupby(["topic", "aspects"]).size() == 48).all()


def test_three_right_facts_make_a_best_answer_and_a_fourth_adds_nothing():
    assert [value(" ".join(OWL[:n])) for n in range(1, 5)] == [0.75, 1.5, BEST, BEST]
    assert value(" ".join(OWL[::-1])) == BEST  # in any order
    assert value(f"{STYLE} {' '.join(OWL)} {CLOSING}") == BEST  # openers and closings are free


FAULTS = {
    "another topic's": (f"{OWL[0]} {WHALE}", "wrong", -0.5),
    "the same, asked of that topic": (f"{WHALE} {OWL[0]}", "wrong", -0.5),
    "not asked for": (f"{OWL[0]} {HABIT}", "off request", -0.25),
    "said twice": (f"{OWL[0]} {OWL[0]}", "repeats", -0.3),
    "said in other words": (f"{OWL[0]} {wordings_of('owl', 'meal')[1]}", "repeats", -0.3),
    "no sentence": ("mice It home owl .", "faults", -0.3),
    "a stray word": (OWL[0].replace("eats", "eats home"), "slips", -0.1),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_costs_points(case):
    text, component, points = FAULTS[case]
    assert parts(text)[component] == pytest.approx(points)
    others = {name: worth for name, worth in parts(text).items() if name not in (component, "facts")}
    assert not any(others.values())


def test_the_same_fact_is_wrong_for_another_topic_and_off_request_for_another_question():
    assert parts(OWL[0])["facts"] == 0.75
    assert parts(OWL[0], topic="bee")["wrong"] == -0.5
    assert parts(OWL[0], aspects="home+habits")["off request"] == -0.25


def test_faults_count_up_to_a_bound():
    wrong = " ".join(wordings_of(topic, "meal")[0] for topic in ("whale", "bee", "camel", "frog", "bear"))
    assert parts(wrong)["wrong"] == -1.5
    assert parts(" ".join([OWL[0]] * 9))["repeats"] == pytest.approx(-0.9)
    assert value(DODGE) == value("") == 0


def best_strings(n_good, topic="owl", aspects="food+home"):
    """Every answer of three or four right facts, by hand: choices, orders, wordings."""
    wordings, ordered = WORDINGS[n_good]
    for count in (3, 4):
        for chosen in permutations(requested_slots(aspects), count):
            if not ordered or list(chosen) == sorted(chosen, key=requested_slots(aspects).index):
                yield from map(" ".join, product(*(wordings_of(topic, slot, wordings) for slot in chosen)))


@pytest.mark.parametrize("n_good", WORDINGS)
def test_as_many_answers_are_best_as_the_knob_says(n_good):
    """None of them has a stray word, and every best answer that is drawn is one of them."""
    world = HelpfulWorld(HelpfulSpec(n_good_answers=n_good, demonstration_quality=1.0))
    row = world.prompts(0).query("topic == 'owl' and aspects == 'food+home'").iloc[0]
    law, best = world.law("demonstrators", row), set(best_strings(n_good))
    assert len(best) == n_good
    some = sorted(best)[:: max(1, n_good // 60)]
    assert all(value(text) == BEST and law.n_stray([*split_words(text), EOS]) == 0 for text in some)
    aside, rng = [*split_words(STYLE)], np.random.default_rng(0)
    points = set()
    for _ in range(400):
        words = [word for word in law.sample(rng, 64) if word != EOS]
        text = " ".join(words)
        if value(text) == BEST and law.n_stray([*words, EOS]) == 0:
            words = words[len(aside) :] if words[: len(aside)] == aside else words
            points.add(" ".join(words).replace(" .", ".").removesuffix(f" {CLOSING}"))
    assert len(points) >= 4 and points <= best


def test_other_numbers_of_good_answers_are_refused():
    with pytest.raises(ValidationError, match="gives 7; possible: 5, 48, 189, 576, 2592"):
        HelpfulSpec(n_good_answers=7)


def test_better_demonstrators_are_wrong_less_and_say_more():
    poor, fine = Demonstrators().at(0.1, 0.1), Demonstrators().at(0.9, 0.1)
    assert fine.wrong < poor.wrong and fine.right > poor.right and fine.stop[1] < poor.stop[1]
