"""Whether the frozen tables of a page are of today's code, in words."""

from collections.abc import Sequence

from afd_study.study.frozen.basis import Standing
from afd_study.study.frozen.files import is_frozen, read_manifest
from afd_study.study.frozen.parts import parts, standings


def words(*names: str) -> str:
    """Return a sentence for each group of frozen tables; a name ending in "/" stands for all below it.

    Tables that are not frozen, or that no study's steps make, are left out.
    """
    every = parts()
    chosen = [each for each in every if any(_is_of(each, name) for name in names) and is_frozen(each)]
    found = standings(chosen, every)
    return "\n".join(f"{', '.join(same)}: {sentence}" for sentence, same in _grouped(chosen, found))


def _is_of(part: str, name: str) -> bool:
    return part == name or (name.endswith("/") and part.startswith(name))


def _grouped(names: Sequence[str], found: dict[str, Standing]) -> list[tuple[str, list[str]]]:
    groups = dict[str, list[str]]()
    for name in names:
        about = f"commit {str(read_manifest(name).get('commit', 'unknown'))[:12]}. {found[name].words}"
        groups.setdefault(about, []).append(name)
    return list(groups.items())
