"""What is read behind a prompt is what is read with it, however many responses each prompt has."""

import numpy as np
import pytest
import torch

from afd_study.models.batches import Example
from afd_study.models.kernels import shared_prompt_scoring
from afd_study.models.reward import RewardModel, rewards
from afd_study.models.scoring import sequence_logprobs

EOS, COUNTS = 1, (9, 1, 6, 6, 2, 13)  # responses of each prompt


def examples(counts=COUNTS, seed=0):
    """Prompts of different lengths, their responses mixed, some of which are the end mark alone."""
    rng = np.random.default_rng(seed)
    result = []
    for place, count in enumerate(counts):
        prompt = (*rng.integers(3, 27, size=1 + place % 4).tolist(), 3 + place)
        for _ in range(count):
            said = (*rng.integers(3, 27, size=rng.integers(0, 9)).tolist(), EOS)
            result.append(Example(prompt + said, len(prompt)))
    return [result[i] for i in rng.permutation(len(result))]


def with_head(lm):
    model = RewardModel(lm.base_model)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(3))
    return model


@pytest.fixture
def one_by_one(monkeypatch):
    """Return a function that scores without prompts being shared."""

    def run(score, model, rows):
        with monkeypatch.context() as patch:
            patch.setattr(shared_prompt_scoring, "is_faster", lambda lm, items: False)
            return score(model, rows)

    return run


@pytest.mark.parametrize("max_tokens", [4096, 40, 1])  # all at once, in slices, a column at a time
@pytest.mark.parametrize("counts", [COUNTS, (4,), (4, 4, 4)])
@pytest.mark.parametrize("score", [rewards, sequence_logprobs])
def test_scores_are_those_without_sharing(build, one_by_one, monkeypatch, score, counts, max_tokens):
    lm, rows, calls, real = build("gpt2"), examples(counts), [], shared_prompt_scoring.behind_prompts

    def watched(lm, examples, run, **settings):
        calls.append(len(examples))
        return real(lm, examples, run, **settings)

    monkeypatch.setattr(shared_prompt_scoring, "behind_prompts", watched)
    model = with_head(lm) if score is rewards else lm
    values, expected = score(model, rows, max_tokens=max_tokens), one_by_one(score, model, rows)
    assert calls == [len(rows)] and np.ptp(expected) > 0.5
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_log_probabilities_of_every_architecture(lm, one_by_one):
    rows = examples(seed=2)
    np.testing.assert_allclose(
        sequence_logprobs(lm, rows), one_by_one(sequence_logprobs, lm, rows), atol=2e-4
    )


def test_one_block_is_enough_for_a_reward(build, one_by_one):
    model, rows = with_head(build("gpt2", n_layer=1)), examples(seed=4)
    np.testing.assert_allclose(rewards(model, rows), one_by_one(rewards, model, rows), atol=1e-4)


def test_a_score_hardly_depends_on_its_company(build):
    model, rows = with_head(build("gpt2")), examples(seed=5)
    all_at_once = rewards(model, rows)
    prompt = rows[0].ids[: rows[0].start]
    own = [i for i, each in enumerate(rows) if each.ids[: each.start] == prompt]
    np.testing.assert_allclose(rewards(model, [rows[i] for i in own]), all_at_once[own], atol=1e-4)


@pytest.mark.parametrize(("counts", "expected"), [((3, 3), False), ((1, 7), True), ((4,), True)])
def test_a_table_is_faster_from_a_few_responses_a_prompt(build, counts, expected):
    assert shared_prompt_scoring.is_faster(build("gpt2"), examples(counts)) is expected


def test_a_model_that_cannot_read_so_never_does(build):
    assert not shared_prompt_scoring.is_faster(
        build("gpt2", scale_attn_by_inverse_layer_idx=True), examples()
    )
