"""SFT descends the forward KL: responses weigh the same, the end mark is learned, the prompt is not."""

import copy

import numpy as np
import pytest
import torch

from afd_study.errors import DataError
from afd_study.methods.sft import fine_tune, response_tokens
from afd_study.models.batches import Example, join
from afd_study.models.decoding import Request, sample
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import LoRASpec

EOS = 1


def demonstrations(n=32, seed=0, longest=12):
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(3, 27, size=3).tolist() for _ in range(n)]
    responses = [[*rng.integers(3, 27, size=rng.integers(0, longest)).tolist(), EOS] for _ in range(n)]
    return join(prompts, responses, eos_id=None, context=32)


def weights(lm):
    return {name: weight.detach().clone() for name, weight in lm.named_parameters()}


def test_losses_are_in_nats_a_token_of_the_whole_data_set(lm, spec, tmp_path):
    """Steps of short and of long responses average to the data set's NLL a token: all have one constant.

    Dividing each step by its own number of tokens would give a larger weight to short responses.
    """
    examples = demonstrations(32)
    total, tokens = -sequence_logprobs(lm, examples).sum(), sum(map(response_tokens, examples))
    _, evaluations = fine_tune(
        lm,
        examples,
        validation=examples,
        seed=0,
        workspace=tmp_path,
        training=spec(steps=4, batch_size=8, learning_rate=1e-12, evaluate_every=4, checkpoint_every=4),
    )
    assert evaluations[0].training_loss == pytest.approx(total / tokens, abs=1e-5)
    assert evaluations[0].validation_loss == pytest.approx(total / tokens, abs=1e-5)
    each = [-sequence_logprobs(lm, [row])[0] / response_tokens(row) for row in examples]
    assert abs(np.mean(each) - total / tokens) > 1e-3, "the two means must differ for the test to see it"


@pytest.mark.parametrize("size", [1, 3])
def test_one_step_of_eight_is_eight_steps_of_one_summed(
    lm, spec, tmp_path, gradients, assert_same_gradient, size
):
    examples, losses = demonstrations(16), []
    for micro in (None, size):
        # not clipped: clipping would hide a wrong scale
        training = spec(
            steps=1, evaluate_every=1, checkpoint_every=1, micro_batch_size=micro, max_grad_norm=1e9
        )
        _, evaluations = fine_tune(
            copy.deepcopy(lm),
            examples,
            validation=examples,
            training=training,
            seed=0,
            workspace=tmp_path / str(micro),
        )
        losses.append(evaluations[0].training_loss)
    [whole], [parts] = gradients
    assert_same_gradient(parts, whole)
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)


def test_what_is_shown_is_learned_with_its_end_and_the_prompt_is_not(lm, spec, tmp_path):
    prompt, response = (5, 6, 7), (20, 21, 22, EOS)
    examples = [Example(prompt + response, 3)] * 16
    before = sequence_logprobs(lm, [Example(prompt, 1)])[0]
    fitted, evaluations = fine_tune(
        lm, examples, validation=examples[:2], training=spec(steps=60), seed=0, workspace=tmp_path
    )
    assert evaluations[-1].validation_loss < 0.1 < evaluations[0].validation_loss
    answers = sample(fitted, [Request("p", prompt, 0)], seed=0, eos_id=EOS, max_new_tokens=8, temperature=0)
    assert answers[0].ids == response  # it knows where to stop
    assert sequence_logprobs(fitted, [Example(prompt, 1)])[0] < before + 1  # 2 words at about log 24 each


def test_pretraining_reads_the_prompt_too(lm, spec, tmp_path):
    examples = [Example((5, 6, 7, 20, EOS), 1)] * 16
    fitted, _ = fine_tune(
        lm, examples, validation=examples[:2], training=spec(steps=60), seed=0, workspace=tmp_path
    )
    assert sequence_logprobs(fitted, [Example((5, 6, 7), 1)])[0] > -0.2


def test_the_returned_policy_has_the_lowest_validation_loss(lm, spec, tmp_path):
    examples, held_out = demonstrations(16), demonstrations(16, seed=1)
    fitted, evaluations = fine_tune(
        lm,
        examples,
        validation=held_out,
        training=spec(steps=80, learning_rate=2e-2),
        seed=0,
        workspace=tmp_path,
    )
    losses = [each.validation_loss for each in evaluations]
    assert min(losses) < losses[-1], "the test needs an overfit"
    tokens = sum(map(response_tokens, held_out))
    assert -sequence_logprobs(fitted, held_out).sum() / tokens == pytest.approx(min(losses), abs=1e-5)


def test_equal_seeds_give_equal_bits(lm, spec, tmp_path):
    examples = demonstrations()
    options = {"validation": examples[:4], "training": spec()}
    first, again, other = (
        weights(fine_tune(copy.deepcopy(lm), examples, seed=seed, workspace=tmp_path / name, **options)[0])
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_adapters_are_merged_into_the_weights_that_they_adapt(lm, spec, tmp_path):
    examples = demonstrations()
    before = weights(lm)
    options = {"validation": examples, "training": spec(learning_rate=2e-2), "seed": 0, "lora": LoRASpec(r=4)}
    fitted, evaluations = fine_tune(copy.deepcopy(lm), examples, workspace=tmp_path / "a", **options)
    after = weights(fitted)
    assert set(after) == set(before)  # the plain model again
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.endswith("c_attn.weight") for name in changed)
    tokens = sum(map(response_tokens, examples))
    best = min(each.validation_loss for each in evaluations)
    assert -sequence_logprobs(fitted, examples).sum() / tokens == pytest.approx(best, abs=1e-4)
    assert best < -sequence_logprobs(lm, examples).sum() / tokens - 0.01
    torch.manual_seed(99)
    again, _ = fine_tune(copy.deepcopy(lm), examples, workspace=tmp_path / "b", **options)
    assert all(torch.equal(weight, after[name]) for name, weight in weights(again).items())


def test_too_few_demonstrations_are_refused(lm, spec, tmp_path):
    examples = demonstrations(4)
    with pytest.raises(DataError, match="4 examples do not fill a batch of 8"):
        fine_tune(lm, examples, validation=examples, training=spec(), seed=0, workspace=tmp_path)
    with pytest.raises(DataError, match="there are no demonstrations"):
        fine_tune(lm, [], validation=examples, training=spec(), seed=0, workspace=tmp_path)
    with pytest.raises(DataError, match="there are no validation demonstrations"):
        fine_tune(lm, examples, validation=[], training=spec(), seed=0, workspace=tmp_path)


def test_a_run_that_stops_is_the_whole_run_up_to_there(lm, spec, tmp_path):
    """The rates and batches are those of all steps: the weights are the whole run's own, to the last bit."""
    examples, kept = demonstrations(32), {}

    def run(model, training, name, **how):
        settings = {"validation": examples, "seed": 0, "workspace": tmp_path / name, "training": training}
        return fine_tune(model, examples, **settings, **how)[1]

    def note(step, text):
        kept[step] = weights(whole)

    whole, part, short = (copy.deepcopy(lm) for _ in range(3))
    ends = {"evaluate_every": 3, "checkpoint_every": 3}
    run(whole, spec(steps=8, evaluate_every=8, checkpoint_every=8), "whole", progress=note)
    evaluations = run(part, spec(steps=8, **ends), "part", stop=3)
    run(short, spec(steps=3, **ends), "short")
    assert [each.step for each in evaluations] == [3]
    for name, value in weights(part).items():
        assert torch.equal(value, kept[3][name]), name
    assert any(not torch.equal(value, kept[3][name]) for name, value in weights(short).items())
