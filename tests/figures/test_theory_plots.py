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


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_anatomy_draws_each_part_in_its_own_panel():
    rows = [
        (name, part, x, x * factor)
        for factor, name in enumerate(["forward_kl", "gan", "reverse_kl"], start=1)
        for part in ("generator", "conjugate", "critic", "reward")
        for x in (1.0, 2.0)
    ]
    table = pd.DataFrame(rows, columns=["divergence", "part", "x", "y"])
    figure = theory_plots.anatomy(table)
    assert len(figure.axes) == 4
    for axes in figure.axes:
        lines = lines_of(axes)
        assert list(lines) == ["forward KL", "reverse KL"]  # gan is left out
        assert list(lines["reverse KL"].get_ydata()) == [3, 6]
        assert lines["reverse KL"].get_color() == theory_plots.DIVERGENCE_LOOKS["reverse_kl"].colour
    with pytest.raises(AfdError, match="divergence"):
        theory_plots.anatomy(table.replace("gan", "ban"))


def test_estimator_bars_shrink_with_the_root_of_the_samples():
    table = pd.DataFrame(
        {"estimator": ["k1", "k3"], "exact": 0.5, "mean": [0.5, 0.6], "deviation": [1.0, 2.0], "setting": "a"}
    )
    for samples, half in ((4, 0.98), (16, 0.49)):
        [axes] = theory_plots.estimator_spread(table, samples=samples).axes
        bars = axes.collections[0].get_segments()
        assert [tuple(bar[:, 0]) for bar in bars] == [
            pytest.approx((0.6 - 2 * half, 0.6 + 2 * half)),  # the last estimator is the lowest row
            pytest.approx((0.5 - half, 0.5 + half)),
        ]


def test_transforms_are_drawn_beside_their_slopes():
    table = pd.DataFrame(
        {"L": [0.0, 1.0], "reward": [0.0, -2.7], "slope": [-1.0, -5.4], "transform": "fairl"}
    )
    rewards, slopes = theory_plots.transforms(table).axes
    label = theory_plots.TRANSFORM_LOOKS["fairl"].label
    assert list(lines_of(rewards)[label].get_ydata()) == [0.0, -2.7]
    assert list(lines_of(slopes)[label].get_ydata()) == [-1.0, -5.4]


def test_best_of_n_has_a_curve_for_each_scorer_beside_the_bound():
    table = pd.DataFrame({"n": [1, 8], "bound": [0.0, 1.2], "coarse": [0.0, 0.5], "fine": [0.0, 1.1]})
    [axes] = theory_plots.best_of_n_kl(table).axes
    assert {name: list(line.get_ydata()) for name, line in lines_of(axes).items()} == {
        "bound log n − (n − 1) / n": [0.0, 1.2],
        "coarse": [0.0, 0.5],
        "fine": [0.0, 1.1],
    }
