"""A reward that is linear in frozen features: the body stays, and the head finds the least loss."""

import copy

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from afd_study.methods.reward_model import fit
from afd_study.models.batches import Example, Pair, collate
from afd_study.models.reward import on_backbone
from afd_study.models.scoring import last_hidden

EOS = 1


def pairs(n, seed):
    """Pairs whose high side ends in other words than the low side, more often than not."""
    rng = np.random.default_rng(seed)

    def example(prompt, shift):
        ids = (rng.integers(3, 15, size=4) + shift).tolist()
        return Example((*prompt, *ids, EOS), len(prompt))

    prompts = [tuple(rng.integers(3, 19, size=2).tolist()) for _ in range(n)]
    return [Pair(example(prompt, 3), example(prompt, 0)) for prompt in prompts]


def weights_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture(params=["all", "head"])
def fitted(request, lm, tokenizer, spec, tmp_path):
    model = on_backbone(copy.deepcopy(lm), tokenizer)
    before = weights_of(model.backbone)
    fit(
        model,
        pairs(32, 0),
        validation=pairs(16, 1),
        loss="bradley_terry",
        training=spec(steps=20),
        seed=0,
        workspace=tmp_path,
        trained=request.param,
    )
    return request.param, model, before


def test_the_body_stays_and_the_head_moves(fitted):
    trained, model, before = fitted
    after = weights_of(model.backbone)
    assert all(torch.equal(before[name], after[name]) for name in before) == (trained == "head")
    assert model.head.weight.abs().max() > 0
    assert all(weight.requires_grad for weight in model.backbone.parameters())


def test_it_comes_to_the_least_loss_that_a_linear_reward_has(lm, tokenizer, spec, tmp_path):
    items, held_out = pairs(64, 0), pairs(64, 0)
    model = on_backbone(lm, tokenizer)
    with torch.no_grad():
        sides = [last_hidden(model.backbone, collate([pair[side] for pair in items])) for side in (0, 1)]
    difference = (sides[0] - sides[1]).double().numpy()

    def loss(weights):
        return np.logaddexp(0, -difference @ weights).mean()

    best = minimize(loss, np.zeros(difference.shape[1]), method="L-BFGS-B", options={"maxiter": 40}).fun
    _, evaluations = fit(
        model,
        items,
        validation=held_out,
        loss="bradley_terry",
        training=spec(
            steps=400, learning_rate=0.1, weight_decay=0.0, evaluate_every=50, checkpoint_every=400
        ),
        seed=0,
        workspace=tmp_path,
        trained="head",
    )
    reached = min(each.validation_loss for each in evaluations)
    assert best < 0.3 < np.log(2) and reached < best + 0.1


def test_a_frozen_body_is_read_without_dropout(lm, tokenizer):
    model = on_backbone(lm, tokenizer)
    assert model.train().backbone.training
    model.backbone.requires_grad_(False)
    assert model.train().training and not model.backbone.training
