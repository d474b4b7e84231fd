"""Freezing: one grid by itself, what a GPU computed apart, shared steps counted once, costs beside arms."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import SpecError, StoreError
from afd_study.evaluation.claim_effects import VALUE_COLUMNS
from afd_study.study import freeze as freezing
from afd_study.study.chapters import ablations as chapter, benchmarks
from afd_study.study.chapters.chapter import freeze_chapter, open_chapter
from afd_study.study.frozen import ablation_grids
from afd_study.study.frozen.ablation_grids import Ablations
from afd_study.study.frozen.files import read_frozen, read_manifest
from afd_study.study.frozen.grids import Cell
from afd_study.study.frozen.method_costs import cost_table
from afd_study.study.workflow import store as stores
from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store


@pytest.fixture
def smoke(monkeypatch):
    """Every cell's study is of the smoke profile."""
    study = Cell.study

    def of_smoke(cell, store=None, jobs=None, profile=""):
        return study(cell, store, jobs, "smoke")

    monkeypatch.setattr(Cell, "study", of_smoke)


def test_step_seconds_count_shared_steps_once(store, smoke):
    cell = Cell("helpful", "small policy", {"policy.config.n_embd": 8}, (0,), ("coverage",))
    cell.study(store).table("coverage")
    steps = freezing.cell_steps([cell], store)
    once = freezing.seconds_of(steps, store)
    assert once > 0 and freezing.seconds_of([*steps, *steps], store) == pytest.approx(once)


# one grid computed and frozen by itself


COMMON = {"question": "?", "axis": "?", "tasks": ["harmless"]}
NOISE = {"varies": "world.preference_noise", "values": [0.0, 0.4], "reference": 0.0}
LABELS = {"varies": "reward.n_preferences", "values": [130, 160, 170], "reference": 160}
LOSS = {"varies": "kind", "values": ["one", "other"], "reference": "one"}
SMALL = Ablations.model_validate(
    {
        "setting": {"world.n_validation": 400, "world.n_pretraining": 200, "pretraining.steps": 20},
        "seeds": [0, 1],
        "n": 16,
        "level": 0.95,
        "grids": {
            "noise": {**COMMON, **NOISE, "kinds": ["init_sft", "preferences"]},
            "labels": {**COMMON, **LABELS, "kinds": ["preferences"]},
            "loss": {**COMMON, **LOSS, "kinds": {"preferences": ["preferences", "preferences_bce"]}},
        },
    }
)


@pytest.fixture
def small(monkeypatch, tmp_path, smoke):
    """The command of the results, with grids of the smoke profile: where they are frozen, and the store."""
    store = Store(tmp_path / "store")
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("AFD_STORE", str(store.root))
    monkeypatch.setattr(ablation_grids, "ablations", lambda: SMALL)
    return tmp_path / "results" / "ablations", store


def test_one_grid_is_computed_and_frozen_and_leaves_the_others_alone(small):
    results, store = small
    freezing.freeze_ablations(jobs=1, only="noise")
    assert [path.name for path in results.iterdir()] == ["noise"]
    before = (results / "noise" / "values.csv").read_bytes()
    assert read_manifest("ablations/noise")["step_seconds"] > 0
    freezing.freeze_ablations(jobs=1, only="loss")
    assert (results / "noise" / "values.csv").read_bytes() == before
    assert set(chapter.effects("loss")["method"]) == {"preferences"}
    # again, and all at once: the same tables
    freezing.freeze_ablations(jobs=1)
    assert (results / "noise" / "values.csv").read_bytes() == before
    assert {path.name for path in results.iterdir()} == set(SMALL.grids)
    effects = read_frozen("ablations/labels", "effects")
    assert effects["value"].tolist() == [130, 170] and np.isfinite(effects["effect"]).all()
    manifests = [
        json.loads(path.read_text()) for path in store.root.glob("chosen_preferences/*/manifest.json")
    ]
    assert {manifest["settings"]["n"] for manifest in manifests} == {130, 170}


# what a GPU computed


def test_a_gpus_results_lie_apart_and_are_shown_with_what_was_measured_there(elsewhere, monkeypatch):
    monkeypatch.setattr(freezing.distributed, "on_gpu", lambda: False)
    with pytest.raises(SpecError, match="there is no CUDA device.*afd run --profile gpu"):
        freezing.FREEZERS["gpu"](jobs=1)
    assert not list(elsewhere.iterdir()) and benchmarks.on_gpu() == {}
    freeze_chapter("experiment", "helpful", profile="smoke", jobs=1, under="gpu/")
    tables = benchmarks.on_gpu()
    assert [caption.split(" (")[0] for caption in tables] == ["Picks from a larger policy, helpful"]
    picks, curves = tables.popitem()[1], open_chapter("experiment", "helpful", "smoke").table("curves")
    assert sorted(set(picks["n"])) == [1, 16] and set(picks["method"]) == set(curves["method"])
    assert not (elsewhere / "experiment").exists(), "the book's own results are left as they are"


def test_steps_from_a_cpu_are_not_taken_for_a_gpus(tmp_path, monkeypatch):
    step = Step("texts", "made:up")
    for on_gpu in (False, True):
        store = Store(tmp_path / str(on_gpu))
        freezing.refuse_from_cpu([step], store)  # holds nothing yet
        monkeypatch.setattr(stores, "distributed", SimpleNamespace(on_gpu=lambda found=on_gpu: found))
        monkeypatch.setattr(stores, "code_version", lambda function: "1")
        with store.claimed(step):
            out = store.workspace(step) / "out"
            out.mkdir()
            store.keep(step, out, seconds=1.0, cost={})
        if on_gpu:
            freezing.refuse_from_cpu([step], store)
        else:
            with pytest.raises(StoreError, match=r"from a CPU \(texts, \.\.\.\): set AFD_STORE"):
                freezing.refuse_from_cpu([Step("picks", "made:up", inputs={"texts": step})], store)


def test_a_gpus_results_are_not_begun_on_a_store_of_a_cpu(elsewhere, monkeypatch):
    def refuse(steps, store):
        raise StoreError(f"{len(steps)} from a CPU")

    monkeypatch.setattr(freezing.distributed, "on_gpu", lambda: True)
    monkeypatch.setattr(freezing, "refuse_from_cpu", refuse)
    monkeypatch.setattr(freezing, "freeze_chapter", lambda *arguments, **options: pytest.fail("computed"))
    with pytest.raises(StoreError, match=r"\d+ from a CPU"):
        freezing.freeze_gpu(jobs=1)


# the rest


def test_costs_are_frozen_beside_what_the_arms_reach(elsewhere, monkeypatch):
    rows = [
        ("harmless", "h = 1", seed, table, metric, "pi_sft", 0, 1.0 + seed)
        for seed in (0, 1)
        for table, metric in (("cost", "flops"), ("outcomes", "judge"))
    ]
    values = pd.DataFrame(rows, columns=list(VALUE_COLUMNS))
    monkeypatch.setattr(freezing, "gather", lambda *_, **__: values)
    monkeypatch.setattr(freezing, "histories", lambda cells, name: values.head(1))
    monkeypatch.setattr(freezing, "arm_tables", lambda cells, name: values.head(1))
    monkeypatch.setattr(freezing, "seconds_of", lambda *_: 1.0)
    freezing.freeze_arms(jobs=1)
    tables = {
        f"{name}.csv" for name in ("values", "histories", "trajectories", "costs", "objectives", "path")
    }
    assert set(read_manifest("arms")["files"]) == tables
    pd.testing.assert_frame_equal(read_frozen("arms", "costs"), cost_table(values))


def test_unknown_results_are_refused(elsewhere):
    command = [sys.executable, "-m", "afd_study.study", "results", "--what", "legder"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode and "'legder': did you mean 'ledger'" in done.stderr
    assert "Traceback" not in done.stderr
