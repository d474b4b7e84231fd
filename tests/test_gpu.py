"""The engine does what plain passes, text by text, do on a CPU: on a CPU, and on a GPU where there is one.

`pytest -m gpu` runs those that need one. Laws are compared in float32, training in mixed precision there.
"""

import copy

import numpy as np
import pytest
import torch
from minis import EOS, SHAPES, VOCABULARY, built

from afd_study.methods.reward_model import fit
from afd_study.methods.sft import fine_tune
from afd_study.models import distributed
from afd_study.models.batches import Example, Pair, join
from afd_study.models.decoding import Extrapolation, Request, sample
from afd_study.models.reward import RewardModel, rewards
from afd_study.models.scoring import response_kl, sequence_logprobs
from afd_study.models.specs import TrainingSpec
from benchmarks import texts

ROOM = 16


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    return torch.device(request.param)


@pytest.fixture(params=SHAPES)
def lm(request):
    """A model on the CPU; not to be changed."""
    return built(request.param)


def moved(module, device):
    return copy.deepcopy(module).to(device)


def responses(n=12):
    """Some prompts with many responses each, and others with one."""
    asked = texts.prompts(3, VOCABULARY, seed=2)
    return [*texts.responses(asked, 6, VOCABULARY, seed=3), *texts.examples(n, VOCABULARY, seed=4)]


def plainly(lm, example):
    """Return the laws (response tokens, vocabulary) at a response's prefixes, by one pass of one text."""
    return lm(input_ids=torch.tensor([example.ids])).logits[0, example.start - 1 : -1].log_softmax(-1)


def nll(lm, example):
    targets = torch.tensor(example.ids[example.start :])
    return torch.nn.functional.nll_loss(plainly(lm, example), targets, reduction="sum")


def test_log_probabilities_are_those_of_plain_passes(lm, device):
    behind_prompts, by_themselves = responses(), texts.examples(7, VOCABULARY, seed=5)
    for rows in (behind_prompts, by_themselves):
        result = sequence_logprobs(moved(lm, device), rows)
        expected = [-nll(lm, each).item() for each in rows]
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)


def test_rewards_are_those_of_plain_passes(lm, device):
    model = RewardModel(lm.base_model)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        last = [lm.base_model(torch.tensor([each.ids])).last_hidden_state[0, -1:] for each in responses()]
        expected = [model.head(state).item() for state in last]
    result = rewards(moved(model, device), responses())
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)


def test_divergences_are_those_of_plain_passes(lm, device):
    other = built("gpt2", seed=1)
    result = response_kl(moved(lm, device), moved(other, device), responses())
    laws = [(plainly(lm, each), plainly(other, each)) for each in responses()]
    expected = [(own.exp() * (own - far)).sum().item() for own, far in laws]
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3)


def requests(draws=5):
    asked = texts.prompts(4, VOCABULARY, seed=6)
    return [Request(str(i), ids, draw) for i, ids in enumerate(asked) for draw in range(draws)]


def drawn(lm, asked, **options):
    return [each.ids for each in sample(lm, asked, seed=0, eos_id=EOS, max_new_tokens=ROOM, **options)]


def test_greedy_responses_are_those_of_plain_passes(lm, device):
    for asked, result in zip(requests(1), drawn(moved(lm, device), requests(1), temperature=0), strict=True):
        expected: list[int] = []
        while len(expected) < ROOM and EOS not in expected:
            text = Example((*asked.ids, *expected, 0), len(asked.ids) + len(expected))
            expected.append(int(plainly(lm, text)[-1].argmax()))
        assert list(result) == expected


def test_samples_are_the_same_twice_and_owe_nothing_to_their_batch(lm, device):
    there = moved(lm, device)
    whole = drawn(there, requests())
    assert drawn(there, requests()) == whole
    assert drawn(there, requests()[::3]) == whole[::3]
    # one uniform number decides a token on either device: only one near the edge of two can differ
    alike = [a == b for a, b in zip(drawn(lm, requests()), whole, strict=True)]
    assert np.mean(alike) >= 0.9


def test_an_extrapolation_and_other_temperatures_run_there(lm, device):
    there = moved(lm, device)
    tilted = Extrapolation(origin=there, strength=2.0)  # away from itself: its own law
    assert drawn(there, requests(), extrapolation=tilted) == drawn(there, requests())
    assert drawn(there, requests(), temperature=0.7) == drawn(there, requests(), temperature=0.7)


SPEC = TrainingSpec(steps=4, batch_size=8, learning_rate=3e-3, evaluate_every=1, checkpoint_every=4)


def test_sft_takes_the_steps_of_a_plain_loop(lm, tmp_path, device):
    """The loop runs on the CPU; where there is a GPU, accelerate trains there, in mixed precision."""
    rows = texts.examples(SPEC.batch_size, VOCABULARY, seed=7)  # one batch, so that order is none
    plain, tokens = copy.deepcopy(lm), sum(len(each.ids) - each.start for each in rows)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=SPEC.learning_rate, weight_decay=SPEC.weight_decay)
    expected = []
    for _ in range(SPEC.steps):
        optimizer.zero_grad()
        total = sum(nll(plain, each) for each in rows) / tokens
        total.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), SPEC.max_grad_norm)
        optimizer.step()
        expected.append(total.item())
    spec = SPEC.model_copy(update={"schedule": "constant", "warmup_steps": 0})
    fitted, result = fine_tune(
        moved(lm, device), rows, validation=rows, training=spec, seed=0, workspace=tmp_path
    )
    slack = 5e-2 if distributed.on_gpu() else 1e-4
    np.testing.assert_allclose([each.training_loss for each in result], expected, atol=slack)
    assert expected[-1] < expected[0] - 0.05 and fitted.device.type == _trains_on()


def test_a_reward_model_tells_its_pairs_apart(lm, tmp_path, device):
    rows = texts.pairs(8, VOCABULARY, seed=8)
    pairs = [
        Pair(high._replace(ids=(*high.ids[:-1], 5)), low._replace(ids=(*low.ids[:-1], 6)))
        for high, low in rows
    ]
    spec = SPEC.model_copy(
        update={"steps": 30, "learning_rate": 1e-2, "evaluate_every": 30, "checkpoint_every": 30}
    )
    model, result = fit(
        RewardModel(moved(lm, device).base_model),
        pairs,
        validation=pairs,
        loss="bradley_terry",
        training=spec,
        seed=0,
        workspace=tmp_path,
    )
    assert result[-1].validation_loss < 0.2
    high, low = (rewards(model, [getattr(pair, side) for pair in pairs]) for side in ("high", "low"))
    assert (high > low).all() and next(model.parameters()).device.type == _trains_on()


def _trains_on():
    return "cuda" if distributed.on_gpu() else "cpu"  # accelerate trains there, wherever a model lay before


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", SHAPES)
def test_half_precision_knows_the_log_probabilities_of_what_it_draws(architecture):
    lm = built(architecture).to("cuda", torch.bfloat16)
    result = sample(lm, requests(), seed=0, eos_id=EOS, max_new_tokens=ROOM)
    rows = join([each.ids for each in requests()], [each.ids for each in result], eos_id=None, context=160)
    np.testing.assert_allclose(
        [each.logprob for each in result], sequence_logprobs(lm, rows), rtol=2e-2, atol=0.5
    )
