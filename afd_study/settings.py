"""The ground of every spec: a frozen value that refuses settings it does not know."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A value that does not change and takes no setting it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
