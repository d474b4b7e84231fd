"""A notebook's parameters, checked before anything runs.

papermill injects a mistyped parameter (`-p sede 1`) without a word, guesses types (`1e3` becomes 1000.0), and
the notebook then runs with the default. The cell after the parameters cell therefore says

    check_parameters(globals(), task=TASKS, profile=PROFILES, seed=range(1000))

The *annotated* names of the parameters cell (`seed: int = 0  # first seed`) are the declaration. Every other
name that was given a value before this call can only have been injected, and is refused.
"""

import ast
import math
from collections.abc import Container, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from afd_study.errors import SpecError, nearest, unknown_name
from afd_study.models.library_variables import refuse_variables

# what papermill can inject; imports, functions and tables are none of these
INJECTABLE = (str, int, float, bool, list, dict, tuple, type(None))
IPYTHON_NAMES = frozenset({"In", "Out"})


@dataclass(frozen=True)
class Between:
    """The numbers from `low` to `high`, both included: an allowed range for `check_parameters`."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


def check_parameters(namespace: MutableMapping[str, Any], **allowed: Container[Any]) -> None:
    """Refuse a notebook's parameters that are unknown, of the wrong type, or not among the allowed values.

    Args:
        namespace: the notebook's `globals()`. A whole number injected as a float (`1e3`) for an `int`
            parameter is put back into it as an int; nothing else is changed.
        **allowed: for some parameters, what the value has to be in: a table of names, a `range`, `Between`. A
            parameter that is None, where its annotation allows that, is not looked up.

    Raises:
        SpecError: names the parameter, and the nearest known name or what is allowed; or an environment
            variable that would change results.
    """
    refuse_variables()
    declared: Mapping[str, Any] = namespace.get("__annotations__", {})
    if not declared:
        raise SpecError(
            "no annotated parameter found: write the parameters cell as `seed: int = 0  # first seed`"
        )
    for name in [*_given(namespace), *allowed]:
        if name not in declared:
            raise unknown_name("parameter", name, declared)
    for name, annotation in declared.items():
        if name not in namespace:
            raise SpecError(f"parameter '{name}' has no value: give it a default in the parameters cell")
        namespace[name] = _typed(name, namespace[name], annotation)
        if name in allowed and namespace[name] is not None:
            _among(name, namespace[name], allowed[name])


def refuse_unread(cells: Sequence[str], *, where: str) -> None:
    """Refuse a notebook that declares a parameter which no cell behind the check reads: it would do nothing.

    Args:
        cells: the sources of all code cells, the one with the parameters first.
        where: the notebook's name, for the error.

    Raises:
        SpecError: names the parameter, and the nearest name that is read.
    """
    later = [node for cell in cells if "check_parameters(" not in cell for node in ast.walk(_parsed(cell))]
    read = {node.id for node in later if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for statement in _parsed(cells[0]).body if cells else []:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        if name not in read:
            close = nearest(name, read)
            meant = f" Is '{close}' meant, which is read?" if close else ""
            raise SpecError(
                f"no cell of {where} reads the parameter '{name}'.{meant} Read it, or leave it out"
            )


def _given(namespace: Mapping[str, Any]) -> list[str]:
    """Return the names that were given a plain value before the first cell that checks parameters.

    In a notebook IPython's record of cells (`In`) says what ran before, so that names of later cells do not
    count when the cell is run again. Elsewhere every public name with a plain value counts.
    """
    cells = namespace.get("In")
    if isinstance(cells, list):
        for position, cell in enumerate(cells):
            if "check_parameters(" in str(cell):
                return [name for name in _assigned(cells[:position]) if name in namespace]
    return [
        name
        for name, value in namespace.items()
        if isinstance(value, INJECTABLE) and not name.startswith("_") and name not in IPYTHON_NAMES
    ]


def _assigned(cells: Iterable[str]) -> list[str]:
    """Return the names that the top level of these cells assigns plain values to."""
    names: list[str] = []
    for cell in cells:
        for statement in _parsed(cell).body:
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def _parsed(cell: str) -> ast.Module:
    """Return a cell's syntax; that of nothing for IPython's own commands, such as %matplotlib."""
    try:
        return ast.parse(cell)
    except SyntaxError:
        return ast.Module([], [])


def _typed(name: str, value: Any, annotation: Any) -> Any:
    """Return `value` as `annotation` wants it: strictly, but 1000.0 is an int and 1 is a float."""
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(strict=True))
    if isinstance(value, float) and value.is_integer():
        try:
            return adapter.validate_python(int(value))
        except ValidationError:
            pass
    try:
        typed = adapter.validate_python(value)
    except ValidationError:
        type_name = getattr(annotation, "__name__", None) or str(annotation)
        type_name = type_name if type_name not in ("Optional", "Union") else str(annotation)
        raise SpecError(
            f"parameter '{name}' is {_short(value)} ({type(value).__name__}), "
            f"but has to be of type {type_name}"
        ) from None
    for number in typed if isinstance(typed, (list, tuple)) else [typed]:
        if isinstance(number, float) and not math.isfinite(number):
            raise SpecError(f"parameter '{name}' is {number}, but has to be a finite number")
    return typed


def _short(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 200 else written[:200] + "..."


def _among(name: str, value: Any, allowed: Container[Any]) -> None:
    """Raise SpecError unless `value` (of a list parameter: each of its values) is in `allowed`."""
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if item in allowed:
            continue
        if isinstance(allowed, (range, Between)):
            text = f"{allowed.start} to {allowed.stop - 1}" if isinstance(allowed, range) else str(allowed)
            raise SpecError(f"parameter '{name}' is {_short(item)}, but has to lie in {text}")
        raise unknown_name(name, item, allowed if isinstance(allowed, Iterable) else [])
