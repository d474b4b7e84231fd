"""The curve over free samples: worlds are thin lines, batches have styles, the demonstrations are a level."""

import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.figures.recipes import learning_curve


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
