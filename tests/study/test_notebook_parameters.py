"""A notebook's parameters are refused or repaired before anything runs."""

import json

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from afd_study.errors import SpecError
from afd_study.study.notebook_parameters import Between, check_parameters, refuse_unread

ANNOTATIONS = {
    "task": str,
    "seed": int,
    "share": float,
    "fast": bool,
    "folder": str | None,
    "sizes": list[int],
}
DEFAULTS = {"task": "harmless", "seed": 0, "share": 0.5, "fast": False, "folder": None, "sizes": [1, 2]}


def names(**changes):
    return {"__name__": "__main__", "__annotations__": ANNOTATIONS, "json": json, **DEFAULTS, **changes}


def test_what_is_right_passes_unchanged():
    before = names()
    check_parameters(
        before, task=["harmless", "helpful"], seed=range(10), share=Between(0, 1), sizes=range(1, 3)
    )
    assert before == names()


def test_an_injected_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(SpecError, match="unknown parameter 'sede': did you mean 'seed'"):
        check_parameters(names(sede=1))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": "one"},
        {"seed": 1.5},
        {"seed": True},
        {"seed": None},
        {"task": 3},
        {"share": "half"},
        {"fast": "yes"},
        {"fast": 1},
        {"folder": 7},
        {"sizes": 4},
        {"sizes": [1, "2"]},
    ],
)
def test_a_wrong_type_names_parameter_value_and_type(changes):
    (name,) = changes
    with pytest.raises(SpecError, match=f"parameter '{name}' is .*has to be of type"):
        check_parameters(names(**changes))


def test_a_whole_float_becomes_the_int_that_was_meant():
    given = names(seed=1e3, share=1)
    check_parameters(given)
    assert given["seed"] == 1000 and type(given["seed"]) is int
    assert given["share"] == 1.0


@pytest.mark.parametrize(
    ("changes", "allowed", "told"),
    [
        ({"task": "harmles"}, {"task": {"harmless": 1, "helpful": 2}}, "did you mean 'harmless'"),
        ({"seed": -1}, {"seed": range(100)}, "has to lie in 0 to 99"),
        ({"share": 1.2}, {"share": Between(0, 1)}, "has to lie in 0 to 1"),
        ({"sizes": [1, 9]}, {"sizes": range(1, 5)}, "'sizes' is 9"),
        ({}, {"tusk": ["harmless"]}, "unknown parameter 'tusk'"),
    ],
)
def test_a_value_that_is_not_allowed(changes, allowed, told):
    with pytest.raises(SpecError, match=told):
        check_parameters(names(**changes), **allowed)


def test_none_is_not_looked_up():
    check_parameters(names(), folder=["a", "b"])


def test_without_annotations_nothing_could_be_checked():
    with pytest.raises(SpecError, match="no annotated parameter"):
        check_parameters({"seed": 0})


def test_in_a_notebook_only_cells_before_the_check_count():
    """Run again after the rest of the notebook, the check does not take later names for parameters."""
    cells = [
        "",
        "seed: int = 0",
        "# Parameters\nseed = 1",
        "check_parameters(globals())",
        "n = 16",
        "%time 1",
    ]
    check_parameters(names(In=[*cells, "check_parameters(globals())"], n=16))
    with pytest.raises(SpecError, match="'sede'"):
        check_parameters(names(In=[*cells[:2], "# Parameters\nsede = 1", cells[3]], sede=1))


PARAMETERS, CHECK = (
    "seeds: int = 3  # how many\nshare: float = 0.5",
    "check_parameters(globals(), seeds=range(9))",
)


@pytest.mark.parametrize(
    ("cells", "name", "meant"),
    [
        (["print(seed, share)"], "seeds", " Is 'seed' meant, which is read?"),
        (["print(seeds)"], "share", ""),
        (["seeds = 5", "print(share)"], "seeds", ""),  # set, and not read
        ([], "seeds", ""),
    ],
)
def test_a_parameter_that_no_later_cell_reads_is_refused(cells, name, meant):
    with pytest.raises(SpecError) as error:
        refuse_unread([PARAMETERS, CHECK, *cells], where="a.ipynb")
    assert (
        str(error.value)
        == f"no cell of a.ipynb reads the parameter '{name}'.{meant} Read it, or leave it out"
    )


@pytest.mark.parametrize("cell", ["print(seeds, share)", "%time 1", "where = {'n': seeds, 'of': f'{share}'}"])
def test_a_parameter_that_is_read_anywhere_passes(cell):
    refuse_unread([PARAMETERS, CHECK, cell, "[share for _ in range(seeds)]"], where="a.ipynb")


def test_a_variable_that_changes_numbers_stops_a_notebook(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    check_parameters(names())
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    with pytest.raises(SpecError, match="variable NVIDIA_TF32_OVERRIDE is set, and would change results"):
        check_parameters(names())


@pytest.fixture
def notebook(tmp_path):
    cell, path = nbformat.v4.new_code_cell, tmp_path / "a.ipynb"
    parameters = cell("seed: int = 0  # first seed", metadata={"tags": ["parameters"]})
    check = cell(
        "from afd_study.study.notebook_parameters import check_parameters\n"
        "check_parameters(globals(), seed=range(99))"
    )
    written = nbformat.v4.new_notebook(cells=[parameters, check, cell("print(seed)")])
    written.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(written, path)
    return path


def test_papermill_itself_is_stopped(notebook, tmp_path):
    """The way in that matters: papermill's injection, in a real kernel."""
    with pytest.raises(PapermillExecutionError, match="did you mean 'seed'"):
        papermill.execute_notebook(
            str(notebook), str(tmp_path / "out.ipynb"), {"sede": 1}, progress_bar=False
        )
    ran = papermill.execute_notebook(
        str(notebook), str(tmp_path / "out.ipynb"), {"seed": 2.0}, progress_bar=False
    )
    assert ran.cells[-1].outputs[0].text == "2\n"
