"""Sweeps: which points a file names, how tables are gathered, and a kill -9 that costs no table.

What Snakemake does is tested where it is installed (extra `sweep`); planning and gathering are tested always.
"""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import nbformat
import pandas as pd
import plotly.graph_objects as go
import pytest
import sweep
import yaml
from processes import alive, descendants, wait_until

from afd_study.errors import SpecError
from afd_study.study.workflow.store import MANIFEST

needs_snakemake = pytest.mark.skipif(
    find_spec("snakemake") is None, reason="needs Snakemake: pip install -e '.[sweep]'"
)
needs_slurm = pytest.mark.skipif(
    find_spec("snakemake_executor_plugin_slurm") is None,
    reason="needs Snakemake's executor for Slurm: pip install -e '.[sweep]'",
)
EXAMPLE = sweep.SWEEPS / "example.yaml"
SMALL = {  # the example with less to compute at a point
    "reward.kinds": ["init_sft", "init_demo"],
    "world.n_pretraining": 200,
    "world.n_demonstrations": 120,
    "pretraining.steps": 40,
    "sft.steps": 10,
    "reward.training.steps": 10,
}


@pytest.fixture
def written(tmp_path):
    """Write a sweep file with some of the example's keys replaced (None: left out); return its path."""

    def write(name="mine", **changes):
        given = {**yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")), **changes}
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in given.items() if value is not None}))
        return path

    return write


# which points there are


def test_the_example_is_every_combination_of_task_seed_and_setting():
    points = sweep.load(EXAMPLE)
    found = [(p.varied["task"], p.varied["seed"], p.varied["world.heterogeneity"]) for p in points.values()]
    assert found == list(product(["harmless", "helpful"], [0, 1], [0.0, 1.0]))
    assert list(points) == [point.name for point in points.values()]
    for point in points.values():
        value = point.varied["world.heterogeneity"]
        assert point.parameters["overrides"] == {"settings": {}, "world.heterogeneity": value}
        assert {"task", "seed", "n_seeds", "profile"} == set(point.parameters) - {"overrides"}


def test_a_point_keeps_its_name_when_the_grid_grows_and_loses_it_with_its_settings(written):
    few = sweep.load(written(seeds=[0]))
    more = sweep.load(written(seeds=[0, 1, 2]))
    assert set(few) < set(more)
    other = sweep.load(written(seeds=[0], fixed={"profile": "smoke", "n_seeds": 2, "settings": {}}))
    assert not set(few) & set(other)


def test_a_notebook_without_tasks_and_overrides_is_swept_over_its_own_parameters(written):
    given = {"tasks": None, "fixed": None, "grid": {"policy": [[0.5, 0.5], [0.9, 0.1]]}}
    points = sweep.load(written(notebooks=["02_divergences"], **given))
    assert [point.parameters for point in points.values()] == [
        {"seed": seed, "policy": policy} for seed, policy in product([0, 1], [[0.5, 0.5], [0.9, 0.1]])
    ]


FAULTS = {
    "key": ({"seed": [0]}, "unknown key of mine.yaml 'seed': did you mean 'seeds'"),
    "no notebook": ({"notebooks": None}, "notebooks: Field required"),
    "notebook": ({"notebooks": ["04_experimnt"]}, "did you mean '04_experiment'"),
    "type": ({"seeds": 3}, "seeds: Input should be a valid tuple"),
    "task": ({"tasks": ["harmles"]}, "unknown task 'harmles': did you mean 'harmless'"),
    "profile": ({"fixed": {"profile": "smok"}}, "unknown profile 'smok': did you mean 'smoke'"),
    "setting": ({"grid": {"world.heterogenity": [1]}}, "did you mean 'world.heterogeneity'"),
    "value": ({"grid": {"world.heterogeneity": [0, 2]}}, "less than or equal to 1"),
    "infinite": ({"grid": {"world.heterogeneity": [float("inf")]}}, "would read '.inf' as a number"),
    "empty": ({"grid": {"world.heterogeneity": []}}, "mine.yaml has no point"),
    "parameter": (
        {"notebooks": ["02_divergences"], "tasks": None, "fixed": None, "grid": {"polcy": [1]}},
        "unknown parameter of notebooks/02_divergences.ipynb 'polcy': did you mean 'policy'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_there_is_refused_before_anything_runs(fault, written):
    changes, told = FAULTS[fault]
    with pytest.raises(SpecError) as raised:
        sweep.load(written(**changes))
    assert told in str(raised.value)


@pytest.mark.parametrize("number", ["010", "1:30", "0x10", "1_000"])
def test_a_number_that_yaml_would_read_as_another_is_refused(number, tmp_path):
    path = tmp_path / "mine.yaml"
    text = "notebooks: [04_experiment]\ntasks: [harmless]\nseeds: [{}]\n"
    path.write_text(text.format(number))
    with pytest.raises(SpecError, match=f"mine.yaml, line .*YAML would read '{number}' as a number"):
        sweep.load(path)
    path.write_text(text.format("10"))
    assert [point.varied["seed"] for point in sweep.load(path).values()] == [10]


def test_a_notebook_with_a_parameter_that_nothing_reads_is_not_swept(tmp_path, monkeypatch):
    cell = nbformat.v4.new_code_cell
    cells = [cell("seeds: int = 0  # x", metadata={"tags": ["parameters"]}), cell("seed = 1\nprint(seed)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "mine.ipynb")
    monkeypatch.setattr(sweep.render, "NOTEBOOKS", tmp_path)
    with pytest.raises(
        SpecError, match="no cell of notebooks/mine.ipynb reads the parameter 'seeds'. Is 'seed' meant"
    ):
        sweep.parameters("mine", {"seeds": 3})


def test_a_file_that_is_no_sweep_is_refused(tmp_path):
    for text in ("[1, 2]", "notebooks: [", None):
        path = tmp_path / "sweep.yaml"
        path.write_text(text) if text else path.unlink()
        with pytest.raises(SpecError, match="sweep.yaml"):
            sweep.load(path)


def test_faults_and_a_missing_snakemake_are_messages(written, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sweep, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["sweep.py", str(EXAMPLE), "--into", str(tmp_path / "made")])
    assert sweep.main() == 2
    assert "a sweep needs Snakemake: python -m pip install" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["sweep.py", str(written(tasks=["helpfull"]))])
    assert sweep.main() == 2
    assert "sweep: unknown task 'helpfull': did you mean 'helpful'" in capsys.readouterr().err
    changed = ["--point", "04_experiment-gone", "--into", str(tmp_path / "made")]
    monkeypatch.setattr(sys, "argv", ["sweep.py", str(EXAMPLE), *changed])
    monkeypatch.setattr(sweep, "end_with_parent", lambda: None)
    assert sweep.main() == 2
    assert "unknown point of example.yaml '04_experiment-gone'" in capsys.readouterr().err


# tables


def output(data, **metadata):
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


def test_tables_are_those_that_figures_bring():
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="line"))
    figure.layout.meta = {"caption": "Move the slider"}
    still = {"image/png": "aGk="}, {"text/csv": "a,b\n1,2\n"}
    cells = [
        nbformat.v4.new_markdown_cell("# Heading"),
        nbformat.v4.new_code_cell(outputs=[output({"text/html": "<table></table>"})]),
        nbformat.v4.new_code_cell(
            outputs=[output(still[0]), output(still[1], **{"text/csv": {"caption": "Training (dotted)."}})]
        ),
        nbformat.v4.new_code_cell(
            outputs=[output({"application/vnd.plotly.v1+json": json.loads(figure.to_json())})]
        ),
    ]
    assert sweep.tables(nbformat.v4.new_notebook(cells=cells)) == {
        "03.1-training-dotted": "a,b\n1,2\n",
        "04.1-move-the-slider": "panel,series,x,y\n,line,1,3\n,line,2,4\n",
    }


def test_gathered_tables_have_every_point_and_what_is_varied_in_front(tmp_path):
    points = {}
    for seed, caption in ((0, "over-one"), (7, "over-two")):
        point = sweep.Point("04_experiment", {"task": "t", "seed": seed, "sft.steps": [seed]}, {"seed": seed})
        points[point.name] = point
        folder = tmp_path / "points" / point.name
        folder.mkdir(parents=True)
        (folder / f"13.1-{caption}.csv").write_text(f"task,mean,low\nown,0.50{seed}0,\n")
        (folder / "04_experiment.ipynb").write_text("{}")
    (tmp_path / "points" / "of-an-earlier-grid").mkdir()
    sweep.gather(points, tmp_path / "points", tmp_path / "tables")
    first, second = points
    assert (tmp_path / "tables" / "04_experiment" / "13.1-over-one.csv").read_text() == (
        "point,notebook,seed,sft.steps,task,mean,low\n"
        f"{first},04_experiment,0,[0],own,0.5000,\n{second},04_experiment,7,[7],own,0.5070,\n"
    )
    listed = pd.read_csv(tmp_path / "tables" / "points.csv")
    assert list(listed["point"]) == [first, second] and list(listed["seed"]) == [0, 7]
    assert len(list((tmp_path / "tables").rglob("*.csv"))) == 2


def test_a_point_is_its_notebook_and_that_notebooks_tables(written, tmp_path):
    given = {"tasks": None, "seeds": None, "fixed": None, "grid": {"digits": [3]}}
    (point,) = sweep.load(written(notebooks=["11_cost"], **given)).values()
    sweep.run_point(point, tmp_path / "made")
    executed = nbformat.read(tmp_path / "made" / "11_cost.ipynb", as_version=4)
    assert any("digits: int = 3" in cell.source for cell in executed.cells)
    found = {path.stem: path.read_text() for path in (tmp_path / "made").glob("*.csv")}
    assert found == sweep.tables(executed) and len(found) >= 4


# with Snakemake


def started(file, folder, store, *words):
    command = [sys.executable, str(sweep.HERE / "sweep.py"), str(file), "--into", str(folder), *words]
    given = {"AFD_STORE": str(store), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(store) + "-cache"}
    return subprocess.Popen(
        command, env={**os.environ, **given}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(running):
    told = running.communicate(timeout=1200)[0]
    assert running.returncode == 0, told
    return told


@needs_snakemake
@needs_slurm
def test_a_dry_run_for_slurm_prints_the_jobs(tmp_path):
    told = finished(started(EXAMPLE, tmp_path / "made", tmp_path / "store", "--on", "slurm", "-n"))
    for name in sweep.load(EXAMPLE):
        assert f"output: points/{name}" in told
    assert "mem_mb=4000" in told and "runtime=60" in told
    assert not (tmp_path / "store").exists() and not (tmp_path / "made" / "points").exists()


def gathered(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "tables").rglob("*.csv")}


def notebooks(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("points/*/04_experiment.ipynb")}


def steps_made(store):
    return sorted(path.parent.relative_to(store).as_posix() for path in store.glob(f"*/*/{MANIFEST}"))


@needs_snakemake
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc to see orphans")
def test_a_killed_sweep_goes_on_and_ends_with_the_same_tables(written, tmp_path):
    fixed = {**yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["fixed"], **SMALL}
    file = written(fixed=fixed)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finished(started(file, whole, tmp_path / "store", "--cores", "2"))
    running = started(file, killed, tmp_path / "store-killed", "--cores", "2")
    try:  # two at once: where there are three notebooks, one point at least is done
        wait_until(lambda: running.poll() is not None or len(notebooks(killed)) == 3, 600)
        jobs = descendants(running.pid)
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate()
    assert jobs and len(notebooks(killed)) < 8 and not (killed / "tables").exists(), "it was killed too late"
    wait_until(lambda: not any(map(alive, jobs)), 20)
    before = notebooks(killed)
    told = finished(started(file, killed, tmp_path / "store-killed", "--cores", "2"))
    kept = [path for path, made in notebooks(killed).items() if before.get(path) == made]
    assert kept, told  # what was finished was not run again
    assert gathered(killed) == gathered(whole) and len(gathered(whole)) > 5
    assert steps_made(tmp_path / "store-killed") == steps_made(tmp_path / "store")
    again = finished(started(file, killed, tmp_path / "store-killed", "--cores", "2"))
    assert "Nothing to be done" in again
