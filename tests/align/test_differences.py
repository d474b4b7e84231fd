"""What tells sources apart is measured on planted differences, beside what is planted to be alike."""

import numpy as np
import pytest

from afd_study.align.dialogues import Dialogue, Turn
from afd_study.align.differences import (
    Comparing,
    compare_pairs,
    cross_fitted,
    describe_sources,
    finished,
    texts_table,
)
from afd_study.errors import DataError

WORDS = "bread rose wall paint bake way please explain tell what how about".split()
FEW = Comparing(resamples=50)


def said(rng, n, *, mark=None, length=8, prompts="question", end="."):
    """Dialogues of random words, with a mark in each text or none."""
    dialogues = []
    for number in range(n):
        words = [*rng.choice(WORDS, size=rng.integers(length, 2 * length)), *([mark] if mark else [])]
        text = " ".join(rng.permutation(words)) + end
        dialogues.append(Dialogue((Turn("user", f"{prompts} {number}"), Turn("assistant", text))))
    return dialogues


def compared(comparing=FEW, **sources):
    return compare_pairs(texts_table(sources), comparing)


def test_a_mark_is_seen_and_length_alone_sees_nothing():
    rng = np.random.default_rng(0)
    row = compared(a=said(rng, 200), b=said(rng, 200, mark="sunny", length=7)).iloc[0]
    assert (row["low"], row["high"], row["common"], row["openings"]) == ("a", "b", True, 200)
    assert row["auc"] > 0.95 and row["auc_without_length"] > 0.95
    assert row["auc_low"] <= row["auc"] <= row["auc_high"]
    assert 0.4 < row["auc_by_length"] < 0.6


def test_length_is_seen_as_length():
    rng = np.random.default_rng(1)
    row = compared(a=said(rng, 300, length=10), b=said(rng, 300, length=8)).iloc[0]
    assert row["auc_by_length_high"] < 0.45, "texts of b are shorter"
    assert row["auc_without_length_low"] < 0.55


def test_what_is_alike_is_not_told_apart():
    rng = np.random.default_rng(2)
    row = compared(a=said(rng, 300), b=said(rng, 300)).iloc[0]
    for name in ("auc", "auc_by_length", "auc_without_length"):
        assert row[f"{name}_low"] < 0.5 < row[f"{name}_high"]


def test_the_same_file_twice_is_no_difference_and_all_equal():
    texts = said(np.random.default_rng(3), 100)
    row = compared(a=texts, b=list(texts)).iloc[0]
    assert row["auc"] == row["auc_by_length"] == 0.5 and row["equal_low"] == row["equal_high"] == 1


def test_equal_texts_count_to_the_same_prompt_alone():
    rng = np.random.default_rng(4)
    one = said(rng, 40)
    shifted = [
        Dialogue((turns, each.turns[1]))
        for turns, each in zip((each.turns[0] for each in one[1:] + one[:1]), one, strict=True)
    ]
    row = compared(a=one, b=one[:10] + said(rng, 40)[10:30], c=shifted)
    ab, ac = row.iloc[0], row.iloc[1]
    assert ab["equal_low"] == pytest.approx(10 / 40) and ab["equal_high"] == pytest.approx(10 / 30)
    assert ac["equal_low"] == 0


def test_prompts_that_both_answer_count_alone_where_there_are_enough():
    rng = np.random.default_rng(5)
    one, other = said(rng, 60), said(rng, 60) + said(rng, 30, mark="sunny", prompts="further")
    assert compared(a=one, b=other).iloc[0][["n_high", "common"]].tolist() == [60, True]
    apart = compared(a=one, b=said(rng, 60, prompts="further")).iloc[0]
    assert not apart["common"] and apart["openings"] == 120


def test_numbers_are_bits_for_a_seed_and_know_no_order_of_lines():
    rng = np.random.default_rng(6)
    sources = {"a": said(rng, 50), "b": said(rng, 50, mark="sunny")}
    first = compared(**sources)
    assert first.equals(compared(**sources))
    turned = compared(**{name: texts[::-1] for name, texts in sources.items()})
    np.testing.assert_allclose(turned.select_dtypes(float), first.select_dtypes(float), atol=1e-9)
    assert not first.equals(compared(FEW.model_copy(update={"seed": 1}), **sources))


def test_no_text_is_scored_by_what_learned_from_its_prompt():
    """Two texts that stand under one prompt alone, with a word of their own each: nothing can be learned."""
    texts = [f"{side}{number} x" for number in range(40) for side in "ab"]
    positive = np.arange(80) % 2 == 1
    logits = cross_fitted(texts, positive, np.repeat(np.arange(40) % 5, 2), l2=1.0)
    assert np.ptp(logits.reshape(40, 2), axis=1).max() < 1e-9


def test_too_little_is_refused_by_name():
    rng = np.random.default_rng(7)
    with pytest.raises(DataError, match="a and b can't be compared: a answers 3 prompts.*at least 10"):
        compared(a=said(rng, 3), b=said(rng, 3))
    compared(a=said(rng, 10), b=said(rng, 30))
    silent = [Dialogue((Turn("user", f"{n}"), Turn("assistant", f"{n}"))) for n in range(10)]
    with pytest.raises(DataError, match="can't be compared: no word occurs in two texts.*Give more texts"):
        compared(
            a=silent,
            b=[
                each._replace(turns=(*each.turns[:1], Turn("assistant", f"b{i}")))
                for i, each in enumerate(silent)
            ],
        )
    with pytest.raises(DataError, match="two sources or more"):
        compared(a=said(rng, 30))


def test_as_many_texts_count_as_are_allowed_and_two_sources_keep_the_same_prompts():
    rng = np.random.default_rng(8)
    table = texts_table({"a": said(rng, 100), "b": said(rng, 100)[::-1]}, max_texts=30)
    kept = [set(part["prompt"]) for _, part in table.groupby("source")]
    assert len(kept[0]) == 30 and kept[0] == kept[1]


def test_sources_are_described():
    rng = np.random.default_rng(9)
    cut = [each._replace(cut=number < 5) for number, each in enumerate(said(rng, 20, end=""))]
    table = describe_sources(texts_table({"a": said(rng, 20), "b": cut + cut[:5]})).set_index("source")
    assert table["unfinished"].to_dict() == {"a": 0, "b": 1} and np.isnan(table["cut"]["a"])
    assert table["cut"]["b"] == pytest.approx(10 / 25) and table["repeated"]["b"] == pytest.approx(5 / 25)
    assert table["texts"].to_dict() == {"a": 20, "b": 25} and table["prompts"]["b"] == 20
    assert 8 <= table["words"]["a"] <= 16 < table["characters"]["a"]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("a.", True),
        ("a!”", True),
        ("a\u3002 \n", True),
        ("```\nx\n```", True),
        ("a", False),
        ("a,b", False),
        (" ", False),
    ],
)
def test_a_whole_text_ends_with_punctuation(text, ends):
    assert finished(text) == ends
