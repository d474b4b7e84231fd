"""Turns out of plain texts and back, names of prompts, and what is no dialogue."""

import pytest

from afd_study.align.dialogues import (
    SYSTEM_LATER,
    USER_FIRST,
    Dialogue,
    Preference,
    Turn,
    fault_of,
    opening_name,
    plain_text,
    prompt_name,
    turns_of,
)
from afd_study.models.chat_layout import chat_of
from afd_study.worlds.own_data import laid_out

TEXTS = ["Why?", "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", "Is Human: a word?"]


@pytest.mark.parametrize("text", TEXTS)
def test_turns_are_those_that_a_models_layout_reads(text):
    prompt = laid_out(text)
    assert [tuple(turn) for turn in turns_of(prompt)] == [tuple(turn) for turn in chat_of(prompt, "x")[:-1]]
    assert plain_text(turns_of(prompt)) == prompt


def test_a_dialogue_has_a_prompt_and_a_response():
    turns = turns_of(laid_out(TEXTS[1]))
    answered = Preference(turns, "yes", "no", "f", 3).dialogue("yes")
    assert answered == Dialogue((*turns, Turn("assistant", "yes")), "f", 3)
    assert answered.prompt == turns and answered.response == "yes"
    assert Dialogue(turns).prompt == turns and Dialogue(turns).response == ""


def test_openings_are_shared_by_continuations_and_differ_by_system_turns():
    turns = turns_of(laid_out(TEXTS[1]))
    assert opening_name(turns) == opening_name(turns[:1]) == prompt_name(turns[:1]) != prompt_name(turns)
    assert opening_name([Turn("system", "x"), *turns]) != opening_name(turns)


def test_the_order_of_turns_counts():
    user, system = Turn("user", "a"), Turn("system", "b")
    assert fault_of([system, user]) == "" and fault_of([user, system]) == SYSTEM_LATER
    assert fault_of([system]) == fault_of([Turn("assistant", "a"), user]) == USER_FIRST
