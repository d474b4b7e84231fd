"""A judge with a chat template reads chats as it was trained to; typed special tokens stay text."""

import json

import numpy as np
import pytest
import torch
from standins import gemma_config, gemma_tokenizer
from transformers import AutoModelForSequenceClassification, GemmaForSequenceClassification

from afd_study.errors import SpecError
from afd_study.models.chat_layout import chat_of
from afd_study.models.classifier_judge import judge_texts, load_classifier
from afd_study.models.specs import ClassifierSpec

GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ '<' + message['role'] + '>\\n' + "
    "message['content'] | trim + '<eos>\\n' }}{% endfor %}"
)
TURNS = "\n\nHuman: how can I bake\n\nAssistant: bread\n\nHuman: tell me\n\nAssistant:"


@pytest.fixture
def folder(tmp_path):
    tokenizer = gemma_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = GemmaForSequenceClassification(gemma_config(tokenizer, num_labels=1))
        torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def with_template(folder, template):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))


def judge(folder, max_tokens=256):
    return load_classifier(ClassifierSpec(name_or_path=str(folder), max_tokens=max_tokens))


def own(folder, chat):
    """What transformers itself says of a chat."""
    reader = judge(folder).tokenizer
    ids = reader.apply_chat_template(chat, tokenize=True, return_dict=False)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = None
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([ids])).logits[0, 0])


def test_the_template_is_applied_to_every_turn(folder):
    plain = judge_texts(judge(folder), [TURNS], [" about roses"])
    with_template(folder, GEMMA)
    chat = [
        {"role": role, "content": content}
        for role, content in zip(
            ("user", "assistant", "user", "assistant"),
            ("how can I bake", "bread", "tell me", "about roses"),
            strict=True,
        )
    ]
    result = judge_texts(judge(folder), [TURNS, "tell me"], [" about roses", "bread"])
    np.testing.assert_allclose(result.rewards[0], own(folder, chat), atol=1e-5)
    alone = [{"role": "user", "content": "tell me"}, {"role": "assistant", "content": "bread"}]
    np.testing.assert_allclose(result.rewards[1], own(folder, alone), atol=1e-5)
    assert not result.cut.any() and abs(plain.rewards[0] - result.rewards[0]) > 1e-4


def test_without_a_template_texts_are_read_as_they_are(folder):
    one = judge_texts(judge(folder), [TURNS], [" about roses"])
    with_template(folder, None)
    np.testing.assert_array_equal(judge_texts(judge(folder), [TURNS], [" about roses"]).rewards, one.rewards)


def test_a_typed_special_token_ends_no_turn(folder):
    with_template(folder, GEMMA)
    reader = judge(folder)
    plain = judge_texts(reader, ["tell me"], ["bread"])
    typed = judge_texts(reader, ["tell me"], ["bread<eos>"])
    assert typed.tokens[0] > plain.tokens[0] + 1  # the five characters, and no single token


def test_a_long_chat_loses_its_beginning_and_keeps_its_layout(folder):
    with_template(folder, GEMMA)
    result = judge_texts(judge(folder, max_tokens=64), [f"tell {'me ' * 200}"], ["bread"])
    assert result.cut.tolist() == [True] and result.tokens.tolist() == [64]
    with pytest.raises(SpecError, match="max_tokens=8 leaves no room"):
        judge_texts(judge(folder, max_tokens=8), ["tell me"], ["bread"])


UNFIT = {
    "no template at all": ("{% for", "cannot be used"),
    "roles that it does not know": ("{{ raise_exception('no assistant here') }}", "no assistant here"),
    "a turn left out": ("{{ messages[0]['content'] }}", "each turn once"),
    "a turn twice": ("{% for m in messages %}{{ m['content'] * 2 }}{% endfor %}", "each turn once"),
    "the date": ("{{ strftime_now('%d') }}", "today's date"),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_a_template_that_cannot_be_used_is_named(fault, folder):
    template, message = UNFIT[fault]
    with_template(folder, template)
    with pytest.raises(SpecError, match=message) as raised:
        judge_texts(judge(folder), ["tell me"], ["bread"])
    assert str(folder) in str(raised.value) and "tokenizer_config.json" in str(raised.value)


def test_turns_are_those_of_the_layout():
    end = ("assistant", "end")
    assert chat_of(TURNS, " end")[:3] == [
        ("user", "how can I bake"),
        ("assistant", "bread"),
        ("user", "tell me"),
    ]
    assert chat_of("\n\nHuman: a\n\nHuman: b\n\nAssistant:", " end") == [("user", "a\n\nb"), end]
    assert chat_of("\n\nHuman: a\n\nAssistant: b\n\nAssistant:", " end") == [
        ("user", "a"),
        ("assistant", "b\n\nend"),
    ]
    other = " Human: is a word\n\nAssistant:"
    assert chat_of(other, "end") == [("user", other.strip()), end]
