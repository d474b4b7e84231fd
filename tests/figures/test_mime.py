"""An interactive figure reaches the page as data that cannot run."""

import base64
import csv
import io
import json
import re
from html import escape
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest
import seaborn as sns
from docutils import nodes

from afd_study.figures.figure_data import CSV_MIME
from afd_study.figures.inks import contrast
from afd_study.figures.mime import MIME_TYPE, CsvRenderer, PlotlyRenderer, figure_html, harmless_csv
from afd_study.figures.style import plate


def embedded(html):
    return re.search(r'<script type="application/json">(.*?)</script>', html, flags=re.DOTALL).group(1)


def test_the_data_survives_and_no_text_ends_the_script():
    hostile = "</script><img src=x onerror=alert(1)> & \u2028 <!--"
    figure = go.Figure(go.Scatter(x=[0, 1], y=[2, 3], text=[hostile, "b"]), {"title": {"text": hostile}})
    html = figure_html(json.loads(figure.to_json()))
    text = embedded(html)
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text)["data"][0]["text"] == [escape(hostile, quote=False), "b"]
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


def test_plotly_reads_no_markup_in_a_name():
    """plotly sets `<b>`, follows `<a>` and decodes entities: a name has to look as it is."""
    names = ["<b>x</b>", "&lt;", "a\u202eb"]
    figure = {"data": [{"y": [1], "name": name} for name in names], "layout": {"meta": {"caption": "<i>"}}}
    parts = json.loads(embedded(figure_html(figure)))
    plain = ["&lt;b&gt;x&lt;/b&gt;", "&amp;lt;", "a&lt;U+202E&gt;b"]
    assert [each["name"] for each in parts["data"]] == plain
    assert "meta" not in parts["layout"] and 'aria-label="&lt;i&gt;"' in figure_html(figure)


def downloaded(html):
    return base64.b64decode(re.search(r'base64,([^"]+)"', html).group(1)).decode()


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t=", " =", "＝"])
def test_no_cell_of_a_download_is_a_formula(sign):
    """A method, a task or an answer may be called so; a spreadsheet must not compute it."""
    text = f"name,value\n\"{sign}cmd|' /C calc'!A0, b\",-1.5\nplain,+2e-05\n"
    output = SimpleNamespace(mime_type=CSV_MIME, content=text, output_metadata={})
    (node,) = CsvRenderer.handle_mime(None, output, False)
    rows = list(csv.reader(io.StringIO(downloaded(node.astext()))))
    assert rows[1] == [f"'{sign}cmd|' /C calc'!A0, b", "-1.5"] and rows[2] == ["plain", "+2e-05"]
    figure = {"data": [{"x": [1, 2], "y": [-3, 4], "name": f"{sign}SUM(1)"}], "layout": {}}
    assert f"'{sign}SUM(1),1,-3" in downloaded(figure_html(figure))


@pytest.mark.parametrize(
    "text", ["a,b\n-1,-2.5\n-inf,nan\n", 'a,"b, c"\n"x = 1","a ""word"""\n', 'a\n"two\nlines"\n', "−1\n"]
)
def test_a_harmless_table_is_not_touched(text):
    assert harmless_csv(text) == text


def test_a_picture_is_described_by_its_caption():
    node = nodes.image(uri="0f3e.png")
    renderer = SimpleNamespace(render_image=lambda data: [node])
    metadata = {"image/png": {"alt": "Scores by seed."}}
    output = SimpleNamespace(mime_type="image/png", content="", output_metadata=metadata)
    assert CsvRenderer.handle_mime(renderer, output, False) == [node] and node["alt"] == "Scores by seed."
    output.output_metadata = {}
    assert CsvRenderer.handle_mime(renderer, output, False) is None


def test_a_plate_hands_its_caption_to_the_page(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *data, **more: shown.append((data, more)))
    figure, grid = plate(1, 1, height=1)
    grid[0, 0].plot([0, 1], [0, 1])
    figure.caption = "Scores by seed,\nand prompts."
    figure._ipython_display_()
    assert shown[0][1]["metadata"] == {"image/png": {"alt": "Scores by seed, and prompts."}}


def test_words_on_coloured_cells_can_be_read():
    """Every cell of a heat map, on light and dark grounds, has at least the contrast of usual text."""
    figure, grid = plate(1, 1, height=1)
    axes = grid[0, 0]
    values = np.linspace(0, 1, 12).reshape(3, 4)
    sns.heatmap(values, ax=axes, cmap="viridis", annot=True, cbar=False)
    figure._repr_png_()
    grounds = axes.collections[0].get_facecolors()
    ratios = [contrast(text.get_color(), ground) for text, ground in zip(axes.texts, grounds, strict=True)]
    assert len(ratios) == 12 and min(ratios) >= 4.5
    assert contrast("white", "black") == pytest.approx(21) and contrast("red", "red") == 1
