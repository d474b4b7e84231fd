"""Real systems as a figure and in words: a row a triple, explored ones marked, verdicts as the table says."""

import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.figures import systems


def table():
    rows = [
        (triple, explored, method, value)
        for triple, explored, values in [
            ("a > b / c", False, (0.2, 0.1, -0.1, 0.15)),
            ("a > b / d", False, (0.1, 0.3, 0.0, 0.2)),
            ("e > f / g", True, (0.9, 0.0, 0.0, 0.0)),
        ]
        for method, value in zip(("init_sft", "init_demo", "sft_demo", "longest"), values, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["triple", "explored", "method", "value"])
    return frame.assign(low=frame["value"] - 0.05, high=frame["value"] + 0.05)


def test_a_row_a_triple_and_the_explored_ones_at_the_bottom():
    figure = systems.correlations(table())
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["e > f / g  (explored)", "a > b / c", "a > b / d"]
    marks = [line for line in figure.axes[0].lines if line.get_label() == "Init-SFT"]
    assert len(marks) == 1 and sorted(marks[0].get_xdata()) == [0.1, 0.2, 0.9]
    assert figure.data is not None and len(figure.data) == 12


def test_aucs_stand_beside_those_of_length():
    apart = pd.DataFrame(
        {"triple": ["a > b / c"], "explored": False, "init_sft": 0.94, "init_sft_by_length": 0.875}
    )
    assert systems.apart_table(apart).to_dict("records") == [
        {"triple": "a > b / c", "Init-SFT": "0.94 (0.88)"}
    ]


def test_words_count_judged_triples_alone():
    assert systems.ways(table()) == "The best of the four: Init-SFT in 1 and Init-Demo in 1 of 2 triples."


def test_a_verdict_in_words_has_its_numbers():
    row = {"id": "E4", "reader": "words", "sentence": "A beats B.", "verdict": "open", "effect": 0.012}
    row |= {"low": -0.01, "high": 0.034, "n_above": 15, "n_triples": 24}
    assert systems.words(pd.DataFrame([row])) == (
        "E4 (read as words): A beats B. open: 0.012 [-0.010, 0.034], above 0 in 15 of 24 triples"
    )


def test_a_table_without_rows_is_refused():
    with pytest.raises(DataError, match="correlations with verdicts"):
        systems.correlations(table().iloc[:0])
