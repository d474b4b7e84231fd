"""The figure of growth has a panel an axis, a line a work, each relative to its first point."""

import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.figures.benchmarks import growth

ROWS = [
    (work, axis, value, factor * value, 0.9 * factor * value, 1.1 * factor * value)
    for work, factor in (("training", 2.0), ("sampling", 3.0))
    for axis in ("parameters", "tokens")
    for value in (10, 20, 80)
]
TABLE = pd.DataFrame(ROWS, columns=["work", "axis", "value", "seconds", "low", "high"])


def test_lines_start_at_one_and_grow_as_the_table_does():
    figure = growth(TABLE)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in shown] == ["parameters in matrix products", "tokens a response"]
    for axes in shown:
        lines = {bar.get_label(): bar.lines[0] for bar in axes.containers}
        assert set(lines) == {"training", "sampling"}
        assert all(line.get_ydata() == pytest.approx([1, 2, 8]) for line in lines.values())
        assert axes.get_xscale() == axes.get_yscale() == "log"
    assert figure.table.equals(TABLE) and "relative" in figure.caption


def test_a_table_without_rows_is_refused():
    with pytest.raises(DataError, match="growth"):
        growth(TABLE.iloc[:0])
