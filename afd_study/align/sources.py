"""Sources of texts by name, as `afd diagnose` is given them: each a file, or one file of preferences."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from afd_study.align.dialogues import Dialogue
from afd_study.align.formats import Reading, read_demonstrations, read_preferences
from afd_study.align.layouts import LAYOUTS, fitting
from afd_study.align.rows import FORMATS, open_file
from afd_study.errors import SpecError
from afd_study.settings import at_home

ROLES = ("Init", "SFT", "Demo")


class Sources(NamedTuple):
    """The dialogues of each source, and a line a file on what was read."""

    dialogues: dict[str, list[Dialogue]]
    lines: list[str]


def read_sources(
    files: Sequence[str], *, roles: Mapping[str, Path | None] | None = None, layout: str | None = None
) -> Sources:
    """Read sources of texts: files in `roles` (all of ROLES, or none), then those in `files`.

    Each of `files` is a path, whose stem is the source's name, or NAME=PATH. One file of preferences alone is
    two sources, its preferred and its rejected responses. Repeats are kept: how often a thing is said is part
    of what a source is.

    Raises SpecError for some roles without the others, for one name twice and for a single source, DataError
    for a file that can't be read.
    """
    named = [*_with_roles(roles or {}), *map(name_and_path, files)]
    names = [name for name, _ in named]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SpecError(f"two sources are called '{twice}': name them, as in NAME={dict(named)[twice]}")
    if not named:
        raise SpecError("no source was named: give two files or more, or one file of preferences")
    if len(named) == 1:
        return _sides(*named[0], layout)
    readings = {name: read_demonstrations(path, layout=layout, keep_repeats=True) for name, path in named}
    return Sources(
        {name: reading.items for name, reading in readings.items()},
        [_called(name, reading) for name, reading in readings.items()],
    )


def name_and_path(word: str) -> tuple[str, Path]:
    """Return the name and the path of a source, by NAME=PATH or a path. Raises SpecError where one is empty.

    >>> name_and_path("demos.jsonl.gz")[0], name_and_path("mine=demos.jsonl")[0]
    ('demos', 'mine')
    """
    name, sign, path = word.partition("=")
    if not sign or Path(word).is_file():
        name, path = "", word
        name = Path(word).name
        for end in sorted(FORMATS, key=len, reverse=True):
            name = name.removesuffix(end)
    if not name.strip() or not path:
        raise SpecError(f"'{word}' names no source: write a file, or NAME=FILE")
    return name.strip(), at_home(Path(path))


def _with_roles(roles: Mapping[str, Path | None]) -> list[tuple[str, Path]]:
    paths = [(name, at_home(path)) for name in ROLES if (path := roles.get(name)) is not None]
    if paths and len(paths) < len(ROLES):
        lacking = " and ".join(f"--{name.lower()}" for name in ROLES if roles.get(name) is None)
        raise SpecError(f"{lacking} lacks: Init, SFT and Demo go together; or give the files without options")
    return paths


def _sides(name: str, path: Path, layout: str | None) -> Sources:
    """Return the two sources that a file of preferences is."""
    if layout is None and not fitting(open_file(path).columns, "preferences"):
        raise SpecError(
            f"{path} is one source: give a second file, or one file of preferences ({_preferences()})"
        )
    reading = read_preferences(path, layout=layout, keep_repeats=True)
    sides = {
        f"{name} {side}": [item.dialogue(getattr(item, side)) for item in reading.items]
        for side in ("preferred", "rejected")
    }
    return Sources(sides, [reading.line()])


def _preferences() -> str:
    return "; ".join(", ".join(layout.needs) for layout in LAYOUTS.values() if layout.answers == 2)


def _called(name: str, reading: Reading[Dialogue]) -> str:
    return f"{name}: {reading.line()}"
