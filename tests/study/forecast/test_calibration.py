"""Rates follow from seconds of a layer and of a head by hand; no test here asks how long anything takes."""

from itertools import count

import pytest
import torch
from transformers import GemmaConfig, GPT2Config, LlamaConfig

from afd_study.models.specs import LoRASpec
from afd_study.study.forecast import calibration
from afd_study.study.forecast.calibration import LAYERS, MOST, PROMPTS, few_layers, measure
from afd_study.study.forecast.model_shapes import shape_of

SMALL = {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 3, "vocab_size": 50}
CONFIGS = {
    "llama": LlamaConfig(**SMALL, num_hidden_layers=5, num_key_value_heads=1, tie_word_embeddings=True),
    "gpt2": GPT2Config(n_embd=24, n_layer=5, n_head=3, vocab_size=50),
    "gemma": GemmaConfig(**SMALL, num_hidden_layers=5, num_key_value_heads=1, head_dim=8),
}
TOKENS = 16


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_few_layers_are_of_the_policys_shape(name, weights):
    shape = shape_of(CONFIGS[name], weights=weights, published="float32")
    lm = few_layers(CONFIGS[name], shape)
    assert lm.config.num_hidden_layers == LAYERS < CONFIGS[name].num_hidden_layers == 5
    assert lm.dtype == getattr(torch, weights)
    assert lm.get_output_embeddings().weight.shape == (shape.vocabulary, shape.width)
    assert all(bool(each.isfinite().all()) for each in lm.parameters())
    own, rest = (shape_of(lm.config, weights=weights, published=weights), shape.layers - LAYERS)
    block = sum(each.numel() for each in calibration._blocks(lm)[0].parameters())
    assert own.parameters + rest * block == shape.parameters


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("lora", [None, LoRASpec(r=2)])
def test_rates_follow_from_the_clock_alone(name, lora):
    """A clock that goes on by a second at each look: each pass takes one, whatever it is."""
    shape = shape_of(CONFIGS[name], weights="float32", published="float32")
    ticks = count()
    threads = torch.get_num_threads()
    rates = measure(CONFIGS[name], shape, tokens=TOKENS, lora=lora, clock=lambda: float(next(ticks)))
    rows, texts = MOST // PROMPTS * PROMPTS, MOST // (PROMPTS * TOKENS) * PROMPTS * TOKENS
    flops, deep = 2 * shape.parameters, shape.layers / LAYERS
    assert rates.drawing == pytest.approx(flops / (deep / rows + 1 / MOST))
    assert rates.scoring == pytest.approx(flops / (deep / texts))
    assert rates.logprobs == pytest.approx(flops / (deep / texts + 1 / MOST))
    assert rates.training == pytest.approx(3 * flops / (deep / MOST + 1 / MOST))
    assert rates.of("judging") == rates.of("scoring") == rates.scoring
    assert torch.get_num_threads() == threads


def test_a_pass_of_a_large_model_takes_fewer_tokens():
    assert calibration._fitting(1) == MOST
    assert calibration._fitting(10**12) == calibration.FEWEST
    assert 100 < calibration._fitting(50_000_000) < MOST
