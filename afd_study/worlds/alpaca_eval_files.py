"""One system's file of AlpacaEval, and where such files lie: what is something else is refused."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from afd_study.errors import DataError, nearest
from afd_study.worlds.normalising import normalised
from afd_study.worlds.text_files import MAX_TEXT, text_lines

RESULTS, ANNOTATOR = "results", "alpaca_eval_gpt4"
FILE = f"{ANNOTATOR}/annotations.json"
MAX_FILE = 2**28  # characters; upstream's largest files hold a hundredth of them
TEXTS = ("instruction", "output_1", "output_2")
NAMES = ("dataset", "generator_2", "annotator")
VERDICT = "preference"
SHOWN = 10  # names in an error


class Record(NamedTuple):
    """One prompt, the reference's answer and the system's, and how far GPT-4 prefers the latter, in [0, 1].

    `preference` is NaN where GPT-4 gave none.
    """

    instruction: str
    dataset: str
    reference: str
    answer: str
    generator: str
    annotator: str
    preference: float


def system_folders(folder: Path) -> dict[str, Path]:
    """Return the file of each system in AlpacaEval's layout, in the order of names.

    A system without verdicts of this annotator, as upstream's newest are, is left out.
    """
    paths = sorted((folder / RESULTS).glob(f"*/{FILE}"))
    return {path.parts[-3]: path for path in paths}


def refuse_other_layout(folder: Path) -> None:
    """Raise DataError, naming what lies there, unless a folder has AlpacaEval's layout."""
    wanted = f"{RESULTS}/SYSTEM/{FILE}"
    if not folder.is_dir():
        kind = "a file" if folder.is_file() else "no folder"
        raise DataError(f"{folder} is {kind}: expected a copy of AlpacaEval with {wanted} inside")
    if system_folders(folder):
        return
    inner = folder / RESULTS
    if any(folder.glob(f"*/{FILE}")):
        hint = f"It holds the systems themselves: give the folder that {folder.name}/ lies in, as {RESULTS}/"
    elif (folder / FILE).is_file():
        hint = f"It is one system's folder: give the folder that holds {RESULTS}/"
    else:
        hint = _seen(inner if inner.is_dir() else folder)
    raise DataError(f"{folder} has not AlpacaEval's layout ({wanted}). {hint}")


def _seen(folder: Path) -> str:
    """Say what lies in a folder, and in the first folder of it."""
    try:
        names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
        inner = [folder / name for name in names if name.endswith("/")][:1]
        deeper = [f"{path.name}/{below.name}" for path in inner for below in sorted(path.iterdir())]
    except OSError as fault:
        raise DataError(f"{folder} can't be read: {fault.strerror}") from fault
    listed = ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
    within = f" (and in it {', '.join(deeper[:SHOWN])})" if deeper else ""
    return f"{folder} holds: {listed or 'nothing'}{within}"


def read_records(path: Path) -> list[Record]:
    """Return the records of one system's file, texts normalised.

    Raises DataError for a damaged file, for a record that is no record of AlpacaEval, for an instruction that
    stands twice, and where no record has a verdict.
    """
    whole = _json_list(path)
    records = [_record(f"{path}: record {number}", item) for number, item in enumerate(whole, start=1)]
    if not records:
        raise DataError(f"{path} holds an empty list: fetch the file again, or name the system in leave_out")
    seen: dict[str, int] = {}
    for number, record in enumerate(records, start=1):
        if (before := seen.setdefault(record.instruction, number)) != number:
            raise DataError(
                f"{path}: records {before} and {number} have one instruction, so that it is not clear which "
                "answer counts: take one of them out"
            )
    if all(math.isnan(record.preference) for record in records):
        raise DataError(
            f"{path}: none of {len(records)} records has a verdict ('{VERDICT}'): have the file annotated, "
            "or name the system in leave_out"
        )
    return records


def _json_list(path: Path) -> list[Any]:
    text, size = [], 0
    for line in text_lines(path):
        size += len(line)
        if size > MAX_FILE:
            raise DataError(f"{path} has more than {MAX_FILE:,} characters: is it one system's file?")
        text.append(line)
    try:
        whole = json.loads("".join(text))
    except json.JSONDecodeError as fault:
        where = f"line {fault.lineno}, column {fault.colno}"
        raise DataError(
            f"{path}: {where} is not JSON ({fault.msg}): is the file cut off? Fetch it again"
        ) from None
    except (ValueError, RecursionError) as fault:  # a number of too many digits, lists within lists
        raise DataError(f"{path} is not JSON that can be read ({str(fault)[:100]}): fetch it again") from None
    if not isinstance(whole, list):
        raise DataError(f"{path} holds a JSON {type(whole).__name__}, not a list of records")
    return whole


def _record(where: str, item: Any) -> Record:
    if not isinstance(item, dict):
        raise DataError(f"{where} is a JSON {type(item).__name__}, not an object with the keys {list(TEXTS)}")
    for key in (*TEXTS, VERDICT):
        if key not in item:
            close = nearest(key, item)
            meant = f": did you mean {close!r}?" if close else "."
            raise DataError(f"{where} lacks the key '{key}'{meant} It has: {list(item)[:SHOWN]}.")
    for key in (*TEXTS, *NAMES):
        value = item.get(key, "")
        if not isinstance(value, str):
            raise DataError(f"{where}: '{key}' must be text, not a JSON {type(value).__name__}")
        if len(value) > MAX_TEXT:
            raise DataError(f"{where}: '{key}' holds {len(value):,} characters, and at most {MAX_TEXT:,} fit")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise DataError(f"{where}: '{key}' holds half a surrogate pair, which is no text") from None
    if not item["instruction"].strip():
        raise DataError(f"{where}: 'instruction' is empty: take the record out")
    instruction, reference, answer = (normalised(item[key]) for key in TEXTS)
    dataset, generator, annotator = (item.get(key, "") for key in NAMES)
    return Record(instruction, dataset, reference, answer, generator, annotator, _preference(where, item))


def _preference(where: str, item: Mapping[str, Any]) -> float:
    """Return the preference for the second answer, in [0, 1]: 0 is an old way to write a tie, as 1.5 is."""
    value = item[VERDICT]
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: '{VERDICT}' must be a number or null, not {value!r}"[:400])
    if math.isnan(value):
        return math.nan
    if value != 0 and not 1 <= value <= 2:
        raise DataError(f"{where}: '{VERDICT}' is {value}, and AlpacaEval's lie from 1 to 2 (0: a tie)")
    return 0.5 if value == 0 else value - 1.0
