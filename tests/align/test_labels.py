"""Saved labels against their key: what is counted and said, and that every fault has its error."""

import json
import math
import os
import re

import pytest
from scipy import stats

from afd_study.align.blind_page import BlindPair, write_blind_page
from afd_study.align.json_records import MAX_BYTES
from afd_study.align.labels import read_key, read_labels
from afd_study.errors import DataError, SpecError

TIME = "2026-01-02T03:04:05.678Z"


@pytest.fixture
def page(tmp_path):
    return write_blind_page(
        tmp_path, [BlindPair(f"p{k}", f"pick {k}", f"plain {k}") for k in range(50)], seed=5
    )


def saved(page, answers, /, **changes):
    """Write what the page's button saves, of answers by pair id; `changes` replace parts of it."""
    rows = [{"pair": pair, "answer": answer} for pair, answer in answers.items()]
    file = page.page.with_name("blind_labels.json")
    file.write_text(json.dumps({"page": page.digest, "answers": rows, "saved_at": TIME} | changes))
    return file


def choices(page, *, picks, same=0):
    """Return answers that prefer the pick in the first `picks` pairs, then see no difference in `same`."""
    other = {"first": "second", "second": "first"}
    answers = {}
    for place, each in enumerate(read_key(page.key).pairs):
        late = "same" if place < picks + same else other[each.pick]
        answers[each.pair] = each.pick if place < picks else late
    return answers


def result_of(page, **counts):
    return read_labels(saved(page, choices(page, **counts)), page.key)


@pytest.mark.parametrize(("picks", "same"), [(50, 0), (0, 0), (30, 5), (20, 30), (1, 0)])
def test_counts_and_interval_are_those_of_the_exact_test(page, picks, same):
    result = result_of(page, picks=picks, same=same)
    assert (result.n_picks, result.n_plain, result.n_same) == (picks, 50 - picks - same, same)
    assert result.win_rate == (picks + same / 2) / 50
    exact = stats.binomtest(picks, 50 - same)
    ends = exact.proportion_ci(0.95, method="exact")
    assert (result.decided_rate, result.low, result.high, result.p_value) == pytest.approx(
        (exact.statistic, ends.low, ends.high, exact.pvalue)
    )
    assert (result.verdict == "not settled") == (result.p_value > 0.05)


@pytest.mark.parametrize(
    ("picks", "verdict"),
    [
        (33, "picks are preferred"),
        (32, "not settled"),
        (18, "not settled"),
        (17, "plain samples are preferred"),
    ],
)
def test_the_verdict_turns_where_the_page_says(page, picks, verdict):
    assert result_of(page, picks=picks).verdict == verdict


def test_sentences_say_what_is_shown_and_what_is_not(page):
    settled = " ".join(result_of(page, picks=40, same=2).sentences())
    assert "preferred the pick in 40 and the plain sample in 8, and saw no difference in 2" in settled
    assert "win rate is 82 %" in settled and "Among the 48 decided pairs it is 83.3 %" in settled
    assert "you prefer the picks" in settled and "other judges" in settled
    open_case = " ".join(result_of(page, picks=28).sentences())
    assert (
        "neither a preference nor its absence is shown" in open_case and "33 wins of 50 (66 %)" in open_case
    )
    against = " ".join(result_of(page, picks=5).sentences())
    assert "you prefer plain samples to the picks" in against and "half a win" not in against


def test_few_decided_pairs_show_nothing(page):
    assert "No outcome of 4 decided pairs" in result_of(page, picks=4, same=46).sentences()[1]
    none = result_of(page, picks=0, same=50)
    assert math.isnan(none.decided_rate) and none.verdict == "not settled" and none.win_rate == 0.5
    assert none.sentences()[1] == "No pair was decided, so nothing is shown about which is better."
    assert json.loads(none.model_dump_json())["low"] is None


def test_a_habit_of_one_side_is_said_and_settles_nothing(page):
    always = {each.pair: "first" for each in read_key(page.key).pairs}
    result = read_labels(saved(page, always), page.key)
    assert result.n_first == 50 and "chose the first response in 50 of 50" in " ".join(result.sentences())
    assert "chose the first" not in " ".join(result_of(page, picks=40).sentences())


def test_pairs_left_off_the_page_are_named(tmp_path):
    pairs = [*(BlindPair(f"p{k}", f"pick {k}", f"plain {k}") for k in range(9)), BlindPair("q", "x", "x")]
    written = write_blind_page(tmp_path, pairs, seed=0)
    assert "1 further pair of equal texts" in result_of(written, picks=9).sentences()[-1]


def test_the_json_holds_all_counts(page):
    line = json.loads(result_of(page, picks=30, same=5).model_dump_json())
    assert line["n_pairs"] == 50 == line["n_picks"] + line["n_plain"] + line["n_same"]
    assert line["page"] == page.digest and line["saved_at"].startswith("2026-01-02T03:04:05.678")


def test_a_mark_of_byte_order_and_another_order_do_no_harm(page):
    answers = choices(page, picks=30)
    file = saved(page, dict(reversed(answers.items())))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_labels(file, page.key).n_picks == 30


FAULTS = {
    "another page": ({"page": "0" * 32}, "answers of another page"),
    "no answers": ({"answers": []}, "no answers to 50 of 50 pairs: '1', '2'.*45 more"),
    "unknown pair": ({"answers": [{"pair": "51", "answer": "same"}]}, "pairs that the page has not '51'"),
    "unknown answer": (
        {"answers": [{"pair": "1", "answer": "left"}]},
        "other answers than first, second, same .*'1'",
    ),
    "repeated": ({"answers": [{"pair": "1", "answer": "same"}] * 2}, "more than one answer to the pairs '1'"),
    "no text": ({"answers": [{"pair": 1, "answer": "same"}]}, r"answers\.0\.pair"),
    "null": ({"answers": None}, "answers"),
    "an object": ({"answers": {"1": "same"}}, "answers"),
    "further field": ({"sides": "first"}, "sides"),
    "further field of an answer": ({"answers": [{"pair": "1", "answer": "same", "pick": "first"}]}, "pick"),
    "no time": ({"saved_at": "yesterday"}, "saved_at"),
    "time without a zone": ({"saved_at": "2026-01-02T03:04:05"}, "saved_at"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_content_has_its_error_and_its_remedy(page, name):
    changes, words = FAULTS[name]
    with pytest.raises(DataError, match=f"blind_labels.json holds .*{words}") as fault:
        read_labels(saved(page, choices(page, picks=30), **changes), page.key)
    assert re.search(r"save the answers by its button|give the key that was written", str(fault.value))


def test_one_missing_answer_is_named(page):
    answers = choices(page, picks=30)
    del answers["17"]
    with pytest.raises(DataError, match="no answers to 1 of 50 pairs: '17': open the page again"):
        read_labels(saved(page, answers), page.key)


BYTES = {
    "empty": (b"", "is not JSON"),
    "cut off": (b'{"page": "ab', "is not JSON"),
    "twice": (b'{"page": "a", "page": "b"}', "the key 'page' stands in an object 2 times"),
    "not a number": (b'{"page": NaN}', "NaN is no JSON"),
    "deep": (b"[" * 100_000, "is not JSON"),
    "digits": (b"1" * 10_000, "is not JSON"),
    "a list": (b"[]", "something else"),
    "latin": (b'{"page": "\xe9"}', "is not UTF-8"),
    "half a pair": (b'{"page": "\\ud800", "answers": [], "saved_at": ""}', "something else"),
    "a web page": (b"<!DOCTYPE html><p>", "is not JSON"),
    "large": (b" " * (MAX_BYTES + 1), "more than 1,048,576 bytes"),
}


@pytest.mark.parametrize("name", BYTES)
@pytest.mark.parametrize("of_key", [False, True], ids=["labels", "key"])
def test_what_is_no_such_file_is_refused_with_a_remedy(page, name, of_key):
    content, words = BYTES[name]
    file = saved(page, choices(page, picks=30))
    wrong = page.key if of_key else file
    wrong.write_bytes(content)
    with pytest.raises(DataError, match=f"{wrong.name}.*{words}") as fault:
        read_labels(file, page.key)
    assert str(fault.value).endswith("label the new one" if of_key else "by its button")
    assert len(str(fault.value)) < 1000


def test_files_that_are_not_there_or_have_no_end_are_refused(page, tmp_path):
    file = saved(page, choices(page, picks=30))
    for wrong in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError, match="can't be read"):
            read_labels(wrong, page.key)
        with pytest.raises(DataError, match="can't be read"):
            read_labels(file, wrong)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DataError, match="a pipe"):
        read_labels(tmp_path / "pipe.json", page.key)


def test_files_that_change_places_are_refused(page):
    file = saved(page, choices(page, picks=30))
    with pytest.raises(DataError, match="something else"):
        read_labels(page.key, page.key)
    with pytest.raises(DataError, match="something else"):
        read_labels(file, file)


def test_a_key_with_a_pair_twice_is_refused(page):
    key = json.loads(page.key.read_text())
    key["pairs"].append({**key["pairs"][0], "pick": "first"})
    page.key.write_text(json.dumps(key))
    with pytest.raises(DataError, match="more than one side of the pairs '.+': write the page again"):
        read_key(page.key)


def test_a_hostile_name_does_not_command_a_terminal(page):
    answers = choices(page, picks=30) | {"\x1b[2J\u202e" + "x" * 500_000: "same"}
    with pytest.raises(DataError) as fault:
        read_labels(saved(page, answers), page.key)
    assert "\x1b" not in str(fault.value) and "\u202e" not in str(fault.value) and len(str(fault.value)) < 600


def test_a_level_that_is_no_probability_is_refused(page):
    with pytest.raises(SpecError, match="level"):
        read_labels(saved(page, choices(page, picks=30)), page.key, level=95)
