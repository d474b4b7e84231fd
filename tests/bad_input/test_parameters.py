"""Notebook parameters that can't be, each beside a look-alike that has to pass."""

import pytest

from afd_study.errors import AfdError
from afd_study.study.notebook_parameters import Between, check_parameters

ANNOTATIONS = {
    "task": str,
    "seed": int,
    "share": float,
    "fast": bool,
    "folder": str | None,
    "sizes": list[int],
    "rates": list[float],
}
DEFAULTS = {
    "task": "harmless",
    "seed": 0,
    "share": 0.5,
    "fast": False,
    "folder": None,
    "sizes": [1],
    "rates": [0.5],
}
ALLOWED = {"task": ["harmless", "helpful"], "seed": range(100), "share": Between(0, 1), "sizes": range(1, 51)}

# title: the parameter, a bad value, what the error says, and a value that looks like it and is right
CASES = {
    "a mistyped name": ("sede", 1, "unknown parameter 'sede': did you mean 'seed'", ("seed", 1)),
    "a name in capitals": ("Seed", 1, "unknown parameter 'Seed': did you mean 'seed'", ("seed", 1)),
    "a name of nothing": ("xyzzy", 1, "unknown parameter 'xyzzy'.*Known: fast", ("_xyzzy", 1)),
    "a word for a number": ("seed", "1", "'seed' is '1' .str.*of type int", ("seed", 1)),
    "a fraction for a number": ("seed", 1.5, "'seed' is 1.5 .*of type int", ("seed", 1.0)),
    "a truth for a number": ("seed", True, "'seed' is True .*of type int", ("seed", 1)),
    "nothing for a number": ("seed", None, "'seed' is None", ("folder", None)),
    "below the range": ("seed", -1, "'seed' is -1, but has to lie in 0 to 99", ("seed", 0)),
    "above the range": ("seed", 100, "'seed' is 100, but has to lie in 0 to 99", ("seed", 99)),
    "far above the range": ("seed", 1e300, "'seed' is 1000.*has to lie in", ("seed", 9e1)),
    "without an end": ("seed", float("inf"), "'seed' is inf .*of type int", ("seed", 10.0)),
    "a word for a fraction": ("share", "0.5", "'share' is '0.5' .*of type float", ("share", 0.5)),
    "not a number": ("share", float("nan"), "'share' is nan, but has to be a finite", ("share", 0)),
    "no end to a fraction": ("share", float("inf"), "'share' is inf, but has to be a finite", ("share", 1)),
    "above one": ("share", 1.01, "'share' is 1.01, but has to lie in 0 to 1", ("share", 1.0)),
    "a list for a fraction": ("share", [0.5], "'share' is .*of type float", ("rates", [0.5])),
    "a word for a truth": ("fast", "true", "'fast' is 'true' .*of type bool", ("fast", True)),
    "a number for a truth": ("fast", 1, "'fast' is 1 .*of type bool", ("fast", False)),
    "a number for a word": ("task", 3, "'task' is 3 .*of type str", ("task", "helpful")),
    "an unknown word": (
        "task",
        "harmles",
        "unknown task 'harmles': did you mean 'harmless'",
        ("task", "harmless"),
    ),
    "a number for a path": ("folder", 7, "'folder' is 7 ", ("folder", "7")),
    "a number for a list": ("sizes", 4, "'sizes' is 4 .*of type list", ("sizes", [4])),
    "a word in a list": ("sizes", [1, "2"], "'sizes' is .*of type list", ("sizes", [1, 2])),
    "one of a list": ("sizes", [1, 99], "'sizes' is 99, but has to lie in 1 to 50", ("sizes", [1, 50])),
    "no number in a list": ("rates", [0.1, float("nan")], "'rates' is nan", ("rates", [0.1, 1e-300])),
    "a long value": ("seed", "9" * 9999, r"'seed' is '999.*\.\.\. .str", ("folder", "9" * 9999)),
}


def names(name, value):
    return {"__annotations__": ANNOTATIONS, **DEFAULTS, name: value}


@pytest.mark.parametrize("title", CASES)
def test_a_bad_parameter_is_one_clear_error(title):
    name, value, says, _ = CASES[title]
    with pytest.raises(AfdError, match=says) as error:
        check_parameters(names(name, value), **ALLOWED)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("title", CASES)
def test_its_look_alike_passes(title):
    name, value = CASES[title][3]
    checked = names(name, value)
    check_parameters(checked, **ALLOWED)
    assert checked[name] == value and (name != "seed" or type(checked[name]) is int)
