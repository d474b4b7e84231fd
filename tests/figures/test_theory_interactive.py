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
    assert [trace.name for trace in figure.data] == ["initial policy", "SFT policy", "extrapolated"]
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


def moved():
    places = [(w, m) for w in (0.5, 2.0) for m in (-1.0, 0.0, 1.0)]
    laws = [
        {"deviation": w, "mean": m, "x": x, "probability": 0.5 + 0.1 * m * x}
        for w, m in places
        for x in (-1.0, 1.0)
    ]
    values = [
        {"deviation": w, "mean": m, "divergence": name, "value": w * (m + 2) * factor}
        for w, m in places
        for name, factor in (("forward_kl", 1.0), ("reverse_kl", 1e6), ("gan", -1.0))
    ]
    return pd.DataFrame(laws), pd.DataFrame(values)


def test_a_step_moves_the_policy_and_every_divergences_dot_at_every_width():
    laws, values = moved()
    demo = pd.DataFrame({"x": [-1.0, 1.0], "probability": [0.5, 0.5]})
    widths = {0.5: "narrow", 2.0: "wide"}
    figure = theory_interactive.moving_policy(laws, values, demo=demo, widths=widths, start=0.0)
    names = [trace.name for trace in figure.data]
    assert names == ["demonstrator", *(["policy", "forward KL", "reverse KL", None] * 2)]
    assert [trace.visible for trace in figure.data] == [None] + [True] * 4 + [False] * 4
    step = figure.layout.sliders[0].steps[2]
    assert step.label == "1" and list(step.args[1]) == [1, 4, 5, 8]
    x, y = step.args[0]["x"], step.args[0]["y"]
    assert list(y[0]) == [0.4, 0.6] and list(x[1]) == [1.0, 1.0]
    assert list(y[1]) == [1.5, 100.0] and list(y[3]) == [6.0, 100.0]  # cut at the frame's edge
    narrow, wide = figure.layout.updatemenus[0].buttons
    assert list(wide.args[0]["visible"]) == [True] + [False] * 4 + [True] * 4
    assert is_plain(figure) and "divergence" in text.caption(figure)


@pytest.mark.parametrize("outcomes", [[0.0, 1.0], ["<i>a</i> .", "b ."]])
def test_the_slider_over_alpha_moves_the_fit_and_its_dots(outcomes):
    laws = pd.DataFrame({"outcome": outcomes, "demo": [0.5, 0.5], 1.0: [0.4, 0.6], 0.0: [0.9, 0.1]})
    scores = pd.DataFrame({"alpha": [1.0, 0.0], "coverage": [1.0, 0.6], "precision": [0.5, 0.9]})
    figure = theory_interactive.moving_alpha(laws, scores, start=1.0)
    names = [trace.name for trace in figure.data]
    assert names == ["demonstrator", "best fit", "coverage", "precision", None]
    assert {trace.type for trace in figure.data[:2]} == {"bar" if isinstance(outcomes[0], str) else "scatter"}
    assert list(figure.data[1].y) == [0.4, 0.6] and list(figure.data[4].y) == [1.0, 0.5]
    assert list(figure.data[2].y) == [0.6, 1.0]  # alpha rises
    [control] = figure.layout.sliders
    assert control.active == 1 and [step.label for step in control.steps] == ["0", "1"]
    data, moved = control.steps[0].args
    assert list(moved) == [1, 4]
    assert [list(y) for y in data["y"]] == [[0.9, 0.1], [0.6, 0.9]]
    above, below = figure.layout.yaxis.domain, figure.layout.yaxis2.domain
    assert above[0] > below[1]  # the panels do not overlap
    assert is_plain(figure)
