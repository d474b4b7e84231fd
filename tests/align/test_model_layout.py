"""Ids are those that a tokenizer's own chat template gives; plain texts are as the house lays them out."""

import pytest
import standins

from afd_study.align.dialogues import Dialogue, Turn
from afd_study.align.model_layout import laid_out
from afd_study.errors import SpecError
from afd_study.models.chat_layout import chat_tokenizer
from afd_study.models.tokenizers import decode, opening_ids

# SmolLM2's own: it writes a system turn where the chat has none
SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + "
    "'\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
BEGINS = (  # as Gemma's: a begin mark, and no system turn
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}{{ '<' + m['role'] + '>' + m['content'] | trim + '<eos>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
ROOM = {"max_prompt_tokens": 500, "max_new_tokens": 100}
PLAIN = Dialogue((Turn("user", "how can I bake bread"), Turn("assistant", "tell me about roses")))
TURNS = Dialogue(
    (
        *(Turn("user", "tell me"), Turn("assistant", "what\n\nis it"), Turn("user", "roses, please")),
        Turn("assistant", "no"),
    )
)
SYSTEM = Dialogue((Turn("system", "please explain"), *TURNS.turns))
CHATS = {"one question": PLAIN, "turns": TURNS, "a system turn": SYSTEM}


def smollm():
    tokenizer = standins.gpt2_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = SMOLLM
    return tokenizer


def begins():
    tokenizer = standins.gemma_tokenizer()
    tokenizer.chat_template = BEGINS
    return tokenizer


def own(tokenizer, turns, **options):
    chat = [{"role": turn.role, "content": turn.text} for turn in turns]
    return tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False, **options)


@pytest.mark.parametrize("make", [smollm, begins])
@pytest.mark.parametrize("title", CHATS)
def test_ids_are_those_of_the_template(make, title):
    tokenizer, dialogue = make(), CHATS[title]
    if make is begins and title == "a system turn":
        with pytest.raises(SpecError, match="no system.*take the system turns out.*--plain"):
            laid_out([dialogue], tokenizer, plain=False, **ROOM)
        return
    result = laid_out([PLAIN, dialogue], tokenizer, plain=False, **ROOM)
    example = result.examples[1]
    assert list(example.prompt) == own(tokenizer, dialogue.prompt, add_generation_prompt=True)
    whole = own(tokenizer, dialogue.turns)
    assert list(example.ids) == whole[: len(example.ids)]
    assert tokenizer.decode(whole[len(example.ids) :]).strip() == "", "only what follows the end mark"
    assert example.ids[-1] == chat_tokenizer(make()).eos_token_id
    assert result.chat and "by the model's chat template" in result.line()


def test_no_begin_mark_stands_twice():
    tokenizer = begins()
    for plain in (False, True):
        ids = laid_out([PLAIN], tokenizer, plain=plain, **ROOM).examples[0].ids
        assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id


def test_plain_is_the_layout_of_the_house_and_leaves_the_tokenizer_alone():
    tokenizer = smollm()
    result = laid_out([SYSTEM], tokenizer, plain=True, **ROOM)
    said = "Human: tell me\n\nAssistant: what\n\nis it\n\nHuman: roses, please\n\nAssistant: no"
    text = f"please explain\n\n{said}"
    example = result.examples[0]
    assert decode(tokenizer, [example.ids]) == [text] and not result.chat
    assert example.ids[-1] == tokenizer.eos_token_id and opening_ids(tokenizer) == ()
    assert decode(tokenizer, [example.prompt]) == [text.removesuffix(" no")]
    assert tokenizer.chat_template == SMOLLM
    tokenizer.chat_template = None
    assert laid_out([SYSTEM], tokenizer, plain=False, **ROOM) == result


def test_a_typed_mark_is_text():
    typed = Dialogue((Turn("user", "a<|im_end|>"), Turn("assistant", "b<|im_end|>")))
    tokenizer = smollm()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    plain = laid_out([PLAIN, typed], tokenizer, plain=False, **ROOM).examples
    assert plain[0].ids.count(end) == plain[1].ids.count(end) == 3


def test_what_is_too_long_is_cut_and_counted():
    tokenizer = smollm()
    whole = laid_out([PLAIN], tokenizer, plain=False, **ROOM).examples[0]
    n_said = len(whole.ids) - whole.start
    result = laid_out([PLAIN], tokenizer, plain=False, max_prompt_tokens=whole.start, max_new_tokens=n_said)
    assert result.examples == [whole] and result.responses_cut == [False] and "lost" not in result.line()
    short = {"max_prompt_tokens": whole.start - 2, "max_new_tokens": n_said - 1}
    result = laid_out([PLAIN], tokenizer, plain=False, **short)
    cut = result.examples[0]
    assert result.prompts_cut == result.responses_cut == [True]
    assert cut.ids[cut.start :] == whole.ids[whole.start : -1], "no end mark behind a cut response"
    assert len(cut.prompt) == whole.start - 2 and cut.prompt[:3] == whole.prompt[:3]
    assert "1 prompts lost their beginning, 1 responses lost their end" in result.line()
    with pytest.raises(SpecError, match="leave no room beside the"):
        laid_out([PLAIN], tokenizer, plain=False, max_prompt_tokens=3, max_new_tokens=9)


def test_a_prompt_alone_ends_where_the_answer_begins():
    tokenizer = smollm()
    waiting = Dialogue(PLAIN.prompt)
    example = laid_out([waiting], tokenizer, plain=False, **ROOM).examples[0]
    assert example.ids == laid_out([PLAIN], tokenizer, plain=False, **ROOM).examples[0].prompt
    assert example.start == len(example.ids)
