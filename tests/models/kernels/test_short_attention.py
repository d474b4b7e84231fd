"""Attention over short texts is PyTorch's own, forwards and backwards; elsewhere it is that."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from afd_study.models.kernels import short_attention
from afd_study.models.kernels.install import install_kernels
from afd_study.models.kernels.short_attention import LONGEST, NAME, attend


@pytest.fixture(autouse=True)
def no_avx512(monkeypatch):
    """As on a processor where it pays, whatever this one is."""
    monkeypatch.setattr(short_attention, "has_avx512", lambda: False)


class Causal:
    """What an attention module has to tell."""

    is_causal = True


def given(tokens=9, heads=3, width=8, seed=0, dtype=torch.float32, trained=True):
    generator = torch.Generator().manual_seed(seed)
    shape = (4, heads, tokens, width)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_(trained) for _ in range(3)]


def barred(tokens):
    """A mask that bars other tokens than a causal one."""
    mask = torch.full((4, 1, tokens, tokens), -torch.inf).triu(1)
    mask[:2, :, 5:, 2:4] = -torch.inf
    return mask


@pytest.mark.parametrize("mask", [None, barred(9)])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_values_and_gradients_are_those_of_the_fused_kernel(mask, scaling, monkeypatch):
    monkeypatch.setattr(short_attention, "sdpa_attention_forward", lambda *a, **k: pytest.fail("not taken"))
    found = []
    for own in (True, False):
        query, key, value = given()
        if own:
            out = attend(Causal(), query, key, value, mask, scaling=scaling)[0].transpose(1, 2)
        else:
            out = scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling
            )
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append([out.detach(), query.grad, key.grad, value.grad])
    for mine, theirs in zip(*found, strict=True):
        assert theirs.abs().max() > 1e-2
        torch.testing.assert_close(mine, theirs, atol=2e-6, rtol=1e-5)


ELSEWHERE = {
    "not trained": {"trained": False},
    "half precision": {"dtype": torch.bfloat16},
    "long": {"tokens": LONGEST + 1},
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_elsewhere_the_fused_kernel_is_taken(what):
    query, key, value = given(**ELSEWHERE[what])
    out = attend(Causal(), query, key, value, None)[0].transpose(1, 2)
    assert torch.equal(out, scaled_dot_product_attention(query, key, value, is_causal=True))


def test_where_the_fused_kernel_is_the_faster_one_it_is_taken(monkeypatch):
    monkeypatch.setattr(short_attention, "has_avx512", lambda: True)
    query, key, value = given()
    out = attend(Causal(), query, key, value, None)[0].transpose(1, 2)
    assert torch.equal(out, scaled_dot_product_attention(query, key, value, is_causal=True))


def test_dropout_and_shared_keys_go_to_the_fused_kernel(monkeypatch):
    taken = []
    monkeypatch.setattr(
        short_attention, "sdpa_attention_forward", lambda *a, **k: taken.append(k["dropout"]) or (None, None)
    )
    query, key, value = given()
    attend(Causal(), query, key, value, None, dropout=0.1)
    attend(Causal(), query, key[:, :1], value[:, :1], None)
    assert taken == [0.1, 0.0]


def test_a_models_training_loss_and_gradients_stay(lm, build):
    ids = torch.arange(3, 27).view(2, 12)
    found = []
    for name in (NAME, "sdpa"):
        model = build(lm.config.model_type)
        assert model.config._attn_implementation == NAME  # models from scratch are quickened
        model.config._attn_implementation = name
        loss = model.train()(ids, labels=ids, use_cache=False).loss
        loss.backward()
        found.append((loss.item(), [p.grad for p in model.parameters() if p.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5)
    for mine, theirs in zip(found[0][1], found[1][1], strict=True):
        scale = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(mine / scale, theirs / scale, atol=2e-5, rtol=1e-4)


def test_the_name_stays_out_of_a_saved_config_and_eager_models_stay_eager(build, tmp_path):
    lm = build("gpt2")
    lm.config.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()
    lm.set_attn_implementation("eager")
    assert install_kernels(lm).config._attn_implementation == "eager"
