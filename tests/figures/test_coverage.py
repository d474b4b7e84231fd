"""Figures of covering and seeking draw the means of their tables."""

from afd_study.figures import coverage
from afd_study.figures.style import METHODS


def test_divergences_leave_out_other_metrics(with_bounds):
    rows = [
        {"policy": policy, "metric": metric, "mean": mean}
        for policy, mean in (("pi_init", 3.0), ("pi_sft", 1.0))
        for metric in (*coverage.DIVERGENCES, "coverage")
    ]
    figure = coverage.divergences(with_bounds(rows))
    points = {line.get_label(): list(line.get_xdata()) for line in figure.axes[0].lines}
    assert points[METHODS["pi_sft"].label] == [1.0] * 3 and "coverage" not in set(figure.table["metric"])


def test_distinct_answers_stand_against_draws(with_bounds):
    rows = [{"source": "pi_sft", "k": k, "mean": k**0.5} for k in (1, 2, 4)]
    axes = coverage.distinct(with_bounds(rows)).axes[0]
    assert list(axes.lines[0].get_xdata()) == [1, 2, 4] and axes.lines[0].get_ydata()[2] == 2
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "4"]
