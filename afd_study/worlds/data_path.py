"""A path in a data set's settings: what stands for a home is put in once, for the key and for the reader."""

from pathlib import Path

from afd_study.settings import HomePath as DataPath

__all__ = ["DataPath", "shown"]


def shown(path: Path) -> str:
    """Return the last two parts of a path for a table; bytes of a name that are no UTF-8 are written out."""
    return "/".join(path.parts[-2:]).encode("utf-8", "backslashreplace").decode()
