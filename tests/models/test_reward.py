"""Rewards read the response's last token and nothing else: not the batch, not the padding, not the order."""

import numpy as np
import pytest
import torch

from afd_study.models.batches import Example, collate, join
from afd_study.models.reward import load_reward_model, on_backbone, rewards, save_reward_model
from afd_study.models.tokenizers import word_tokenizer

EOS, MARK = 1, 27


@pytest.fixture(scope="module")
def reader(tokenizer):
    words = [f"w{number}" for number in range(24)]
    reader = word_tokenizer(words, marks=["¶"])
    assert len(reader) == len(tokenizer) + 1 and reader.get_vocab()["¶"] == MARK
    return reader


@pytest.fixture
def model(lm, reader, build):
    """A reward model with a random head, on a copy of each architecture."""
    model = on_backbone(build(lm.config.model_type), reader).eval()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    return model


def examples(n=20, seed=0):
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(3, 28, size=rng.integers(1, 7)).tolist() for _ in range(n)]
    responses = [[*rng.integers(3, 28, size=rng.integers(0, 9)).tolist(), EOS] for _ in range(n)]
    return join(prompts, responses, eos_id=None, context=64)


def test_a_reward_is_the_head_on_the_last_tokens_state(model):
    rows = examples(8)
    with torch.no_grad():
        expected = [
            float(model.head(model.backbone(input_ids=torch.tensor([row.ids])).last_hidden_state[0, -1]))
            for row in rows
        ]
    np.testing.assert_allclose(rewards(model, rows), expected, atol=1e-5)
    assert np.std(expected) > 0.1


def test_neither_batch_nor_padding_changes_a_reward(model):
    rows = examples()
    alone = np.array([rewards(model, [row])[0] for row in rows])
    for max_tokens in (1, 50, 10**6):
        np.testing.assert_allclose(rewards(model, rows, max_tokens=max_tokens), alone, rtol=1e-5, atol=1e-5)
    order = np.random.default_rng(1).permutation(len(rows))
    np.testing.assert_allclose(rewards(model, [rows[i] for i in order]), alone[order], rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        for padding in (0, EOS, 9, MARK):
            np.testing.assert_allclose(model(collate(rows, padding)), alone, rtol=1e-5, atol=1e-5)


def test_the_whole_response_counts(model):
    base = (5, 6, 7, 8, EOS)
    others = [(5, 6, 7, 8), (5, 6, 7, 9, EOS), (5, 6, 7, 8, MARK, EOS), (5, 7, 7, 8, EOS), (4, 6, 7, 8, EOS)]
    result = rewards(model, [Example(ids, 2) for ids in (base, *others)])
    assert (np.abs(result[1:] - result[0]) > 1e-3).all()


def test_a_fresh_model_has_no_opinion_and_marks_start_at_the_mean(build, reader):
    lm = build("gpt2", seed=2)
    before = lm.get_input_embeddings().weight.detach().clone()
    model = on_backbone(lm, reader)
    assert (rewards(model, examples(5)) == 0).all()
    weight = model.backbone.get_input_embeddings().weight
    assert weight.shape[0] == len(reader) and torch.equal(weight[:MARK], before)
    torch.testing.assert_close(weight[MARK], before.mean(0))
    again = on_backbone(build("gpt2", seed=2), reader)
    assert torch.equal(again.backbone.get_input_embeddings().weight, weight)


def test_a_reader_without_marks_leaves_the_embedding_alone(build, tokenizer):
    lm = build("gpt2", seed=2)
    before = lm.get_input_embeddings().weight.detach().clone()
    assert torch.equal(on_backbone(lm, tokenizer).backbone.get_input_embeddings().weight, before)


def test_saved_reward_models_give_the_same_rewards(model, tmp_path):
    rows = examples()
    save_reward_model(model, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "config.json",
        "reward_model.safetensors",
    }
    assert "_name_or_path" not in (tmp_path / "model" / "config.json").read_text()  # no path of this machine
    again = load_reward_model(tmp_path / "model")
    assert not again.training
    assert rewards(again, rows).tolist() == rewards(model, rows).tolist()


def test_dropout_is_off_while_rewarding(build, reader):
    model = on_backbone(build("gpt2", resid_pdrop=0.5), reader).train()
    torch.nn.init.normal_(model.head.weight)
    assert rewards(model, examples(4)).tolist() == rewards(model, examples(4)).tolist()
