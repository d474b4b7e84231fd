"""What every notebook in notebooks/ keeps to, so that a reader finds the same thing in the same place."""

import ast
import re

import gate
import nbformat
import papermill
import pytest
import render
import stored
import torch
from floors import NOTEBOOKS_MAY_IMPORT, imports_of
from transformers import GPT2Config, GPT2LMHeadModel

from afd_study.study.notebook_parameters import refuse_unread
from afd_study.study.spec import load_spec
from afd_study.worlds.controlled import open_world

LONGEST_CELL, LONGEST_LINE, LONGEST_PROSE = 6, 96, 110
# calls that would put data on a page as markup
SMALL = ("04", "06", "07", "08")  # chapters on policies that were trained here
MARKUP = {"HTML", "Markdown", "Javascript", "IFrame", "SVG", "Latex"}

FOUND = sorted(render.NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(params=FOUND, ids=[path.stem for path in FOUND])
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def _tags(cell):
    return cell.metadata.get("tags", [])


def _code(notebook):
    """Return (number from 1, cell) of the code cells."""
    return [(k, cell) for k, cell in enumerate(notebook.cells, start=1) if cell.cell_type == "code"]


def test_the_notebook_is_valid_and_names_no_machine(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata == stored.NEUTRAL, "run `make notebooks`"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_it_opens_with_one_heading(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    headings = [
        line for cell in notebook.cells if cell.cell_type == "markdown" for line in _headings(cell.source)
    ]
    assert len(headings) == 1, f"one heading of the first level, not {headings}"
    assert "$" not in headings[0], "no maths in the heading: it is also the entry in the table of contents"


def _headings(source):
    plain = re.sub(r"^```.*?^```", "", source, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^# .*", plain, flags=re.MULTILINE)


def test_parameters_are_declared_then_checked(notebook, path):
    code = [cell for _, cell in _code(notebook)]
    tagged = [k for k, cell in enumerate(code) if "parameters" in _tags(cell)]
    assert tagged == [0], "the first code cell, and it alone, is tagged `parameters`"
    for statement in ast.parse(code[0].source).body:
        assert isinstance(statement, ast.AnnAssign) and statement.value is not None, ast.unparse(statement)
    assert "check_parameters(globals()" in code[1].source, "the next code cell checks them"
    declared = papermill.inspect_notebook(str(path))
    assert all(entry["help"] for entry in declared.values()), "each parameter says what it is in a comment"


def test_every_parameter_is_read(notebook, path):
    refuse_unread([cell.source for _, cell in _code(notebook)], where=path.name)


def test_defaults_are_the_smoke_profile(path):
    """nbval runs a notebook as it stands, so its defaults have to be quick."""
    declared = papermill.inspect_notebook(str(path))
    if "profile" in declared:
        assert ast.literal_eval(declared["profile"]["default"]) == "smoke"


def test_cells_are_short_and_hold_no_definitions(notebook):
    for number, cell in _code(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        if "parameters" not in _tags(cell):
            assert len(lines) <= LONGEST_CELL, (
                f"cell {number} has {len(lines)} lines: move it into the library"
            )
        assert max(map(len, lines), default=0) <= LONGEST_LINE, (
            f"cell {number}: a line does not fit on the page"
        )
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)), (
                number
            )


def test_plumbing_is_folded_and_checks_stay_off_the_page(notebook):
    """Imports and the check of parameters are behind a click; asserts are for nbval alone."""
    for number, cell in _code(notebook):
        nodes = ast.parse(cell.source).body
        plumbing = all(
            isinstance(node, (ast.Import, ast.ImportFrom)) or "check_parameters(" in ast.unparse(node)
            for node in nodes
        )
        checks = any(isinstance(node, ast.Assert) for each in nodes for node in ast.walk(each))
        wanted = "remove-cell" if checks else "hide-input" if plumbing else None
        assert wanted is None or wanted in _tags(cell), f"cell {number}: tag it {wanted}"


def test_lines_of_prose_are_short(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines = [line for line in cell.source.splitlines() if not line.startswith("|")]  # but for tables
            assert max(map(len, lines), default=0) <= LONGEST_PROSE, f"cell {cell.id}: wrap its lines"


def test_imports_and_markup(notebook):
    for number, cell in _code(notebook):
        tree = ast.parse(cell.source)
        for name in imports_of(tree, []):
            parts = name.split(".")
            if parts[0] == "afd_study" and len(parts) > 1:
                assert parts[1] in NOTEBOOKS_MAY_IMPORT, f"cell {number} imports {name}"
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not names & MARKUP, f"cell {number} shows data as markup: {names & MARKUP}"


def test_stored_outputs_are_there_and_clean(notebook, path):
    """A notebook without stored outputs passes nbval vacuously."""
    assert gate.notebook_faults(notebook, path.stem) == [], "run `make notebooks`"
    checked = 0
    for number, cell in _code(notebook):
        if stored.IGNORED in _tags(cell):
            assert not cell.outputs, f"cell {number}: an ignored output is stored: run `make notebooks`"
        elif _shows_something(cell.source):
            assert cell.outputs, (
                f"cell {number} shows something and has no stored output: run `make notebooks`"
            )
            checked += 1
    assert checked, "no cell of this notebook is checked against a stored output"


def _shows_something(source):
    """Tell whether a cell's last statement is an expression whose value Jupyter shows, or prints anything."""
    body = ast.parse(source).body
    if not body or source.rstrip().endswith(";") or "check_parameters(" in source:
        return False
    return isinstance(body[-1], ast.Expr)


def test_stored_figures_are_ignored_ones(notebook):
    for number, cell in _code(notebook):
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        figures = {kind for kind in kinds if kind.startswith("image/") or "plotly" in kind}
        assert not figures, f"cell {number} stores a figure: tag it `{stored.IGNORED}`"


def test_how_small_policies_are_is_said_first_and_true(root):
    """In the first cell of each chapter on trained policies, and at the top of the front page."""
    size, layers = "at most 0.13 million parameters", "two layers"
    tops = [nbformat.read(path, as_version=4).cells[0].source for path in FOUND if path.stem[:2] in SMALL]
    tops.append((root / "book" / "intro.md").read_text(encoding="utf-8").split("## What was found")[0])
    assert len(tops) == len(SMALL) + 1
    assert all(size in " ".join(top.split()) and layers in " ".join(top.split()) for top in tops)
    chapter = next(path for path in FOUND if path.stem == "04_experiment")
    words = nbformat.read(chapter, as_version=4).cells[0].source
    sizes = []
    for task in ("harmless", "helpful"):
        spec = load_spec(task, "cpu")
        vocabulary = len(open_world(spec.world.model_dump(mode="json")).alphabet)
        assert re.search(rf"\b{vocabulary}\b[^,]*\({task}\)", words)
        with torch.device("meta"):
            policy = GPT2LMHeadModel(GPT2Config(**spec.policy.config, vocab_size=vocabulary))
        assert policy.config.n_layer == 2
        sizes.append(policy.num_parameters() / 1e6)
    assert round(max(sizes), 2) == 0.13
