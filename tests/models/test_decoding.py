"""Samples follow the policy's law, know their log-probability, and owe nothing to their batch."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from afd_study.errors import DataError, SpecError
from afd_study.models import decoding
from afd_study.models.batches import join
from afd_study.models.decoding import Extrapolation, Request, sample
from afd_study.models.scoring import response_kl, sequence_logprobs

EOS = 1
HORIZON = 14


def requests(n_prompts=6, draws=5, seed=0):
    rng = np.random.default_rng(seed)
    prompts = [tuple(rng.integers(3, 27, size=rng.integers(1, 6)).tolist()) for _ in range(n_prompts)]
    return [Request(f"p{i}", ids, draw) for i, ids in enumerate(prompts) for draw in range(draws)]


def drawn(lm, asked, **options):
    return sample(lm, asked, **{"seed": 3, "eos_id": EOS, "max_new_tokens": HORIZON, **options})


def assert_same(result, expected):
    assert [each.ids for each in result] == [each.ids for each in expected]
    np.testing.assert_allclose(
        [e.logprob for e in result], [e.logprob for e in expected], rtol=2e-6, atol=1e-5
    )


def test_recorded_log_probabilities_are_those_of_a_full_forward_pass(lm):
    asked = requests()
    result = drawn(lm, asked)
    rows = join([r.ids for r in asked], [each.ids for each in result], eos_id=None, context=64)
    np.testing.assert_allclose([each.logprob for each in result], sequence_logprobs(lm, rows), atol=1e-4)
    with torch.no_grad():  # and of the plainest forward pass there is
        for row, each in list(zip(rows, result, strict=True))[::7]:
            logits = lm(input_ids=torch.tensor([row.ids])).logits[0].double()
            logits[:, [0, 2]] = -torch.inf
            law = logits.log_softmax(-1)
            total = sum(float(law[t - 1, row.ids[t]]) for t in range(row.start, len(row.ids)))
            assert each.logprob == pytest.approx(total, abs=1e-4)


def test_responses_end_with_the_end_mark_or_at_the_horizon(lm):
    result = drawn(lm, requests(10, 8))
    ended = [each for each in result if each.ids[-1] == EOS]
    assert all(EOS not in each.ids[:-1] and not {0, 2} & set(each.ids) for each in result)
    assert all(len(each.ids) == HORIZON for each in result if each.ids[-1] != EOS)
    assert 5 < len(ended) < len(result), "the test needs responses of both kinds"
    assert len({len(each.ids) for each in ended}) > 3


def test_a_sample_does_not_depend_on_its_batch(lm):
    asked = requests()
    expected = drawn(lm, asked)
    for rows in (1, 3, 7):
        assert_same(drawn(lm, asked, max_rows=rows), expected)
    order = np.random.default_rng(1).permutation(len(asked))
    assert_same(drawn(lm, [asked[i] for i in order]), [expected[i] for i in order])
    assert_same(drawn(lm, asked[3::4]), expected[3::4])


@pytest.mark.parametrize("share", [0.0, 2.0])
def test_dropping_finished_rows_changes_nothing(lm, monkeypatch, share):
    asked = requests(8, 6, seed=2)
    expected = drawn(lm, asked)
    monkeypatch.setattr(decoding, "COMPACT_BELOW", share)  # never, and whenever one has ended
    assert_same(drawn(lm, asked), expected)


def test_a_longer_horizon_only_goes_on(lm):
    asked = requests(6, 4)
    short, long = drawn(lm, asked, max_new_tokens=5), drawn(lm, asked)
    assert [each.ids for each in short] == [each.ids[:5] for each in long]


def test_prompt_draw_and_seed_each_make_another_sample(build):
    lm = build("gpt2")
    ids = (5, 6, 7)
    asked = [Request("a", ids, 0), Request("a", ids, 1), Request("b", ids, 0), Request("a", ids, 0)]
    first, other_draw, other_name, again = drawn(lm, asked)
    assert first == again
    assert len({first.ids, other_draw.ids, other_name.ids, drawn(lm, asked[:1], seed=4)[0].ids}) == 4
    state = torch.get_rng_state()
    drawn(lm, asked)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_first_words_come_as_often_as_the_law_says(build, temperature):
    lm, n = build("gpt2", seed=4), 4000
    result = drawn(
        lm, [Request("p", (5, 6), draw) for draw in range(n)], max_new_tokens=1, temperature=temperature
    )
    with torch.no_grad():
        logits = lm(input_ids=torch.tensor([[5, 6]])).logits[0, -1].double()
    logits[[0, 2]] = -torch.inf
    law = (logits / temperature).softmax(-1).numpy()
    seen = np.bincount([each.ids[0] for each in result], minlength=len(law))
    common = law * n >= 8
    counts = [*seen[common], seen[~common].sum()]
    awaited = [*(law * n)[common], (law * n)[~common].sum()]
    kept = np.array(awaited) > 0
    assert not seen[law == 0].any()
    assert chisquare(np.array(counts)[kept], np.array(awaited)[kept]).pvalue > 0.01
    # whatever the temperature, what is recorded is the law of temperature 1
    plain = logits.log_softmax(-1)
    assert [e.logprob for e in result[:50]] == pytest.approx(
        [float(plain[e.ids[0]]) for e in result[:50]], abs=1e-4
    )


def test_the_likeliest_words_are_those_of_transformers_generate(lm):
    asked = requests(8, 1, seed=5)
    for request, each in zip(asked, drawn(lm, asked, temperature=0), strict=True):
        expected = lm.generate(
            torch.tensor([request.ids]),
            do_sample=False,
            max_new_tokens=HORIZON,
            eos_token_id=EOS,
            pad_token_id=0,
            attention_mask=torch.ones(1, len(request.ids)),
        )
        assert each.ids == tuple(expected[0, len(request.ids) :].tolist())


def test_dropout_is_off_while_sampling(build):
    lm = build("gpt2", resid_pdrop=0.5).train()
    assert drawn(lm, requests(2, 2)) == drawn(lm, requests(2, 2))


def test_progress_counts_all_responses(build):
    seen = []
    drawn(build("gpt2"), requests(4, 3), max_rows=2, progress=seen.append)
    assert seen == sorted(set(seen)) and seen[-1] == 12
    assert drawn(build("gpt2"), []) == []


def test_what_cannot_be_drawn_is_refused(build):
    lm = build("gpt2")
    with pytest.raises(DataError, match="a prompt of 60 tokens and 5 new ones exceed the context of 64"):
        drawn(lm, [Request("p", (5,) * 60, 0)], max_new_tokens=5)
    assert len(drawn(lm, [Request("p", (5,) * 60, 0)], max_new_tokens=4)[0].ids) <= 4
    for settings in ({"max_new_tokens": 0}, {"temperature": -1.0}):
        with pytest.raises(SpecError, match="must be >= 1"):
            drawn(lm, requests(1, 1), **settings)


def other(lm, scale=0.3):
    """A policy near another one."""
    moved = copy.deepcopy(lm)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in moved.parameters():
            weight.add_(scale * weight.std() * torch.randn(weight.shape, generator=generator))
    return moved


def test_an_extrapolation_of_strength_one_or_from_itself_is_the_policy(lm):
    asked = requests()
    expected = drawn(lm, asked)
    assert_same(drawn(lm, asked, extrapolation=Extrapolation(other(lm), 1.0)), expected)
    again = drawn(lm, asked, extrapolation=Extrapolation(copy.deepcopy(lm), 2.5))
    assert_same(again, expected)
    assert max(each.kl for each in again) < 1e-6 and all(each.kl == 0 for each in expected)


def test_an_extrapolation_is_tilted_token_by_token(lm):
    """The first token's law against the formula, by chi square; log-probability and KL against two passes."""
    origin, strength = other(lm), 2.0
    ids = (5, 9)
    asked = [Request("p", ids, draw) for draw in range(4000)]
    result = sample(
        lm, asked, seed=0, eos_id=EOS, max_new_tokens=1, extrapolation=Extrapolation(origin, strength)
    )
    with torch.no_grad():
        own, first = (model(input_ids=torch.tensor([ids])).logits[0, -1].double() for model in (lm, origin))
    own[[0, 2]] = first[[0, 2]] = -torch.inf
    own, first = own.log_softmax(-1), first.log_softmax(-1)
    tilted = torch.where(own > -torch.inf, strength * own + (1 - strength) * first, -torch.inf)
    tilted = tilted.log_softmax(-1)
    assert result[0].logprob == pytest.approx(float(tilted[result[0].ids[0]]), abs=1e-6)
    allowed = own > -torch.inf
    kl = float((tilted[allowed].exp() * (tilted - own)[allowed]).sum())
    assert kl > 0.05 and result[0].kl == pytest.approx(kl, abs=1e-6)
    counts = np.bincount([each.ids[0] for each in result], minlength=len(own))
    law, likely = tilted.exp().numpy(), tilted.exp().numpy() > 2e-3
    observed = [*counts[likely], counts[~likely].sum()]
    assert chisquare(observed, 4000 * np.array([*law[likely], law[~likely].sum()])).pvalue > 1e-3
    plain = own.exp().numpy()
    assert chisquare(observed, 4000 * np.array([*plain[likely], plain[~likely].sum()])).pvalue < 1e-9


def test_an_extrapolated_sample_does_not_depend_on_its_batch(lm):
    asked, tilt = requests(), Extrapolation(other(lm), 2.0)
    expected = drawn(lm, asked, extrapolation=tilt)
    result = drawn(lm, asked, extrapolation=tilt, max_rows=3)
    assert_same(result, expected)
    assert [each.kl for each in result] == pytest.approx([each.kl for each in expected], abs=1e-5)


def test_the_kl_along_samples_is_that_of_whole_responses(lm):
    """Its mean, and the mean of sampled log ratios, estimate one number; its spread is far smaller."""
    origin = other(lm)
    asked = [Request("p", (5, 9), draw) for draw in range(600)]
    result = drawn(lm, asked)
    rows = join([each.ids for each in asked], [each.ids for each in result], eos_id=None, context=64)
    exact = response_kl(lm, origin, rows)
    ratio = sequence_logprobs(lm, rows) - sequence_logprobs(origin, rows)
    error = np.hypot(exact.std(), ratio.std()) / np.sqrt(len(rows))
    assert exact.mean() > 0.3 and abs(exact.mean() - ratio.mean()) < 4 * error
    assert (exact > 0).all() and exact.std() < ratio.std()
    assert np.abs(response_kl(lm, lm, rows)).max() < 1e-9
    np.testing.assert_allclose(
        response_kl(lm, origin, rows[:7], max_tokens=20), exact[:7], rtol=1e-5, atol=1e-5
    )
