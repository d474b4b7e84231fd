"""One place makes texts alike: what CRLF, byte order marks and invisible characters did is undone there."""

import json

import pytest

from afd_study.worlds import entries
from afd_study.worlds.hh_rlhf import HHRLHFSpec, entry_of, load as load_dialogues
from afd_study.worlds.normalising import ASSISTANT, HUMAN, normalised, visible
from afd_study.worlds.own_data import OwnDataSpec, load

ALIKE = {
    "CRLF": ("a\r\n\r\nb", "a\n\nb"),
    "carriage returns": ("a\r\rb", "a\n\nb"),
    "byte order marks": ("\ufeff\ufeffa", "a"),
    "a hidden turn": ("a\n\n\u200bHuman: b", "a\n\nHuman: b"),
    "a hidden turn between its letters": ("a\n\u2060\nHu\u200bman\ufeff: b", "a\n\nHuman: b"),
    "the other turn": ("a\n\nAs\u00adsist\u200dant: b", "a\n\nAssistant: b"),
}
KEPT = [
    "",
    " a \n\t",
    "\x0b\x0c\u2028\x85",
    "👩\u200d👧",
    "می\u200cخواهم",
    "\u200fשלום",
    "a\ufeffb",
    "a\n\u200bHuman: b",
    "\n\nHuman: é",
    "\n\nHumans: \u200b",
    "\ud83d",
]


@pytest.mark.parametrize(("text", "expected"), ALIKE.values(), ids=ALIKE)
def test_texts_become_alike(text, expected):
    assert normalised(text) == expected == normalised(expected)


@pytest.mark.parametrize("text", KEPT)
def test_other_texts_stay(text):
    assert normalised(text) == text


@pytest.mark.parametrize(
    "text", ["", " \n", "\u200b", "\ufeff\u2060 ", "\x00", "\u3164", "\ufe0f", "\u00ad", "\u2800", "\u200e"]
)
def test_what_nobody_sees_is_empty(text):
    assert not visible(text)


@pytest.mark.parametrize("text", [".", "\u200b.", "👍\ufe0f", "é", "́", "\ud83d", "\ue000"])
def test_what_can_be_seen_is_not(text):
    assert visible(text)


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answered(count, ends="\n"):
    """Laid-out dialogues of two turns with answers."""
    between = 2 * ends
    dialogue = f"Human: Hi {{0}}{between}Assistant: Hello.{between}Human: And {{0}}?{between}Assistant:"
    return [{"prompt": dialogue.format(n), "response": f"Good.{ends}{n}."} for n in range(count)]


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends_do_not_change_a_table(tmp_path, ends):
    plain = load(OwnDataSpec(demonstrations=lines(tmp_path / "a" / "d.jsonl", answered(60))))
    other = load(OwnDataSpec(demonstrations=lines(tmp_path / "b" / "d.jsonl", answered(60, ends))))
    assert other.prompts.equals(plain.prompts) and other.demonstrations.equals(plain.demonstrations)
    assert other.report["kept"].all()


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("turn", ["Human: hello?", "Assistant: I am."])
def test_a_turn_behind_an_empty_answer_is_no_demonstration(tmp_path, turn, ends):
    bad = {"prompt": "Are you there?", "response": 2 * ends + turn}
    corpus = load(OwnDataSpec(demonstrations=lines(tmp_path / "d.jsonl", [*answered(60), bad])))
    assert corpus.report["reason"].tolist() == [""] * 60 + [entries.FURTHER_TURN]
    # the same words without a blank line before them are an answer
    assert (
        load(
            OwnDataSpec(
                demonstrations=lines(tmp_path / "d.jsonl", [*answered(60), {"prompt": "a", "response": turn}])
            )
        )
        .report["kept"]
        .all()
    )


@pytest.mark.parametrize("side", ["preferred", "rejected"])
def test_a_turn_behind_an_empty_answer_is_no_preference(tmp_path, side):
    row = {"prompt": "a", "preferred": "yes", "rejected": "no"}
    compared = lines(tmp_path / "p.jsonl", [row, row | {side: "\n\nHuman: hello?"}])
    shown = lines(tmp_path / "d.jsonl", answered(60))
    corpus = load(OwnDataSpec(demonstrations=shown, preferences=compared))
    assert len(corpus.preferences) == 1
    assert corpus.report["reason"].tolist() == [""] * 61 + [entries.FURTHER_TURN]


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_a_turn_behind_an_empty_answer_is_no_side_of_a_dialogue(tmp_path, side):
    start = f"{HUMAN} Are you there?{ASSISTANT}"
    pair = {"chosen": f"{start} yes", "rejected": f"{start} no"}
    assert entry_of(**pair, file="f", line=1).demonstration == "yes"
    bad = pair | {side: f"{start}{HUMAN} hello, anybody?"}
    assert entry_of(**bad, file="f", line=1).reason == entries.FURTHER_TURN
    # demonstrations in place of the chosen responses are read by the same rule
    pairs = [{key: text.replace("there", f"at {n}") for key, text in pair.items()} for n in range(60)]
    lines(tmp_path / "harmless-base" / "train.jsonl", pairs)
    prompts = [f"Are you at {n}?" for n in range(60)]
    rows = [{"prompt": prompt, "response": "shown"} for prompt in prompts]
    rows.append({"prompt": prompts[0], "response": "\n\nHuman: hello?"})
    spec = HHRLHFSpec(folder=tmp_path, demonstrations=lines(tmp_path / "d.jsonl", rows))
    assert set(load_dialogues(spec).demonstrations["text"]) == {"shown"}
