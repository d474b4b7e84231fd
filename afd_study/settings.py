"""The ground of every spec: a frozen value that refuses settings it does not know, and how it reads paths."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from afd_study.errors import SpecError


class Settings(BaseModel):
    """A value that does not change and takes no setting it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def faults_of(fault: ValidationError) -> str:
    """Return what is wrong with values that a record refuses, each with its place."""
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in fault.errors())


def at_home(path: Path) -> Path:
    """Return a path with `~` and `~user` replaced by the home that they stand for.

    Raises SpecError for a user that there is not, and for a path that no system can have.
    """
    if "\0" in str(path):
        raise SpecError("a path can't hold the character NUL")
    try:
        return path.expanduser()
    except RuntimeError:
        user = path.parts[0][1:]
        who = f"nobody here is called {user}" if user else "no home folder is known (HOME)"
        raise SpecError(f"{who}: give the path in full") from None


def _name_at_home(name: str) -> str:
    return str(at_home(Path(name))) if name.startswith("~") else name


HomePath = Annotated[Path, AfterValidator(at_home)]
NameOrPath = Annotated[str, AfterValidator(_name_at_home)]
"""A model's name on the hub, or its folder."""
