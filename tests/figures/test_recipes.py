"""The curve over free samples: worlds are thin lines, batches have styles, the demonstrations are a level."""

import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.figures.recipes import beside_words, choice_words, gain_words, learning_curve


def curve():
    rows = [
        (task, f"{task} {world}", kind, batch, times, 1.0 + 0.1 * times / 40 + 0.01 * (world - 100), 0.5, 1.2)
        for task in ("harmless", "helpful")
        for world in (100, 101)
        for kind in ("init_sft", "init_demo")
        for batch, sizes in ((32, (1, 10)), (128, (1, 4, 10, 40)))
        for times in sizes
    ]
    columns = ["task", "world", "kind", "batch", "times", "mean", "random_16", "demonstrations"]
    return pd.DataFrame(rows, columns=columns)


def test_a_panel_for_each_task_and_kind_with_a_thick_line_a_batch():
    figure = learning_curve(curve())
    assert len(figure.axes) == 4
    thick = [line for line in figure.axes[0].lines if line.get_label().startswith("batch")]
    assert [line.get_label() for line in thick] == ["batch 128", "batch 32"]
    assert list(thick[0].get_xdata()) == [1, 4, 10, 40]
    assert thick[0].get_ydata()[0] == pytest.approx(0.5 + 0.1 / 40 + 0.005), (
        "the mean of worlds, above random"
    )
    assert "2 exploration worlds" in figure.caption


def test_a_table_without_columns_is_refused():
    with pytest.raises(DataError, match="curve over free samples"):
        learning_curve(curve().drop(columns="batch"))


def test_what_free_samples_are_worth_is_said():
    gains = pd.DataFrame({"kind": "init_sft", "today": [1.0, 2.0], "most": [1.5, 1.9], "gain": [0.5, -0.1]})
    assert gain_words(gains) == (
        "Init-SFT: 1.50 points with as many samples as demonstrations, 1.70 with ten times as many and a "
        "batch of 128; more in 1 of 2 worlds"
    )
    assert gain_words(gains.iloc[:0]) == ""


def test_the_choice_is_said_by_both_criteria():
    rows = [("held_out_loss", "today"), ("judge", "x10")]
    chosen = pd.DataFrame(rows, columns=["criterion", "recipe"]).assign(
        kind="init_demo", samples="free samples"
    )
    assert choice_words(chosen) == "Init-Demo, free samples: 'today' by held-out loss, 'x10' by the judge"


def test_a_change_that_no_rule_chose_is_said_with_its_loss():
    row = {"kind": "preferences", "change": "'b' instead of 'a'", "points": 0.1}
    words = beside_words(pd.DataFrame([row | {"n_higher_loss": 8, "n_worlds": 8}]))
    assert words.endswith("'b' instead of 'a': +0.10 points; a higher held-out loss in 8 of 8 worlds")
