"""Nothing asks the network, but a model's name that comes with leave to download.

Each command runs in a process in which every look-up and connection is refused and noted, and so do the
workers, kernels and builders that it starts (helpers/offline/sitecustomize.py).
"""

import json
import os
import shutil
import subprocess
import sys

import example_files
import pytest
import typer

from afd_study.study.commands import app

SMALL = [
    *("--profile", "smoke", "--task", "harmless", "--jobs", "2", "--set", "reward.kinds=[init_sft]"),
    *("--set", "pretraining.steps=20", "--set", "sampling.draws=8", "--set", "sampling.n_max=4"),
]
WORDS = {
    "run": ["run", *SMALL],
    "run --dry-run": ["run", "--dry-run", *SMALL],
    "prepare": ["prepare", "--profile", "smoke"],
    "claims": ["claims"],
    "results": ["results", "--what", "ablations", "--only", "noise"],
    "store show": ["store", "show"],
    "store check": ["store", "check"],
    "store gc": ["store", "gc", "--yes"],
    "fetch --help": ["fetch", "--help"],
    "diagnose": ["diagnose", "one.jsonl", "two=other.jsonl", "--texts", "10"],
}
# As many cells and seeds as a test has time for.
FEW = """
import json, os, sys
from afd_study.study import commands
from afd_study.study.frozen import ablation_grids
from afd_study.study.frozen.grids import Cell
from afd_study.study.study import open_study

study = Cell.study
Cell.study = lambda cell, store=None, jobs=None, profile="": study(cell, store, jobs, "smoke")
noise = {"varies": "world.preference_noise", "values": [0.0, 0.4], "reference": 0.0, "kinds": ["init_sft"]}
grid = {"question": "?", "axis": "?", "tasks": ["harmless"], **noise}
setting = {"pretraining.steps": 20, "sampling.draws": 8, "sampling.n_max": 4}
common = {"setting": setting, "seeds": [0, 1], "n": 4, "level": 0.95}
few = {**common, "grids": {"noise": grid}}
ablation_grids.ablations = lambda: ablation_grids.Ablations.model_validate(few)
commands.map_cells = lambda corners: []
commands.task_names = lambda profile: ["harmless"]
small = {"reward.kinds": ["init_sft"], "pretraining.steps": 20, "sampling.draws": 8, "sampling.n_max": 4}
opened = open_study("harmless", "smoke", 0, 1, overrides=small)
commands.open_settings = lambda *names, overrides: {"as given": opened}
if __name__ == "__main__":
    for words in json.loads(sys.argv[1]):
        commands.app(words, standalone_mode=False)
        print("done:", *words)
"""
PAGE = """
import sys
from pathlib import Path
import nbformat, publish, render

workspace = Path(sys.argv[1])
publish.gather_pages(workspace)
render.execute(chapter := render.chapter("02_divergences", workspace / "chapters", {}))
notebook = nbformat.read(chapter.target, as_version=4)
code = [cell for cell in notebook.cells if cell.cell_type == "code"]  # texts refer to pages that are not here
notebook.cells = [nbformat.v4.new_markdown_cell("# Divergences"), *code]
nbformat.write(notebook, chapter.target)
(workspace / "first.md").write_text("# First\\n\\n" + 20 * "A page with words. " + "\\n")
(workspace / "_toc.yml").write_text(
    "format: jb-book\\nroot: first\\nchapters:\\n  - file: chapters/02_divergences\\n"
)
for name in publish.INCLUDED:
    (workspace / name).write_text("")
print(publish.build(workspace, publish.toc_pages(workspace)))
"""


def leaves(command, name=""):
    """The names of all commands below one."""
    below = getattr(command, "commands", None)
    if below is None:
        return {name}
    return set().union(*(leaves(each, f"{name} {key}".strip()) for key, each in below.items()))


@pytest.fixture
def offline(root, tmp_path):
    """Run Python without a network; return the finished process and what was asked."""

    def run(*words, **environment):
        asked = tmp_path / "asked"
        asked.write_text("")
        path = os.pathsep.join([str(root / "tests" / "helpers" / "offline"), str(root), str(root / "book")])
        own = {"PYTHONPATH": path, "AFD_ASKED": str(asked), "AFD_STORE": str(tmp_path / "store")}
        quiet = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "AFD_RESULTS": str(tmp_path / "results")}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={**os.environ, **own, **quiet, **environment},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        return done, asked.read_text().splitlines()

    return run


def test_no_command_asks_the_network(offline, root, tmp_path):
    shutil.copytree(
        root / "book" / "results", tmp_path / "results"
    )  # what `claims` reads, `results` replaces
    for name in ("one", "other"):
        example_files.source(tmp_path / f"{name}.jsonl", [f"{name} says {n % 5}." for n in range(30)])
    commands = leaves(typer.main.get_command(app))
    assert commands == {name.split(" --")[0] for name in WORDS}  # a new command needs a line there
    done, asked = offline("-c", FEW, json.dumps(list(WORDS.values())))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done: ") == len(WORDS) and asked == []


def test_no_notebook_and_no_page_asks_the_network(offline, tmp_path):
    done, asked = offline("-c", PAGE, str(tmp_path / "book"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "book" / "_build" / "html" / "chapters" / "02_divergences.html").is_file()
    assert asked == []


LOADERS = {
    "a policy": ("policy", "ModelSpec", "pretrained"),
    "a judge": ("classifier_judge", "ClassifierSpec", "load_classifier"),
}


@pytest.mark.parametrize("what", LOADERS)
@pytest.mark.parametrize("leave", [True, False])
def test_a_name_is_asked_for_with_leave_alone(what, leave, offline):
    module, spec, load = LOADERS[what]
    code = (
        "import time; time.sleep = lambda seconds: None  # between the hub's own retries\n"
        f"from afd_study.models.{module} import {spec}, {load}\n"
        f"{load}({spec}(name_or_path='no-such/model', allow_download={leave}))"
    )
    done, asked = offline("-c", code, HF_HUB_OFFLINE="0")
    assert "HubError" in done.stderr and "'no-such/model' could not be loaded" in done.stderr
    assert bool(asked) == leave, (asked, done.stderr)


@pytest.mark.parametrize("way", [[], ["--dry-run"]])
def test_a_run_asks_for_no_name_without_leave(way, offline):
    words = [
        "run",
        "--profile",
        "smoke",
        "--task",
        "harmless",
        "--jobs",
        "1",
        "--model",
        "no-such/model",
        *way,
    ]
    done, asked = offline("-m", "afd_study.study", *words, HF_HUB_OFFLINE="0")
    assert asked == [] and "Traceback" not in done.stderr
    if not way:
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 1 and last.startswith("afd: the model 'no-such/model' could not be loaded")


def test_a_process_that_asks_is_noted_and_so_are_those_that_it_starts(offline):
    """Without this the tests above could pass in any surroundings."""
    asks = "import socket; socket.create_connection(('example.org', 80))"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {asks!r}])"
    for words in (asks, child):
        assert offline("-c", words)[1] == ["socket.getaddrinfo example.org"]
    assert offline("-c", "import socket; socket.socket().connect(('192.0.2.1', 9))")[1]
