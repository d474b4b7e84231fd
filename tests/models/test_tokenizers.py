"""Tokenizers: one-to-one on words, lossless on bytes, deaf to special tokens typed in a text."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from afd_study.errors import DataError, SpecError, StoreError
from afd_study.models.tokenizers import (
    EOS,
    PAD,
    UNK,
    decode,
    encode,
    fingerprint,
    in_pieces,
    load_tokenizer,
    save_tokenizer,
    train_bpe,
    word_tokenizer,
)

WORDS = [
    "I",
    "can't",
    "help",
    "with",
    "that",
    "because",
    "it",
    "is",
    "theft",
    "well-known",
    "naïve",
    "eos",
    "t",
]
POINTS = list(",.?!:;'\"()-<>$*")
MARKS = ["~", "indeed", "§"]
POLICY = word_tokenizer(WORDS + POINTS, dropped=MARKS)
READER = word_tokenizer(WORDS + POINTS, marks=MARKS)
TEXTS = ["the cat sat on the mat", "the cat can't sit on the hat", "a mat, a hat; the end"] * 3
BPE = train_bpe(TEXTS, 280)
BOTH = {"words": POLICY, "bytes": BPE}
ordinary = st.lists(st.integers(3, len(POLICY) - 1), max_size=30)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def test_a_sentence_is_its_tokens():
    ids = encode(POLICY, ["I can't help with that, because it is theft."])[0]
    tokens = ["I", "can't", "help", "with", "that", ",", "because", "it", "is", "theft", "."]
    assert POLICY.convert_ids_to_tokens(ids) == tokens
    assert decode(POLICY, [ids]) == ["I can't help with that, because it is theft."]


@pytest.mark.parametrize("tokenizer", [POLICY, READER], ids=["policy", "reader"])
@given(ids=ordinary)
def test_words_and_ids_determine_each_other(tokenizer, ids):
    assert encode(tokenizer, decode(tokenizer, [ids])) == [ids]


@given(ids=st.lists(st.integers(2, len(POLICY) - 1), max_size=30))
def test_an_emitted_unknown_stays_visible_and_is_read_back_as_one(ids):
    text = decode(POLICY, [ids])[0]
    assert text.count(UNK) == ids.count(2)
    assert encode(POLICY, [text]) == [ids]


@given(ids=st.lists(st.integers(3, len(READER) - 1), max_size=30))
def test_the_policy_reads_a_text_as_if_its_marks_were_not_there(ids):
    text = decode(READER, [ids])
    assert encode(READER, text) == [ids]
    assert encode(POLICY, text) == [[number for number in ids if number < len(POLICY)]]


def test_marks_stand_at_the_end_and_only_whole_tokens_are_marks():
    shared = POLICY.get_vocab()
    assert {token: READER.get_vocab()[token] for token in shared} == shared
    assert [READER.get_vocab()[mark] for mark in MARKS] == list(range(len(shared), len(shared) + len(MARKS)))
    unknown = POLICY.unk_token_id
    assert encode(POLICY, ["indeed~is§ indeeds non-indeed Indeed"]) == [
        [shared["is"], unknown, unknown, unknown]
    ]


@pytest.mark.parametrize("tokenizer", BOTH.values(), ids=BOTH)
def test_special_tokens_have_their_own_ids(tokenizer):
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    assert POLICY.unk_token_id == 2
    assert BPE.unk_token_id is None
    assert len(tokenizer) == max(tokenizer.get_vocab().values()) + 1


@pytest.mark.parametrize("tokenizer", BOTH.values(), ids=BOTH)
@given(before=texts, after=texts, special=st.sampled_from([PAD, EOS]))
def test_a_special_token_typed_in_a_text_stays_text(tokenizer, before, after, special):
    text = before + special + after
    ids = encode(tokenizer, [text])[0]
    assert not {0, 1} & set(ids)
    assert not {0, 1} & set(tokenizer(text, add_special_tokens=False)["input_ids"]), "and by default too"


@given(text=texts)
def test_bytes_lose_nothing(text):
    assert decode(BPE, encode(BPE, [text])) == [text]
    assert decode(BPE, encode(BPE, [f"{text}<eos> , n't {text}"])) == [f"{text}<eos> , n't {text}"]


@pytest.mark.parametrize("tokenizer", BOTH.values(), ids=BOTH)
def test_padding_and_eos_are_not_text(tokenizer):
    ids = encode(tokenizer, ["that is theft"])[0]
    assert decode(tokenizer, [[*ids, 1, 0, 0], [1], []]) == [decode(tokenizer, [ids])[0], "", ""]
    assert encode(tokenizer, []) == []
    assert encode(tokenizer, [""]) == [[]]


def test_a_batch_encodes_as_its_rows_do():
    rows = ["I can't", "", "well-known theft?"]
    assert encode(POLICY, rows) == [encode(POLICY, [row])[0] for row in rows]
    READER(rows, padding=True, truncation=True, max_length=2)  # leaves its settings behind
    assert encode(READER, rows) == encode(POLICY, rows)


def test_the_unknown_is_unknown():
    assert encode(POLICY, ["theft burglary"]) == [[POLICY.get_vocab()["theft"], 2]]
    assert encode(POLICY, ["I don't"]) == [[POLICY.get_vocab()["I"], 2]], "an unknown word isn't half known"


@pytest.mark.parametrize("word", ["two words", "", " x", "a.b", "...", "<eos>", "<unk>", "dogs'"])
def test_what_is_not_one_word_is_refused(word):
    with pytest.raises(SpecError, match="is not one word"):
        word_tokenizer(["fine", word])


def test_a_word_in_two_roles_is_refused():
    with pytest.raises(SpecError, match="'x'"):
        word_tokenizer(["x", "y"], marks=["x"])
    with pytest.raises(SpecError, match="'x'"):
        word_tokenizer(["x", "y"], dropped=["x"])


def test_bpe_merges_what_is_frequent():
    assert 258 < len(BPE) <= 280
    assert len(encode(BPE, ["the cat"])[0]) < len("the cat")
    with pytest.raises(SpecError, match="at least 258"):
        train_bpe(TEXTS, 257)
    with pytest.raises(DataError, match="no text"):
        train_bpe(["", ""], 300)


def test_bpe_is_the_same_in_another_process_and_order():
    assert fingerprint(train_bpe(reversed(TEXTS), 280)) == fingerprint(BPE)
    code = (
        "import json, sys; from afd_study.models.tokenizers import *; "
        "print(fingerprint(train_bpe(json.loads(sys.argv[1]), 280)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(TEXTS)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint(BPE)


def test_fingerprints_tell_tokenizers_apart_and_ignore_what_was_last_encoded():
    before = fingerprint(READER)
    READER(["I help", "I"], padding=True, truncation=True, max_length=7)
    assert fingerprint(READER) == before
    others = [POLICY, BPE, word_tokenizer(WORDS), word_tokenizer(WORDS[::-1]), train_bpe(TEXTS, 270)]
    assert len({before, *map(fingerprint, others)}) == 1 + len(others)


@pytest.mark.parametrize("tokenizer", [POLICY, READER, BPE], ids=["policy", "reader", "bytes"])
def test_saved_and_loaded_is_the_same(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    assert all(path.suffix == ".json" for path in tmp_path.iterdir())
    again = load_tokenizer(tmp_path)
    assert fingerprint(again) == fingerprint(tokenizer)
    text = ["I can't ~ help<eos> , indeed."]
    assert encode(again, text) == encode(tokenizer, text)
    assert again(text[0], add_special_tokens=False)["input_ids"] == encode(tokenizer, text)[0]
    assert decode(again, encode(again, text)) == decode(tokenizer, encode(tokenizer, text))


def test_a_missing_or_damaged_tokenizer_says_so(tmp_path):
    with pytest.raises(StoreError, match=r"tokenizer\.json is missing"):
        load_tokenizer(tmp_path / "nowhere")
    save_tokenizer(POLICY, tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        load_tokenizer(tmp_path)


RUNS = {
    "letters": "a",
    "Chinese": "这是没有空格的长文本",
    "digits": "73",
    "signs": "_-=",
    "spaces": " \t",
    "mixed": "ab 12 _",
}


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("length", [1, 900, 1000, 3500])
def test_a_vocabulary_is_learned_from_long_runs_in_pieces(kind, length):
    """A trainer's time grows with the square of a run: minutes at 300,000 equal letters."""
    text = "It is (" + (RUNS[kind] * length)[:length] + ") so."
    read = list(in_pieces(text))
    runs = [re.findall(r"[^\W\d_]+|\d+|(?:[^\w\s]|_)+|\s+", piece) for piece in read]
    assert "".join(read) == text and max(len(run) for piece in runs for run in piece) <= 1000
    assert (len(read) > 1) == (length >= 1000 and kind != "mixed")
    assert fingerprint(train_bpe([text], 270)) == fingerprint(train_bpe(read, 270))
