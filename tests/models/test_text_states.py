"""States and log-probabilities of one pass are those of transformers, whatever the batch and the prompts."""

import numpy as np
import pytest
import torch

from afd_study.errors import SpecError
from afd_study.models.batches import Example
from afd_study.models.kernels import shared_prompt_scoring
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.text_states import n_layers, text_states

EOS = 1


def rows(counts, seed=0):
    """Responses to several prompts, mixed; each ends with the end mark."""
    rng, result = np.random.default_rng(seed), []
    for place, count in enumerate(counts):
        prompt = (*rng.integers(3, 27, size=2 + place).tolist(), 3 + place)
        for _ in range(count):
            said = (*rng.integers(3, 27, size=rng.integers(0, 7)).tolist(), EOS)
            result.append(Example(prompt + said, len(prompt)))
    return [result[i] for i in rng.permutation(len(result))]


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "gemma"])
@pytest.mark.parametrize(("counts", "shared"), [((6, 5, 4), True), ((1, 1, 1), False)])
def test_one_pass_gives_what_the_model_gives_text_by_text(build, name, counts, shared):
    lm, examples = build(name), rows(counts)
    assert shared_prompt_scoring.is_faster(lm, examples) == shared
    found = text_states(lm, examples, layer=1, max_tokens=40)
    np.testing.assert_allclose(found.logprobs, sequence_logprobs(lm, examples), atol=1e-4)
    for place, example in enumerate(examples):
        with torch.no_grad():
            every = lm.base_model(input_ids=torch.tensor([example.ids]), output_hidden_states=True)
        own = every.hidden_states[1][0, example.start :].double().numpy()
        expected = np.concatenate([own.mean(0), own[-1]])
        np.testing.assert_allclose(found.states[place], expected, atol=2e-5)
    plain = text_states(lm, examples, layer=1, max_tokens=40, logprobs=False)
    assert np.array_equal(plain.states, found.states) and np.isnan(plain.logprobs).all()
    assert found.tokens.tolist() == [len(each.ids) - each.start for each in examples]


def test_batches_and_order_are_no_matter(build):
    lm, examples = build("llama"), rows((7, 6))
    whole, sliced = (text_states(lm, examples, layer=2, max_tokens=size) for size in (4096, 12))
    np.testing.assert_allclose(whole.states, sliced.states, atol=2e-5)
    back = text_states(lm, examples[::-1], layer=2)
    np.testing.assert_allclose(back.states[::-1], whole.states, atol=2e-5)
    np.testing.assert_allclose(back.logprobs[::-1], whole.logprobs, atol=1e-4)


def test_a_layer_that_there_is_not_is_refused_and_no_hook_stays(build):
    lm = build("llama")
    for layer in (0, 3):
        with pytest.raises(SpecError, match="blocks 1 to 2"):
            text_states(lm, rows((2,)), layer=layer)
    text_states(lm, rows((2,)), layer=n_layers(lm))
    assert not any(module._forward_hooks for module in lm.modules())
