import pandas as pd
import pytest

from afd_study.errors import AfdError, DataError
from afd_study.figures import theory_plots


def blocks(name):
    rows = [
        (1, "no", 0.7, False),
        (1, ".", 0.3, False),
        (2, "no", 0.2, False),
        (2, ".", 0.5, False),
        (2, ".", 0.3, True),
    ]
    columns = ["length", "token", "probability", "ended"]
    return pd.DataFrame(rows, columns=columns).assign(policy=name)


def test_blocks_stack_to_one_in_every_column():
    figure = theory_plots.prefix_laws(pd.concat([blocks("pi_init"), blocks("mine")]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["initial policy", "mine"]
    for axes in figure.axes:
        bars = [bar for bar in axes.patches if bar.get_height() > 0]
        for place in (1, 2):
            column = [bar for bar in bars if abs(bar.get_x() + bar.get_width() / 2 - place) < 1e-9]
            assert sum(bar.get_height() for bar in column) == pytest.approx(1)
            assert column[0].get_y() == 0
            for below, above in zip(column, column[1:], strict=False):
                assert above.get_y() == pytest.approx(below.get_y() + below.get_height())
    assert figure._repr_png_().startswith(b"\x89PNG")


def runs():
    rows = [
        (s, k, s * w)
        for s in (0.0, 0.5, 1.0, 2.0)
        for k, w in (("whole responses", 1), ("token by token", 0.5))
    ]
    table = pd.DataFrame(rows, columns=["strength", "kind", "reward"])
    return pd.concat([table.assign(setting="a"), table.assign(setting="b", reward=-table["reward"])])


def test_each_setting_has_both_ways_beyond_and_the_two_known_policies():
    figure = theory_plots.beyond(runs())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b"]
    for axes, sign in zip(figure.axes, (1, -1), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        assert list(lines["whole responses (the optimum)"].get_ydata()) == [0, 0.5 * sign, sign, 2 * sign]
        assert [text.get_text() for text in axes.texts] == ["init", "SFT"]


def test_a_table_without_rows_or_with_an_unknown_kind_is_refused():
    with pytest.raises(DataError, match="prefix_laws"):
        theory_plots.prefix_laws(blocks("a").iloc[:0])
    with pytest.raises(AfdError, match="kind of extrapolation"):
        theory_plots.beyond(runs().assign(kind="whole response"))
