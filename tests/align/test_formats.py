"""One content in any layout and format gives the same examples, and what is left out is counted."""

import json
from pathlib import Path

import example_files
import pytest
from example_files import LAYOUTS, dialogues, messages, write
from hypothesis import HealthCheck, given, settings, strategies as st

from afd_study.align.dialogues import Turn
from afd_study.align.formats import read_demonstrations, read_preferences, read_prompts, refuse_unfit
from afd_study.errors import AfdError, DataError, SpecError

ROWS = [{"prompt": f"Question {n}?", "response": f"Answer {n}."} for n in range(60)]
MINE = "mine.jsonl"


def turns(examples):
    return [tuple(tuple(turn) for turn in example.turns) for example in examples]


def cases():
    for title in LAYOUTS:
        for kind in example_files.FORMATS:
            if kind != "csv" or " of " not in title:  # a CSV's cells are texts
                yield title, kind


@pytest.mark.parametrize(("title", "kind"), list(cases()))
def test_every_format_of_the_same_content_gives_the_same_examples(tmp_path, title, kind):
    path = write(tmp_path / f"mine.{kind}", [LAYOUTS[title](each) for each in dialogues()])
    reading = read_demonstrations(path)
    assert reading.layout == title.split(" ")[0] and not reading.left_out
    assert turns(reading.items) == [tuple(each) for each in dialogues()]
    assert {each.file for each in reading.items} == {path.name}
    lines = [each.line for each in reading.items]
    assert lines == sorted(set(lines)) and lines[0] == {"csv": 2, "json": 2}.get(kind, 1)
    waiting = [tuple(each[:-1]) for each in dialogues()]
    assert turns(read_prompts(path).items) == waiting
    if "rejected" in title:
        pairs = read_preferences(path).items
        assert [tuple(map(tuple, pair.prompt)) for pair in pairs] == waiting
        assert [pair.preferred for pair in pairs] == [each[-1][1] for each in dialogues()]
        assert {pair.rejected for pair in pairs} == {"No."}


def test_lines_of_a_json_list_are_those_of_the_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('\n[{"prompt": "a",\n"response": "b"},\n\n {"prompt": "c", "response": "d"}]\n')
    assert [each.line for each in read_demonstrations(path).items] == [2, 5]


def test_json_by_the_line_may_be_called_json(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert len(read_demonstrations(path).items) == 60


def test_what_was_read_and_left_out_is_one_line(tmp_path):
    rows = [*ROWS, {"prompt": "a", "response": " "}, ROWS[2], {"prompt": "b", "response": None}]
    reading = read_demonstrations(write(tmp_path / MINE, rows))
    assert reading.line() == (
        "mine.jsonl: 60 examples, layout prompt_response, 3 left out: 2 empty response (lines 61, 63), 1 "
        "repeats line 3"
    )
    assert len(read_demonstrations(tmp_path / MINE, keep_repeats=True).items) == 61
    reading = read_demonstrations(write(tmp_path / MINE, [*ROWS, ROWS[0], ROWS[1]]))
    assert reading.line().endswith("2 left out: 2 repeat earlier lines (lines 61, 62)")


CHATS = {
    "system turns are kept": (
        [("system", "Be kind."), ("user", "a"), ("assistant", "b")],
        [("system", "Be kind."), ("user", "a"), ("assistant", "b")],
    ),
    "turns of one speaker are joined": (
        [("user", "a"), ("user", "b "), ("assistant", "c")],
        [("user", "a\n\nb"), ("assistant", "c")],
    ),
    "a last turn that nobody answers is left aside": (
        [("user", "a"), ("assistant", "b"), ("user", "thanks")],
        [("user", "a"), ("assistant", "b")],
    ),
    "line ends are line feeds": (
        [("user", "a\r\nb"), ("assistant", "c\r")],
        [("user", "a\nb"), ("assistant", "c")],
    ),
    "no answer": ([("user", "a")], "no assistant turn"),
    "an empty answer": ([("user", "a"), ("assistant", "\u200b")], "empty response"),
    "an empty question": ([("user", ""), ("assistant", "b")], "empty prompt"),
    "a system turn alone before": ([("system", "x"), ("assistant", "b")], "the first turn is not the user's"),
    "the assistant first": ([("assistant", "a"), ("user", "b"), ("assistant", "c")], "first turn is not"),
    "a later system turn": ([("user", "a"), ("system", "x"), ("assistant", "c")], "a system turn behind"),
    "another role": ([("user", "a"), ("tool", "x"), ("assistant", "c")], "neither system, user nor"),
    "a turn within": ([("user", "a\n\nAssistant: x"), ("assistant", "c")], "a message holds a further turn"),
    "a hidden turn within": ([("user", "a"), ("assistant", "c\n\u200b\nHuman: x")], "further turn"),
    "half a character": ([("user", "a"), ("assistant", "\ud83d")], "not valid Unicode"),
    "nothing": ([], "empty prompt"),
}


@pytest.mark.parametrize("title", CHATS)
def test_messages_are_a_dialogue_or_left_out_with_the_reason(tmp_path, title):
    said, expected = CHATS[title]
    rows = [{"messages": messages(each)} for each in (*dialogues(), said)]
    reading = read_demonstrations(write(tmp_path / MINE, rows))
    if isinstance(expected, list):
        assert turns(reading.items)[-1] == tuple(expected) and not reading.left_out
        assert reading.n_lost == ("nobody" in title) == ("nobody answers" in reading.line())
    else:
        assert [row.line for row in reading.left_out] == [13] and expected in reading.left_out[0].reason


def test_a_column_of_system_texts_is_a_system_turn(tmp_path):
    rows = [{"system": "Be kind.", **row} for row in ROWS] + [
        {"system": None, "prompt": "x", "response": "y"}
    ]
    items = read_demonstrations(write(tmp_path / MINE, rows)).items
    assert items[0].turns[0] == Turn("system", "Be kind.") and items[60].turns[0].role == "user"


def test_an_input_stands_below_its_instruction(tmp_path):
    rows = [{"instruction": f"Add {n}.", "input": "1, 2", "output": "3"} for n in range(9)]
    assert read_demonstrations(write(tmp_path / MINE, rows)).items[0].turns[0].text == "Add 0.\n\n1, 2"


def test_whether_a_text_was_cut_is_read_where_the_file_says_so(tmp_path):
    reasons = ["length", "stop", None, "other"]
    rows = [{**row, "finish_reason": reason} for row, reason in zip(ROWS, reasons, strict=False)]
    items = read_demonstrations(write(tmp_path / MINE, rows)).items
    assert [each.cut for each in items] == [True, False, None, None]


def test_preferences_of_equal_responses_are_demonstrations_alone(tmp_path):
    rows = [{"prompt": f"q {n}", "chosen": f"a {n}", "rejected": f"a {n}" if n else "b"} for n in range(9)]
    path = write(tmp_path / MINE, rows)
    assert len(read_demonstrations(path).items) == 9
    with pytest.raises(DataError, match="8 no preference: both responses are the same"):
        read_preferences(path)


def test_a_layout_can_be_forced(tmp_path):
    rows = [{**row, "completion": "other"} for row in ROWS]
    path = write(tmp_path / MINE, rows)
    reading = read_demonstrations(path)
    assert reading.items[0].response == "Answer 0." and "--layout prompt_completion" in reading.line()
    assert read_demonstrations(path, layout="prompt_completion").items[0].response == "other"
    with pytest.raises(SpecError, match="unknown layout of demonstrations 'mesages'.*'messages'"):
        read_demonstrations(path, layout="mesages")
    with pytest.raises(
        DataError, match=r"is not laid out as alpaca: it lacks 'instruction', 'output'.*Found"
    ):
        read_demonstrations(path, layout="alpaca")


UNKNOWN = {
    "other names": (
        {"prompt": "a", "responses": "b"},
        "nearest is prompt_response.*lacks 'response'.*'responses'",
    ),
    "prompts alone": ({"prompt": "a"}, "no layout of demonstrations.*lacks 'response'"),
    "one side": ({"chosen": "a"}, "nearest is chosen_rejected.*lacks 'rejected'"),
    "nothing like it": ({"x\x1b[2J": "a"}, r"Found: 'x\\x1b\[2J'"),
}


@pytest.mark.parametrize("title", UNKNOWN)
def test_an_unknown_layout_names_the_columns_and_what_the_nearest_lacks(tmp_path, title):
    row, says = UNKNOWN[title]
    with pytest.raises(DataError, match=says) as error:
        read_demonstrations(write(tmp_path / MINE, [row]))
    assert "mine.jsonl" in str(error.value) and "--layout" in str(error.value)
    assert "\x1b" not in str(error.value) and len(str(error.value)) < 700


def test_mostly_unusable_files_are_refused(tmp_path):
    path = write(tmp_path / MINE, [*ROWS[:9], *({"prompt": f"{n}", "response": ""} for n in range(10))])
    with pytest.raises(DataError, match=r"53% of the rows can't be used.*empty response \(lines 10, 11,"):
        read_demonstrations(path)
    assert len(read_prompts(path).items) == 19


def test_too_few_or_all_alike_is_refused_with_a_remedy(tmp_path):
    reading = read_demonstrations(write(tmp_path / MINE, ROWS[:5]))
    refuse_unfit(reading, batch=5)
    with pytest.raises(DataError, match="5 examples are fewer than a batch of 8: give more"):
        refuse_unfit(reading, batch=8)
    alike = read_demonstrations(write(tmp_path / MINE, [{**row, "response": "x"} for row in ROWS]))
    with pytest.raises(DataError, match="all 60 responses are alike.*'prompt', 'response'"):
        refuse_unfit(alike, batch=8)


FAULTS = {
    "good.jsonl": 60,
    "good.csv": 60,
    "long.csv": 60,
    "blank_line.csv": 60,
    "invisible.jsonl": 54,
    "own_leading_turn.jsonl": 58,
    "crlf_dialogues.csv": 60,
    "crlf_dialogues.jsonl": 60,
    "hh_empty_turn/harmless-base/train.jsonl": 58,
    "hash_columns.csv": "lacks 'response'",
    "semicolon.csv": "separated by ';'; use commas",
    "prefs_empty.jsonl": "none of the rows can be used",
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_that_others_met(root, name):
    path = root.parent / "shared" / "faults" / name
    if not path.is_file():
        pytest.skip(f"there is no ../shared/faults/{name}")
    if isinstance(FAULTS[name], int):
        reading = read_demonstrations(path)
        assert len(reading.items) == FAULTS[name]
        assert not any("\r" in turn.text for item in reading.items for turn in item.turns)
        assert not any(item.response.startswith("Human:") for item in reading.items)
        return
    with pytest.raises(DataError, match=FAULTS[name]):
        read_demonstrations(path)


def test_hh_rlhf_is_read_as_its_own_reader_has_it(hh_rlhf):
    reading = read_preferences(Path(hh_rlhf) / "harmless-base" / "test.jsonl.gz")
    assert len(reading.items) == 2303 and len(reading.left_out) == 9


PIECES = st.sampled_from(
    [*'{}[]",:\n\r \\', "null", "NaN", "messages", "role", "user", "assistant", "content", "\n\nHuman:", "é"]
)
BYTES = st.lists(PIECES, max_size=30).map(lambda parts: "".join(parts).encode()) | st.binary(max_size=200)
NAMES = st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.parquet", "a.json.gz"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=BYTES, name=NAMES, row=st.sampled_from([b"", b'{"messages": ', b"prompt,response\n", b"[{"]))
def test_any_bytes_are_examples_or_one_error(tmp_path, content, name, row):
    (tmp_path / name).write_bytes(row + content)
    try:
        reading = read_demonstrations(tmp_path / name)
    except AfdError as fault:
        assert name in str(fault)
    else:
        assert all(item.response and item.turns[0].text for item in reading.items)
