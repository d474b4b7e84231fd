"""A step of a study: a function, its settings, its inputs, and the key that names its artefact."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from afd_study.study.workflow.code_version import code_version, library_versions


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a study: a function, the settings it receives, and the steps whose artefacts it reads."""

    name: str
    function: str  # "module:function", called as f(out, context, **settings, **places, **{input: folder})
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, "Step"] = field(default_factory=dict)
    places: Mapping[str, Any] = field(default_factory=dict)  # where, not what: passed on, but not keyed
    weight: float = 1.0  # rough seconds, for the estimate until the store has measured this step

    @cached_property
    def key(self) -> str:
        """Twenty hex digits that change with anything that the result depends on."""
        parts = {
            "name": self.name, "function": self.function, "code": code_version(self.function),
            "libraries": library_versions(), "settings": plain(self.settings),
            "inputs": {name: step.key for name, step in sorted(self.inputs.items())},
        }  # fmt: skip
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=10).hexdigest()

    def closure(self) -> "dict[str, Step]":
        """Return all steps that this one needs, itself last, by key."""
        return closure(self.inputs.values()) | {self.key: self}


def closure(steps: Iterable[Step]) -> dict[str, Step]:
    """Return steps and all that they need, each once and behind what it needs, by key."""
    return {key: step for each in steps for key, step in each.closure().items()}


def plain(value: Any) -> Any:
    """Return settings as plain JSON values."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
