"""Tables become examples: ids as they were drawn, texts with their end, cut where a policy's own would be."""

import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.models.batches import Example
from afd_study.models.specs import SamplingSpec
from afd_study.models.tokenizers import save_tokenizer, train_bpe, word_tokenizer
from afd_study.study.steps.encoding import CommonInputs, encoded_prompts, examples_from, response_ids
from afd_study.study.workflow import tables
from afd_study.study.workflow.tables import write_table

EOS = 1
TOKENIZER = word_tokenizer([f"w{number}" for number in range(10)])  # w0 is 3, w1 is 4, ...
PROMPTS = pd.DataFrame(
    [("p1", "train", "w0 w1 w2"), ("p2", "validation", "w3"), ("p3", "test", "w4 w5")],
    columns=["prompt_id", "split", "text"],
)


def sampling(**settings):
    return SamplingSpec(**{"max_new_tokens": 4, **settings})


def examples(table, **options):
    options = {"context": 64, **options}
    prompts = options.pop("prompts", PROMPTS)
    return examples_from(
        table, prompts.set_index("prompt_id"), TOKENIZER, options.pop("sampling", sampling()), **options
    )


def texts(*rows):
    return pd.DataFrame(rows, columns=["prompt_id", "draw", "text"])


def test_texts_end_with_the_end_mark_and_are_joined_to_their_prompt():
    found = examples(texts(("p2", 1, "w7 w8"), ("p1", 0, ""), ("p2", 0, "w9")))
    assert found["example"].tolist() == [
        Example((6, 10, 11, EOS), 1),
        Example((3, 4, 5, EOS), 3),
        Example((6, 12, EOS), 1),
    ]
    assert found["split"].tolist() == ["validation", "train", "validation"]
    assert found[["prompt_id", "draw"]].to_numpy().tolist() == [["p2", 1], ["p1", 0], ["p2", 0]]


def test_the_order_of_prompts_has_no_say():
    table = texts(("p2", 1, "w7 w8"), ("p3", 0, "w9"))
    assert examples(table, prompts=PROMPTS[::-1])["example"].tolist() == examples(table)["example"].tolist()


def test_a_text_of_the_horizon_has_no_room_for_its_end():
    """As a policy's own: an end mark that is always there would give demonstrations away."""
    long = examples(texts(("p2", 0, "w0 w1 w2"), ("p2", 1, "w0 w1 w2 w3"), ("p2", 2, "w0 w1 w2 w3 w4")))
    assert [example.ids[1:] for example in long["example"]] == [(3, 4, 5, EOS), (3, 4, 5, 6), (3, 4, 5, 6)]


def test_samples_keep_the_ids_that_were_drawn():
    table = pd.DataFrame(
        {
            "prompt_id": ["p1", "p3"],
            "draw": 0,
            "token_ids": [[9, EOS], [9, 9, 9, 9]],
            "text": "something else",
        }
    )
    found = examples(table)["example"].tolist()
    assert found == [Example((3, 4, 5, 9, EOS), 3), Example((7, 8, 9, 9, 9, 9), 2)]


def test_long_prompts_keep_their_last_tokens():
    short = sampling(max_prompt_tokens=2)
    assert encoded_prompts(PROMPTS, TOKENIZER, short) == {"p1": (4, 5), "p2": (6,), "p3": (7, 8)}
    assert examples(texts(("p1", 0, "w9")), sampling=short)["example"][0] == Example((4, 5, 12, EOS), 2)


def test_pretraining_counts_all_but_the_first_token():
    found = examples(texts(("p1", 0, "w9")), whole=True)["example"][0]
    assert found == Example((3, 4, 5, 12, EOS), 1)


def test_what_exceeds_the_context_is_refused():
    with pytest.raises(DataError, match="row 0 has 5 tokens and the model's context holds 4"):
        examples(texts(("p1", 0, "w9")), context=4)


@pytest.fixture
def common(tmp_path):
    """What a step is handed: prompts and tokenizers on disk."""
    write_table(tmp_path, "prompts", PROMPTS)
    save_tokenizer(TOKENIZER, tmp_path / "tokenizers" / "policy")
    return CommonInputs(tmp_path, tmp_path / "tokenizers", sampling(max_prompt_tokens=2))


def test_training_examples_are_split_by_prompt_and_those_cut_are_counted(common, tmp_path):
    rows = texts(("p1", 0, "w7"), ("p2", 0, "w8 w8 w8 w8"), ("p3", 0, "w9"), ("p1", 1, "w9 w9 w9"))
    write_table(tmp_path, "demonstrations", rows)
    train, validation, cut = common.training_examples(tmp_path, tmp_path / "work", context=64)
    assert list(train) == [Example((4, 5, 10, EOS), 2), Example((4, 5, 12, 12, 12, EOS), 2)]
    assert list(validation) == [Example((6, 11, 11, 11, 11), 1)]  # and nothing of test prompts
    assert cut.to_numpy().tolist() == [["prompt", 4, 2, 2], ["response", 4, 1, 4]]


def test_a_text_that_answers_no_prompt_is_named(common, tmp_path):
    write_table(tmp_path, "demonstrations", texts(("p1", 0, "w7"), ("p9", 0, "w8")))
    with pytest.raises(DataError, match="there is no prompt 'p9' that a text answers"):
        common.training_examples(tmp_path, tmp_path / "work", context=64)


def test_training_examples_are_the_same_in_pieces_of_any_size(common, tmp_path, monkeypatch):
    rows = texts(*((f"p{number % 3 + 1}", number // 3, f"w{number}") for number in range(9)))
    write_table(tmp_path, "demonstrations", rows)
    whole = common.training_examples(tmp_path, tmp_path / "a", context=64)
    monkeypatch.setattr(tables, "BATCH", 2)
    pieces = common.training_examples(tmp_path, tmp_path / "b", context=64)
    assert [list(part) for part in pieces[:2]] == [list(part) for part in whole[:2]]
    assert pieces.cut.equals(whole.cut)


def test_a_response_is_a_word_of_its_own_in_byte_vocabularies():
    """After "Assistant:" a space: else the first word would be another token than within a text."""
    tokenizer = train_bpe(["one two two two one two"] * 5, 300)
    (first, *_), *_ = response_ids(["two"], tokenizer, sampling())
    assert tokenizer.decode([first]) == " two"
