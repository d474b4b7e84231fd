"""The blind page: it shows what it should, tells no sides, and holds texts as data."""

import html
import json
import re
from collections import Counter

import pytest
from hostile_texts import HARMLESS, HOSTILE

from afd_study.align.blind_page import (
    LIMIT,
    LONGEST,
    MOST_PAIRS,
    BlindPair,
    ShownPair,
    digest_of,
    page_of,
    write_blind_page,
)
from afd_study.align.blind_power import limits
from afd_study.align.labels import read_key
from afd_study.errors import DataError, SpecError, StoreError, visible

DATA = re.compile(r'<script type="application/json" id="data">([^<>&]*)</script>')


def some_pairs(n):
    return [BlindPair(f"prompt {k}", f"answer {k} of one kind", f"answer {k} of another") for k in range(n)]


def data_of(text):
    """Return what the page's JSON block holds, as a browser would cut it out."""
    blocks = DATA.findall(text)
    assert len(blocks) == 1
    return json.loads(blocks[0])


def opened(written):
    return data_of(written.page.read_text(encoding="utf-8"))


def swapped(pair):
    return BlindPair(pair.prompt, pair.plain, pair.pick)


def test_page_and_key_agree_on_every_pair(tmp_path):
    pairs = some_pairs(60)
    written = write_blind_page(tmp_path, pairs, seed=3)
    data, key = opened(written), read_key(written.key)
    assert data["page"] == key.page == written.digest and written.n_pairs == MOST_PAIRS == len(data["pairs"])
    assert [each["id"] for each in data["pairs"]] == [each.pair for each in key.pairs]
    assert len({each.row for each in key.pairs}) == MOST_PAIRS
    for shown, side in zip(data["pairs"], key.pairs, strict=True):
        pair, other = pairs[side.row], "second" if side.pick == "first" else "first"
        assert (shown["prompt"], shown[side.pick], shown[other]) == pair


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path):
    one, two, three = (
        write_blind_page(tmp_path / name, some_pairs(9), seed=seed)
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert one.page.read_bytes() == two.page.read_bytes() and one.key.read_bytes() == two.key.read_bytes()
    assert one.page.read_bytes() != three.page.read_bytes()


def test_pages_are_equal_where_picks_and_plain_samples_change_roles_behind_them(tmp_path):
    """Every text as a pick in one page and as a plain sample in another: no byte of the page differs."""
    pairs = some_pairs(3)
    written = write_blind_page(tmp_path / "a", pairs, seed=0)
    key = read_key(written.key)
    for seed in range(1, 2000):
        other = write_blind_page(tmp_path / "b", [swapped(pair) for pair in pairs], seed=seed)
        if other.digest == written.digest:
            break
    else:
        pytest.fail("no seed draws the same order and the other sides")
    assert other.page.read_bytes() == written.page.read_bytes()
    assert [each.row for each in read_key(other.key).pairs] == [each.row for each in key.pairs]
    assert all(a.pick != b.pick for a, b in zip(read_key(other.key).pairs, key.pairs, strict=True))


def test_a_swapped_pair_changes_sides_on_the_page_and_nothing_else(tmp_path):
    """Order and coins don't depend on which text is the pick."""
    pairs = some_pairs(8)
    before = write_blind_page(tmp_path / "a", pairs, seed=1)
    after = write_blind_page(tmp_path / "b", [swapped(pairs[0]), *pairs[1:]], seed=1)
    assert read_key(before.key).pairs == read_key(after.key).pairs
    for one, two, side in zip(
        opened(before)["pairs"], opened(after)["pairs"], read_key(after.key).pairs, strict=True
    ):
        if side.row == 0:
            two["first"], two["second"] = two["second"], two["first"]
        assert one == two


def test_the_page_is_a_function_of_what_it_shows(tmp_path):
    written = write_blind_page(tmp_path, some_pairs(5), seed=2)
    shown = [ShownPair(each["prompt"], each["first"], each["second"]) for each in opened(written)["pairs"]]
    assert page_of(shown) == written.page.read_text(encoding="utf-8") and digest_of(shown) == written.digest


def test_sides_and_order_are_drawn_evenly_and_anew_for_other_texts(tmp_path):
    """Of 40 seeds and 50 pairs: picks first in about half, a pair's places all over the page."""
    sides, places = Counter(), set()
    for seed in range(40):
        key = read_key(write_blind_page(tmp_path, some_pairs(50), seed=seed).key)
        sides.update(each.pick for each in key.pairs)
        places.add(next(place for place, each in enumerate(key.pairs) if each.row == 0))
    assert abs(sides["first"] - 1000) < 4 * 500**0.5 and len(places) > 15
    first = read_key(write_blind_page(tmp_path, some_pairs(50), seed=0).key)
    renamed = [pair._replace(prompt=f"another {pair.prompt}") for pair in some_pairs(50)]
    second = read_key(write_blind_page(tmp_path, renamed, seed=0).key)
    assert [each.pick for each in first.pairs] != [each.pick for each in second.pairs]


def test_equal_texts_and_repeated_prompts_are_left_off_and_counted(tmp_path):
    pairs = [*some_pairs(4), BlindPair("p", "same", "same\n"), BlindPair("prompt 1", "a further", "answer")]
    written = write_blind_page(tmp_path, pairs, seed=0)
    assert (written.n_pairs, written.n_alike, written.n_repeated) == (4, 1, 1)
    key = read_key(written.key)
    assert (key.n_alike, key.n_repeated) == (1, 1) and 4 not in {each.row for each in key.pairs}
    assert "1 pair of equal texts" in written.line() and "4 pairs" in written.line()


@pytest.mark.parametrize("pairs", [[], [BlindPair("p", "same", "same")]])
def test_no_pair_that_can_be_compared_is_an_error(tmp_path, pairs):
    with pytest.raises(DataError, match="Give more"):
        write_blind_page(tmp_path, pairs, seed=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"seed": 0, "most_pairs": 0}, {"seed": 0, "most_pairs": LIMIT + 1}]
)
def test_a_seed_or_number_that_cannot_be_is_refused(tmp_path, wrong):
    with pytest.raises(SpecError, match=list(wrong)[-1]):
        write_blind_page(tmp_path, some_pairs(3), **wrong)


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match="blind_key.json can't be written"):
        write_blind_page(tmp_path / "out", some_pairs(3), seed=0)


def test_a_failure_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "blind.html").mkdir()
    with pytest.raises(StoreError, match="blind.html"):
        write_blind_page(tmp_path, some_pairs(3), seed=0)
    assert not list(tmp_path.glob("*.fresh"))


LONG = "ab<c " * 20_000
TEXTS = [
    *HOSTILE.values(),
    *HARMLESS,
    LONG,
    "half a pair \ud800",
    "$data $policy ${script} $$",
    "</SCRIPT\n>",
    "<!--<script>",
]


def test_hostile_texts_are_data_and_come_out_as_they_went_in(tmp_path):
    """The markup around texts is that of a page of harmless ones, byte for byte."""
    pairs = [BlindPair(f"{k} {text}", text, f"{text}{k}") for k, text in enumerate(TEXTS)]
    written = write_blind_page(tmp_path, pairs, seed=0, most_pairs=LIMIT)
    plain = write_blind_page(tmp_path / "plain", some_pairs(len(TEXTS)), seed=0, most_pairs=LIMIT)
    around = [DATA.sub("", each.page.read_text(encoding="utf-8")) for each in (written, plain)]
    assert around[0] == around[1] and written.page.read_bytes().isascii()
    rows, key = opened(written)["pairs"], read_key(written.key)
    assert len(rows) == len(TEXTS)
    for row, side in zip(rows, key.pairs, strict=True):
        assert row["prompt"] == visible(pairs[side.row].prompt)
        assert row[side.pick] == visible(pairs[side.row].pick)


def test_what_reorders_or_hides_is_spelled_out_and_an_endless_text_is_cut(tmp_path):
    pair = BlindPair("user\u202enimda", "a" * (LONGEST + 7), "pass\u200bword \x1b[2J")
    (row,) = opened(write_blind_page(tmp_path, [pair], seed=0))["pairs"]
    assert row["prompt"] == "user<U+202E>nimda"
    assert {row["first"], row["second"]} == {
        "a" * LONGEST + " [... 7 more characters]",
        "pass<U+200B>word <U+001B>[2J",
    }


def test_the_page_says_what_its_own_number_of_pairs_can_settle(tmp_path):
    for n in (4, 30):
        text = write_blind_page(tmp_path, some_pairs(n), seed=0).page.read_text(encoding="utf-8")
        before = text[: text.index('id="compare"')]
        assert all(html.escape(sentence) in before for sentence in limits(n)) and f"{n} pairs" in before


def test_the_page_loads_nothing_and_handles_no_markup(tmp_path):
    text = write_blind_page(tmp_path, some_pairs(3), seed=0).page.read_text(encoding="utf-8")
    assert (
        "default-src 'none'" in text and "unsafe" not in text and "http:" not in text and "https:" not in text
    )
    assert not re.search(r"\s(src|on\w+|style)=", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", text)
