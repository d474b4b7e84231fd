"""Reading through a shared prefix is reading prompt and response at once."""

import numpy as np
import pytest
import torch

from afd_study.models import decoding
from afd_study.models.decoding import Request, sample
from afd_study.models.kernels.shared_prefix import SharedPrefix, supports

PROMPTS = ((5, 6, 7, 8, 9), (4, 11), (12, 13, 14))
DRAWS, ROOM = 4, 6


def plain(lm, prompt, ids):
    with torch.no_grad():
        return lm.base_model(input_ids=torch.tensor([[*prompt, *ids]])).last_hidden_state[0]


def responses(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(3, 27, (len(PROMPTS) * DRAWS, ROOM)))


@torch.no_grad()
@pytest.mark.parametrize("cuts", [(6,), (1, 1, 1, 1, 1, 1), (2, 3, 1)])
def test_states_are_those_of_a_whole_pass_however_responses_are_cut(lm, cuts):
    cache, ids = SharedPrefix(lm, PROMPTS, draws=DRAWS, room=ROOM), responses()
    result = torch.cat([cache.read(lm, part) for part in ids.split(cuts, 1)], 1)
    for row, states in enumerate(result):
        prompt = PROMPTS[row // DRAWS]
        torch.testing.assert_close(
            states, plain(lm, prompt, ids[row].tolist())[len(prompt) :], atol=2e-5, rtol=1e-4
        )
    for prompt, last in zip(PROMPTS, cache.last, strict=True):
        torch.testing.assert_close(last, plain(lm, prompt, ())[-1], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_kept_rows_go_on_as_if_they_had_been_alone(lm):
    cache, ids = SharedPrefix(lm, PROMPTS, draws=DRAWS, room=ROOM), responses(1)
    cache.read(lm, ids[:, :3])
    prompts, rows = torch.tensor([0, 2]), torch.tensor([3, 1, 8, 10])
    cache.keep(prompts, rows)
    result = cache.read(lm, ids[rows, 3:])
    for row, states in zip(rows.tolist(), result, strict=True):
        whole = plain(lm, PROMPTS[row // DRAWS], ids[row].tolist())
        torch.testing.assert_close(states, whole[-3:], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_the_plain_formula_gives_what_the_fast_one_does(build):
    lm, ids = build("gpt2"), responses(2)
    fast = SharedPrefix(lm, PROMPTS, draws=DRAWS, room=ROOM).read(lm, ids)
    exact = lm.double()
    slow = SharedPrefix(exact, PROMPTS, draws=DRAWS, room=ROOM).read(exact, ids)
    torch.testing.assert_close(fast.double(), slow, atol=2e-5, rtol=1e-4)


def test_the_models_attention_is_its_own_again_afterwards(build):
    lm = build("gpt2")
    usual = lm.config._attn_implementation
    cache = SharedPrefix(lm, PROMPTS, draws=1, room=1)
    with pytest.raises(IndexError):
        cache.read(lm, torch.full((3, 1), 10**6))
    assert lm.config._attn_implementation == usual


def test_models_whose_attention_does_more_are_left_to_themselves(build):
    assert supports(build("gpt2"))
    other = build("gpt2")
    other.config.sliding_window = 4
    assert not supports(other)


@pytest.mark.parametrize("draws", [2, 70])
def test_held_once_or_copied_the_same_is_drawn(lm, monkeypatch, draws):
    requests = [Request(f"p{i}", ids, draw) for i, ids in enumerate(PROMPTS) for draw in range(draws)]
    runs = []
    for once in (True, False):
        monkeypatch.setattr(decoding, "hold_prompts_once", lambda prompts, once=once: once)
        runs.append(sample(lm, requests, seed=3, eos_id=1, max_new_tokens=8))
    assert [each.ids for each in runs[0]] == [each.ids for each in runs[1]]
    np.testing.assert_allclose(*([each.logprob for each in run] for run in runs), atol=1e-5)


def test_only_short_prompts_with_many_draws_are_copied():
    short, long = (5,) * 8, (5,) * decoding.SHORT
    assert decoding.hold_prompts_once([short] * 4)
    assert not decoding.hold_prompts_once([short] * decoding.MANY)
    assert decoding.hold_prompts_once([long] * decoding.MANY)
