"""The house keeps its floors: who may import whom, and how long a file or a function may be."""

import ast
import subprocess
import sys

import pytest
from floors import ALIGNING, GROUND, MAY_IMPORT, NEVER, STUDY_FLOORS, imports_of

LONGEST_FILE, LONGEST_FUNCTION = 300, 40  # lines; a function's docstring does not count
LONGEST_TEST = 400
# What may be longer, and why: "path" or "path::function" -> the reason.
LONGER: dict[str, str] = {}


def _sources(root):
    return sorted((root / "afd_study").rglob("*.py"))


def _folder(name, root):
    """Return the folder or ground module that a dotted name of the package belongs to."""
    parts = name.split(".")
    inside = parts[1] if len(parts) > 1 else ""
    package = root / "afd_study"
    return inside if (package / inside).is_dir() or (package / f"{inside}.py").is_file() else ""


def violations(source, package, folder, allowed, root):
    """List the imports of a source text that its floor does not allow."""
    found = []
    for name in imports_of(ast.parse(source), package):
        top = name.split(".")[0]
        if top in NEVER:
            found.append(f"imports {name}, which no library module may")
        elif top == "afd_study" and _folder(name, root) not in {folder, *allowed, *GROUND}:
            found.append(f"imports {name}: '{folder}' may import only {sorted(allowed)} besides itself")
    return found


def test_every_folder_has_a_floor(root):
    folders = {path.parent.name for path in (root / "afd_study").glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT)


def test_imports_stay_on_their_floors(root):
    found = []
    for path in _sources(root):
        parts = path.relative_to(root).with_suffix("").parts
        folder = parts[1] if len(parts) > 2 else ""
        package = list(parts[:-1])
        allowed = MAY_IMPORT.get(folder, set())
        text = path.read_text(encoding="utf-8")
        found += [f"{'/'.join(parts)}: {fault}" for fault in violations(text, package, folder, allowed, root)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("from afd_study.methods import sft", "evaluation"),
        ("import afd_study.evaluation.judges", "methods"),
        ("from afd_study import models", "theory"),
        ("from ..models import policy", "worlds"),
        ("def f():\n    from afd_study.figures import plots", "study"),
        ("import tests.conftest", "study"),
    ],
)
def test_a_step_off_the_floor_is_seen(root, source, folder):
    assert violations(source, ["afd_study", folder], folder, MAY_IMPORT[folder], root)


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("from afd_study import __version__, records", "theory"),
        ("from afd_study.errors import SpecError", "figures"),
        ("from . import style", "figures"),
        ("from ..models import policy", "methods"),
    ],
)
def test_what_is_allowed_is_allowed(root, source, folder):
    assert not violations(source, ["afd_study", folder], folder, MAY_IMPORT[folder], root)


def _room(name):
    """Return the room of study/ that a dotted name belongs to; "" for one elsewhere."""
    parts = name.split(".")
    return parts[2] if parts[:2] == ["afd_study", "study"] and len(parts) > 2 else ""


def upward(source, package, room):
    """List the imports of a source text of study/ that go to a room on its own floor or above."""
    floor = {name: level for level, names in enumerate(STUDY_FLOORS) for name in names}
    rooms = {_room(name) for name in imports_of(ast.parse(source), package)} - {"", room}
    return [f"{room} imports {name}" for name in rooms if floor[name] >= floor[room]]


def test_rooms_of_the_study_import_what_lies_below_them_alone(root):
    found, rooms = [], set()
    for path in sorted((root / "afd_study" / "study").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        rooms.add(parts[2])
        found += [f"{path.name}: {fault}" for fault in upward(path.read_text(), list(parts[:-1]), parts[2])]
    assert not found, "\n".join(found)
    assert rooms <= set().union(*STUDY_FLOORS)


def test_commands_alone_import_what_stands_above_the_study(root):
    found = []
    for path in _sources(root):
        parts = path.relative_to(root).with_suffix("").parts
        names = imports_of(ast.parse(path.read_text(encoding="utf-8")), list(parts[:-1]))
        if any(name.startswith("afd_study.align") for name in names):
            found.append("/".join(parts[1:]))
    outside = {name for name in found if not name.startswith("align/")}
    assert outside == {f"study/{name}" for name in ALIGNING}


@pytest.mark.parametrize(
    ("source", "room", "faults"),
    [
        ("from afd_study.study.frozen.grids import Cell", "pipeline", 1),
        ("from afd_study.study.chapters import claims", "frozen", 1),
        ("from afd_study.study.frozen.files import freeze", "forecast", 1),
        ("from ..study import Study", "workflow", 1),
        ("from afd_study.study.workflow.step import Step", "pipeline", 0),
        ("from afd_study.study.pipeline.builder import Builder", "pipeline", 0),
    ],
)
def test_a_step_up_inside_the_study_is_seen(source, room, faults):
    assert len(upward(source, ["afd_study", "study", room], room)) == faults


def test_frozen_pages_wait_for_no_models():
    """Importing transformers takes each kernel seconds, and a page from frozen tables runs no model."""
    pages = ("ablations", "arms", "claims", "costs", "free_feature", "heterogeneity_map")
    shown = ", ".join(f"afd_study.study.chapters.{name}" for name in pages)
    asked = f"import sys, {shown}; print('transformers' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_no_test_file_is_longer_than_four_hundred_lines(root):
    lines = {path.name: len(path.read_text().splitlines()) for path in (root / "tests").rglob("*.py")}
    assert not {name: n for name, n in lines.items() if n > LONGEST_TEST}


def test_files_and_functions_fit_on_a_page(root):
    scripts = sorted((root / "book").glob("*.py")) + sorted((root / "book" / "_ext").glob("*.py"))
    found = []
    for path in [*_sources(root), *scripts]:
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > LONGEST_FILE and name not in LONGER:
            found.append(f"{name}: {lines} lines, more than {LONGEST_FILE}: split it where its subjects part")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                docstring = node.body[0] if ast.get_docstring(node) else None
                spoken = docstring.end_lineno - docstring.lineno + 1 if docstring else 0
                length = node.end_lineno - node.lineno + 1 - spoken
                if length > LONGEST_FUNCTION and f"{name}::{node.name}" not in LONGER:
                    found.append(f"{name}::{node.name}: {length} lines, more than {LONGEST_FUNCTION}")
    assert not found, "\n".join(found)


def test_nothing_unpickles_or_runs_remote_code(root):
    """Weights are safetensors, and no checkpoint or data set may bring code."""
    found = []
    for path in _sources(root):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                found += [f"{path.name}: imports {name}" for name in names & {"pickle", "dill", "joblib"}]
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                found += [f"{path.name}: trust_remote_code"] if not _is_false(node.value) else []
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                found.append(f"{path.name}: torch.load")
    assert not found, "\n".join(found)


def _is_false(node):
    return isinstance(node, ast.Constant) and node.value is False
