"""Examples as a model reads them: ids by its tokenizer's own chat template, or as plain text.

What a template writes is encoded with its special tokens, and turns are encoded apart from it (see
models/chat_layout.py), so that no mark is read out of an untrusted text and no begin mark stands twice.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from afd_study.align.dialogues import Dialogue, plain_text
from afd_study.errors import SpecError
from afd_study.models.batches import Example
from afd_study.models.chat_layout import Frame, around_turns, encoded_responses, framed_prompts
from afd_study.models.tokenizers import encode


class LaidOut(NamedTuple):
    """Examples as ids in the order of their dialogues, and which of them were cut.

    A prompt that was cut lost its beginning. A response that was cut lost its end, and has no end mark.
    """

    examples: list[Example]
    prompts_cut: list[bool]
    responses_cut: list[bool]
    chat: bool

    def line(self) -> str:
        """Return the layout, and how many examples were cut, as words."""
        how = "by the model's chat template" if self.chat else "as plain text"
        sides = ("prompts lost their beginning", "responses lost their end")
        counts = map(sum, (self.prompts_cut, self.responses_cut))
        cut = [f"{n:,} {side}" for n, side in zip(counts, sides, strict=True) if n]
        return f"{len(self.examples):,} examples laid out {how}" + "".join(f", {each}" for each in cut)


def laid_out(
    dialogues: Sequence[Dialogue],
    tokenizer: PreTrainedTokenizerBase,
    *,
    plain: bool,
    max_prompt_tokens: int,
    max_new_tokens: int,
) -> LaidOut:
    """Return the ids of prompts and responses: by the tokenizer's chat template, unless `plain` or without.

    A whole response ends with the end mark that the template writes, or the tokenizer's own; of a prompt
    without a response there are the ids before one. A prompt of more than `max_prompt_tokens` ids, with what
    stands around it, keeps its last; a response of more than `max_new_tokens`, with its end mark, its first.

    Raises SpecError for a chat template that can't be used, such as one that refuses system turns, and where
    `max_prompt_tokens` leaves no room for a prompt.
    """
    if plain and tokenizer.chat_template:
        tokenizer = copy.copy(tokenizer)  # the caller's keeps its template
        tokenizer.chat_template = None
    chat = bool(tokenizer.chat_template)
    if chat:
        framed = list(_chats(dialogues, tokenizer))
    else:
        framed = framed_prompts(tokenizer, [plain_text(dialogue.prompt) for dialogue in dialogues])
    said = encoded_responses(tokenizer, [dialogue.response for dialogue in dialogues])
    examples, prompts_cut, responses_cut = [], [], []
    for dialogue, (frame, prompt), response in zip(dialogues, framed, said, strict=True):
        room = max_prompt_tokens - len(frame.before) - len(frame.between)
        if room < 1:
            raise SpecError(
                f"prompts of {max_prompt_tokens} tokens leave no room beside the "
                f"{max_prompt_tokens - room} that the chat template writes around them: allow longer ones"
            )
        head = (*frame.before, *prompt[-room:], *frame.between)
        whole = (*response, *_end(tokenizer, frame.behind)) if dialogue.response else ()
        prompts_cut.append(len(prompt) > room)
        responses_cut.append(len(whole) > max_new_tokens)
        examples.append(Example((*head, *whole[:max_new_tokens]), len(head)))
    return LaidOut(examples, prompts_cut, responses_cut, chat)


def _chats(
    dialogues: Sequence[Dialogue], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[Frame, list[int]]]:
    """Yield what the template writes around each prompt, and the prompt with what it writes inside."""
    layouts: dict[tuple[str, ...], list[list[int]]] = {}
    texts = iter(encode(tokenizer, [turn.text for dialogue in dialogues for turn in dialogue.prompt]))
    for dialogue in dialogues:
        roles = (*(turn.role for turn in dialogue.prompt), "assistant")
        if roles not in layouts:
            layouts[roles] = _around(tokenizer, roles)
        first, *inner, between, behind = layouts[roles]
        ids = list(next(texts))
        for piece in inner:
            ids += [*piece, *next(texts)]
        yield Frame(tuple(first), tuple(between), tuple(behind)), ids


def _around(tokenizer: PreTrainedTokenizerBase, roles: tuple[str, ...]) -> list[list[int]]:
    try:
        return around_turns(tokenizer, roles)
    except SpecError as fault:
        system = ", take the system turns out of the file" if "system" in roles else ""
        raise SpecError(f"{fault}{system}, or lay texts out as they are (--plain)") from fault


def _end(tokenizer: PreTrainedTokenizerBase, behind: tuple[int, ...]) -> tuple[int, ...]:
    """Return what stands behind a response, to its end mark: the template's, or else the tokenizer's."""
    special = next((i for i, each in enumerate(behind) if each in tokenizer.all_special_ids), None)
    if special is not None:
        return behind[: special + 1]
    assert isinstance(tokenizer.eos_token_id, int)  # models.policy refuses a tokenizer without
    return (tokenizer.eos_token_id,)
