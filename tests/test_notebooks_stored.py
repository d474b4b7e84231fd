"""Stored outputs: written the same every time, left alone when a notebook fails, and compared for real."""

import nbformat
import pytest
import render
import stored
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "NOTEBOOKS", tmp_path)

    def written(*sources, tags=()):
        cells = [new_code_cell(source) for source in sources]
        cells[-1].metadata["tags"] = list(tags)
        notebook = new_notebook(cells=[new_markdown_cell("# A"), *cells])
        notebook.metadata.kernelspec = {"display_name": "My Python", "language": "python", "name": "python3"}
        nbformat.write(notebook, tmp_path / "a.ipynb")
        return tmp_path / "a.ipynb"

    return written


def test_outputs_are_stored_without_traces_of_the_run(write):
    path = write("print(1 + 1)", "import time\ntime.time()", tags=[stored.IGNORED])
    assert stored.store(path) == []
    first = path.read_bytes()
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[1].outputs[0].text == "2\n"
    assert notebook.cells[2].outputs == [] and notebook.cells[2].metadata == {"tags": [stored.IGNORED]}
    assert notebook.metadata == stored.NEUTRAL
    assert stored.store(path) == [] and path.read_bytes() == first


def test_a_notebook_that_fails_keeps_its_file(write):
    path = write("print(1)", "1 / 0")
    before = path.read_bytes()
    (fault,) = stored.store(path)
    assert "notebooks/a.ipynb, cell 3: ZeroDivisionError" in fault
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_check_sees_another_number_and_passes_over_an_ignored_one(write, capfd):
    path = write("print(1 + 1)", "import time\ntime.time()", tags=[stored.IGNORED])
    stored.store(path)
    assert stored.check([path], jobs=1) == 0
    path.write_text(path.read_text(encoding="utf-8").replace('"2\\n"', '"3\\n"'), encoding="utf-8")
    assert stored.check([path], jobs=1) != 0
    assert "Notebook" in capfd.readouterr().out
