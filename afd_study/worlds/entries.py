r"""One row of a data set: what it gives, or why it gives nothing.

A prompt has the layout of a dialogue that waits for the assistant, as in HH-RLHF (Bai et al. 2022, arXiv
2204.05862):

    "\n\nHuman: <question>\n\nAssistant:"
"""

import hashlib
from dataclasses import dataclass

from afd_study.worlds.normalising import ASSISTANT, HUMAN, holds_turn, visible

BLANK = "blank line"
NOT_TEXT = "half a surrogate pair: not valid Unicode"
EMPTY_PROMPT = "empty prompt"
EMPTY_RESPONSE = "empty response"
FURTHER_TURN = "response holds a further turn"
NO_PREFERENCE = "no preference: both responses are the same"
NO_DEMONSTRATION = "test prompt without a demonstration: not compared with one"
IN_TEST_FILE = "its dialogue opens like one in a test file"
BEYOND_MAX_ROWS = "beyond max_rows"
UNKNOWN_PROMPT = "its prompt is none of the data set's"
NO_FAULTS = (BLANK, IN_TEST_FILE, BEYOND_MAX_ROWS, UNKNOWN_PROMPT)  # reasons to drop a row that is all right


@dataclass(frozen=True)
class Entry:
    """One line read: what it gives, or why it gives nothing.

    An entry without a prompt is dropped, and `reason` says why; with one it is kept, and a `reason` says what
    it does not give. `from_test` marks lines of a file that its authors set aside for testing.
    """

    file: str
    line: int
    prompt: str = ""
    demonstration: str = ""
    preferred: str = ""
    rejected: str = ""
    reason: str = ""
    from_test: bool = False

    def dropped(self, reason: str) -> "Entry":
        """Return the entry with nothing left to use, and why."""
        return Entry(file=self.file, line=self.line, reason=reason, from_test=self.from_test)


def prompt_id(text: str) -> str:
    """Return 12 hex digits of the prompt's text: equal prompts share an id, in any file and order."""
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def opening(prompt: str) -> str:
    """Return the dialogue up to its first assistant turn, which it shares with all its continuations."""
    return prompt.split(ASSISTANT, 1)[0]


def unit_hash(text: str, *, seed: int, use: str) -> float:
    """Return a number in [0, 1), uniform over texts, and independent between seeds and uses."""
    whole = hashlib.blake2b(f"{seed}/{use}/{text}".encode(), digest_size=8).digest()
    return (int.from_bytes(whole, "big") >> 11) / 2**53


def hash_of(text: str) -> int:
    """Return 64 bits that two texts share by chance alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def content_fault(prompt: str, *responses: str) -> str:
    """Return why a prompt and its responses can't be used, or "".

    Responses are not stripped yet: in an empty answer with a turn behind it, that turn's blank line counts.
    """
    texts = (prompt, *responses)
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return NOT_TEXT
    if not visible(prompt.replace(HUMAN, "").replace(ASSISTANT, "")):
        return EMPTY_PROMPT
    if not all(map(visible, responses)):
        return EMPTY_RESPONSE
    return FURTHER_TURN if any(map(holds_turn, responses)) else ""
