"""A policy with a chat template reads texts laid out by it; with `chat=False` it takes them as they are."""

import gguf_models
import pandas as pd
import pytest

from afd_study.errors import SpecError
from afd_study.models.gguf_files import convert
from afd_study.models.specs import ModelSpec, SamplingSpec
from afd_study.models.tokenizers import decode, load_tokenizer
from afd_study.study.spec import load_spec
from afd_study.study.steps.encoding import encoded_prompts, response_ids
from afd_study.study.steps.texts import tokenizers
from afd_study.study.workflow.context import Context

TURNS = "\n\nHuman: how are you<|im_end|>\n\nAssistant: well\n\nHuman: why\n\nAssistant:"
SAMPLING = SamplingSpec(max_prompt_tokens=200, max_new_tokens=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("llama")
    convert(gguf_models.write(gguf_models.llama(), place / "tiny.gguf"), place / "model")
    return place / "model"


@pytest.fixture
def made(folder, tmp_path):
    def make(chat):
        out = tmp_path / str(chat)
        out.mkdir()
        model = ModelSpec(name_or_path=str(folder))
        tokenizers(out, Context(tmp_path), world=None, model=model, vocabulary=0, chat=chat)
        return load_tokenizer(out / "policy")

    return make


def prompts(text):
    return pd.DataFrame({"prompt_id": ["p"], "split": ["test"], "text": [text]})


def test_a_prompt_is_what_the_template_writes_and_typed_marks_stay_text(made):
    tokenizer = made(True)
    ids = encoded_prompts(prompts(TURNS), tokenizer, SAMPLING)["p"]
    harmless = TURNS.replace("<|im_end|>", "")
    plain = encoded_prompts(prompts(harmless), tokenizer, SAMPLING)["p"]
    chat = [("user", "how are you"), ("assistant", "well"), ("user", "why")]
    own = tokenizer.apply_chat_template(
        [{"role": role, "content": text} for role, text in chat],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert list(plain) == list(own)
    end = tokenizer.eos_token_id
    assert ids.count(end) == plain.count(end) == 3, "a mark that somebody typed is no mark"


def test_a_response_stands_behind_it_without_a_space_and_comes_back(made):
    tokenizer = made(True)
    (ids,) = response_ids([" well "], tokenizer, SAMPLING)
    assert ids[-1] == tokenizer.eos_token_id and decode(tokenizer, [ids]) == ["well"]


def test_without_chat_texts_are_as_they_are(made):
    tokenizer = made(False)
    assert not tokenizer.chat_template
    ids = encoded_prompts(prompts(TURNS), tokenizer, SAMPLING)["p"]
    assert decode(tokenizer, [ids]) == [TURNS]
    assert decode(tokenizer, response_ids(["well"], tokenizer, SAMPLING)) == [" well"]


def test_a_long_prompt_loses_its_beginning_and_never_the_template(made):
    tokenizer = made(True)
    short = SAMPLING.model_copy(update={"max_prompt_tokens": 30})
    ids = encoded_prompts(prompts("\n\nHuman: " + "a" * 50 + "\n\nAssistant:"), tokenizer, short)["p"]
    whole = encoded_prompts(prompts("\n\nHuman: a\n\nAssistant:"), tokenizer, SAMPLING)["p"]
    assert len(ids) == 30 and ids[:6] == whole[:6] and ids[-13:] == whole[-13:]
    none = SAMPLING.model_copy(update={"max_prompt_tokens": 15})
    with pytest.raises(SpecError, match="leaves no room beside the 19 tokens"):
        encoded_prompts(prompts(TURNS), tokenizer, none)


def test_the_end_mark_is_the_one_that_the_template_writes(folder, tmp_path, made):
    other = load_tokenizer(folder)
    other.eos_token = "<unk>" if other.unk_token is None else other.unk_token
    other.save_pretrained(folder)
    try:
        assert made(True).eos_token == "<|im_end|>"
    finally:
        other.eos_token = "<|im_end|>"
        other.save_pretrained(folder)


def test_chat_is_a_setting_of_the_policy():
    assert load_spec("harmless", "smoke").policy.chat
    assert not load_spec("harmless", "smoke", {"policy.chat": "no"}).policy.chat
