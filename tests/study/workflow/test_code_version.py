"""A step's version changes with any code that the step reaches, and with nothing else."""

import ast

import pytest

from afd_study.study.steps import STEPS
from afd_study.study.workflow import code_version as versions
from afd_study.study.workflow.code_version import code_version, library_versions

FILES = {
    "__init__.py": "",
    "steps.py": '''
"""Steps."""
import pkg.late as alias
from pkg import far
from pkg.near import helper as help_

LIMIT = 3
UNUSED = 4

def step(x):
    """A step."""
    # a comment
    return own(x) + LIMIT

def own(x):
    return help_(x)

def other(x):
    return far.go(x)

def lazy(x):
    from pkg.late import late
    return late(x)

def dotted(x):
    return alias.late(x)
''',
    "near.py": "from pkg import deep\ndef helper(x):\n    return deep.value(x)\ndef aside():\n    return 1\n",
    "deep.py": "def value(x):\n    return x\n",
    "far.py": "def go(x):\n    return x\n",
    "late.py": "def late(x):\n    return x\n",
    "alone.py": "def alone():\n    return 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function: the version of a step in a package whose files hold the given replacements."""

    def clear():
        for cached in (code_version, versions._tree, versions._module_hash):
            cached.cache_clear()

    monkeypatch.setattr(versions, "ROOT", tmp_path / "pkg")
    monkeypatch.setattr(versions, "PACKAGE", "pkg")
    (tmp_path / "pkg").mkdir()

    def version(function="step", file=None, old="", new="", data=None):
        for name, text in FILES.items():
            assert file != name or old in text, f"{old!r} is not in {name}"
            (tmp_path / "pkg" / name).write_text(text.replace(old, new) if file == name else text)
        for path in (tmp_path / "pkg").glob("*.yaml"):
            path.unlink()
        for name, text in (data or {}).items():
            (tmp_path / "pkg" / name).write_text(text)
        clear()
        return code_version(f"pkg.steps:{function}")

    yield version
    clear()


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("steps.py", '    """A step."""\n', ""),
        ("steps.py", '"""A step."""', '"""Another sentence."""'),
        ("steps.py", '"""Steps."""', '"""All steps."""'),
        ("steps.py", "# a comment", "# another"),
        ("steps.py", "own(x) + LIMIT", "own( x )  +  LIMIT"),
        ("steps.py", "UNUSED = 4", "UNUSED = 5"),
        ("steps.py", "return far.go(x)", "return 2 * far.go(x)"),
        ("far.py", "return x", "return 2 * x"),
        ("alone.py", "return 1", "return 2"),
        ("deep.py", "def value", "\n\n\n# where it all ends\ndef value"),
    ],
)
def test_what_a_step_does_not_run_leaves_its_version(package, file, old, new):
    assert package(file=file, old=old, new=new) == package()


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("steps.py", "own(x) + LIMIT", "own(x) - LIMIT"),
        ("steps.py", "LIMIT = 3", "LIMIT = 4"),
        ("steps.py", "return help_(x)", "return help_(x) + 1"),
        ("near.py", "deep.value(x)", "deep.value(x) + 1"),
        ("near.py", "return 1", "return 2"),  # of a module that is reached, all counts
        ("deep.py", "return x", "return -x"),
    ],
)
def test_what_a_step_runs_changes_its_version(package, file, old, new):
    assert package(file=file, old=old, new=new) != package()


def test_every_way_to_import_counts(package):
    assert package("lazy", "late.py", "return x", "return -x") != package("lazy")
    assert package("dotted", "late.py", "return x", "return -x") != package("dotted")
    assert package("other", "far.py", "return x", "return -x") != package("other")


def test_data_beside_a_module_are_part_of_it(package):
    plain = package()
    first, second = package(data={"deep.yaml": "a: 1"}), package(data={"deep.yaml": "a: 2"})
    assert len({plain, first, second}) == 3
    assert package(data={"alone.yaml": "a: 1"}) == plain
    assert package(data={"steps.yaml": "a: 1"}) != plain, "beside the function itself"


def test_a_module_that_does_not_exist_is_named():
    with pytest.raises(ModuleNotFoundError, match="afd_study.no_such_module is not a module of afd_study"):
        code_version("afd_study.no_such_module:step")


def test_the_package_imports_itself_by_its_full_name_only():
    """`from . import x` and modules found by a computed name would be missed."""
    for path in versions.ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
            dotted = isinstance(node, ast.Import) and any(
                name.name.startswith("afd_study") and name.asname is None for name in node.names
            )
            assert not dotted, f"{path}: import modules of the package by `from`"
    steps = list((versions.ROOT / "study" / "steps").glob("*.py"))
    assert len(steps) >= 2
    for path in [
        *steps,
        *(versions.ROOT / "methods").glob("*.py"),
        *(versions.ROOT / "models").rglob("*.py"),
    ]:
        assert "import_module" not in path.read_text(), f"{path}: what it loads is not part of any key"


REACH = {  # module -> steps that reach it, and steps that don't
    "worlds.hh_rlhf": ({"corpus"}, {"demonstrations", "marked_demonstrations", "pi_sft"}),
    "worlds.own_data": ({"corpus"}, {"demonstrations", "marked_demonstrations", "pi_sft"}),
    "worlds.alpaca_eval_corpus": ({"system_corpus"}, {"corpus", "system_answers", "system_judge"}),
    "worlds.reading": ({"corpus"}, {"demonstrations", "pi_sft"}),
    "worlds.controlled": ({"demonstrations", "marked_demonstrations", "tokenizers"}, {"corpus", "pi_sft"}),
    "worlds.harmless": (set(), {"demonstrations", "tokenizers", "samples"}),  # a step's key has it: see below
    "worlds.variants": (set(), {"demonstrations", "prompts", "verdicts", "tokenizers"}),  # likewise
    "worlds.tasks": (set(), {"demonstrations", "tokenizers", "corpus", "samples", "pi_sft"}),
    "methods.reward_data": (set(), {"pi_sft", "samples", "reward_model"}),  # a new choice of data is one line
    "methods.arms": (set(), {"pi_sft", "direct_policy", "gradient_policy", "reward_model"}),
    "models.decoding": ({"samples"}, {"demonstrations", "corpus", "pi_sft"}),
    "models.scoring": ({"samples", "pi_init", "pi_sft", "logprobs"}, {"demonstrations", "corpus"}),
    "study.workflow.store": (set(), {"demonstrations", "corpus", "pi_init", "samples"}),
    "study.workflow.executor": (set(), {"demonstrations", "corpus", "pi_init", "samples"}),
}


def _function(name):
    return f"afd_study.study.steps.{STEPS[name].function}"


@pytest.mark.parametrize("module", REACH)
def test_a_change_of_a_module_outdates_the_steps_that_reach_it_and_no_others(module, monkeypatch):
    reach, spare = REACH[module]
    before = {name: code_version(_function(name)) for name in reach | spare}
    real = versions._module_hash
    monkeypatch.setattr(
        versions, "_module_hash", lambda name: "changed" if name == f"afd_study.{module}" else real(name)
    )
    code_version.cache_clear()
    after = {name: code_version(_function(name)) for name in before}
    code_version.cache_clear()
    assert {name for name in before if before[name] != after[name]} == reach


def test_library_versions_are_those_installed():
    import numpy
    import torch

    found = library_versions()
    assert found["torch"] == torch.__version__ and found["numpy"] == numpy.__version__
    assert {"transformers", "tokenizers", "peft", "accelerate"} <= set(found)
