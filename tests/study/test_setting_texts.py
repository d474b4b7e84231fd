"""Texts of `--set` are read as their fields want them."""

from pathlib import Path
from typing import Any, Literal

import pytest

from afd_study.errors import SpecError
from afd_study.study.setting_texts import read_setting, refuse_endless_numbers
from afd_study.study.spec import load_spec

STAYS = ["Answer #2", "010", "1:30", "a: b", "[1", "yes", "~", "2020-01-01", " x ", "'quoted'", "*a", "é", ""]


@pytest.mark.parametrize("text", STAYS)
@pytest.mark.parametrize("field", [str, Path, str | None, Literal["a", "b"]])
def test_a_text_stays_as_it_stands(text, field):
    assert read_setting("key", text, field) == text


NUMBERS = {
    "8": 8,
    "-3": -3,
    "+2": 2,
    "0": 0,
    " 7 ": 7,
    "0.5": 0.5,
    ".5": 0.5,
    "5.": 5.0,
    "1e-3": 0.001,
    "1E3": 1000.0,
}


@pytest.mark.parametrize("text", NUMBERS)
@pytest.mark.parametrize("field", [int, float, int | None, Any, dict[str, Any]])
def test_plain_decimals_are_numbers(text, field):
    value = read_setting("key", text, field)
    assert value == NUMBERS[text] and type(value) is type(NUMBERS[text])


ODD = [
    "010",
    "-010",
    "1:30",
    "1e400",
    "-1e400",
    "0x10",
    "0o7",
    "0b1",
    "1_000",
    ".inf",
    "-.inf",
    ".nan",
    "9" * 5000,
]


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("field", [int, float | None, Any, tuple[int, ...]])
def test_numbers_that_are_no_plain_decimals_are_refused(text, field):
    with pytest.raises(SpecError, match="setting 'key': .* is no plain decimal number such as 8"):
        read_setting("key", text, field)
    if field is Any:
        with pytest.raises(SpecError, match="no plain decimal"):
            read_setting("key", f"{{a: [1, {text}]}}", field)
        assert read_setting("key", f"['{text}']", field) == [text]


@pytest.mark.parametrize("text", ["nan", "inf", "Infinity", "１２"])
def test_what_python_reads_as_a_number_is_a_word_where_words_may_stand(text):
    with pytest.raises(SpecError, match="no plain decimal"):
        read_setting("key", text, float)
    assert read_setting("key", text, Any) == text


MAPPINGS = {
    "[a, b]": ["a", "b"],
    "[]": [],
    "{a: {b: [1, 2.5]}}": {"a": {"b": [1, 2.5]}},
    "[no, yes, off]": ["no", "yes", "off"],
    "[true, false, null]": [True, False, None],
    "[2020-01-01, 12ab, 1-2]": ["2020-01-01", "12ab", "1-2"],
    "word #2": "word #2",
    "'word' #2": "word",
}


@pytest.mark.parametrize("text", MAPPINGS)
def test_lists_and_mappings_are_yaml(text):
    assert read_setting("key", text, Any) == MAPPINGS[text]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1", "neither a number"),
        ("{a: 1, a: 2}", "'a' stands in it twice"),
        ("[&a 1, *a]", "an alias"),
        ("!!python/object/apply:os.getcwd []", "neither a number"),
        ("[" * 5000, "neither a number"),
        ("a: b: c", "neither a number"),
    ],
)
def test_what_is_no_yaml_is_refused(text, says):
    with pytest.raises(SpecError, match=f"setting 'key': .*{says}") as error:
        read_setting("key", text, list[str])
    assert len(str(error.value)) < 300


def test_null_leaves_out_what_may_be_left_out():
    assert read_setting("key", "null", Path | None) is None
    assert read_setting("key", "null", int | None) is None
    assert read_setting("key", "null", Path) == "null"
    assert read_setting("key", "./null", Path | None) == "./null"


def test_no_number_without_an_end_gets_in():
    for value in (float("inf"), [0.5, float("nan")], {"a": {"b": -float("inf")}}):
        with pytest.raises(SpecError, match="setting 'key.* finite number"):
            refuse_endless_numbers("key", value)
    refuse_endless_numbers("key", {"a": [1, 2.5, None, "inf"]})
    deep: list = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(SpecError, match="nested more than"):
        refuse_endless_numbers("key", deep)
    with pytest.raises(SpecError, match="judge.learning_rate' = inf"):
        load_spec("hh_rlhf", "smoke", {"world.folder": ".", "judge": "{steps: 2, learning_rate: inf}"})


def test_the_spec_says_which_field_is_a_text():
    overrides = {
        "world.demonstrations": "010",
        "world.response_column": "Answer #2",
        "world.preferences": "~/1:30.csv",
        "policy.architecture": "1e3",
        "sft.schedule": "linear",
    }
    spec = load_spec("own_data", "smoke", overrides)
    assert spec.world.demonstrations == Path("010") and spec.world.response_column == "Answer #2"
    assert spec.world.preferences == Path.home() / "1:30.csv" and spec.policy.architecture == "1e3"
    # the world may be another one than the profile's
    own = {"world": {"name": "own_data", "demonstrations": Path("a")}, "reward.kinds": ["init_sft"]}
    spec = load_spec("harmless", "smoke", own)
    assert spec.world.demonstrations == Path("a")
    given = {"world.demonstrations": Path("~nosuchuser/a.csv")}
    with pytest.raises(SpecError, match="'world.demonstrations' = .*nobody here is called nosuchuser"):
        load_spec("own_data", "smoke", given)


def test_values_of_python_are_not_touched():
    spec = load_spec(
        "own_data", "smoke", {"world.demonstrations": Path("010"), "sft.steps": 8, "judge": None}
    )
    assert spec.world.demonstrations == Path("010") and spec.sft.steps == 8 and spec.judge is None
