r"""What a text from a file is, whoever wrote it: line ends, byte order marks, invisible characters, turns.

Every text passes `normalised` before any reader strips it, splits it or looks for turns. A text without
carriage returns, byte order marks and turns that hide behind invisible characters comes out as it went in.
"""

import re
import unicodedata

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"

_BYTE_ORDER_MARK = "\ufeff"
# Characters without a shape and without a meaning of their own. Joiners inside an emoji or a Persian word are
# such characters too, so they only go where they hide a turn.
_HIDING = "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
_HIDDEN_TURN = re.compile(
    rf"\n{_HIDING}*\n{_HIDING}*(H{_HIDING}*u{_HIDING}*m{_HIDING}*a{_HIDING}*n"
    rf"|A(?:{_HIDING}*s){{2}}{_HIDING}*i{_HIDING}*s{_HIDING}*t{_HIDING}*a{_HIDING}*n{_HIDING}*t){_HIDING}*:"
)
_ANY_HIDING = re.compile(_HIDING)
# letters and marks by category, blank to the eye: fillers, the blank Braille cell
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
_VARIATION_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def normalised(text: str) -> str:
    r"""Return a text with line feeds as line ends, no byte order mark in front, and turns in plain sight.

    >>> normalised("\ufeffHi.\r\n\r\n\u200bHuman: And?\rYes.")
    'Hi.\n\nHuman: And?\nYes.'
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.startswith(_BYTE_ORDER_MARK):
        text = text.lstrip(_BYTE_ORDER_MARK)
    if not text.isascii():  # a text of a byte a character hides nothing
        text = _HIDDEN_TURN.sub(lambda turn: _ANY_HIDING.sub("", turn.group()), text)
    return text


def visible(text: str) -> bool:
    r"""Tell whether anything of a text can be seen: not so if all is space, zero-width or control.

    >>> visible("\u200b \x00"), visible("-")
    (False, True)
    """
    return any(_seen(character) for character in text)


def holds_turn(text: str) -> bool:
    """Tell whether a normalised text, not stripped yet, holds a turn of a dialogue."""
    return HUMAN in text or ASSISTANT in text


def _seen(character: str) -> bool:
    if character in _BLANK_LETTERS or any(ord(character) in block for block in _VARIATION_SELECTORS):
        return False
    # Cs is half a surrogate pair: no text, and the caller says so
    return unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp")
