"""Files of demonstrations, prompts or preferences to examples, whatever their format and layout.

Formats are those of align/rows.py, layouts those of align/layouts.py. Faults of content are left out and
counted, as `Reading.line` says; structural damage is a DataError.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from afd_study.align.dialogues import NO_TURN, Dialogue, Preference, Turn
from afd_study.align.layouts import LAYOUTS, Kind, fitting, layout_of
from afd_study.align.readers import Parsed
from afd_study.align.rows import names_of, open_file, optional_of, text_of
from afd_study.errors import DataError, visible
from afd_study.worlds.entries import BLANK, NO_FAULTS

REPEATS = "repeats an earlier line"
MAX_LEFT_OUT = 0.5  # the share of rows that may be unusable
SHOWN = 5  # line numbers a reason
Item = TypeVar("Item", Dialogue, Preference)


class LeftOut(NamedTuple):
    """A row that is left out: its line, why, and the line that it repeats, if that is why."""

    line: int
    reason: str
    repeats: int = 0


class Reading(NamedTuple, Generic[Item]):
    """What a file gave: its examples in their order, its layout, and the rows that were left out.

    `others` are layouts that would fit as well; `n_lost` counts the dialogues whose last turn nobody answers.
    """

    path: Path
    kind: Kind
    layout: str
    items: list[Item]
    left_out: list[LeftOut]
    others: tuple[str, ...] = ()
    n_lost: int = 0

    def line(self) -> str:
        """Return what was recognised, read and left out, in one line."""
        what = "examples" if self.kind == "demonstrations" else self.kind
        text = f"{self.path.name}: {len(self.items):,} {what}, layout {self.layout}"
        if self.kind == "demonstrations" and LAYOUTS[self.layout].answers == 2:
            text += " (the preferred responses)"
        if self.others:
            text += f" (--layout {' or '.join(self.others)} would fit as well)"
        if self.left_out:
            text += f", {len(self.left_out):,} left out: {', '.join(self._reasons())}"
        if self.n_lost:
            text += f"; of {self.n_lost:,} the last turn, which nobody answers, is left aside"
        return visible(text).replace("\n", " ")

    def _reasons(self) -> Iterator[str]:
        unit = "row" if self.path.name.endswith(".parquet") else "line"
        for reason, count in Counter(row.reason for row in self.left_out).most_common():
            rows = [row for row in self.left_out if row.reason == reason]
            if reason == REPEATS and count == 1:
                yield f"1 repeats {unit} {rows[0].repeats}"
                continue
            listed = ", ".join(str(row.line) for row in rows[:SHOWN]) + (", ..." if count > SHOWN else "")
            words = f"repeat earlier {unit}s" if reason == REPEATS else reason
            yield f"{count:,} {words} ({unit}{'s' if count > 1 else ''} {listed})"


def read_demonstrations(
    path: Path, *, layout: str | None = None, keep_repeats: bool = False
) -> Reading[Dialogue]:
    """Read a file of demonstrations; of preferences the preferred responses.

    An example that is equal to an earlier one is left out unless `keep_repeats`. Raises SpecError for an
    unknown layout, DataError for a damaged file, an unknown layout of columns, and where no row or fewer than
    half of them can be used.
    """
    return _read(path, "demonstrations", layout, keep_repeats)


def read_prompts(path: Path, *, layout: str | None = None) -> Reading[Dialogue]:
    """Read a file's prompts; responses, if it has any, are left aside. Errors as `read_demonstrations`."""
    return _read(path, "prompts", layout, False)


def read_preferences(
    path: Path, *, layout: str | None = None, keep_repeats: bool = False
) -> Reading[Preference]:
    """Read a file of preferences. Errors as `read_demonstrations`."""
    return _read(path, "preferences", layout, keep_repeats)


def refuse_unfit(reading: Reading[Dialogue], *, batch: int) -> None:
    """Raise DataError for demonstrations that nothing can be learned from.

    They are fewer than a batch, or all responses are alike.
    """
    if len(reading.items) < batch:
        raise DataError(
            f"{reading.path}: {len(reading.items)} examples are fewer than a batch of {batch}: give more of "
            f"them, or make batches smaller. {reading.line()}"
        )
    if len({item.response for item in reading.items}) == 1:
        raise DataError(
            f"{reading.path}: all {len(reading.items):,} responses are alike, so that there is nothing to "
            f"learn: is {names_of(LAYOUTS[reading.layout].needs)} where the responses are?"
        )


def _read(path: Path, kind: Kind, name: str | None, keep_repeats: bool) -> Reading[Any]:
    file = open_file(path)
    name = layout_of(path, file.columns, kind, name)
    others = tuple(each for each in fitting(file.columns, kind) if _rivals(each, name))
    reading = Reading[Any](path, kind, name, [], [], others)
    layout, seen, n_lost = LAYOUTS[name], dict[Hashable, int](), 0
    for line, row in file.rows([*layout.needs, *(each for each in layout.may if each in file.columns)]):
        if row is None:
            reading.left_out.append(LeftOut(line, BLANK))
            continue
        where = f"{path}: {'row' if path.suffix == '.parquet' else 'line'} {line}"
        parsed = layout.read(where, row)
        item = _item(kind, parsed, path.name, line, _cut(where, row))
        if isinstance(item, str):
            reading.left_out.append(LeftOut(line, item))
            continue
        before = seen.setdefault(hash(item.turns if isinstance(item, Dialogue) else item[:3]), line)
        if before != line and not keep_repeats:
            reading.left_out.append(LeftOut(line, REPEATS, before))
            continue
        n_lost += parsed.lost
        reading.items.append(item)
    _refuse_few(reading)
    return reading._replace(n_lost=n_lost)


def _rivals(one: str, other: str) -> bool:
    """Tell whether two layouts name different columns for one thing: neither's are among the other's."""
    a, b = set(LAYOUTS[one].needs), set(LAYOUTS[other].needs)
    return LAYOUTS[one].answers == LAYOUTS[other].answers and not (a <= b or b <= a)


def _item(kind: Kind, parsed: Parsed, file: str, line: int, cut: bool | None) -> Dialogue | Preference | str:
    """Return what a row gives of a kind, or why it gives nothing."""
    turns, pair, reason, _ = parsed
    if kind == "prompts" and turns:  # whatever is wrong with the responses
        return Dialogue(turns[:-1] if turns[-1].role == "assistant" else turns, file, line)
    if reason and not (pair and kind == "demonstrations"):  # responses that are the same
        return reason
    if kind == "preferences":
        assert pair is not None  # as in every layout that has two answers
        return Preference(turns, *pair, file, line)
    if pair:
        turns = (*turns, Turn("assistant", pair[0]))
    return Dialogue(turns, file, line, cut) if turns[-1].role == "assistant" else NO_TURN


def _cut(where: str, row: Mapping[str, Any]) -> bool | None:
    """Tell whether a response was cut, by how its writer stopped; None where the file does not say."""
    reason = text_of(where, "finish_reason", optional_of(where, row, "finish_reason"))
    return {"length": True, "stop": False}.get(reason)


def _refuse_few(reading: Reading[Any]) -> None:
    """Raise DataError where no row can be used, or fewer than half of those that are no mere repeats."""
    faulty = sum(row.reason not in (*NO_FAULTS, REPEATS) for row in reading.left_out)
    rows = len(reading.items) + faulty
    if not reading.items or faulty / rows > MAX_LEFT_OUT:
        share = f"{faulty / rows:.0%} of" if reading.items else "none of"
        verb = "can't be used" if reading.items else "can be used"
        raise DataError(
            f"{reading.path}: {share} the rows {verb} as {reading.kind}. {reading.line()}. Mend the rows, or "
            "name their layout (--layout)"
        )
