"""Figures of covering against seeking draw the planes that their table has."""

import pytest

from afd_study.figures import adversarial


@pytest.mark.parametrize(
    "metrics, planes",
    [
        (("coverage_of_good", "good_share", "forward_kl", "reverse_kl", "precision"), [1, 2]),
        (("coverage", "precision", "coverage_of_good", "good_share", "forward_kl", "reverse_kl"), [0, 1, 2]),
    ],
)
def test_a_plane_is_drawn_where_both_its_metrics_are_there(with_bounds, metrics, planes):
    rows = [
        {"task": task, "setting": "h = 1", "method": "pi_sft", "metric": metric, "mean": 0.1 * rank}
        for task in ("harmless", "helpful")
        for rank, metric in enumerate(metrics)
    ]
    figure = adversarial.covering(with_bounds(rows))
    names = [list(adversarial.PLANES)[i] for i in planes]
    assert len(figure.axes) == 2 * len(names) and all(name in figure.caption for name in names)
    for row, name in enumerate(names):
        across, up, xlabel, _ = adversarial.PLANES[name]
        axes = figure.axes[2 * row]
        assert axes.get_xlabel() == xlabel
        dot = axes.lines[-1]
        assert [*dot.get_xdata(), *dot.get_ydata()] == pytest.approx(
            [0.1 * metrics.index(across), 0.1 * metrics.index(up)]
        )
