"""Edits change one thing, apply where they change something, and are priced in the scorer's own spread."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import SpecError
from afd_study.evaluation.counterfactual_edits import (
    EDITS,
    ORIGINAL,
    OTHER,
    counterfactuals,
    edit_effects,
    sentences,
)
from afd_study.evaluation.pools import ROW

TEXTS = pd.DataFrame(
    {
        "prompt_id": ["p", "q", "r"],
        "source": "pi_sft",
        "draw": 0,
        "text": ["One two. Three!", "Alone", "A b c. D?"],
    }
)


def test_sentences_end_where_they_end():
    assert sentences("One two. Three! Four? five") == ["One two.", "Three!", "Four?", "five"]
    assert sentences("Wait... what") == ["Wait...", "what"] and sentences(" ") == []


EXPECTED = {
    "last sentence cut": "One two.",
    "last sentence said twice": "One two. Three! Three!",
    "sentences reversed": "Three! One two.",
    "one word doubled": "One two. two. Three!",
    "full stop dropped": "One two. Three!",
}


@pytest.mark.parametrize("name", EDITS)
def test_each_edit_by_hand(name):
    assert EDITS[name]("One two. Three!") == EXPECTED[name]


def test_edits_that_change_nothing_do_not_apply():
    result = counterfactuals(TEXTS, generator=np.random.default_rng(0))
    by_edit = result.groupby("edit")["prompt_id"].agg(list)
    assert by_edit[ORIGINAL] == ["p", "q", "r"]
    assert by_edit["last sentence cut"] == ["p", "r"] == by_edit["sentences reversed"]
    assert "full stop dropped" not in by_edit.index
    merged = result[result["edit"] != ORIGINAL].merge(TEXTS, on=list(ROW))
    assert (merged["text_x"] != merged["text_y"]).all()


def test_another_prompts_answer_is_that_and_depends_on_the_generator():
    many = pd.concat([TEXTS.assign(prompt_id=f"{i}", text=f"Text {i}.") for i in range(9)], ignore_index=True)
    first, again, other = (counterfactuals(many, generator=np.random.default_rng(s)) for s in (1, 1, 2))
    swapped = first[first["edit"] == OTHER]
    assert len(swapped) and (swapped["text"] != "Text " + swapped["prompt_id"] + ".").all()
    assert first.equals(again) and not first.equals(other)


def test_a_worlds_own_edits_are_added():
    extra = TEXTS.head(1).assign(edit="mark added", text="One two. Three! #")
    result = counterfactuals(TEXTS, generator=np.random.default_rng(0), extra=extra)
    assert result[result["edit"] == "mark added"]["text"].tolist() == ["One two. Three! #"]


def test_effects_are_differences_over_the_spread_averaged_over_a_prompts_texts():
    rows = [
        ("p", 0, ORIGINAL, 1.0),
        ("p", 0, "cut", 4.0),
        ("p", 1, ORIGINAL, 0.0),
        ("p", 1, "cut", 1.0),
        ("q", 0, ORIGINAL, 2.0),
        ("q", 0, "cut", 0.0),
    ]
    table = pd.DataFrame(rows, columns=["prompt_id", "draw", "edit", "reward"]).assign(
        source="pi_sft", scorer="r"
    )
    result = edit_effects(table, task="t", seed=1, spread={"r": 2.0}).set_index("prompt_id")["value"]
    assert result.to_dict() == {"p": (3 + 1) / 2 / 2, "q": -1.0}
    with pytest.raises(SpecError, match="no spread was given"):
        edit_effects(table, task="t", seed=1, spread={"s": 2.0})
