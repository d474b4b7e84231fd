"""Folders of published models: one that is damaged or lacks something is refused, its look-alike loads."""

import json
import shutil
import socket
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from standins import gemma_config, gemma_tokenizer, gpt2_config, gpt2_tokenizer
from transformers import (
    GemmaForCausalLM,
    GemmaForSequenceClassification,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
)

from afd_study.errors import AfdError, DataError, HubError, SpecError, StoreError
from afd_study.models.batches import Example
from afd_study.models.classifier_judge import judge_texts, load_classifier
from afd_study.models.policy import load_policy, pretrained
from afd_study.models.reward import load_reward_model, on_backbone, rewards, save_reward_model
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import ClassifierSpec, ModelSpec

CLASSES = {
    ("policy", "gpt2"): GPT2LMHeadModel,
    ("policy", "gemma"): GemmaForCausalLM,
    ("judge", "gpt2"): GPT2ForSequenceClassification,
    ("judge", "gemma"): GemmaForSequenceClassification,
}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Return the folder of each kind and architecture, as its authors would have published it."""
    folders = {}
    for (kind, architecture), model_class in CLASSES.items():
        tokenizer = gemma_tokenizer() if architecture == "gemma" else gpt2_tokenizer()
        settings = {"num_labels": 1} if kind == "judge" else {}
        make = gemma_config if architecture == "gemma" else gpt2_config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            model = model_class(make(tokenizer, **settings))
        folders[kind, architecture] = tmp_path_factory.mktemp(f"{kind}-{architecture}")
        model.save_pretrained(folders[kind, architecture])
        tokenizer.save_pretrained(folders[kind, architecture])
    return folders


@pytest.fixture
def copied(published, tmp_path):
    """Return a function that copies a published folder, to be changed."""
    return lambda *key: shutil.copytree(published[key], tmp_path / "-".join(key))


def load(kind, folder):
    if kind == "policy":
        return pretrained(ModelSpec(name_or_path=str(folder)))[0]
    return load_classifier(ClassifierSpec(name_or_path=str(folder), max_tokens=64)).model


def score(kind, folder):
    """What the model says, so that a look-alike that loads is also seen to be the same."""
    if kind == "policy":
        lm = load(kind, folder)
        return sequence_logprobs(lm, [Example((4, 5, 6, 7, 1), 2)])
    judge = load_classifier(ClassifierSpec(name_or_path=str(folder), max_tokens=64))
    return judge_texts(judge, ["how can I bake"], ["bread"]).rewards


def weights(change):
    """Return a function that changes the saved weights of a folder."""

    def fault(folder):
        state = change(load_file(folder / "model.safetensors"))
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    return fault


def lacking(*parts):
    return weights(lambda state: {n: w for n, w in state.items() if not any(part in n for part in parts)})


def holding(value):
    def change(state):
        state[max(state)].view(-1)[0] = value
        return state

    return weights(change)


def extra(*names):
    return weights(lambda state: state | {name: torch.zeros(3) for name in names})


def text(file, content):
    return lambda folder: (folder / file).write_bytes(content.encode())


def settings(file, **values):
    def fault(folder):
        content = json.loads((folder / file).read_text()) | values
        (folder / file).write_text(json.dumps(content))

    return fault


def cut(file, n):
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:n])


def removed(pattern):
    return lambda folder: [file.unlink() for file in folder.glob(pattern)]


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def sharded(folder, *, without=None, prefix=""):
    """Save the weights in two shards, as large models are."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {
        name: f"model-{1 + number % 2:05d}-of-00002.safetensors" for number, name in enumerate(sorted(state))
    }
    for shard in set(places.values()) - {without}:
        part = {name: state[name] for name in state if places[name] == shard}
        save_file(part, folder / shard, metadata={"format": "pt"})
    places = {name: prefix + shard for name, shard in places.items()}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def wider(folder):
    """Say that the embedding has other rows than it has."""
    settings("config.json", vocab_size=7)(folder)


FAULTS = {
    "no blocks": (lacking("mlp"), DataError, "its weights lack .*mlp.* and"),
    "no embedding": (lacking("wte", "embed_tokens"), DataError, "its weights lack"),
    "one weight short": (lacking("ln_f.bias", "model.norm.weight"), DataError, "its weights lack"),
    "a value head": (extra("v_head.weight"), DataError, "no place for its weights v_head.weight"),
    "other sizes": (wider, DataError, r"do not fit its config.json: .* in place of \(7, 32\)"),
    "cut at the end": (cut("model.safetensors", -9), DataError, "damaged or cut"),
    "cut in the header": (cut("model.safetensors", 99), DataError, "damaged or cut"),
    "empty weights": (cut("model.safetensors", 0), DataError, "is empty"),
    "words for weights": (text("model.safetensors", "no weights at all"), DataError, "damaged or cut"),
    "a pointer for weights": (text("model.safetensors", LFS), DataError, "Git LFS pointer.*git lfs pull"),
    "a pointer for the tokenizer": (text("tokenizer.json", LFS), DataError, "tokenizer.json is a Git LFS"),
    "a pointer for the config": (text("config.json", LFS), DataError, "config.json is a Git LFS"),
    "NaN": (holding(float("nan")), DataError, "NaN or infinite"),
    "infinity": (holding(-float("inf")), DataError, "NaN or infinite"),
    "no weights": (removed("*.safetensors"), DataError, "has no weights"),
    "pickled weights": (pickled, DataError, "could not be loaded: its weights are pickled"),
    "a shard is missing": (
        lambda folder: sharded(folder, without="model-00002-of-00002.safetensors"),
        DataError,
        "lack the file model-00002",
    ),
    "shards elsewhere": (lambda folder: sharded(folder, prefix="../"), DataError, "names no files beside it"),
    "no tokenizer": (removed("token*"), DataError, "has no tokenizer"),
    "a damaged tokenizer": (cut("tokenizer.json", 200), DataError, "could not be loaded"),
    "a tokenizer of nothing": (text("tokenizer.json", "{}"), DataError, "could not be loaded"),
    "no config": (removed("config.json"), DataError, "config.json cannot be read"),
    "a config that is no JSON": (
        text("config.json", "{not"),
        DataError,
        "config.json cannot be read as JSON",
    ),
    "a config without end": (text("config.json", "[" * 99999), DataError, "config.json cannot be read"),
    "a config that is a list": (text("config.json", "[]"), DataError, "holds no JSON object"),
    "a tokenizer's config that is a list": (text("tokenizer_config.json", "[]"), DataError, "no JSON object"),
    "a damaged generation config": (text("generation_config.json", "{"), DataError, "cannot be read as JSON"),
    "an unknown architecture": (settings("config.json", model_type="gtp2"), SpecError, "architecture 'gtp2'"),
    "no architecture": (text("config.json", "{}"), SpecError, "architecture None"),
    "an architecture that is a list": (
        settings("config.json", model_type=[]),
        SpecError,
        r"architecture \[\]",
    ),
    "another kind of model": (settings("config.json", model_type="vit"), SpecError, "the vit in .* is no"),
    "remote code": (
        settings("config.json", model_type="mine", auto_map={"AutoConfig": "mine.Config"}),
        SpecError,
        "asks for code of its own",
    ),
    "adapters alone": (text("adapter_config.json", "{}"), SpecError, "merge it into its base model"),
    "words for sizes": (
        settings("config.json", n_embd="wide", hidden_size="wide"),
        DataError,
        "could not be loaded",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["policy", "judge"])
@pytest.mark.parametrize("architecture", ["gpt2", "gemma"])
def test_a_folder_that_is_not_whole_is_refused_by_name(architecture, kind, fault, copied, capfd):
    folder = copied(kind, architecture)
    change, error, message = FAULTS[fault]
    if fault == "a damaged generation config" and not (folder / "generation_config.json").exists():
        (folder / "generation_config.json").touch()
    change(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=message) as raised:
            load(kind, folder)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


LOOKALIKES = {
    "as it is": lambda folder: None,
    "shards": sharded,
    "tables of older releases": extra("h.0.attn.masked_bias", "rotary_emb.inv_freq", "x.position_ids"),
    "a pickle beside": text("pytorch_model.bin", "never read"),
    "code of its own, not needed": settings("config.json", auto_map={"AutoConfig": "mine.Config"}),
    "no pad token": settings("tokenizer_config.json", pad_token=None),
    "no generation config": removed("generation_config.json"),
}


@pytest.mark.parametrize("change", LOOKALIKES)
@pytest.mark.parametrize(("kind", "architecture"), CLASSES)
def test_lookalikes_load_and_say_the_same(kind, architecture, change, published, copied):
    folder = copied(kind, architecture)
    LOOKALIKES[change](folder)
    before = torch.get_rng_state()
    np.testing.assert_array_equal(score(kind, folder), score(kind, published[kind, architecture]))
    assert torch.equal(torch.get_rng_state(), before)  # nothing was drawn


@pytest.mark.parametrize("architecture", ["gpt2", "gemma"])
def test_a_judge_is_no_policy_and_a_policy_no_judge(architecture, published):
    with pytest.raises(DataError, match="no causal language model.* score.weight"):
        load("policy", published["judge", architecture])
    with pytest.raises(DataError, match="no trained classifier: its weights lack score.weight"):
        load("judge", published["policy", architecture])


def test_a_head_of_its_own_has_to_be_there(published, copied):
    assert "lm_head.weight" not in load_file(published["policy", "gpt2"] / "model.safetensors")  # tied
    folder = copied("policy", "gpt2")
    settings("config.json", tie_word_embeddings=False)(folder)
    with pytest.raises(DataError, match="lack lm_head.weight"):
        load("policy", folder)
    weights(lambda state: state | {"lm_head.weight": state["transformer.wte.weight"].clone()})(folder)
    np.testing.assert_array_equal(score("policy", folder), score("policy", published["policy", "gpt2"]))


def test_a_judge_may_keep_the_language_head_that_it_was_trained_from(published, copied):
    folder = copied("judge", "gpt2")
    extra("lm_head.weight")(folder)
    np.testing.assert_array_equal(score("judge", folder), score("judge", published["judge", "gpt2"]))


def test_a_policy_needs_an_end_mark_and_a_judge_does_not(copied):
    policy, judge = copied("policy", "gemma"), copied("judge", "gemma")
    for folder in (policy, judge):
        settings("tokenizer_config.json", eos_token=None)(folder)
    with pytest.raises(SpecError, match="no end mark.*set eos_token"):
        load("policy", policy)
    assert load("judge", judge).training is False


@pytest.mark.parametrize("kind", ["policy", "judge"])
def test_words_that_the_weights_have_no_row_for_are_refused_but_padding_is_not(kind, copied):
    folder = copied(kind, "gpt2")
    expected = score(kind, folder)
    tokenizer = gpt2_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    np.testing.assert_allclose(score(kind, folder), expected, rtol=1e-6)
    embedding = load(kind, folder).get_input_embeddings().weight
    assert len(embedding) == len(tokenizer) and not embedding[-1].any()
    tokenizer.add_tokens(["further"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(DataError, match="1 tokens that the weights have no row for .such as 'further'"):
        load(kind, folder)


# what the study itself has saved


def test_the_studys_own_policy_is_read_by_the_same_rule(copied):
    folder = copied("policy", "gemma")
    removed("token*")(folder)
    assert load_policy(folder).training is False
    lacking("mlp")(folder)
    with pytest.raises(DataError, match="its weights lack"):
        load_policy(folder)


REWARD_FAULTS = {
    "missing": (removed("*.safetensors"), StoreError),
    "cut": (cut("reward_model.safetensors", 200), StoreError),
    "other sizes": (settings("config.json", n_embd=16), StoreError),
    "a config that is no JSON": (text("config.json", "{"), StoreError),
    "a config that is a list": (text("config.json", "[]"), StoreError),
}


@pytest.mark.parametrize("fault", REWARD_FAULTS)
def test_a_damaged_reward_model_is_named(fault, build, tokenizer, tmp_path):
    save_reward_model(on_backbone(build("gpt2"), tokenizer), tmp_path)
    assert rewards(load_reward_model(tmp_path), [Example((4, 5, 1), 1)]).tolist() == [0.0]
    change, error = REWARD_FAULTS[fault]
    change(tmp_path)
    with pytest.raises(error, match="damaged or incomplete") as raised:
        load_reward_model(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_a_reward_model_of_nan_is_named(build, tokenizer, tmp_path):
    model = on_backbone(build("gpt2"), tokenizer)
    model.head.bias.data[:] = float("nan")
    save_reward_model(model, tmp_path)
    with pytest.raises(DataError, match="NaN or infinite numbers, in head.bias"):
        load_reward_model(tmp_path)


# names


@pytest.fixture
def no_sockets(monkeypatch):
    """Make every use of the network fail the test, since some callers pass over what a socket raises."""
    asked = []

    def refuse(*args, **kwargs):
        asked.append(args)
        raise OSError("no network in this test")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield
    assert asked == []


NAMES = [
    "gpt2",
    "afd-study/none",
    "no/such/folder",
    "/no/such/folder",
    "~nobody",
    "",
    " ",
    "a" * 5000,
    "a\0b",
]


@pytest.mark.parametrize("kind", ["policy", "judge"])
@pytest.mark.parametrize("name", NAMES)
def test_without_leave_to_download_the_hub_is_not_asked(name, kind, no_sockets):
    if kind == "judge" and not name:
        pytest.skip("the spec refuses it")
    with pytest.raises(HubError, match="no such folder.*allow_download=true"):
        load(kind, name)


@pytest.mark.parametrize(("kind", "architecture"), CLASSES)
def test_a_local_folder_needs_no_network(kind, architecture, published, no_sockets):
    assert load(kind, published[kind, architecture])


def test_a_file_is_no_folder(tmp_path, no_sockets):
    (tmp_path / "model.safetensors").touch()
    for name in (tmp_path / "model.safetensors", tmp_path / "model.safetensors" / "x"):
        with pytest.raises(HubError, match="could not be loaded"):
            load("policy", name)


def test_what_the_hubs_cache_holds_is_read_from_there(published, no_sockets, monkeypatch):
    folder = published["policy", "gpt2"]
    place = "afd_study.models.pretrained_folders.try_to_load_from_cache"
    monkeypatch.setattr(place, lambda name, file: str(folder / file) if name == "us/tiny" else None)
    np.testing.assert_array_equal(score("policy", "us/tiny"), score("policy", folder))


def test_a_download_that_fails_is_one_error(monkeypatch, capfd):
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("away")))
    with pytest.raises(AfdError, match=r"'afd-study/none' could not be loaded.*\(.*no_proxy.*\)"):
        pretrained(ModelSpec(name_or_path="afd-study/none", allow_download=True))
    assert capfd.readouterr().err == ""  # nor are the hub's own words of each try
