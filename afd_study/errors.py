"""Errors that a person can act on: each names the problem, the place and the remedy."""

import os
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


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


def set_variables(names: Iterable[str]) -> str:
    """Return which of these environment variables are set, in either case. A proxy's may hold a password."""
    return ", ".join(each for name in names for each in (name, name.lower()) if os.environ.get(each))


def network_hint() -> str:
    """Return which variables say how the network is reached, for an error about it; "" where none does."""
    names = set_variables((*PROXIES, *CERTIFICATES))
    return f" The network is reached as the environment says ({names}): is that right?" if names else ""
