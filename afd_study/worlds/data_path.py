"""A path in a data set's settings: what stands for a home is put in once, for the key and for the reader."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def at_home(path: Path) -> Path:
    """Return a path with `~` and `~user` replaced by the home that they stand for.

    Raises ValueError for a user that there is not, and for a path that no system can have.
    """
    if "\0" in str(path):
        raise ValueError("a path can't hold the character NUL")
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"nobody here is called {path.parts[0][1:]}: give the path in full") from None


DataPath = Annotated[Path, AfterValidator(at_home)]


def shown(path: Path) -> str:
    """Return the last two parts of a path for a table; bytes of a name that are no UTF-8 are written out."""
    return "/".join(path.parts[-2:]).encode("utf-8", "backslashreplace").decode()
