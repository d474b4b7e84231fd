"""`afd store show | check | gc`: what lies in the store, whether it is whole, and what can go."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from afd_study.errors import StoreError, unknown_name
from afd_study.study.steps import STEPS, step as step_of
from afd_study.study.workflow.faults import say
from afd_study.study.workflow.inspection import REMOVABLE, STATES, Entry, remove, survey
from afd_study.study.workflow.manifests import read_manifest
from afd_study.study.workflow.store import default_store

app = typer.Typer(no_args_is_help=True, help="What lies in the store (AFD_STORE): show, check, clean up.")


@app.command()
def show(
    step: Annotated[str | None, typer.Argument(help="Only this step's, one line each.")] = None,
    key: Annotated[str | None, typer.Argument(help="Only this artefact's manifest, as JSON.")] = None,
) -> None:
    """Print what lies in the store by step: how many, how large, outdated, unfinished."""
    entries = _survey()
    if step is None:
        say(_by_step(entries))
        return
    entries = [entry for entry in entries if entry.step == step]
    if not entries:
        raise unknown_name("step in the store", step, {entry.step for entry in _survey()})
    if key is None:
        say("\n".join(map(_line, entries)))
        return
    match = [entry for entry in entries if entry.key == key and entry.state in ("whole", "outdated")]
    if not match:
        raise unknown_name("whole artefact", key, [entry.key for entry in entries])
    say(json.dumps(read_manifest(match[0].folder), indent=1))


@app.command()
def check() -> None:
    """Read every byte of the store; exit status 1 where an artefact is damaged or cannot be read."""
    entries = _survey(thorough=True)
    faulty = [entry for entry in entries if entry.state in ("damaged", "unreadable")]
    say("\n".join([*map(_line, faulty), _counts(entries)]))
    if faulty:
        raise StoreError(
            f"{len(faulty)} of {len(entries)} in {default_store().root} are damaged or cannot be read. A run "
            "computes damaged ones again where it needs them; `afd store gc` removes them"
        )


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove outdated and damaged artefacts and what interrupted runs left, checkpoints too; asks first."""
    entries = [entry for entry in _survey(thorough=True) if entry.state in REMOVABLE]
    if not entries:
        say(f"nothing to remove in {default_store().root}")
        return
    say("\n".join([*map(_line, entries), _counts(entries)]))
    if dry_run:
        say("nothing was removed (--dry-run)")
        return
    if not yes:
        sys.stdout.flush()
        typer.confirm(f"Remove these {len(entries)} from {default_store().root}?", abort=True, err=True)
    gone = remove(default_store(), entries)
    say(f"removed {len(gone)}, {_size(sum(entry.size for entry in gone))}")


def _survey(thorough: bool = False) -> list[Entry]:
    functions = {name: step_of(name, {}).function for name in STEPS}
    return survey(default_store(), functions, thorough=thorough)


def _by_step(entries: Sequence[Entry]) -> str:
    lines = [f"{'step':<28}{'count':>6}{'size':>12}  states"]
    for name in sorted({entry.step for entry in entries}):
        rows = [entry for entry in entries if entry.step == name]
        lines.append(f"{name:<28}{len(rows):>6}{_size(sum(row.size for row in rows)):>12}  {_states(rows)}")
    return "\n".join([*lines, _counts(entries)])


def _counts(entries: Sequence[Entry]) -> str:
    size = _size(sum(entry.size for entry in entries))
    return f"{len(entries)} in all, {size} in {default_store().root}: {_states(entries) or 'empty'}"


def _states(entries: Iterable[Entry]) -> str:
    states = [entry.state for entry in entries]
    return ", ".join(f"{states.count(state)} {state}" for state in STATES if state in states)


def _line(entry: Entry) -> str:
    why = f" ({entry.reason})" if entry.reason else ""
    return f"{entry.step} {entry.key}  {_size(entry.size)}  {entry.written}  {entry.state}{why}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
