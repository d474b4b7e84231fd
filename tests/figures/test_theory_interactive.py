import json

import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.figures import text, theory_interactive


def table():
    columns = {"response": ["bad .", "<b>good</b> ."], "reward": [1.0, -1.0]}
    laws = {"pi_init": [0.2, 0.8], "pi_sft": [0.5, 0.5], "0": [0.2, 0.8], "2": [0.75, 0.25]}
    return pd.DataFrame(columns | laws)


def is_plain(figure):
    stored = figure.to_json()
    json.loads(stored, parse_constant=lambda name: pytest.fail(name))
    return "bdata" not in stored


def test_the_slider_moves_the_last_law_and_no_other():
    figure = theory_interactive.moving_law(table(), positions=["0", "2"], start="2")
    assert [trace.name for trace in figure.data] == ["initial policy", "SFT policy", "moved"]
    assert list(figure.data[2].y) == [0.25, 0.75]  # by reward, the worst first
    [control] = figure.layout.sliders
    assert control.active == 1 and [step.label for step in control.steps] == ["0", "2"]
    first, second = control.steps
    assert list(first.args[2]) == [2] and list(first.args[0]["y"][0]) == [0.8, 0.2]
    assert list(second.args[0]["y"][0]) == [0.25, 0.75]
    assert first.args[1]["title.text"] == "λ = 0: mean reward -0.60"
    assert figure.layout.title.text == second.args[1]["title.text"] == "λ = 2: mean reward 0.50"
    assert is_plain(figure) and "slider" in text.caption(figure)


def test_columns_that_are_missing_are_named():
    with pytest.raises(DataError, match="moving_law.*'3'"):
        theory_interactive.moving_law(table(), positions=["0", "3"])
