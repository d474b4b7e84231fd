"""How a row of each layout is read: as turns, with what is wrong with it.

A prompt may be a plain question or a dialogue that waits for the assistant, as worlds/own_data.py reads it,
or, where the file holds lists, messages. A reader takes the place of a row, for errors, and its fields.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from afd_study.align.dialogues import (
    NO_TURN,
    USER_FIRST,
    Turn,
    fault_of,
    joined,
    responses_fault,
    turns_of,
)
from afd_study.align.rows import field_of, list_of, optional_of, text_of
from afd_study.worlds.entries import EMPTY_PROMPT, NO_PREFERENCE
from afd_study.worlds.hh_rlhf import OTHER_PROMPT, entry_of
from afd_study.worlds.normalising import visible
from afd_study.worlds.own_data import HALF_LAID_OUT, laid_out

OTHER_ROLE = "a turn of neither system, user nor assistant"
ROLES = {
    **{"system": "system", "user": "user", "assistant": "assistant"},
    **{"human": "user", "gpt": "assistant", "chatgpt": "assistant"},
}
"""What files call who speaks -> the role; the second line is ShareGPT's."""


class Parsed(NamedTuple):
    """What a row gives: turns and, of a preference, two responses to them; or why it gives nothing.

    `lost` says that a last turn without an answer was left aside.
    """

    turns: tuple[Turn, ...] = ()
    pair: tuple[str, str] | None = None
    reason: str = ""
    lost: bool = False


Reader = Callable[[str, Mapping[str, Any]], Parsed]


def _turns_of_list(where: str, name: str, value: object, who: str, says: str) -> tuple[list[Turn], str]:
    """Return the turns of a list of messages, not stripped yet, and why they can't be used, or ""."""
    turns: list[Turn] = []
    for number, message in enumerate(list_of(where, name, value), start=1):
        inside = f"{where}: '{name}', message {number}"
        role = ROLES.get(text_of(inside, who, field_of(inside, message, who)).strip().lower())
        if role is None:
            return [], OTHER_ROLE
        turns.append(Turn(role, text_of(inside, says, field_of(inside, message, says))))  # type: ignore[arg-type]
    return turns, ("" if turns else EMPTY_PROMPT)


def _system(where: str, row: Mapping[str, Any]) -> list[Turn]:
    text = text_of(where, "system", optional_of(where, row, "system"))
    return [Turn("system", text)] if visible(text) else []


def _of_turns(turns: Sequence[Turn], reason: str = "") -> Parsed:
    """Return a whole dialogue up to its last answer, checked; without an answer, one that waits for it."""
    if reason := reason or fault_of(turns):
        return Parsed(reason=reason)
    whole = joined(turns)
    last = max((i for i, turn in enumerate(whole) if turn.role == "assistant"), default=-1)
    if last < 0:
        return Parsed(whole, reason=responses_fault(whole))
    if reason := responses_fault(whole[:last], whole[last].text):
        return Parsed(whole[:last], reason=reason)
    return Parsed(whole[: last + 1], lost=last + 1 < len(whole))


def _of_prompt(prompt: Sequence[Turn], responses: Sequence[str], reason: str = "") -> Parsed:
    """Return a prompt with one or two responses to it, not stripped yet, checked."""
    if reason := reason or fault_of(prompt) or responses_fault(prompt):
        return Parsed(reason=reason)
    turns = joined(prompt)
    if reason := responses_fault(turns, *responses):
        return Parsed(turns, reason=reason)
    answers = [text.strip() for text in responses]
    if len(answers) == 1:
        return Parsed(joined([*turns, Turn("assistant", answers[0])]))
    return Parsed(turns, (answers[0], answers[1]), NO_PREFERENCE if answers[0] == answers[1] else "")


def _prompt(where: str, row: Mapping[str, Any], text: str) -> tuple[list[Turn], str]:
    """Return the turns of a prompt that is text, the row's system turn too, and why there are none, or ""."""
    if not visible(text):
        return [], EMPTY_PROMPT
    dialogue = laid_out(text)
    return [*_system(where, row), *turns_of(dialogue)], ("" if dialogue else HALF_LAID_OUT)


def _prompt_or_list(where: str, row: Mapping[str, Any], name: str) -> tuple[list[Turn], str]:
    value = field_of(where, row, name)
    if isinstance(value, list):
        turns, reason = _turns_of_list(where, name, value, "role", "content")
        return [*_system(where, row), *turns], reason
    return _prompt(where, row, text_of(where, name, value))


def _response_or_list(where: str, row: Mapping[str, Any], name: str) -> tuple[list[Turn], str, str]:
    """Return what comes before a response in a list of messages, the response, and why there is none."""
    value = field_of(where, row, name)
    if not isinstance(value, list):
        return [], text_of(where, name, value), ""
    turns, reason = _turns_of_list(where, name, value, "role", "content")
    if not reason and turns[-1].role != "assistant":
        reason = NO_TURN
    return (turns[:-1], turns[-1].text, "") if not reason else ([], "", reason)


def answered(where: str, row: Mapping[str, Any], *, prompt: str, responses: Sequence[str]) -> Parsed:
    """Read a prompt with its responses, each a text or a list of messages.

    A list of messages that begins with the user's is a whole dialogue, as in UltraFeedback: it is read as it
    stands, and the column of the prompt is left aside.
    """
    parts = [_response_or_list(where, row, name) for name in responses]
    before, reason = parts[0][0], next((part[2] for part in parts if part[2]), "")
    if any(part[0] != before for part in parts):
        return Parsed(reason=OTHER_PROMPT)
    turns, fault = (before, "") if before else _prompt_or_list(where, row, prompt)
    return _of_prompt(turns, [part[1] for part in parts], reason or fault)


def alpaca(where: str, row: Mapping[str, Any], *, response: str) -> Parsed:
    """Read an instruction, with the input that it speaks of below it, and the answer."""
    text = text_of(where, "instruction", field_of(where, row, "instruction"))
    more = text_of(where, "input", optional_of(where, row, "input"))
    text += f"\n\n{more.strip()}" if visible(more) else ""
    turns, reason = _prompt(where, row, text)
    return _of_prompt(turns, [text_of(where, response, field_of(where, row, response))], reason)


def messages(where: str, row: Mapping[str, Any], *, name: str, who: str, says: str) -> Parsed:
    """Read a dialogue that is a list of messages: the keys of who speaks, and of what is said."""
    turns, reason = _turns_of_list(where, name, field_of(where, row, name), who, says)
    return _of_turns([*_system(where, row), *turns], reason)


def whole_dialogues(where: str, row: Mapping[str, Any]) -> Parsed:
    """Read two whole dialogues that share all but the last answer: texts as in HH-RLHF, or messages."""
    names = ("chosen", "rejected")
    sides = [field_of(where, row, name) for name in names]
    if any(isinstance(side, list) for side in sides):
        parts = [_response_or_list(where, row, name) for name in names]
        reason = next((part[2] for part in parts if part[2]), "")
        if parts[0][0] != parts[1][0]:
            reason = reason or OTHER_PROMPT
        return _of_prompt([*_system(where, row), *parts[0][0]], [part[1] for part in parts], reason)
    chosen, rejected = (text_of(where, name, side) for name, side in zip(names, sides, strict=True))
    entry = entry_of(chosen=chosen, rejected=rejected, file="", line=0)
    if not entry.prompt:
        return Parsed(reason=entry.reason)
    prompt = laid_out(entry.prompt)
    if not prompt:
        return Parsed(reason=USER_FIRST)
    turns = [*_system(where, row), *turns_of(prompt)]
    preferred, rejected = entry.preferred or entry.demonstration, entry.rejected or entry.demonstration
    return _of_prompt(turns, [preferred, rejected])


def prompt_alone(where: str, row: Mapping[str, Any]) -> Parsed:
    """Read a prompt without a response: a text, or a list of messages."""
    turns, reason = _prompt_or_list(where, row, "prompt")
    return Parsed(reason=reason) if reason else _of_turns(turns)
