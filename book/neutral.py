"""What of the reader's settings reaches the kernels that make the book: nothing that changes a page.

Variables, start-up files and kernel specifications are there for a person's own notebooks. The book is made
by the interpreter that runs it, with the settings that packages come with.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# of plotly, matplotlib, Jupyter, IPython, Sphinx and pandoc: all their variables, not only those known today
FAMILIES = ("PLOTLY_", "MPL", "MATPLOTLIB", "JUPYTER_", "IPYTHON", "IPY_", "PAPERMILL_", "SPHINX", "NBVAL")
NAMES = frozenset({"PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "BROWSER", "TEXINPUTS"})
KEPT = frozenset({"MPLCONFIGDIR"})  # holds matplotlib's list of fonts, which takes seconds to make
LONGEST_SOCKET = 107  # characters of a socket's path
SOCKET_NAME = len("/kernel-65535")


def environment(home: Path, outside: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables `outside` (this process's) without a reader's settings of the tools.

    `home` is an empty folder, in which Jupyter and IPython find no start-up file, configuration or kernel.
    """
    outside = os.environ if outside is None else outside
    kept = {
        name: value
        for name, value in outside.items()
        if name in KEPT or not (name.startswith(FAMILIES) or name in NAMES)
    }
    own = {
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "MATPLOTLIBRC": os.devnull,  # an empty file: matplotlib looks for no other
    }
    if "MPLCONFIGDIR" not in kept and not _has_room_for_fonts(outside):
        own["MPLCONFIGDIR"] = str(home / "matplotlib")
    return kept | own


def _has_room_for_fonts(outside: Mapping[str, str]) -> bool:
    """Tell whether matplotlib can write in its folders; where it can't, it says so in a cell, with paths."""
    for variable, usual in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
        try:
            place = (
                Path(outside.get(variable) or Path(outside.get("HOME") or Path.home()) / usual) / "matplotlib"
            )
            place.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # a system that knows no home of this user raises the latter
            return False
        if not os.access(place, os.W_OK):
            return False
    return True


@contextmanager
def settings() -> Iterator[None]:
    """Give this process, and what it starts, the neutral variables; put the old ones back afterwards.

    Raises OSError as `short_place` does.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="afd", dir=short_place(), ignore_cleanup_errors=True) as home:
        os.environ.clear()
        os.environ.update(environment(Path(home), before))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def short_place(candidates: tuple[str, ...] = ("/tmp", "/var/tmp", "/dev/shm")) -> str | None:
    """Return the folder for sockets: the usual temporary one, or one of `candidates` if its path is too long.

    Raises OSError, which says what to set, where none is short enough and can be written to.
    """
    usual = tempfile.gettempdir()
    for place in (usual, *candidates):
        room = LONGEST_SOCKET - SOCKET_NAME - len("/afd12345678")
        if len(os.fsencode(place)) <= room and os.access(place, os.W_OK | os.X_OK):
            return place
    raise OSError(
        f"the temporary folder {usual} has too long a path for sockets: set TMPDIR to a shorter one"
    )
