"""Reading through a shared prefix is reading prompt and response at once."""

import numpy as np
import pytest
import torch

from afd_study.models import decoding
from afd_study.models.decoding import Request, sample
from afd_study.models.kernels.shared_prefix import SharedPrefix, applies

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
    found = torch.cat([cache.read(lm, part) for part in ids.split(cuts, 1)], 1)
    for row, states in enumerate(found):
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
    found = cache.read(lm, ids[rows, 3:])
    for row, states in zip(rows.tolist(), found, strict=True):
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
    assert applies(build("gpt2"))
    other = build("gpt2")
    other.config.sliding_window = 4
    assert not applies(other)


@pytest.mark.parametrize("draws", [2, 70])
def test_held_once_or_copied_the_same_is_drawn(lm, monkeypatch, draws):
    asked = [Request(f"p{i}", ids, draw) for i, ids in enumerate(PROMPTS) for draw in range(draws)]
    found = []
    for pays in (True, False):
        monkeypatch.setattr(decoding, "_pays", lambda *_, pays=pays: pays)
        found.append(sample(lm, asked, seed=3, eos_id=1, max_new_tokens=8))
    assert [each.ids for each in found[0]] == [each.ids for each in found[1]]
    np.testing.assert_allclose(*([e.logprob for e in each] for each in found), atol=1e-5)


def test_only_short_prompts_with_many_draws_are_copied():
    few = [Request("p", (5,) * 8, draw) for draw in range(4)]
    many = [Request("p", (5,) * 8, draw) for draw in range(decoding.MANY)]
    assert decoding._pays(few, 8) and not decoding._pays(many, 8) and decoding._pays(many, decoding.SHORT)
