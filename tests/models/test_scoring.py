"""Log-probabilities are those of a plain forward pass, of response tokens only, whatever the batch."""

import numpy as np
import pytest
import torch

from afd_study.errors import SpecError
from afd_study.models.batches import Example, collate, join
from afd_study.models.policy import Policy, load_policy, save_policy
from afd_study.models.scoring import (
    TokenLogprobs,
    entropies,
    in_parts,
    refuse_unfit,
    response_laws,
    response_logprobs,
    sequence_logprobs,
)

EOS = 1


def examples(n=12, seed=0):
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(3, 27, size=rng.integers(1, 7)).tolist() for _ in range(n)]
    responses = [[*rng.integers(3, 27, size=rng.integers(0, 9)).tolist(), EOS] for _ in range(n)]
    return join(prompts, responses, eos_id=None, context=64)


def plainly(lm, example, *, banned=(0, 2)):
    """Log-probabilities of the response's tokens, one by one, from the model's own logits."""
    logits = lm(input_ids=torch.tensor([example.ids])).logits[0].double()
    logits[:, list(banned)] = -torch.inf
    law = logits.log_softmax(-1)
    return [float(law[place - 1, example.ids[place]]) for place in range(example.start, len(example.ids))]


@torch.no_grad()
def test_log_probabilities_are_those_of_a_plain_forward_pass(lm):
    rows = examples()
    result = response_logprobs(lm, collate(rows))
    for row, example in enumerate(rows):
        mine = result.values[result.rows == row].tolist()
        assert mine == pytest.approx(plainly(lm, example), abs=1e-4)
        assert len(mine) == len(example.ids) - example.start  # the end mark among them, no prompt token
    sums = [sum(plainly(lm, example)) for example in rows]
    np.testing.assert_allclose(result.per_response(len(rows)), sums, atol=1e-4)
    np.testing.assert_allclose(sequence_logprobs(lm, rows), sums, atol=1e-4)


@torch.no_grad()
def test_whole_laws_are_those_that_the_tokens_were_chosen_from(lm):
    batch = collate(examples())
    laws, chosen = response_laws(lm, batch)
    plain = response_logprobs(lm, batch)
    assert laws.shape == (len(plain.values), 27)
    torch.testing.assert_close(chosen.values, plain.values, atol=1e-5, rtol=0)
    assert torch.equal(chosen.rows, plain.rows)
    torch.testing.assert_close(laws.exp().sum(-1), torch.ones(len(laws)), atol=1e-5, rtol=0)
    each = -(laws.exp() * laws.masked_fill(laws.isinf(), 0)).sum(-1).double()
    expected = [float(each[plain.rows == row].sum()) for row in range(len(batch.ids))]
    assert entropies(lm, batch).tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("n", [1, 3, 14])  # fewer responses than parts, and parts of unequal size
@torch.no_grad()
def test_in_parts_is_as_at_once(lm, n):
    batch, widths = collate(examples(n, seed=3)), []

    def run(part):
        widths.append(part.ids.shape[1])
        return response_logprobs(lm, part), part.lengths.double() + part.ids[:, 0] / 100

    result, numbers = in_parts(batch, run)
    whole, expected = run(batch)
    assert isinstance(result, TokenLogprobs) and torch.equal(result.rows, whole.rows)
    torch.testing.assert_close(result.values, whole.values, atol=1e-5, rtol=0)
    assert torch.equal(numbers, expected)
    if n == 14:
        assert len(widths) == 5 and min(widths) < max(widths[:-1]) == widths[-1]  # padding is cut


@torch.no_grad()
def test_without_suppressed_tokens_the_law_is_the_models_own(build):
    model = build("llama", seed=3)
    model.generation_config.suppress_tokens = None
    example = examples(1, seed=4)[0]
    result = response_logprobs(model, collate([example])).values
    assert result.tolist() == pytest.approx(plainly(model, example, banned=()), abs=1e-4)


@torch.no_grad()
def test_the_law_has_no_padding_and_no_unknown_word(lm, tokenizer):
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.eos_token_id) == (0, 2, EOS)
    rows = [Example((5, 6, token), 2) for token in range(len(tokenizer))]
    law = np.exp(sequence_logprobs(lm, rows))
    assert law[0] == law[2] == 0 and (law[[1, *range(3, len(tokenizer))]] > 0).all()
    assert law.sum() == pytest.approx(1, abs=1e-5)
    assert law.max() > 0.15  # far from uniform, or these tests would see little


def test_neither_batch_nor_padding_changes_a_log_probability(lm):
    rows = examples(30)
    alone = np.array([sequence_logprobs(lm, [row])[0] for row in rows])
    for max_tokens in (1, 40, 10**6):
        np.testing.assert_allclose(sequence_logprobs(lm, rows, max_tokens=max_tokens), alone, atol=1e-5)
    np.testing.assert_allclose(sequence_logprobs(lm, rows[::-1]), alone[::-1], atol=1e-5)
    with torch.no_grad():
        for padding in (0, EOS, 9):
            result = response_logprobs(lm, collate(rows, padding)).per_response(len(rows))
            np.testing.assert_allclose(result, alone, atol=1e-5)


def test_dropout_is_off_while_scoring(build):
    model = build("gpt2", resid_pdrop=0.5).train()
    rows = examples(4)
    assert sequence_logprobs(model, rows).tolist() == sequence_logprobs(model, rows).tolist()


def test_only_response_tokens_are_supervised_and_the_last_end_mark_is(build):
    model = build("gpt2", seed=1)
    policy = Policy(model)

    def gradient_of_bias(example):
        """How the loss moves each word's logit: only words that stand where it is supervised are pushed."""
        shift = torch.zeros(model.config.vocab_size, requires_grad=True)
        head = model.get_output_embeddings()
        hook = head.register_forward_hook(lambda module, inputs, output: output + shift)
        (-policy(collate([example])).values.sum()).backward()
        hook.remove()
        return shift.grad

    example = Example((10, 11, 12, 20, 21, EOS), 3)
    pushed = gradient_of_bias(example) < 0  # a supervised word's own gradient is p - 1 at its place
    assert pushed[EOS] and pushed[20] and pushed[21]
    assert not pushed[[10, 11, 12]].any()
    everything = gradient_of_bias(Example(example.ids, 1)) < 0  # pretraining: all but the first word
    assert everything[[11, 12, 20, 21, EOS]].all() and not everything[10]


def test_saved_policies_have_the_same_law(lm, tmp_path):
    rows = examples(6)
    save_policy(lm, tmp_path / "policy")
    assert {path.suffix for path in (tmp_path / "policy").iterdir()} == {".json", ".safetensors"}
    again = load_policy(tmp_path / "policy").cpu()
    assert not again.training
    assert sequence_logprobs(again, rows).tolist() == sequence_logprobs(lm, rows).tolist()


def test_models_whose_law_would_be_wrong_are_refused(build):
    capped = build("gpt2", seed=2)
    capped.lm_head.register_forward_pre_hook(lambda module, inputs: (3 * inputs[0],))
    refuse_unfit(capped)  # a head that does more is called as it is

    class Scaled(type(capped)):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            return type(output)(logits=output.logits / 8)

    scaled = build("gpt2", seed=2)
    scaled.__class__ = Scaled
    with pytest.raises(SpecError, match="changes its logits behind the output embedding"):
        refuse_unfit(scaled)
