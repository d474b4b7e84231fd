"""A tiny model to train, and short settings."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import launched
import pytest
import torch

from afd_study.models.batches import Example
from afd_study.models.policy import from_scratch
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import ModelSpec, TrainingSpec
from afd_study.models.tokenizers import EOS, word_tokenizer
from afd_study.theory.token_mdp import TokenMDP

CONFIG = {**launched.CONFIG, "n_layer": 1}


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


@pytest.fixture
def gradients(monkeypatch):
    """Record the gradients of each optimiser step: a list per run of vectors, one vector per step.

    Tests that compare two runs compare these, not the weights behind Adam. Adam divides by the root of the
    second moment, so a gradient that is nothing but rounding moves its weight by a whole learning rate, in a
    direction that depends on the processor.
    """
    runs = []

    class Recorder(torch.optim.SGD):
        def __init__(self, parameters, **_):
            super().__init__(parameters, lr=1e-3)
            runs.append([])

        def step(self, *args, **kwargs):
            weights = [weight for group in self.param_groups for weight in group["params"]]
            runs[-1].append(torch.cat([weight.grad.flatten() for weight in weights]))
            return super().step(*args, **kwargs)

    monkeypatch.setattr(torch.optim, "AdamW", Recorder)
    return runs


@pytest.fixture(scope="session")
def assert_same_gradient():
    """Return a function that compares gradients to 1e-5 of the largest entry, a hundred float32 roundings."""

    def compare(actual, expected):
        largest = float(expected.abs().max())
        assert largest > 1e-3, "the test needs gradients that are far from zero"
        torch.testing.assert_close(actual, expected, atol=1e-5 * largest, rtol=0)

    return compare


@pytest.fixture(scope="session")
def listed():
    """A world of two words and at most three tokens: models speak in it, and every response is listed."""
    tokenizer, world, prompt = word_tokenizer(["a", "b"]), TokenMDP(vocab_size=3, horizon=3), (3,)
    ids = [*tokenizer.convert_tokens_to_ids(["a", "b", EOS]), None]
    responses = [tuple(ids[token] for token in row if token >= 0) for row in world.responses().tolist()]
    examples = [Example(prompt + response, len(prompt)) for response in responses]

    def model(seed, scale=0.3):
        config = {**CONFIG, "n_positions": 8, "initializer_range": scale}
        return from_scratch(ModelSpec(config=config), tokenizer, seed)

    def law(lm):
        mass = torch.from_numpy(sequence_logprobs(lm, examples)).exp()
        assert abs(mass.sum() - 1) < 1e-5
        return mass / mass.sum()

    places = {example: place for place, example in enumerate(examples)}

    def index(responses):
        return torch.tensor([places[example] for example in responses])

    return SimpleNamespace(
        world=world,
        examples=examples,
        prompts={"p": prompt},
        model=model,
        law=law,
        index=index,
        eos_id=tokenizer.eos_token_id,
    )
