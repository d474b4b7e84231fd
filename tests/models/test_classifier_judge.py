"""Judges by path: the classifier's own score, whatever batch, padding or side; unfit models are named."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, BertConfig, PreTrainedTokenizerFast

from afd_study.errors import DataError, HubError, SpecError
from afd_study.models.classifier_judge import judge_texts, load_classifier
from afd_study.models.specs import ClassifierSpec
from afd_study.models.tokenizers import encode

WORDS = [f"w{number}" for number in range(24)]
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.3,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.5,
}


def texts(n=9, seed=0):
    """Prompts and responses of unequal length, one response empty."""
    rng = np.random.default_rng(seed)
    prompts = [" ".join(rng.choice(WORDS, size=rng.integers(1, 9))) for _ in range(n)]
    responses = [" ".join(rng.choice(WORDS, size=row)) for row in rng.permutation(n)]
    return prompts, responses


def published(folder, tokenizer, config, labels=("LABEL_0",)):
    """Write a random classifier as its authors would have published it, and return its folder."""
    config.id2label, config.label2id = dict(enumerate(labels)), {name: i for i, name in enumerate(labels)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_config(config)
        for name, weight in model.named_parameters():
            if name.split(".")[0] in ("score", "classifier"):
                torch.nn.init.normal_(weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=["gpt2", "gemma", "llama"])
def folder(request, build, tokenizer, tmp_path):
    return published(
        tmp_path / request.param, tokenizer, build(request.param, **dropout(request.param)).config
    )


def dropout(architecture):
    """Where an architecture has dropout it is on, so that a judge left in training mode is seen."""
    return {"resid_pdrop": 0.5, "embd_pdrop": 0.5} if architecture == "gpt2" else {}


def load(folder, **settings):
    return load_classifier(ClassifierSpec(name_or_path=str(folder), **{"max_tokens": 40, **settings}))


def alone(folder, ids):
    """What transformers itself says of one unpadded id sequence: all logits."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = None
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].double().numpy()


# the score


def test_the_score_is_the_classifiers_own_logit(folder, tokenizer):
    prompts, responses = texts()
    asked, said = encode(tokenizer, prompts), encode(tokenizer, responses)
    expected = [alone(folder, one + two)[0] for one, two in zip(asked, said, strict=True)]
    result = judge_texts(load(folder), prompts, responses)
    np.testing.assert_allclose(result.rewards, expected, atol=1e-5)
    assert np.std(expected) > 0.1 and not result.cut.any()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pad", ["<pad>", "<eos>", "<unk>", None])
def test_neither_batch_nor_padding_changes_a_score(side, pad, folder, tokenizer):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"pad_token": pad, "padding_side": side, "truncation_side": side}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    prompts, responses = texts()
    responses[2:5] = ["w1 unheard", "w1 <eos>", "w1 <pad>"]  # typed, or unknown: text like any other
    ids = [
        sum(pair, []) for pair in zip(encode(tokenizer, prompts), encode(tokenizer, responses), strict=True)
    ]
    expected = [alone(folder, row)[0] for row in ids]
    judge = load(folder)
    assert judge.tokenizer.pad_token_id not in (judge.tokenizer.eos_token_id, judge.tokenizer.unk_token_id)
    longest = max(map(len, ids))
    for at_once in (1, 3, len(ids)):
        result = judge_texts(judge, prompts, responses, max_batch_tokens=at_once * longest)
        np.testing.assert_allclose(result.rewards, expected, rtol=1e-4, atol=1e-5)
    order = np.random.default_rng(1).permutation(len(ids))
    result = judge_texts(judge, [prompts[i] for i in order], [responses[i] for i in order])
    np.testing.assert_allclose(result.rewards, np.array(expected)[order], rtol=1e-4, atol=1e-5)


def test_padding_beyond_the_embedding_makes_room(build, tmp_path):
    tokenizer = with_specials("$A", "$A $B")
    tokenizer.pad_token = None
    config = build("gpt2").config
    config.vocab_size = len(tokenizer)
    judge = load(published(tmp_path, tokenizer, config))
    assert judge.tokenizer.pad_token_id == len(tokenizer) < judge.model.get_input_embeddings().weight.shape[0]
    one, both = judge_texts(judge, ["w1"], ["w2"]), judge_texts(judge, ["w1", "w3 w4"], ["w2", "w5"])
    np.testing.assert_allclose(both.rewards[0], one.rewards[0], atol=1e-5)


# length


def test_a_long_text_loses_its_beginning(folder, tokenizer):
    prompt, response = " ".join(WORDS[:10]), " ".join(WORDS[10:16])
    ids = encode(tokenizer, [f"{prompt} {response}"])[0]
    judge = load(folder, max_tokens=10)
    result = judge_texts(judge, [prompt, WORDS[0], prompt], [response, response, f"{prompt} {response}"])
    assert result.cut.tolist() == [True, False, True]
    np.testing.assert_allclose(result.rewards[0], alone(folder, ids[-10:])[0], atol=1e-5)
    np.testing.assert_allclose(result.rewards[2], result.rewards[0], atol=1e-5)
    whole = judge_texts(load(folder, max_tokens=16), [prompt], [response])
    assert not whole.cut.any() and abs(whole.rewards[0] - result.rewards[0]) > 1e-3


def test_more_tokens_than_the_judge_can_read_are_refused(folder):
    with pytest.raises(SpecError, match="max_tokens=65 is more than the 64"):
        load(folder, max_tokens=65)


def test_rows_are_counted_and_an_empty_one_is_named(folder):
    judge = load(folder)
    with pytest.raises(DataError, match="2 prompts and 1 responses"):
        judge_texts(judge, ["w1", "w2"], ["w3"])
    with pytest.raises(DataError, match="row 1 has neither prompt nor response"):
        judge_texts(judge, ["w1", ""], ["w3", ""])
    result = judge_texts(judge, [], [])
    assert result.rewards.shape == result.cut.shape == (0,)


# special tokens are those of the judge's tokenizer


def with_specials(single, pair, **special):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    backend = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([*names, *WORDS])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", **special)


def test_a_causal_judges_first_token_stands_once(build, tmp_path):
    tokenizer = with_specials("[CLS] $A", "[CLS] $A [CLS] $B", bos_token="[CLS]")  # as Gemma's and Llama's do
    config = build("gemma").config
    config.vocab_size = len(tokenizer)
    where = published(tmp_path, tokenizer, config)
    result = judge_texts(load(where), ["w0 w1"], ["w2 w3"])
    np.testing.assert_allclose(result.rewards[0], alone(where, [2, 4, 5, 6, 7])[0], atol=1e-5)
    result = judge_texts(load(where, max_tokens=8), [" ".join(WORDS[:9])], ["w9"])
    np.testing.assert_allclose(result.rewards[0], alone(where, [2, *range(7, 14)])[0], atol=1e-5)
    assert result.cut.all()


def test_an_encoders_separator_and_token_types_are_kept(tmp_path):
    tokenizer = with_specials(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", cls_token="[CLS]", sep_token="[SEP]"
    )
    where = published(tmp_path, tokenizer, BertConfig(vocab_size=len(tokenizer), **BERT))
    prompts, responses = texts()
    model = AutoModelForSequenceClassification.from_pretrained(where).eval()
    expected = []
    for prompt, response in zip(prompts, responses, strict=True):
        inputs = tokenizer([prompt], [response], return_tensors="pt", return_token_type_ids=True)
        expected.append(float(model(**inputs).logits[0, 0].detach()))
    judge = load(where)
    for at_once in (1, 60, 10**6):
        result = judge_texts(judge, prompts, responses, max_batch_tokens=at_once)
        np.testing.assert_allclose(result.rewards, expected, rtol=1e-4, atol=1e-5)
    assert judge_texts(load(where, max_tokens=8), ["w1 w2"], ["w3 w4 w5 w6"]).cut.tolist() == [True]


# which output


@pytest.fixture
def three(build, tokenizer, tmp_path):
    return published(tmp_path / "three", tokenizer, build("gpt2").config, ("harmful", "neutral", "harmless"))


def test_a_label_is_chosen_by_name(three, tokenizer):
    prompts, responses = texts(4)
    ids = [
        sum(pair, []) for pair in zip(encode(tokenizer, prompts), encode(tokenizer, responses), strict=True)
    ]
    logits = np.array([alone(three, row) for row in ids])
    result = judge_texts(load(three, label="harmless"), prompts, responses)
    np.testing.assert_allclose(result.rewards, logits[:, 2], atol=1e-5)
    odds = judge_texts(load(three, label="harmful", score="log_odds"), prompts, responses)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(odds.rewards, np.log(p[:, 0] / (1 - p[:, 0])), atol=1e-4)


def test_labels_that_are_not_said_or_not_there(three, folder):
    with pytest.raises(
        SpecError, match=r"3 labels: set label to one of \['harmful', 'harmless', 'neutral'\]"
    ):
        load(three)
    with pytest.raises(SpecError, match="unknown label 'harmles': did you mean 'harmless'"):
        load(three, label="harmles")
    with pytest.raises(SpecError, match="unknown label 'harmless'"):
        load(folder, label="harmless")
    with pytest.raises(SpecError, match="log_odds needs two labels"):
        load(folder, score="log_odds")
    assert load(folder, label="LABEL_0").column == 0


# what is not loaded


def test_a_model_without_a_trained_head_is_no_judge(build, tokenizer, tmp_path):
    build("gpt2").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(DataError, match="no trained classifier: its weights lack score.weight"):
        load(tmp_path)


def test_a_name_that_is_no_folder_says_what_to_do(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="the judge 'afd-study/no-such-judge' could not be loaded") as fault:
        load("afd-study/no-such-judge")
    for remedy in ("local folder", "config.json", "model.safetensors", "allow_download=true"):
        assert remedy in str(fault.value)


def test_damaged_weights_are_named(folder):
    (folder / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(DataError, match="damaged or cut"):
        load(folder)


def test_weights_other_than_safetensors_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="could not be loaded"):
        load(folder)


def test_code_in_a_model_folder_is_not_run(folder):
    marker = folder / "was-run"
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "strange",
        "auto_map": {
            "AutoConfig": "strange.Config",
            "AutoModelForSequenceClassification": "strange.Model",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "strange.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    with pytest.raises(SpecError, match="asks for code of its own"):
        load(folder)
    assert not marker.exists()


def test_a_spec_takes_no_setting_that_it_does_not_know():
    with pytest.raises(ValueError, match="lable"):
        ClassifierSpec(name_or_path="x", lable="y")
