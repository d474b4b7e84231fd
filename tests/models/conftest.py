"""Tiny random models of four architectures, with laws far from uniform."""

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from afd_study.models.policy import from_scratch
from afd_study.models.specs import ModelSpec
from afd_study.models.tokenizers import word_tokenizer

WIDTH = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.3,
    "max_position_embeddings": 64,
}
GPT2 = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "initializer_range": 0.3,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
CONFIGS = {
    "gpt2": GPT2,
    "llama": {**WIDTH, "num_key_value_heads": 2},
    "qwen2": {**WIDTH, "num_key_value_heads": 2},
    "gemma": {**WIDTH, "num_key_value_heads": 1, "head_dim": 8},
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def gradients():
    """Return what each optimiser step of the test was taken on: a list of gradients a step, clipped.

    Tests that compare two ways of training compare these. Weights would not do: Adam divides by the square
    root of a second moment, so where a gradient is nearly zero its rounding decides how a weight moves.
    """
    steps = []

    def note(optimizer, args, kwargs):
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        steps.append([weight.grad.clone() for weight in weights if weight.grad is not None])

    handle = register_optimizer_step_pre_hook(note)
    yield steps
    handle.remove()


@pytest.fixture(scope="session")
def tokenizer():
    return word_tokenizer([f"w{number}" for number in range(24)])


@pytest.fixture(scope="session")
def build(tokenizer):
    """Return a function that makes a fresh model: architecture, seed, further settings."""

    def make(architecture="gpt2", seed=0, **settings):
        spec = ModelSpec(architecture=architecture, config={**CONFIGS[architecture], **settings})
        return from_scratch(spec, tokenizer, seed)

    return make


@pytest.fixture(scope="session", params=CONFIGS)
def lm(request, build):
    """A model of each architecture in turn; not to be changed."""
    return build(request.param)
