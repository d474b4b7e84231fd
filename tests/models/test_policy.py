"""Policies from scratch, from a folder, with adapters: faults are named, and nothing unsafe is read."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from afd_study.errors import DataError, HubError, SpecError
from afd_study.models.batches import Example
from afd_study.models.policy import context_length, from_scratch, n_parameters, pretrained, with_lora
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import LoRASpec, ModelSpec
from afd_study.models.tokenizers import save_tokenizer, train_bpe

ROWS = [Example((4, 5, 6, 7, 1), 2), Example((9, 8, 1), 1)]


def test_the_seed_fixes_every_weight_and_leaves_the_global_state_alone(build):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = build(seed=5).state_dict(), build(seed=5).state_dict(), build(seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_vocabulary_and_the_context_are_the_models(lm, tokenizer):
    assert lm.get_input_embeddings().weight.shape[0] == lm.config.vocab_size == len(tokenizer)
    assert context_length(lm) == 64
    assert n_parameters(lm) == sum(weight.numel() for weight in lm.parameters())
    assert not lm.training


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
FAULTS = {
    "unknown architecture": ({"architecture": "gtp2"}, "unknown architecture 'gtp2': did you mean 'gpt2'"),
    "no language model": ({"architecture": "vit"}, "unknown architecture 'vit'"),
    "unknown setting": ({"config": {"n_emb": 32}}, "gpt2 config setting 'n_emb': did you mean 'n_embd'"),
    "sizes that do not fit": ({"config": {"n_embd": 33, "n_head": 2}}, "no gpt2 can be built"),
    "a word for a number": ({"config": {"n_embd": "wide"}}, "no gpt2 can be built"),
    "no layers": ({"config": {"n_layer": 0}}, "it has no layers"),
    "fewer than no layers": ({"config": {"n_layer": -1}}, "it has no layers"),
    "no heads": ({"config": {"n_head": 0}}, "no gpt2 can be built"),
    "no width": ({"config": {"n_embd": 0}}, "no gpt2 can be built"),
    "a width below zero": ({"config": {"n_embd": -4}}, "no gpt2 can be built"),
    "no positions": ({"config": {"n_positions": 0}}, "no gpt2 can be built"),
    "an unknown activation": ({"config": {"activation_function": "nosuch"}}, "no gpt2 can be built.*nosuch"),
    "infinite weights": ({"config": {"initializer_range": float("inf")}}, "no gpt2 can be built"),
    "labels that are a number": ({"config": {"id2label": 3}}, "no gpt2 can be built"),
    "heads that do not share": (
        {"architecture": "llama", "config": {**SMALL, "num_key_value_heads": 3}},
        "no llama can be built",
    ),
    "an encoder": (
        {
            "architecture": "bert",
            "config": {
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 16,
                "initializer_range": 0.5,
            },
        },
        "reads what comes later",
    ),
    "logits rescaled behind the head": (
        {
            "architecture": "granite",
            "config": {
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 16,
                "num_key_value_heads": 2,
                "logits_scaling": 8.0,
            },
        },
        "changes its logits",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_models_that_cannot_be_built_are_named(fault, tokenizer):
    settings, message = FAULTS[fault]
    with pytest.raises(SpecError, match=message):
        from_scratch(ModelSpec(**settings), tokenizer, 0)


@pytest.mark.parametrize("positions", [-1, 0, None])
def test_a_position_count_that_is_none_is_no_bound(positions):
    config = SimpleNamespace(max_position_embeddings=positions)
    lm = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))
    assert context_length(lm) == 2**31 - 1


def test_both_a_config_and_a_name_are_refused():
    with pytest.raises(ValueError, match="not both"):
        ModelSpec(name_or_path="gpt2", config={"n_embd": 8})


# by name or path


@pytest.fixture
def folder(build, tokenizer, tmp_path):
    model = build("llama", seed=7)
    model.generation_config.suppress_tokens = None  # as its authors would have published it
    model.save_pretrained(tmp_path / "model")
    save_tokenizer(tokenizer, tmp_path / "model")
    return tmp_path / "model"


def test_a_local_folder_is_loaded_as_it_is(folder, build, tokenizer):
    result, reader = pretrained(ModelSpec(name_or_path=str(folder)))
    assert reader.get_vocab() == tokenizer.get_vocab()
    expected = sequence_logprobs(build("llama", seed=7), ROWS)  # padding and <unk> taken out there too
    np.testing.assert_allclose(sequence_logprobs(result, ROWS), expected, atol=1e-6)


@pytest.mark.parametrize("pad", [None, "<eos>"])
def test_a_tokenizer_without_padding_gets_padding_of_its_own(build, tmp_path, pad):
    tokenizer = train_bpe(["one two three", "two three four"], 270)
    tokenizer.pad_token = pad
    spec = ModelSpec(config={"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32})
    model = from_scratch(spec, tokenizer, 0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    result, reader = pretrained(ModelSpec(name_or_path=str(tmp_path)))
    assert reader.pad_token_id not in (None, reader.eos_token_id)
    assert reader.pad_token_id < result.get_input_embeddings().weight.shape[0]
    assert result.generation_config.suppress_tokens == [reader.pad_token_id]
    assert sequence_logprobs(result, [Example((9, 8, reader.eos_token_id), 1)])[0] > -np.inf


def test_a_name_that_is_no_folder_says_what_to_do(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="'afd-study/no-such-model' could not be loaded") as fault:
        pretrained(ModelSpec(name_or_path="afd-study/no-such-model"))
    for remedy in ("local folder", "config.json", "model.safetensors", "allow_download=true"):
        assert remedy in str(fault.value)


def test_pickled_weights_are_not_read(folder):
    marker = folder / "was-run"

    class Evil:
        def __reduce__(self):
            return open, (str(marker), "w")

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="could not be loaded"):
        pretrained(ModelSpec(name_or_path=str(folder)))
    assert not marker.exists()


def test_code_in_a_model_folder_is_not_run(folder):
    marker = folder / "was-run"
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "strange",
        "auto_map": {
            "AutoConfig": "strange.Config",
            "AutoModelForCausalLM": "strange.Model",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "strange.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    with pytest.raises(SpecError, match="asks for code of its own"):
        pretrained(ModelSpec(name_or_path=str(folder)))
    assert not marker.exists()


# adapters


def test_adapters_change_nothing_at_first_and_are_all_that_is_trained(build):
    model = build("gpt2", seed=1)
    before = sequence_logprobs(model, ROWS)
    assert with_lora(model, None, seed=0) is None and all(w.requires_grad for w in model.parameters())
    with_lora(model, LoRASpec(r=2), seed=0)
    np.testing.assert_allclose(sequence_logprobs(model, ROWS), before, atol=1e-6)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained and all("lora_" in name for name in trained)


def test_adapters_are_drawn_by_the_seed_alone(build):
    def drawn(seed, noise):
        torch.manual_seed(noise)
        model = build("gpt2", seed=1)
        with_lora(model, LoRASpec(r=2), seed=seed)
        return torch.cat([w.flatten() for name, w in model.named_parameters() if "lora_A" in name])

    assert torch.equal(drawn(0, noise=1), drawn(0, noise=2))
    assert not torch.equal(drawn(0, noise=1), drawn(1, noise=1))


def test_layers_that_do_not_exist_cannot_be_adapted(build):
    with pytest.raises(SpecError, match="name lora.target_modules"):
        with_lora(build("gpt2"), LoRASpec(target_modules=("no_such_layer",)), seed=0)
