"""Which frozen results read texts from disk, and by which options a command is told where these lie."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afd_study.errors import SpecError
from afd_study.settings import at_home

READS: Mapping[str, Mapping[str, str]] = {
    "systems": {"--alpaca-eval": "folder", "--model": "model"},
    "pretrained": {"--hh-rlhf": "harmless", "--alpaca-eval": "helpful"},
}
"""A frozen result -> its options, and what each is called there."""


def text_places(what: str, given: Mapping[str, Path | str | None]) -> dict[str, Any]:
    """Return what the freezer of WHAT is called with, of the options that were given.

    Raises SpecError for an option that it does not read.
    """
    own, values = READS.get(what, {}), {name: value for name, value in given.items() if value is not None}
    for option in values:
        if option not in own:
            readers = [name for name, options in READS.items() if option in options]
            raise SpecError(f"{option} is not for --what {what}: it is for {' and '.join(readers)}")
    places = {
        own[option]: at_home(value) if isinstance(value, Path) else value for option, value in values.items()
    }
    return {"folders": places} if what == "pretrained" else places
