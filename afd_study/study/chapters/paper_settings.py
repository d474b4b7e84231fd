"""The paper's settings beside those of the study's own pretrained models: what differs, and why.

Both profiles say beside each value, in a comment, where it is from or why it differs. Those comments are the
table's words, so that no second list can fall behind them.
"""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, NamedTuple

import pandas as pd
import yaml

from afd_study.errors import SpecError

SOURCES = ("paper", "code", "ours")
PAPER, OURS = "paper", "pretrained"  # profiles


class Commented(NamedTuple):
    """A value of a profile, as it is written there, and the comment on its line."""

    value: str
    comment: str


def commented(profile: str, task: str) -> dict[str, Commented]:
    """Return the values of a task by dotted key, with the comments beside them.

    Raises SpecError for a task that the profile does not have.
    """
    text = files("afd_study.study").joinpath("profiles", f"{profile}.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    tasks = _pairs(_pairs(yaml.compose(text, Loader=yaml.SafeLoader))["tasks"])
    if task not in tasks:
        raise SpecError(f"profile '{profile}' has no task '{task}'; it has {', '.join(tasks)}")

    def walk(node: Any, path: str) -> Iterator[tuple[str, Commented]]:
        if isinstance(node, yaml.MappingNode):
            for key, inner in _pairs(node).items():
                yield from walk(inner, f"{path}.{key}" if path else key)
            return
        comment = lines[node.end_mark.line].partition("  #")[2].strip()
        value = text[node.start_mark.index : node.end_mark.index]
        yield path, Commented(value.strip(), comment)

    return dict(walk(tasks[task], ""))


def _pairs(node: Any) -> dict[str, Any]:
    """Return a mapping's nodes by key; what it merges (`<<`) stands first, and is replaced by its own."""
    merged, own = dict[str, Any](), dict[str, Any]()
    for key, value in node.value:
        if key.value == "<<":
            merged |= _pairs(value)
        else:
            own[key.value] = value
    return merged | own


def paper_beside_ours(task: str) -> pd.DataFrame:
    """Return the settings that differ: setting, paper, source (paper, code or ours), ours, why.

    A setting that one of the two profiles lacks is empty there.
    """
    theirs, own = commented(PAPER, task), commented(OURS, task)
    rows = []
    for key in sorted(theirs.keys() | own.keys()):
        paper, ours = theirs.get(key), own.get(key)
        if paper is not None and ours is not None and paper.value == ours.value:
            continue
        rows.append(
            (key, paper and paper.value, paper and _source(paper), ours and ours.value, ours and ours.comment)
        )
    return pd.DataFrame(rows, columns=["setting", "paper", "source", "ours", "why"]).fillna("")


def _source(value: Commented) -> str:
    """Return where a value of profile `paper` is from: the first of SOURCES that its comment names."""
    first = value.comment.split(":")[0].split(";")[0]
    return next((source for source in SOURCES if source in first), "")
