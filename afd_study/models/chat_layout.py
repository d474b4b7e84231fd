"""A prompt and its response as the chat that a judge was trained to read, by its tokenizer's own template.

The template is rendered around stand-ins for the turns. What it writes is encoded with its special tokens;
the turns are encoded apart, so that none is read out of an untrusted text.
"""

import re
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from afd_study.errors import SpecError

ROLES = {"Human": "user", "Assistant": "assistant"}
_TURN = re.compile(r"\n\n(Human|Assistant):")
_DATE = "26 Jul 2024"  # what Llama's template writes by default; a score must not depend on today's date


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
        f"the chat template of the judge in {tokenizer.name_or_path} cannot be used ({reason}): mend "
        "chat_template in its tokenizer_config.json, or remove it there, and the judge reads prompt and "
        "response as they are"
    )
