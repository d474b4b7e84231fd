"""How a data set's path is named in its report."""

from pathlib import Path


def shown(path: Path) -> str:
    """Return the last two parts of a path for a table; bytes of a name that are no UTF-8 are written out."""
    return "/".join(path.parts[-2:]).encode("utf-8", "backslashreplace").decode()
