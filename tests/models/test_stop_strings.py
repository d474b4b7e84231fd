"""Texts that end a response: whichever tokens spell them, in whatever batch; what is left is the policy's."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from afd_study.errors import SpecError
from afd_study.models.batches import Example
from afd_study.models.decoding import Extrapolation, Request, sample
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.stop_strings import Stop
from afd_study.models.tokenizers import decode, fast_tokenizer

PROMPT = (40, 41, 42)


@pytest.fixture(scope="module")
def letters():
    """A tokenizer of 26 letters and some pairs: "ab" is one token, or two."""
    signs = ["<pad>", "<eos>", *"abcdefghijklmnopqrstuvwxyz", "ab", "ca", "bx"]
    backend = Tokenizer(models.WordLevel({sign: place for place, sign in enumerate(signs)}, unk_token="a"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    return fast_tokenizer(backend)


def ids(tokenizer, *signs):
    return tuple(tokenizer.convert_tokens_to_ids(list(signs)))


@pytest.fixture(scope="module")
def model(letters):
    from afd_study.models.policy import from_scratch
    from afd_study.models.specs import ModelSpec

    config = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64, "initializer_range": 0.3}
    return from_scratch(ModelSpec(config=config), letters, 0)


# signs drawn -> signs kept
CUTS = {
    "in two tokens": (("x", "a", "b", "y"), ("x",)),
    "in one token": (("x", "ab", "y"), ("x",)),
    "a token that reaches into it goes whole": (("x", "ca", "b"), ("x",)),
    "a token that reaches beyond it": (("x", "a", "bx"), ("x",)),
    "at once": (("ab",), ()),
    "the first of two": (("x", "ab", "y", "ab"), ("x",)),
}


@pytest.mark.parametrize("case", CUTS)
def test_a_response_is_cut_before_the_text_and_ended(case, letters, model):
    drawn, kept = CUTS[case]
    stop, end = Stop(letters, ["ab", "zz"]), letters.eos_token_id
    prompts, others = [(5, 6)] * 2, ids(letters, "x", "b", "a", "<eos>")
    result = stop.cut(model, prompts, [ids(letters, *drawn), others], end)
    assert set(result) == {0}  # a response without the text is left as it is
    assert result[0][0] == (*ids(letters, *kept), end)
    example = Example((*prompts[0], *result[0][0]), 2)
    assert result[0][1] == pytest.approx(float(sequence_logprobs(model, [example])[0]))


def test_the_token_that_completes_a_text_ends_the_row_and_only_if_it_is_live(letters):
    stop = Stop(letters, ["ab"])
    drawn = torch.tensor([ids(letters, *signs) for signs in ("xab", "aab", "bxa", "xxb")])
    rows = torch.tensor([1, 0, -1, 3, 2, 1])  # -1: a row too many
    live = torch.tensor([True, True, False, True, True, False])
    assert stop.met(drawn, rows, live).tolist() == [True, True, False, False, False, False]


def test_samples_are_those_without_a_stop_cut_at_it(letters, model):
    """Stopping changes nothing but where a response ends: each draw has numbers of its own."""
    requests = [Request(f"p{prompt}", (3 + prompt, 4), draw) for prompt in range(3) for draw in range(20)]
    how = {"seed": 1, "eos_id": letters.eos_token_id, "max_new_tokens": 20}
    whole, stop = sample(model, requests, **how), Stop(letters, ["ab", "q"])
    cut = sample(model, requests, **how, stop=stop)
    texts = decode(letters, [each.ids for each in whole])
    expected = [text[: min([text.find(s) for s in ("ab", "q") if s in text], default=None)] for text in texts]
    stopped = ["ab" in text or "q" in text for text in texts]
    said = decode(letters, [each.ids for each in cut])
    assert 10 < sum(stopped) < len(requests)
    for asked, kept, other, text, before, late in zip(
        requests, cut, whole, said, expected, stopped, strict=True
    ):
        assert before.startswith(text) and len(before) - len(text) <= 1  # of a token that reaches into it
        assert kept.ids[-1] == letters.eos_token_id if late else kept.ids == other.ids
        example = Example((*asked.ids, *kept.ids), 2)
        assert kept.logprob == pytest.approx(float(sequence_logprobs(model, [example])[0]), abs=1e-4)
    for rows in (7, 50):
        again = sample(model, requests, **how, stop=stop, max_rows=rows)
        assert [each.ids for each in again] == [each.ids for each in cut]


def test_a_text_in_other_signs_than_ascii_is_found(letters):
    stop = Stop(letters, ["ä"])
    assert stop.completes.all()  # any token may hold a part of it
    assert Stop(letters, ["ab"]).completes.sum() == 4  # b, ab, bx, and what lies beyond the vocabulary


def test_what_cannot_be_meant_is_refused(letters, model):
    with pytest.raises(SpecError, match="an empty text cannot end a response"):
        Stop(letters, ["ab", ""])
    with pytest.raises(SpecError, match="extrapolation ends at its end mark alone"):
        sample(
            model,
            [Request("p", (3,), 0)],
            seed=0,
            eos_id=1,
            max_new_tokens=2,
            extrapolation=Extrapolation(model, 2.0),
            stop=Stop(letters, ["ab"]),
        )
