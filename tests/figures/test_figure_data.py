"""Every figure has its table, the table holds what is drawn, and no text in it can become markup."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from afd_study.errors import DataError
from afd_study.figures.figure_data import LARGEST, drawn, link, of_plotly, slug, to_csv
from afd_study.figures.style import plate, theme


def read(html):
    """The table behind a link."""
    encoded = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', html).group(1)
    return pd.read_csv(io.StringIO(base64.b64decode(encoded).decode()))


def test_a_link_gives_the_table_back_and_says_how_long_it_is():
    table = pd.DataFrame({"method": ["init_sft", "random"], "mean": [1 / 3, -2.0]})
    html = link(to_csv(table), "Best-of-n against 'random'. Bands.")
    assert "(CSV, 2 rows)" in html and 'download="best-of-n-against-random-bands.csv"' in html
    assert read(html)["mean"].tolist() == pytest.approx([0.33333, -2], rel=1e-4)


def test_untrusted_texts_cannot_leave_the_link():
    table = pd.DataFrame({"text": ['"><script>alert(1)</script>', "a,b\nc"]})
    html = link(to_csv(table), '"><img src=x onerror=alert(1)>')
    assert (
        html.count("<") == 4 and "script" not in html and "onerror" not in html.replace("onerror-alert", "")
    )
    assert read(html)["text"].tolist() == table["text"].tolist()


def test_empty_and_huge_tables_are_refused():
    with pytest.raises(DataError, match="has no rows"):
        to_csv(pd.DataFrame({"x": []}))
    with pytest.raises(DataError, match="show fewer rows"):
        to_csv(pd.DataFrame({"x": ["y" * LARGEST]}))


def test_a_still_figures_numbers_are_read_off_it():
    with theme():
        figure, grid = plate(1, 2, height=2)
        left, right = grid[0]
        left.plot([0, 1], [5, 7], label="line")
        left.set_title("first")
        right.scatter([2], [3], label="dot")
        right.hlines([1], [0], [4])
        right.bar([6], [9], label="bar")
        right.pcolormesh(np.array([[1.0, 2.0]]))
    table = drawn(figure)
    rows = {tuple(row) for row in table.itertuples(index=False)}
    assert {("first", "line", 0, 5), ("first", "line", 1, 7), ("panel 2", "dot", 2, 3)} <= rows
    assert {("panel 2", "interval ends", 0, 1), ("panel 2", "interval ends", 4, 1)} <= rows
    assert ("panel 2", "bar", 6, 9) in {(p, s, round(x), y) for p, s, x, y in rows}
    assert {("panel 2", "cell 0", 0, 1), ("panel 2", "cell 1", 1, 2)} <= rows
    assert figure.table.equals(table)
    figure.data = pd.DataFrame({"a": [1]})
    assert figure.table.equals(figure.data)


def test_an_interactive_figures_numbers_are_read_off_its_traces_and_frames():
    figure = go.Figure(
        data=[go.Scatter(x=np.array([1.0, 2.0]), y=[3, None], name="a"), go.Heatmap(z=np.eye(2), name="h")],
        frames=[go.Frame(data=[go.Scatter(x=[1], y=[9], name="a")], name="w = 1")],
    )
    table = pd.read_csv(io.StringIO(of_plotly(json.loads(figure.to_json()))), keep_default_na=False)
    rows = {tuple(map(str, row)) for row in table.itertuples(index=False)}
    assert ("", "a", "1", "3") in rows and ("w = 1", "a", "1", "9") in rows
    assert ("", "h 1", "1", "1") in rows and len(rows) == 1 + 4 + 1


def test_a_figures_own_csv_goes_first():
    assert of_plotly({"data": [], "layout": {"meta": {"csv": "a,b\n1,2\n"}}}) == "a,b\n1,2\n"
    with pytest.raises(DataError, match="has no rows"):
        of_plotly({"data": []})


def test_file_names_come_from_captions():
    assert slug("The judge's components, which sum to it") == "the-judge-s-components-which-sum"
    assert slug("…") == "figure"
