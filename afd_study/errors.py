"""Errors that a person can act on: each names the problem, the place and the remedy."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches


def visible(value: object) -> str:
    """Return `value` as text in which every control, formatting or private character is spelled out.

    Line breaks and tabs stay. A right-to-left override, say, becomes <U+202E>, and cannot reorder a page or a
    line of a terminal; an escape sequence is words to a terminal.
    """
    return "".join(
        character
        if character in "\n\t" or not unicodedata.category(character).startswith("C")
        else f"<U+{ord(character):04X}>"
        for character in str(value)
    )


class AfdError(Exception):
    """A fault in what the user supplied or in the surroundings; its text is all a user needs to see.

    A text may quote names of files, columns and models, which anybody may have chosen: `str` spells out what
    would command a terminal.
    """

    def __str__(self) -> str:
        return visible(super().__str__())


class SpecError(AfdError, ValueError):
    """A setting, name or argument that cannot be used as given."""


class DataError(AfdError, ValueError):
    """Data that cannot be read or does not fit; names the file and the line where there is one."""


class StoreError(AfdError, OSError):
    """The store cannot be read or written (full disk, no permission, damaged artefact)."""


class HubError(AfdError, OSError):
    """A model or data set could not be had from the hub or from a local path."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` most likely meant, or None."""
    by_lower = {str(item).lower(): str(item) for item in known}
    hits = get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[hits[0]] if hits else None


def unknown_name(kind: str, name: object, known: Iterable[str]) -> SpecError:
    """Build the error for a name outside a table, with the nearest known name and the whole list.

    >>> print(unknown_name("scorer", "lenght", ["length", "oracle"]))
    unknown scorer 'lenght': did you mean 'length'? Known: length, oracle.
    """
    names = sorted(str(item) for item in known)
    hint = nearest(str(name), names)
    meant = f" did you mean '{hint}'?" if hint else ""
    return SpecError(f"unknown {kind} '{name}':{meant} Known: {', '.join(names)}.")
