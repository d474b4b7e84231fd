"""A prompt and its response as the chat that a model was trained to read, by its tokenizer's own template.

The template is rendered around stand-ins for the turns. What it writes is encoded with its special tokens;
the turns are encoded apart, so that none is read out of an untrusted text.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from afd_study.errors import SpecError
from afd_study.models.batches import Example
from afd_study.models.tokenizers import encode, opening_ids

ROLES = {"Human": "user", "Assistant": "assistant"}
_TURN = re.compile(r"\n\n(Human|Assistant):")
_DATE = "26 Jul 2024"  # what Llama's template writes by default; a score must not depend on today's date


class Frame(NamedTuple):
    """The special tokens before, between and behind prompt and response."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    behind: tuple[int, ...]


class Turn(NamedTuple):
    """Who speaks ("user" or "assistant"), and what."""

    role: str
    text: str


def chat_of(prompt: str, response: str) -> list[Turn]:
    """Read a prompt in HH-RLHF's layout as turns, and the response as the last; any other prompt is one turn.

    Turns of one speaker that follow each other are joined by an empty line, since templates refuse them.
    """
    if not (prompt.startswith("\n\nHuman:") and prompt.rstrip().endswith("\n\nAssistant:")):
        return [Turn("user", prompt.strip()), Turn("assistant", response.strip())]
    _, *parts = _TURN.split(prompt.rstrip().removesuffix("\n\nAssistant:"))
    said = [(ROLES[speaker], text) for speaker, text in zip(parts[::2], parts[1::2], strict=True)]
    turns: list[Turn] = []
    for role, text in (*said, ("assistant", response)):
        if turns and turns[-1].role == role:
            turns[-1] = Turn(role, f"{turns[-1].text}\n\n{text.strip()}")
        else:
            turns.append(Turn(role, text.strip()))
    return turns


def as_chats(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], responses: Sequence[str]
) -> Iterator[tuple[Frame, list[int], list[int]]]:
    """Yield each row's frame, prompt and response, as ids; a prompt may hold several turns (`chat_of`).

    Raises SpecError for a chat template that cannot be used.
    """
    layouts: dict[tuple[str, ...], list[list[int]]] = {}
    for prompt, response in zip(prompts, responses, strict=True):
        turns = chat_of(prompt, response)
        roles = tuple(turn.role for turn in turns)
        if roles not in layouts:
            layouts[roles] = around_turns(tokenizer, roles)
        first, *inner, between, behind = layouts[roles]
        *earlier, said = encode(tokenizer, [turn.text for turn in turns])
        ids = list(earlier[0])
        for piece, text in zip(inner, earlier[1:], strict=True):
            ids += [*piece, *text]
        yield Frame(tuple(first), tuple(between), tuple(behind)), ids, said


def framed_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]
) -> list[tuple[Frame, list[int]]]:
    """Return each prompt's ids and what stands around them: a chat's, or a begin mark and the text as it is.

    Raises SpecError for a chat template that cannot be used.
    """
    if tokenizer.chat_template:
        return [(frame, ids) for frame, ids, _ in as_chats(tokenizer, prompts, [""] * len(prompts))]
    plain = Frame(tuple(opening_ids(tokenizer)), (), ())
    return [(plain, ids) for ids in encode(tokenizer, prompts)]


def encoded_responses(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return responses as ids, without an end mark, as they stand behind a prompt of `framed_prompts`.

    A plain response follows "Assistant:" after a space, which byte-level vocabularies keep with the word
    behind it; a chat's stands behind what the template writes.
    """
    chat = bool(tokenizer.chat_template)
    return encode(tokenizer, [text.strip() if chat else f" {text}" for text in texts])


def chat_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return the tokenizer with the end mark that its template writes behind a response, if it writes one.

    Raises SpecError for a chat template that cannot be used.
    """
    behind = around_turns(tokenizer, ("user", "assistant"))[-1]
    special = next((each for each in behind if each in tokenizer.all_special_ids), None)
    if special is not None and special != tokenizer.eos_token_id:
        tokenizer.eos_token = str(tokenizer.convert_ids_to_tokens(special))
    return tokenizer


def chat_examples(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    max_prompt_tokens: int,
    max_new_tokens: int,
) -> tuple[list[Example], list[bool]]:
    """Return chats as a policy reads them, and which responses were cut at `max_new_tokens`.

    A whole response ends with the end mark that the template writes, and a cut one without. A prompt of more
    than `max_prompt_tokens` keeps its last ids.
    """
    examples, cut = [], []
    for frame, prompt, said in as_chats(tokenizer, prompts, responses):
        head = (*frame.before, *prompt[-max_prompt_tokens:], *frame.between)
        cut.append(len(said) > max_new_tokens)
        ending = () if cut[-1] else _to_end_mark(tokenizer, frame.behind)
        examples.append(Example((*head, *said[:max_new_tokens], *ending), len(head)))
    return examples, cut


def _to_end_mark(tokenizer: PreTrainedTokenizerBase, behind: tuple[int, ...]) -> tuple[int, ...]:
    """Return what the template writes behind a response, to its end mark; the mark alone if it has none."""
    end = tokenizer.eos_token_id
    assert isinstance(end, int)  # models.policy refuses a tokenizer without
    return behind[: behind.index(end) + 1] if end in behind else (end,)


def around_turns(tokenizer: PreTrainedTokenizerBase, roles: tuple[str, ...]) -> list[list[int]]:
    """Return the ids that the tokenizer's chat template writes before, between and behind turns of `roles`.

    They are lists of ids, one more than there are turns.

    Raises SpecError for a template that fails, that does not write each turn once, or that writes the date.
    """
    template = str(tokenizer.chat_template)
    if "strftime_now" in template and "date_string" not in template:
        raise _unfit(tokenizer, "it writes today's date, on which scores would depend")
    marks = [f"TURN{number:04d}TEXT" for number in range(len(roles))]
    chat = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
    try:
        text = str(tokenizer.apply_chat_template(chat, tokenize=False, date_string=_DATE))
    except Exception as fault:  # a template is a program of its authors
        raise _unfit(tokenizer, [*str(fault).splitlines(), type(fault).__name__][0][:200]) from fault
    pieces = re.split("|".join(marks), text)
    if re.findall("|".join(marks), text) != marks:
        raise _unfit(tokenizer, "it does not write each turn once, in their order")
    return [
        list(tokenizer(piece, add_special_tokens=False)["input_ids"]) if piece else [] for piece in pieces
    ]


def _unfit(tokenizer: PreTrainedTokenizerBase, reason: str) -> SpecError:
    return SpecError(
        f"the chat template in {tokenizer.name_or_path} cannot be used ({reason}): mend "
        "chat_template in its tokenizer_config.json, or remove it there, and the model reads prompt and "
        "response as they are"
    )
