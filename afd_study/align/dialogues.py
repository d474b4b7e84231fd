r"""What a file of examples gives: dialogues as turns, whatever the file's layout, and what was left out.

A dialogue has system turns first, if any, and then turns of user and assistant in alternation. Two layouts of
the same words give equal turns, and a text that a reader of plain prompts takes as turns is turns here too:

    "\n\nHuman: Why?\n\nAssistant:"
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from afd_study.worlds.entries import NOT_TEXT, content_fault
from afd_study.worlds.normalising import ASSISTANT, HUMAN, holds_turn

Role = Literal["system", "user", "assistant"]
MARKS = {"user": HUMAN, "assistant": ASSISTANT}
NO_TURN = "no assistant turn"
MESSAGE_TURN = "a message holds a further turn"
USER_FIRST = "the first turn is not the user's"
SYSTEM_LATER = "a system turn behind others"
_TURN = re.compile(f"({re.escape(HUMAN)}|{re.escape(ASSISTANT)})")


class Turn(NamedTuple):
    """Who speaks, and what; the text is stripped."""

    role: Role
    text: str


class Dialogue(NamedTuple):
    """One example: turns, of which the last is the response where the assistant speaks last.

    `line` is the line that it begins on, or the row of a parquet file, from 1. `cut` says whether its writer
    stopped at a limit of length, where the file says so.
    """

    turns: tuple[Turn, ...]
    file: str = ""
    line: int = 0
    cut: bool | None = None

    @property
    def response(self) -> str:
        """The last turn's text where the assistant speaks; "" for a dialogue that waits for an answer."""
        return self.turns[-1].text if self.turns[-1].role == "assistant" else ""

    @property
    def prompt(self) -> tuple[Turn, ...]:
        """The turns before the response."""
        return self.turns[:-1] if self.turns[-1].role == "assistant" else self.turns


class Preference(NamedTuple):
    """A prompt with two responses, of which somebody preferred one."""

    prompt: tuple[Turn, ...]
    preferred: str
    rejected: str
    file: str = ""
    line: int = 0

    def dialogue(self, response: str) -> Dialogue:
        """Return the prompt with a response to it."""
        return Dialogue((*self.prompt, Turn("assistant", response)), self.file, self.line)


def turns_of(prompt: str) -> tuple[Turn, ...]:
    r"""Return the turns of a prompt in the layout of worlds/entries.py, which waits for the assistant.

    >>> turns_of("\n\nHuman: Why?\n\nAssistant: Since.\n\nHuman: Why?\n\nAssistant:")[1]
    Turn(role='assistant', text='Since.')
    """
    speaker: dict[str, Role] = {HUMAN: "user", ASSISTANT: "assistant"}
    _, *parts = _TURN.split(prompt.rstrip().removesuffix(ASSISTANT))
    return tuple(
        Turn(speaker[mark], text.strip()) for mark, text in zip(parts[::2], parts[1::2], strict=True)
    )


def plain_text(prompt: Sequence[Turn]) -> str:
    r"""Return a prompt as plain text that waits for the assistant; system turns stand before it.

    >>> plain_text([Turn("system", "Be kind."), Turn("user", "Why?")])
    'Be kind.\n\nHuman: Why?\n\nAssistant:'
    """
    system = "\n\n".join(turn.text for turn in prompt if turn.role == "system")
    said = (f"{MARKS[turn.role]} {turn.text}" for turn in prompt if turn.role != "system")
    return f"{system}{''.join(said)}{ASSISTANT}"


def prompt_name(prompt: Sequence[Turn]) -> str:
    """Return 16 hex digits that equal prompts share."""
    return hashlib.blake2b(json.dumps(prompt).encode(), digest_size=8).hexdigest()


def opening_name(prompt: Sequence[Turn]) -> str:
    """Return `prompt_name` of the turns up to the assistant's first, which all continuations share."""
    first = next((i for i, turn in enumerate(prompt) if turn.role == "assistant"), len(prompt))
    return prompt_name(prompt[:first])


def joined(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Return turns stripped, those of one speaker that follow each other joined by an empty line."""
    whole: list[Turn] = []
    for role, text in turns:
        if whole and whole[-1].role == role:
            whole[-1] = Turn(role, f"{whole[-1].text}\n\n{text.strip()}")
        else:
            whole.append(Turn(role, text.strip()))
    return tuple(whole)


def fault_of(turns: Sequence[Turn]) -> str:
    """Return why turns, not stripped yet, are no dialogue, or "". Their order counts, and what they hold."""
    roles = [turn.role for turn in turns]
    later = roles[next((i for i, role in enumerate(roles) if role != "system"), len(roles)) :]
    try:
        "".join(turn.text for turn in turns).encode()
    except UnicodeEncodeError:
        return NOT_TEXT
    if "system" in later:
        return SYSTEM_LATER
    if later[:1] != ["user"]:
        return USER_FIRST
    return MESSAGE_TURN if any(holds_turn(turn.text) for turn in turns) else ""


def responses_fault(prompt: Sequence[Turn], *responses: str) -> str:
    """Return why a prompt and responses, not stripped yet, can't be used, or ""."""
    return content_fault(plain_text([turn for turn in prompt if turn.role != "system"]), *responses)
