"""Log-probabilities at a temperature: over all responses, whole and cut, they sum to one."""

import itertools

import numpy as np
import pytest

from afd_study.errors import SpecError
from afd_study.models.batches import Example
from afd_study.models.decoding import Request, sample
from afd_study.models.policy import from_scratch
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import ModelSpec
from afd_study.models.tempered import tempered_logprobs
from afd_study.models.tokenizers import word_tokenizer

WORDS, HORIZON = ("no", "yes", "sir"), 3


@pytest.fixture(scope="module")
def model():
    """A model of sharp random laws, its prompt, and every response to it: ended, or cut at the horizon."""
    tokenizer = word_tokenizer(WORDS)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    spec = ModelSpec(architecture="llama", config={**sizes, "initializer_range": 0.2})
    lm = from_scratch(spec, tokenizer, 3)
    end, prompt = tokenizer.eos_token_id, tuple(tokenizer.convert_tokens_to_ids(["sir"]))
    ids = [end, *tokenizer.convert_tokens_to_ids(list(WORDS))]
    every = [
        each[: each.index(end) + 1] if end in each else each
        for each in itertools.product(ids, repeat=HORIZON)
    ]
    return lm, end, prompt, list(dict.fromkeys(every))


def logprobs(model, temperature):
    lm, _, prompt, every = model
    examples = [Example((*prompt, *ids), len(prompt)) for ids in every]
    return tempered_logprobs(lm, examples, temperature=temperature)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_responses_with_an_end_mark_and_cut_ones_without_sum_to_one(model, temperature):
    _, end, _, every = model
    values = logprobs(model, temperature)
    assert np.exp(values).sum() == pytest.approx(1, abs=1e-5)
    cut = np.array([ids[-1] != end for ids in every])
    assert 0.01 < np.exp(values[cut]).sum() < 0.99, "both kinds are tried"


@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_samples_at_a_temperature_follow_that_law_and_no_other(model, temperature):
    lm, end, prompt, every = model
    requests = [Request("p", prompt, draw) for draw in range(4000)]
    drawn = sample(lm, requests, seed=0, eos_id=end, max_new_tokens=HORIZON, temperature=temperature)
    counts = np.array([sum(each.ids == ids for each in drawn) for ids in every]) / len(drawn)
    law, other = np.exp(logprobs(model, temperature)), np.exp(logprobs(model, 1.0))
    assert np.abs(counts - law).max() < 4 * np.sqrt(0.25 / len(drawn)) < np.abs(counts - other).max()


def test_at_temperature_one_it_is_the_models_own_law(model):
    lm, _, prompt, every = model
    examples = [Example((*prompt, *ids), len(prompt)) for ids in every]
    assert (logprobs(model, 1.0) == sequence_logprobs(lm, examples)).all()
    assert logprobs(model, 1 + 1e-9) == pytest.approx(logprobs(model, 1.0), abs=1e-5)


def test_a_temperature_of_nought_is_refused(model):
    with pytest.raises(SpecError, match="above 0"):
        logprobs(model, 0.0)
