"""Files of settings: YAML without its riddles, and no larger than such a file is."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from afd_study.errors import SpecError

_PLAIN = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|true|false|True|False")
_RIDDLES = {"int": "number", "float": "number", "bool": "truth", "timestamp": "date"}
_LARGEST = 1_000_000  # characters of a file
_MOST = 100_000  # values that it may stand for, each alias counted as often as it is used


class _PlainLoader(yaml.SafeLoader):
    """YAML without its riddles: each key once, and no word that is silently a number, a date or a truth."""

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        kind = _RIDDLES.get(node.tag.rpartition(":")[2])
        if node.style is None and kind and _PLAIN.fullmatch(node.value) is None:
            problem = f"YAML would read {node.value[:60]!r} as a {kind}: write it plainly, or in quotes"
            raise yaml.MarkedYAMLError(None, None, problem, node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [str(key.value) for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(str(key.value)) > 1 and key.value != "<<":
                problem = f"the key {str(key.value)[:60]!r} stands here twice"
                raise yaml.MarkedYAMLError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str) -> Any:
    """Return what a file of settings holds; `where` names it in errors.

    Raises SpecError, with the line, for what is no YAML, a key that stands twice, a number that is no plain
    decimal, a date, a tag, and for more than a file of settings can hold.
    """
    if len(text) > _LARGEST:
        raise SpecError(f"{where} has {len(text)} characters, and a file of settings at most {_LARGEST}")
    try:
        value = yaml.load(text, _PlainLoader)  # a SafeLoader, and a stricter one
        count = _count(value)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(fault, "problem", None) or str(fault).partition("\n")[0]
        raise SpecError(f"{where}{line}: {str(problem)[:200]}; correct the YAML there") from None
    except (ValueError, RecursionError) as fault:
        reason = "it is nested too deep" if isinstance(fault, RecursionError) else str(fault)[:200]
        raise SpecError(f"{where} cannot be read: {reason}; correct the YAML there") from None
    if count > _MOST:
        raise SpecError(f"{where} stands for more than {_MOST} values: write out fewer, or use fewer aliases")
    return value


def _count(value: Any, most: int = _MOST) -> int:
    """Count values, those behind aliases as often as they are used, and not far beyond `most`."""
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    total = 1
    for part in parts:
        if total > most:
            break
        total += _count(part, most - total)
    return total
