"""What an endpoint's replies say: an answer, a passing fault, a filter's refusal, or a refusal that stays."""

import json
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import numpy as np

PASSING = (408, 409, 425, 429)  # statuses that another attempt may change, beside all from 500 on
# Codes of a content filter: Azure and OpenAI, Google and Mistral by their compatible endpoints, DashScope.
FILTERS = {
    "content_filter",
    "content_filtered",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "moderation_blocked",
    "data_inspection_failed",
    "datainspectionfailed",
    "safety",
}


class Reply(NamedTuple):
    """A whole reply: its status, its text, and the seconds to wait that it asks for."""

    status: int
    text: str
    wait: float | None


def passing(status: int) -> bool:
    """Tell whether another attempt may fare better."""
    return status in PASSING or status >= 500


def content(text: str) -> str:
    """Return the text of a chat completion's first choice; ValueError where there is none."""
    answer = _first_choice(text).get("message", {}).get("content")
    if not isinstance(answer, str):
        raise ValueError("no chat completion")
    return answer


def unreadable(text: str) -> tuple[str, str]:
    """Return why a reply gives no verdict, and what to show of it: the answer, or else all of it."""
    try:
        answer = content(text)
    except ValueError:
        return "an answer that cannot be read", text
    if answer.strip():
        return "an answer that is no verdict", answer
    reason = _first_choice(text).get("finish_reason")
    spent = ": its tokens were spent before it answered, so raise max_tokens" if reason == "length" else ""
    return f"an empty answer (finish_reason {str(reason)[:40]!r}){spent}", answer


def filtered(text: str) -> bool:
    """Tell whether a content filter, or the model itself, refused the question."""
    try:
        choice = _first_choice(text)
    except ValueError:
        choice = {}
    message = choice.get("message", {})
    refusal = isinstance(message.get("refusal"), str) and not message.get("content")
    return refusal or _is_filter(choice.get("finish_reason")) or any(map(_is_filter, _error_codes(text)))


def refusal(status: int, quoted: str, key_variable: str) -> str:
    """Return what a status that stays means, with the remedy."""
    if status in (401, 403):  # its words are left out: some endpoints quote parts of the key
        return f"refuses the key (status {status}): set {key_variable} to one that it takes"
    if 300 <= status < 400:
        return (
            f"redirects (status {status}), which is not followed, so that the key goes to no other host: "
            "set base_url to where it leads"
        )
    if status == 404:
        return (
            f"knows no such address or model (status 404, {quoted}): base_url ends before /chat/completions"
        )
    hint = "; where it knows no system role, set instructions=user" if "system" in quoted.lower() else ""
    return f"refuses the question (status {status}, {quoted}): change what it names{hint}"


def retry_after(header: str) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, a number or a date), or None."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if np.isfinite(seconds) else None


def _first_choice(text: str) -> dict[str, Any]:
    try:
        choice = json.loads(text)["choices"][0]
    except (LookupError, TypeError, RecursionError):
        choice = None
    if not isinstance(choice, dict) or not isinstance(choice.get("message", {}), dict):
        raise ValueError("no chat completion")
    return choice


def _error_codes(text: str) -> Iterator[object]:
    """Return the codes of an error and of the errors within it (Azure's innererror)."""
    try:
        error = json.loads(text)
    except (ValueError, RecursionError):
        return
    error = error.get("error", error) if isinstance(error, dict) else None
    for _ in range(3):
        if not isinstance(error, dict):
            return
        yield from (error.get("code"), error.get("type"))
        error = error.get("innererror")


def _is_filter(code: object) -> bool:
    return isinstance(code, str) and code.lower() in FILTERS
