"""A tiny model to train, and short settings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from afd_study.models.policy import from_scratch
from afd_study.models.specs import ModelSpec, TrainingSpec
from afd_study.models.tokenizers import word_tokenizer

CONFIG = {
    "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 32, "initializer_range": 0.1,
    "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer():
    return word_tokenizer([f"w{number}" for number in range(24)], marks=["¶"])


@pytest.fixture
def lm(tokenizer):
    return from_scratch(ModelSpec(config=CONFIG), tokenizer, 0)


@pytest.fixture(scope="session")
def spec() -> Callable[..., TrainingSpec]:
    def make(**settings: Any) -> TrainingSpec:
        options = {
            "steps": 30,
            "batch_size": 8,
            "learning_rate": 5e-3,
            "evaluate_every": 10,
            "checkpoint_every": 10,
        }
        return TrainingSpec(**{**options, **settings})

    return make
