"""What frozen tables rest on, and whether it is still today's: the code of their steps, and their settings.

A manifest holds the basis of its tables. Library versions are told there too, but are no part of it: they
differ between machines. A table whose basis has changed is *stale*. It may stay where somebody says why, in
`stale.yaml` beside it, for the code of that day alone: a further change asks again.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import yaml
from pydantic import Field, ValidationError

from afd_study.errors import StoreError
from afd_study.plain_yaml import read_yaml
from afd_study.settings import Settings
from afd_study.study.frozen.files import read_manifest, results_folder
from afd_study.study.workflow.code_version import code_version
from afd_study.study.workflow.step import Step, closure, plain

STALE = "stale.yaml"


class Basis(Settings):
    """The version of each function that the steps run, and a digest of their settings and wiring."""

    code: dict[str, str]
    settings: str


class Accepted(Settings):
    """That tables of an older basis are kept: `basis` is today's, None for tables that hold none."""

    because: str = Field(min_length=20, description="why the tables may stay as they are")
    basis: Basis | None = None


class Standing(NamedTuple):
    """How frozen tables stand to today's code: `changed` names what differs, `because` why they are kept."""

    changed: tuple[str, ...]
    because: str

    @property
    def words(self) -> str:
        """The standing as a sentence."""
        if not self.changed:
            return "Their steps' code and settings are today's."
        kept = f" They are kept: {self.because}" if self.because else " Nobody has said why they are kept."
        return f"Since they were computed, {', '.join(self.changed)} changed.{kept}"


def basis_of(steps: Iterable[Step]) -> Basis:
    """Return what some steps, and all that they need, rest on."""
    every, wiring = closure(steps), dict[str, str]()
    for key, step in every.items():  # inputs stand before what needs them
        inputs = {name: wiring[each.key] for name, each in sorted(step.inputs.items())}
        text = json.dumps([step.name, plain(step.settings), inputs], sort_keys=True)
        wiring[key] = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    functions = {name for step in every.values() for name in (step.function, *step.loads)}
    whole = "\n".join(sorted(wiring.values()))
    return Basis(
        code={name: code_version(name) for name in sorted(functions)},
        settings=hashlib.blake2b(whole.encode(), digest_size=10).hexdigest(),
    )


def differences(old: Basis | None, new: Basis) -> tuple[str, ...]:
    """Return what differs between two bases, in words; everything is unknown of tables without one."""
    if old is None:
        return ("the engine (their manifest is older than such records)",)
    changed = sorted(
        name for name in new.code.keys() | old.code.keys() if new.code.get(name) != old.code.get(name)
    )
    functions = [name.rpartition(".")[2].replace(":", ".") for name in changed]
    return (*functions, *(["settings"] if new.settings != old.settings else []))


def standing(name: str, steps: Iterable[Step]) -> Standing:
    """Return how the frozen results `name`, which these steps make, stand to today's code and settings.

    Raises StoreError where there are none, and for a `stale.yaml` that cannot be read.
    """
    today, manifest = basis_of(steps), read_manifest(name)
    own = Basis.model_validate(manifest["basis"]) if "basis" in manifest else None
    accepted = read_accepted(name)
    holds = accepted is not None and accepted.basis == (None if own is None else today)
    return Standing(differences(own, today), accepted.because if accepted is not None and holds else "")


def read_accepted(name: str) -> Accepted | None:
    """Return what `stale.yaml` beside frozen results says, None where there is none."""
    path = results_folder() / name / STALE
    if not path.is_file():
        return None
    try:
        return Accepted.model_validate(read_yaml(path.read_text(encoding="utf-8"), str(path)))
    except (ValidationError, OSError) as fault:
        raise StoreError(
            f"{path} cannot be read: write `because: ...` and the basis into it ({fault})"
        ) from None


def accept(name: str, steps: Iterable[Step], because: str) -> None:
    """Write down why frozen results of an older basis are kept, for today's code alone."""
    manifest: Mapping[str, Any] = read_manifest(name)
    basis = basis_of(steps) if "basis" in manifest else None
    record = Accepted(because=because, basis=basis).model_dump(exclude_none=True)
    text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=100)
    (results_folder() / name / STALE).write_text(text, encoding="utf-8")
