"""A setting that is given as text, such as by `--set`: read as the kind of value that its field holds.

Where a field holds a name, a path or any other text, the text is taken as it stands. Numbers are plain
decimals. Lists and mappings are YAML without its riddles: `010`, `1:30`, dates, `yes`, aliases.
"""

import math
import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from afd_study.errors import SpecError

_EXPONENT = r"([eE][+-]?[0-9]{1,3})?"
_PLAIN = re.compile(rf"[+-]?((0|[1-9][0-9]{{0,308}})(\.[0-9]*)?|\.[0-9]+){_EXPONENT}")
_WRITTEN = re.compile(  # what YAML 1.1 or Python reads as a number: bases, parts of sixty, underscores
    r"[+-]?(0[bB][01_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    r"|([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][+-]?[0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)"
)
_DEEPEST = 20  # levels of a value in YAML


class _NotPlain(Exception):
    """A number that is written in another way than as a plain decimal."""


class _PlainLoader(yaml.SafeLoader):
    """YAML in which a word is a word, unless it is a plain decimal, true, false or null."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [str(key.value) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"'{twice}' stands in it twice")
        return super().construct_mapping(node, deep)


def _number(loader: _PlainLoader, node: yaml.ScalarNode) -> int | float:
    return _plain_number(str(node.value))


def _is_number(word: str) -> bool:
    """Tell whether anybody reads a word as a number."""
    try:
        float(word)
    except ValueError:
        return _WRITTEN.fullmatch(word) is not None
    return True


def _plain_number(text: str) -> int | float:
    """Return the number that a plain decimal writes. Raises _NotPlain for any other number."""
    if _PLAIN.fullmatch(text) is None:
        raise _NotPlain(text)
    number = float(text) if set(text) & set(".eE") else int(text)
    if not math.isfinite(number):
        raise _NotPlain(text)
    return number


_PlainLoader.add_implicit_resolver("!number", re.compile(rf"^(?:{_WRITTEN.pattern})$"), None)
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false|True|False)$"), None)
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^(null|~|)$"), None)
_PlainLoader.add_constructor("!number", _number)


def read_setting(key: str, text: str, field: Any) -> Any:
    """Return the value that a text stands for, by the annotation of its field (Any where there is none).

    `null` leaves a field out that may be left out, a text as well; a file of that name is `./null`.

    Raises SpecError for a number that is no plain decimal, and for what is no YAML where a list, a mapping or
    any value may stand.
    """
    kinds = set(_kinds(field))
    if type(None) in kinds and text.strip() == "null":
        return None
    kinds -= {type(None)}
    if kinds and kinds <= {str, Path}:
        return _text(key, text)
    try:
        if kinds and kinds <= {int, float}:
            if _is_number(text.strip()):
                return _plain_number(text.strip())
        value = yaml.load(text, _PlainLoader)  # a SafeLoader, and a stricter one
    except _NotPlain as fault:
        raise SpecError(
            f"setting '{key}': {str(fault)[:60]!r} is no plain decimal number such as 8, 0.5 or 1e-3 (in a "
            "list or mapping, put a text that looks like a number in quotes)"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        why = f" ({fault})" if type(fault) is yaml.YAMLError else ""
        raise SpecError(
            f"setting '{key}': {text[:60]!r} is neither a number, a word nor a list [a, b]{why}"
        ) from None
    if kinds and kinds <= {int, float}:
        return text  # no number: pydantic says what was expected
    # YAML would end a word at ` #`
    return text if isinstance(value, str) and text[:1] not in "\"'|>" else value


def refuse_endless_numbers(key: str, value: Any, depth: int = 0) -> None:
    """Raise SpecError for a number that is not finite, in a value or anywhere within it."""
    if depth > _DEEPEST:
        raise SpecError(f"setting '{key}' is nested more than {_DEEPEST} levels deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"setting '{key}' = {value}: give a finite number")
    parts = (
        value.items()
        if isinstance(value, Mapping)
        else enumerate(value)
        if isinstance(value, (list, tuple))
        else ()
    )
    for name, part in parts:
        refuse_endless_numbers(f"{key}.{name}", part, depth + 1)


def field_of(model: Any, key: str, worlds: Mapping[str, Any], world: object) -> Any:
    """Return the annotation of the field with a dotted key, Any where the models know none.

    `worlds` are the models that the field `world` may hold, by name, and `world` is the name that it has.
    """
    for part in key.split("."):
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            model = next(
                (kind for kind in _kinds(model) if isinstance(kind, type) and issubclass(kind, BaseModel)),
                None,
            )
        if model is None or part not in model.model_fields:
            return Any
        inner = model.model_fields[part].annotation
        model = worlds.get(str(world), Any) if part == "world" else inner
    return model


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation allows: of a choice of words str, of a union each."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin is Literal:
        yield from (type(word) for word in get_args(annotation))
    elif origin in (Union, UnionType):
        for option in get_args(annotation):
            yield from _kinds(option)
    else:
        yield annotation


def _text(key: str, text: str) -> str:
    try:
        text.encode("utf-8", "surrogateescape")  # paths may hold bytes that are no UTF-8
    except UnicodeEncodeError:
        raise SpecError(f"setting '{key}': {text!r} holds half a surrogate pair: not valid Unicode") from None
    return text
