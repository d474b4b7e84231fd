import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special

from afd_study.errors import DataError, SpecError
from afd_study.evaluation import separability as sp

WORDS = "sun moon star cloud rain wind snow leaf tree river stone field".split()


def texts(n_prompts, positive, negative, seed=0):
    """One text a prompt and source; `positive` and `negative` map a generator to a text."""
    generator = np.random.default_rng(seed)
    rows = [
        (prompt, source, write(generator))
        for prompt in range(n_prompts)
        for source, write in (("demonstrations", positive), ("pi_init", negative))
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "source", "text"])


def sentence(generator, length=10, extra=()):
    return " ".join([*generator.choice(WORDS, length), *extra])


def separated(table, seed=0, **settings):
    result = sp.separability(
        table,
        positive="demonstrations",
        negative="pi_init",
        generator=np.random.default_rng(seed),
        resamples=100,
        **settings,
    )
    return result.set_index(["features", "adjustment"])


def test_the_same_law_is_not_told_apart():
    table = separated(texts(300, sentence, sentence), features=["length", "words"])
    assert ((table["low"] < 0.5) & (0.5 < table["high"])).all()


def test_length_alone_is_found_and_goes_when_it_is_matched():
    longer = texts(
        400,
        lambda g: sentence(g, g.integers(8, 30)),
        lambda g: sentence(g, g.integers(4, 24)),
    )
    table = separated(longer, features=["length", "words"])
    assert table.loc[("length", "none"), "low"] > 0.6
    for adjusted in [("length", "length matched"), ("words", "length matched")]:
        assert table.loc[adjusted, "low"] < 0.5 < table.loc[adjusted, "high"]
    assert abs(table.loc[("words", "length residualised"), "auc"] - 0.5) < 0.06


def test_a_marked_word_survives_matching_by_length():
    marked = texts(200, lambda g: sentence(g, 9, ["please"]), lambda g: sentence(g, 10))
    table = separated(marked, features=["length", "words"])
    assert table.loc[("words", "none"), "auc"] > 0.99
    assert table.loc[("words", "length matched"), "auc"] > 0.99
    top = sp.top_words(marked, positive="demonstrations", negative="pi_init", k=1).set_index("leans_to")
    row = top.loc["demonstrations"]
    assert (row.word, row.share_positive, row.share_negative) == ("please", 1.0, 0.0)


def test_a_surface_mark_is_found_by_its_feature():
    asking = texts(100, lambda g: sentence(g) + "?", lambda g: sentence(g) + ".")
    table = separated(asking, features=["question marks", "commas per word", "surface"])
    assert table.loc[("question marks", "none"), "auc"] == 1.0
    assert table.loc[("commas per word", "none"), "auc"] == 0.5
    assert table.loc[("surface", "none"), "auc"] == 1.0


def test_the_first_word_is_found():
    opened = texts(100, lambda g: "Certainly " + sentence(g), lambda g: "No " + sentence(g))
    assert separated(opened, features=["first word"])["auc"].item() == 1.0


def test_prompts_are_held_out_whole_and_equal_seeds_give_equal_numbers():
    table = texts(50, sentence, lambda g: sentence(g, 12))
    one, again, other = separated(table, 1), separated(table, 1), separated(table, 2)
    pd.testing.assert_frame_equal(one, again)
    pd.testing.assert_frame_equal(one, separated(table.sample(frac=1, random_state=0), 1))
    assert not one.equals(other)
    assert set(one["n_prompts"]) == {25} and set(one["n_positive"]) == {25}
    sides = {"positive": "demonstrations", "negative": "pi_init"}
    train, test = sp.split_by_prompt(table, **sides, generator=np.random.default_rng(0), held_out=0.5)
    assert not set(train["prompt_id"]) & set(test["prompt_id"])


def test_odd_texts_are_only_counted():
    odd = [
        "",
        "   ",
        "<script>alert(1)</script>",
        "😀😀",
        "\u202eabc\x00",
        "$x$ \\(y\\)",
        "A" * 5000,
        "１２ ünï",
    ]
    table = pd.DataFrame(
        [(p, source, text) for p, text in enumerate(odd) for source in ("demonstrations", "pi_init")],
        columns=["prompt_id", "source", "text"],
    )
    assert np.isfinite(separated(table)["auc"]).all()


def test_the_regression_is_at_the_optimum_of_the_summed_loss():
    """By the condition that the slope vanishes, on a bag of words counted by hand."""
    table = texts(40, lambda g: sentence(g, 4, ["please"]), lambda g: sentence(g, 5))
    weights = sp.top_words(table, positive="demonstrations", negative="pi_init", k=99, l2=0.7)
    signed = weights["weight"].to_numpy() * np.where(weights["leans_to"] == "demonstrations", 1, -1)
    counts = np.array([[text.split().count(word) for word in weights["word"]] for text in table["text"]])
    matrix = np.log1p(counts) / np.linalg.norm(np.log1p(counts), axis=1, keepdims=True)
    flags = (table["source"] == "demonstrations").to_numpy()

    def error(intercept):
        return special.expit(matrix @ signed + intercept) - flags

    intercept = optimize.brentq(lambda value: error(value).sum(), -20, 20)
    assert matrix.T @ error(intercept) + 0.7 * signed == pytest.approx(np.zeros(len(signed)), abs=1e-3)


def test_without_a_common_word_nothing_is_told_apart():
    numbers = iter(range(1000))
    table = texts(20, lambda g: f"word{next(numbers)}", lambda g: f"word{next(numbers)}")
    assert separated(table, features=["words"])["auc"].eq(0.5).all()
    with pytest.raises(DataError, match="a word that occurs in two texts"):
        sp.top_words(table, positive="demonstrations", negative="pi_init")


def test_mistakes_are_named():
    table = texts(10, sentence, sentence)
    with pytest.raises(SpecError, match="did you mean 'length'"):
        separated(table, features=["lenght"])
    with pytest.raises(SpecError, match="unknown source 'demos'"):
        sp.separability(table, positive="demos", negative="pi_init", generator=np.random.default_rng(0))
    with pytest.raises(DataError, match="1 prompts leave nothing"):
        separated(table.query("prompt_id == 0"))
    with pytest.raises(SpecError, match="held_out"):
        separated(table, held_out=1.0)
    with pytest.raises(SpecError, match="l2 must be positive"):
        separated(table, l2=0.0)
    with pytest.raises(DataError, match="lacks the columns"):
        separated(table.drop(columns="text"))
