"""A token is drawn where the cumulative law passes the row's own uniform number."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from afd_study.models.token_sampling import BLOCK, draw, uniforms

NEARLY_ONE = 1 - 2**-53


def test_uniform_numbers_belong_to_a_seed_a_prompt_and_a_draw():
    first = uniforms(0, "p", 1, 50)
    assert np.array_equal(first[:9], uniforms(0, "p", 1, 9)) and ((0 <= first) & (first < 1)).all()
    for other in (uniforms(1, "p", 1, 50), uniforms(0, "q", 1, 50), uniforms(0, "p", 2, 50)):
        assert not np.isclose(first, other).any()
    many = np.concatenate([uniforms(0, f"p{i}", j, 20) for i in range(20) for j in range(20)])
    assert chisquare(np.histogram(many, 20, (0, 1))[0]).pvalue > 0.01


def inverted(logits, noise, temperature=1.0):
    """The definition: the first token at which the law, summed up in float64, exceeds the number."""
    mass = (logits.double() / temperature).softmax(-1).cumsum(-1)
    return torch.searchsorted(mass, noise[:, None] * mass[:, -1:], right=True)[:, 0]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("size", [2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 7])
def test_tokens_are_those_of_the_law_inverted_as_it_is_defined(size, temperature):
    generator = torch.Generator().manual_seed(size)
    logits = 4 * torch.randn(2000, size, generator=generator)
    logits[torch.rand(logits.shape, generator=generator) < 0.2] = -torch.inf
    logits[:, size // 2] = 0.0  # something is always allowed
    noise = torch.rand(2000, generator=generator, dtype=torch.float64)
    token, logprob = draw(logits, noise, temperature)
    assert (token != inverted(logits, noise, temperature)).sum() <= 1  # a number within rounding of a border
    own = logits.double().log_softmax(-1).gather(1, token[:, None])[:, 0]
    torch.testing.assert_close(logprob, own, atol=2e-6, rtol=1e-6)


def test_at_temperature_0_it_is_the_likeliest():
    logits = torch.randn(50, 100, generator=torch.Generator().manual_seed(0))
    token, logprob = draw(logits, torch.rand(50, dtype=torch.float64), 0)
    assert torch.equal(token, logits.argmax(-1))
    torch.testing.assert_close(logprob, logits.double().log_softmax(-1).amax(-1), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_number_at_a_border_never_gives_a_token_of_no_probability(dtype):
    law = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0], dtype=dtype).log().expand(4, 5)
    noise = torch.tensor([0.0, 0.25, NEARLY_ONE, 0.2], dtype=torch.float64)
    assert draw(law, noise, 1.0)[0].tolist() == [1, 3, 3, 1]
    assert draw(law, noise, 0)[0].tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("size", [BLOCK, 2 * BLOCK, 2 * BLOCK + 1, 4 * BLOCK + 9])
def test_nor_does_one_at_the_border_of_a_block(size):
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(400, size, generator=generator)
    barred = torch.rand(logits.shape, generator=generator) < 0.9
    barred[:, [0, -1]] = True
    barred[:, 5] = False
    logits[barred] = -torch.inf
    mass = logits.double().softmax(-1).cumsum(-1)
    borders = mass.gather(1, torch.randint(0, size, (400, 1), generator=generator))[:, 0]
    ends = [torch.full((400,), each, dtype=torch.float64) for each in (0.0, NEARLY_ONE)]
    for noise in (borders.clamp(max=NEARLY_ONE), *ends):
        assert draw(logits, noise, 1.0)[1].isfinite().all()


def test_a_large_vocabulary_loses_no_mass():
    logits = torch.zeros(3, 250_000)
    noise = torch.tensor([0.1, 0.5, NEARLY_ONE], dtype=torch.float64)
    token, logprob = draw(logits, noise, 1.0)
    assert token.tolist() == [25_000, 125_000, 249_999]
    torch.testing.assert_close(logprob, torch.full((3,), -np.log(250_000)).double(), atol=1e-6, rtol=0)
