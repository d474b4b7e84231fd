"""An interactive figure reaches the page as data that cannot run."""

import json
import re
from types import SimpleNamespace

import plotly.graph_objects as go
import pytest

from afd_study.figures.mime import MIME_TYPE, PlotlyRenderer, figure_html


def embedded(html):
    return re.search(r'<script type="application/json">(.*?)</script>', html, flags=re.DOTALL).group(1)


def test_the_data_survives_and_no_text_ends_the_script():
    hostile = "</script><img src=x onerror=alert(1)> & \u2028 <!--"
    figure = go.Figure(go.Scatter(x=[0, 1], y=[2, 3], text=[hostile, "b"]), {"title": {"text": hostile}})
    html = figure_html(json.loads(figure.to_json()))
    text = embedded(html)
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text)["data"][0]["text"] == [hostile, "b"]
    assert html.count("<script") == html.count("</script>") == 1


DOTS = [{"x": [1, 2], "y": [3, 4], "name": "dots"}]


@pytest.mark.parametrize(("layout", "height"), [({}, 450), ({"height": 620}, 620)])
def test_the_box_has_the_height_of_the_figure(layout, height):
    """The page must not jump when a figure is drawn."""
    assert f'style="height:{height}px"' in figure_html({"data": DOTS, "layout": layout})


def test_infinite_numbers_do_not_break_the_json():
    figure = json.loads(go.Figure(go.Scatter(y=[1.0, float("nan"), float("inf")])).to_json())
    assert json.loads(embedded(figure_html(figure)))["data"]


def test_it_takes_plotly_only_and_never_inline():
    output = SimpleNamespace(mime_type=MIME_TYPE, content={"data": DOTS})
    (node,) = PlotlyRenderer.handle_mime(None, output, False)
    assert node["format"] == "html" and "afd-figure" in node.astext()
    assert PlotlyRenderer.handle_mime(None, output, True) is None
    assert PlotlyRenderer.handle_mime(None, SimpleNamespace(mime_type="image/png", content=""), False) is None
