"""A step of a study: a function, its settings, its inputs, and the key that names its artefact."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from afd_study.study.workflow.code_version import code_version, library_versions


@dataclass(frozen=True)
class StepKind:
    """What steps of one name are.

    `function` is "module:function". It is called as function(out, context, **settings, **places, **inputs),
    each input a folder, and writes the `tables`. `work` names the rule that says what the step takes of a
    device ("none": it takes no model through texts; "unknown": no rule says how much). The inputs in
    `counts_only` say how many responses a prompt gets, and nothing is learned from them. `seconds` is a rough
    duration, for the estimate until a store has measured this kind of step.
    """

    function: str
    tables: tuple[str, ...] = ()
    work: str = "none"
    counts_only: tuple[str, ...] = ()
    seconds: float = 1.0


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a study: a function, the settings it receives, and the steps whose artefacts it reads."""

    name: str
    function: str  # "module:function"
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, "Step"] = field(default_factory=dict)
    places: Mapping[str, Any] = field(default_factory=dict)  # where, not what: passed on, but not keyed
    weight: float = 1.0  # rough seconds, for the estimate until the store has measured this step
    loads: tuple[str, ...] = ()  # "module:name" of what the function imports by name, so that it is keyed too

    @cached_property
    def key(self) -> str:
        """Twenty hex digits that change with anything that the result depends on."""
        parts = {
            "name": self.name,
            "function": self.function,
            "code": code_version(self.function),
            "loads": {name: code_version(name) for name in self.loads},
            "libraries": library_versions(),
            "settings": plain(self.settings),
            "inputs": {name: step.key for name, step in sorted(self.inputs.items())},
        }
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
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


class Bundle:
    """Base of frozen records that gather settings and inputs which many steps read.

    A parameter of a step's function that is annotated with such a record receives one, made of the settings
    and inputs that bear its fields' names.
    """


def arguments(function: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a step's function: `values`, with Bundles gathered from them."""
    rest = dict(values)
    for parameter in inspect.signature(function).parameters.values():
        record = parameter.annotation
        if isinstance(record, type) and issubclass(record, Bundle):
            names = [each.name for each in fields(record) if each.name in rest]  # type: ignore[arg-type]
            rest[parameter.name] = record(**{name: rest.pop(name) for name in names})
    return rest
