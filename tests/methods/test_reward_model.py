"""Both losses raise the high side, and a reward model learns to separate the sides."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from afd_study.errors import DataError, SpecError
from afd_study.methods import reward_model
from afd_study.methods.reward_model import accuracy, both_sides, fit, forks, pair_loss, training_loss
from afd_study.models.batches import Example, Pair, collate
from afd_study.models.reward import on_backbone, rewards
from afd_study.models.specs import LoRASpec
from afd_study.models.training import TrainingError

EOS, GOOD, BAD = 1, 20, 21
LOSSES = ("discriminator_bce", "bradley_terry")


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("loss", LOSSES)
def test_knowing_nothing_costs_log_two_a_pair(loss):
    zeros = torch.zeros(6, dtype=torch.float64)
    assert float(pair_loss(loss, high=zeros, low=zeros, constant=6)) == pytest.approx(math.log(2))
    assert float(pair_loss(loss, high=zeros, low=zeros, constant=12)) == pytest.approx(math.log(2) / 2)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_to_score_high_is_pushed_up(loss):
    high, low = tensor(0.3, -0.2).requires_grad_(), tensor(0.1, 0.4).requires_grad_()
    pair_loss(loss, high=high, low=low, constant=2).backward()
    assert (high.grad < 0).all() and (low.grad > 0).all()
    right = pair_loss(loss, high=tensor(3.0), low=tensor(-3.0), constant=1)
    wrong = pair_loss(loss, high=tensor(-3.0), low=tensor(3.0), constant=1)
    assert float(right) < math.log(2) < float(wrong)


def test_an_unknown_loss_is_refused_with_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'bradley_terry'"):
        pair_loss("bradley_tery", high=tensor(1.0), low=tensor(0.0), constant=1)


def test_losses_by_hand():
    high, low = tensor(1.0, -0.5), tensor(0.25, 2.0)

    def log1pexp(x):
        return math.log1p(math.exp(x))

    singles = [log1pexp(-1.0), log1pexp(0.5), log1pexp(0.25), log1pexp(2.0)]
    loss = pair_loss("discriminator_bce", high=high, low=low, constant=2)
    assert float(loss) == pytest.approx(sum(singles) / 4)
    loss = pair_loss("bradley_terry", high=high, low=low, constant=2)
    assert float(loss) == pytest.approx((log1pexp(-0.75) + log1pexp(2.5)) / 2)


def test_accuracies_by_hand():
    high, low = np.array([2.0, -1.0, 0.5, 0.0]), np.array([-1.0, -2.0, 1.0, 0.0])
    # right singles: high > 0 twice of four, low < 0 twice of four
    assert accuracy("discriminator_bce", high=high, low=low) == 0.5
    # right pairs: the first two, and half of the tie
    assert accuracy("bradley_terry", high=high, low=low) == 2.5 / 4
    assert accuracy("discriminator_bce", high=high + 9, low=low - 9) == 1
    assert accuracy("bradley_terry", high=low - 9, low=high + 9) == 0


def easy_pairs(n, seed=0):
    """Pairs of which the high side holds GOOD somewhere, and the low side BAD."""
    rng = np.random.default_rng(seed)

    def example(prompt, word):
        words = rng.integers(3, 19, size=rng.integers(1, 6)).tolist()
        words.insert(rng.integers(len(words) + 1), word)
        return Example((*prompt, *words, EOS), len(prompt))

    prompts = [tuple(rng.integers(3, 19, size=2).tolist()) for _ in range(n)]
    return [Pair(example(prompt, GOOD), example(prompt, BAD)) for prompt in prompts]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_reward_model_learns_what_tells_the_sides_apart(lm, tokenizer, spec, tmp_path, loss):
    model, evaluations = fit(
        on_backbone(lm, tokenizer),
        easy_pairs(64),
        validation=easy_pairs(16, seed=1),
        loss=loss,
        training=spec(steps=80),
        seed=0,
        workspace=tmp_path,
    )
    held_out = easy_pairs(40, seed=2)
    high, low = both_sides(model, held_out)
    assert accuracy(loss, high=high, low=low) > 0.95 and (high - low).mean() > 2
    assert evaluations[0].step == 10 and evaluations[-1].validation_loss < 0.2
    # kept at its lowest validation loss, in nats a pair
    best = min(each.validation_loss for each in evaluations)
    high, low = (torch.tensor(side) for side in both_sides(model, easy_pairs(16, seed=1)))
    assert float(pair_loss(loss, high=high, low=low, constant=16)) == pytest.approx(best, abs=1e-5)


def test_batches_hold_pairs_whose_rows_are_about_as_long(lm, tokenizer, spec, tmp_path, monkeypatch):
    rows = []
    monkeypatch.setattr(
        reward_model,
        "training_loss",
        lambda name, module, items, constant: (
            rows.append([len(pair.high.ids) + len(pair.low.ids) - pair.high.start for pair in items])
            or next(module.parameters()).sum()
        ),
    )
    fit(
        on_backbone(lm, tokenizer),
        easy_pairs(64),
        validation=easy_pairs(8),
        loss="bradley_terry",
        training=spec(steps=8, batch_size=8),
        seed=0,
        workspace=tmp_path,
    )
    rows.sort(key=min)
    assert all(max(shorter) <= min(longer) for shorter, longer in itertools.pairwise(rows))


@torch.no_grad()
@pytest.mark.parametrize("loss", LOSSES)
def test_reading_a_prompt_once_for_a_pair_leaves_the_loss_as_it_is(lm, tokenizer, loss):
    model = on_backbone(lm, tokenizer)
    torch.nn.init.normal_(model.head.weight)
    items = easy_pairs(9)
    assert forks(model, items) is (lm.config.model_type == "gpt2")
    high, low = (model(collate([pair[side] for pair in items])) for side in (0, 1))
    expected = float(pair_loss(loss, high=high, low=low, constant=9))
    assert float(training_loss(loss, model, items, constant=9)) == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("loss", LOSSES)
def test_in_mixed_precision_a_prompt_is_read_once_as_well(lm, tokenizer, loss):
    model, items = on_backbone(lm, tokenizer), easy_pairs(9)
    torch.nn.init.normal_(model.head.weight)
    exact = float(training_loss(loss, model, items, constant=9))
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)  # as accelerate wraps it
    found = float(training_loss(loss, model, items, constant=9))
    assert found == pytest.approx(exact, rel=0.05) and found != exact


@torch.no_grad()
def test_pairs_of_two_prompts_are_read_apart(lm, tokenizer):
    model = on_backbone(lm, tokenizer)
    torch.nn.init.normal_(model.head.weight)
    items = [
        Pair(high, low) for (high, _), (_, low) in zip(easy_pairs(9), easy_pairs(9, seed=1), strict=True)
    ]
    assert not forks(model, items)
    high, low = (model(collate([pair[side] for pair in items])) for side in (0, 1))
    expected = float(pair_loss("bradley_terry", high=high, low=low, constant=9))
    assert float(training_loss("bradley_terry", model, items, constant=9)) == pytest.approx(
        expected, abs=1e-5
    )


def test_both_sides_are_told_in_their_order(lm, tokenizer):
    model = on_backbone(lm, tokenizer)
    torch.nn.init.normal_(model.head.weight)
    items = easy_pairs(9)
    high, low = both_sides(model, items)
    np.testing.assert_allclose(high, [rewards(model, [pair.high])[0] for pair in items], atol=1e-5)
    np.testing.assert_allclose(low, [rewards(model, [pair.low])[0] for pair in items], atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_nats_a_pair_however_a_step_is_cut(lm, tokenizer, spec, tmp_path, loss):
    model = on_backbone(lm, tokenizer)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    items = easy_pairs(16)
    high, low = (torch.tensor(side) for side in both_sides(model, items))
    expected = float(pair_loss(loss, high=high, low=low, constant=16))
    for micro in (None, 1, 3):
        training = spec(
            steps=2, learning_rate=1e-12, evaluate_every=2, checkpoint_every=2, micro_batch_size=micro
        )
        _, evaluations = fit(
            copy.deepcopy(model),
            items,
            validation=items,
            loss=loss,
            training=training,
            seed=0,
            workspace=tmp_path / str(micro),
        )
        assert evaluations[0].training_loss == pytest.approx(expected, abs=1e-5)
        assert evaluations[0].validation_loss == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_do_not_depend_on_how_a_step_is_cut(
    lm, tokenizer, spec, tmp_path, gradients, assert_same_gradient, loss
):
    model = on_backbone(lm, tokenizer)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    items = easy_pairs(16)
    for micro in (None, 1, 3):
        # not clipped: clipping would hide a wrong scale
        training = spec(
            steps=1, evaluate_every=1, checkpoint_every=1, micro_batch_size=micro, max_grad_norm=1e9
        )
        fit(
            copy.deepcopy(model),
            items,
            validation=items[:4],
            loss=loss,
            training=training,
            seed=0,
            workspace=tmp_path / str(micro),
        )
    whole, *parts = (each[0] for each in gradients)
    for part in parts:
        assert_same_gradient(part, whole)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_infinite_reward_stops_its_step_even_where_it_costs_nothing(lm, tokenizer, spec, tmp_path, loss):
    model, steps = on_backbone(lm, tokenizer), []
    plain = model.forward

    def broken(batch):
        scores = plain(batch)
        end = torch.zeros_like(scores)
        steps.append(model.training)
        if sum(steps) == 3:  # the third step's high side; minus the logarithm of its sigmoid is 0
            end[::2] = torch.inf
        return scores + end

    model.forward = broken
    with pytest.raises(TrainingError, match="the loss is nan at step 2"):
        fit(
            model,
            easy_pairs(64),
            validation=easy_pairs(16, seed=1),
            loss=loss,
            training=spec(steps=8),
            seed=0,
            workspace=tmp_path,
        )
    assert (tmp_path / "batch-2.json").is_file()


def test_equal_seeds_give_equal_rewards(lm, tokenizer, spec, tmp_path):
    def fitted(name, seed):
        model, _ = fit(
            on_backbone(copy.deepcopy(lm), tokenizer),
            easy_pairs(32),
            validation=easy_pairs(8, seed=1),
            loss="bradley_terry",
            training=spec(steps=10),
            seed=seed,
            workspace=tmp_path / name,
        )
        return both_sides(model, easy_pairs(8, seed=2))[0].tolist()

    assert fitted("a", 0) == fitted("b", 0) != fitted("c", 1)


def test_adapters_train_with_the_head_and_are_merged(lm, tokenizer, spec, tmp_path):
    model = on_backbone(lm, tokenizer)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    validation = easy_pairs(16, seed=1)
    model, evaluations = fit(
        model,
        easy_pairs(64),
        validation=validation,
        loss="bradley_terry",
        lora=LoRASpec(r=4),
        training=spec(steps=40, learning_rate=2e-2),
        seed=0,
        workspace=tmp_path,
    )
    after = dict(model.named_parameters())
    assert set(after) == set(before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "backbone.h.0.attn.c_attn.weight"} | (changed & {"head.bias"})
    best = min(each.validation_loss for each in evaluations)
    high, low = (torch.tensor(side) for side in both_sides(model, validation))
    assert float(pair_loss("bradley_terry", high=high, low=low, constant=16)) == pytest.approx(best, abs=1e-4)
    assert best < 0.6


def test_too_few_pairs_are_refused(lm, tokenizer, spec, tmp_path):
    model = on_backbone(lm, tokenizer)
    options = {"loss": "bradley_terry", "training": spec(), "seed": 0, "workspace": tmp_path}
    with pytest.raises(DataError, match="4 examples do not fill a batch of 8"):
        fit(model, easy_pairs(4), validation=easy_pairs(2), **options)
    with pytest.raises(DataError, match="there are no validation pairs"):
        fit(model, easy_pairs(8), validation=[], **options)
