import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.figures import tables

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></table><iframe src='//evil'>",
    '"><svg/onload=alert(1)>',
    "&lt;script&gt;",
    "javascript:alert(1)",
]


class Tags(HTMLParser):
    """Collects the tags and the text of a page as a browser would see them."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data):
        self.text += data


def seen(shown):
    parser = Tags()
    parser.feed(shown._repr_html_())
    return parser


TABLE_TAGS = {"div", "p", "em", "table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_untrusted_becomes_markup(attack):
    frame = pd.DataFrame({attack: [attack], "text": [f"before {attack} after"]})
    for shown in (
        tables.show_texts(frame, caption=attack),
        tables.show(frame, caption=attack),
        tables.Shown(frame, attack, wrap=True),
    ):
        page = seen(shown)
        assert page.tags <= TABLE_TAGS
        assert page.text.count(attack) == 4  # caption, heading, two cells: the very characters, as text


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_link_is_the_books_own_and_never_a_cells(attack):
    frame = pd.DataFrame({"text": [attack, "see there"], "more": [f"see there {attack}", "x"]})
    page = tables.Shown(frame, links={"see there": "04.html#best-of-n"})._repr_html_()
    assert page.count("<a ") == 1 and '<td><a href="04.html#best-of-n">see there</a></td>' in page
    parser = Tags()
    parser.feed(page)
    assert parser.tags <= TABLE_TAGS | {"a"}


def test_maths_in_texts_is_left_alone():
    shown = tables.show_texts(pd.DataFrame({"text": [r"$\href{javascript:alert(1)}{x}$ and \(y\)"]}))
    html = shown._repr_html_()
    assert html.startswith('<div class="afd-shown afd-texts tex2jax_ignore mathjax_ignore">')
    assert re.search(r"<table[^>]*mathjax_ignore", html)


def test_invisible_characters_are_spelled_out_and_line_breaks_kept():
    shown = tables.show_texts(pd.DataFrame({"text": ["one\ntwo\u202ethree\x00four\u200bfive"]}))
    assert "one\ntwo<U+202E>three<U+0000>four<U+200B>five" in seen(shown).text
    assert "white-space:pre-wrap" in shown._repr_html_()
    assert tables.visible("lone \ud800") == "lone <U+D800>"
    assert tables.visible("ünï 😀 漢字\t\n") == "ünï 😀 漢字\t\n"


def test_long_texts_and_tables_are_cut_and_say_so():
    shown = tables.show_texts(pd.DataFrame({"text": ["a" * 1000] * 30}), limit=3, width=100)
    page = seen(shown)
    assert page.text.count("a" * 100 + " [... 900 more characters]") == 3
    assert "The first 3 of 30 rows." in page.text
    assert "a" * 300 in seen(tables.show_texts(pd.DataFrame({"text": ["a" * 300]}))).text


def test_the_plain_form_of_texts_is_quoted():
    assert repr(tables.show_texts(pd.DataFrame({"text": ["a\nb"]}))) == "text: 'a\\nb'"


def test_show_labels_methods_and_rounds():
    frame = pd.DataFrame(
        {"method": ["init_sft", "mine"], "rank_correlation": [0.4567, np.nan], "n_prompts": [144, 0]}
    )
    shown = tables.show(frame, caption="What they know")
    assert list(shown.frame.columns) == ["method", "rank correlation", "prompts"]
    assert shown.frame.to_numpy().tolist() == [["Init-SFT", "0.46", "144"], ["mine", "–", "0"]]
    assert repr(shown).startswith("What they know\n")
    with pytest.raises(DataError, match="oops"):
        tables.show(frame, columns=["oops"])


def test_best_of_n_shows_means_with_intervals():
    frame = pd.DataFrame(
        [
            ("init_sft", 1, 0.5, 0.4, 0.6),
            ("init_sft", 16, 1.25, 1.2, 1.3),
            ("demonstrations", 1, 1.0, 0.9, 1.1),
        ],
        columns=["method", "n", "mean", "low", "high"],
    )
    shown = tables.best_of_n(frame, n=[1, 16]).frame.set_index("method")
    assert shown.loc["Init-SFT"].tolist() == ["0.50 [0.40, 0.60]", "1.25 [1.20, 1.30]"]
    assert shown.loc["demonstrations"].tolist() == ["1.00 [0.90, 1.10]", ""]


def test_verdicts_are_words_with_their_setting():
    frame = pd.DataFrame(
        {
            "task": "harmless",
            "heterogeneity": [0.0],
            "claim": ["E7"],
            "method": ["init_sft"],
            "than": ["preferences"],
            "kind": ["not_worse"],
            "n": [16],
            "margin": [0.05],
            "effect": [-0.104],
            "low": [-0.2],
            "high": [0.02],
            "verdict": ["inconclusive"],
        }
    )
    row = tables.verdicts(frame).frame.iloc[0]
    assert row["statement"] == "Init-SFT not worse than preferences (BT)"
    assert row["effect, share of the gap"] == "-10 % [-20, 2]"
    assert (row["claim"], row["margin"], row["verdict"]) == ("E7", "5 %", "inconclusive")


def test_settings_are_never_merged():
    rows = [("h = 0", "init_sft", 1, 0.1), ("h = 1", "init_sft", 1, 0.9)]
    table = pd.DataFrame(rows, columns=["setting", "method", "n", "mean"]).assign(low=0.0, high=1.0)
    shown = tables.best_of_n(table, n=[1]).frame
    assert shown["setting"].tolist() == ["h = 0", "h = 1"]
    assert shown["n = 1"].tolist() == ["0.10 [0.00, 1.00]", "0.90 [0.00, 1.00]"]
    won = tables.win_rates(table.assign(opponent="demonstrations")).frame
    assert won["against demonstrations"].tolist() == ["10 % [0, 100]", "90 % [0, 100]"]


def test_numbers_stand_on_the_right_and_words_on_the_left():
    columns = {
        "word": ["4 of 6", "x"],
        "number": ["1.20", "–"],
        "interval": ["0.10 [-0.20, 0.40]", ""],
        "share": ["12 %", "-3 % [-5, 1]"],
        "range": ["1.50 to 2.50", "1e-10"],
        "empty": ["", "–"],
        "mixed": ["1.0", "none"],
    }
    frame = pd.DataFrame(columns)
    page = tables.Shown(frame)._repr_html_()
    on_the_right = re.findall(r'<th class="afd-number">(\w+)</th>', page)
    assert on_the_right == ["number", "interval", "share", "range"]
    assert page.count('class="afd-number"') == 3 * len(on_the_right)
    assert "afd-number" not in tables.Shown(frame, wrap=True)._repr_html_(), "texts are never numbers"


def test_wide_tables_are_set_smaller():
    def kinds(**cells):
        return re.match(r'<div class="([^"]*)"', tables.Shown(pd.DataFrame([cells]))._repr_html_())[1]

    assert "afd-wide" not in kinds(a="x", b="y") and "afd-words" not in kinds(a="x", b="y")
    assert "afd-wide" in kinds(**{f"column {i}": "0.123456" for i in range(9)})
    assert "afd-words" in kinds(a="a sentence of more than forty characters, at last")


def test_an_interval_is_not_broken_and_a_thousand_is_read_at_a_glance():
    frame = pd.DataFrame(
        {"effect": ["0.10 [-0.20, 0.40]"], "range": ["1.50 to 2.50"], "share": ["-10 % [-20, 2]"]}
    )
    page = tables.Shown(frame)._repr_html_()
    for whole in (">0.10 [-0.20,\u00a00.40]<", ">1.50\u00a0to\u00a02.50<", ">-10\u00a0% [-20,\u00a02]<"):
        assert whole in page
    shown = tables.show(pd.DataFrame({"flops": [12825.4, 999.999, -0.001, -1570000.0]})).frame["FLOPs"]
    assert shown.tolist() == ["12,825", "1000.00", "0.00", "-1,570,000"]
    assert tables.Shown(pd.DataFrame({"flops": shown}))._repr_html_().count("afd-number") == 5
