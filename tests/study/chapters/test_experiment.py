"""From studies to frozen tables to verdicts: cells, values, chapters, the ledger and the map."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from afd_study.errors import SpecError, StoreError
from afd_study.evaluation.claim_effects import SIZES, VALUE_COLUMNS
from afd_study.evaluation.claims import load_ledger
from afd_study.study import freeze as freezing
from afd_study.study.chapters import benchmarks, claims, heterogeneity_map
from afd_study.study.chapters.chapter import EXPERIMENT, PROBES, freeze_chapter, open_chapter
from afd_study.study.freeze import step_seconds
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.grids import Cell, ledger_cells, map_cells, map_spec
from afd_study.study.frozen.seed_means import gather, narrow, wide
from afd_study.study.spec import load_spec
from afd_study.study.workflow import store as stores
from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def values(store):
    cells = [
        Cell(
            "helpful",
            "h = 1",
            {"world.heterogeneity": 1.0, "reward.kinds": ["init_sft", "init_demo"]},
            (0, 1),
        ),
        Cell("helpful", "small policy", {"policy.config.n_embd": 8}, (0,), ("coverage",)),
    ]
    return gather(cells, store=store, profile="smoke")


# cells


def test_every_cell_is_a_valid_study_and_the_ledgers_seeds_are_its_own():
    for cell in [*ledger_cells(), *map_cells()]:
        load_spec(cell.task, "cpu", cell.overrides)
    assert not {seed for cell in ledger_cells() for seed in cell.seeds} & {*range(200), *map_spec().seeds}
    assert len(load_ledger().seeds) >= 8


def test_the_map_has_four_by_four_cells_for_both_tasks():
    cells, ends = map_cells(), map_cells(corners=True)
    assert len({cell.setting for cell in cells}) == 16 and len(cells) == 32
    assert {cell.setting for cell in ends} == {f"h = {h}, a = {a}" for h in (0, 1) for a in (0.1, 0.9)}
    assert len(map_spec().seeds) == 3
    # a page waits for the corners: only the lead that is shown beside the frozen one
    assert {cell.wanted for cell in ends} == {("outcomes",)} and len(ends) == 8
    assert {tuple(cell.overrides["reward.kinds"]) for cell in ends} == {("init_sft", "init_demo")}


# values


def test_values_are_means_over_prompts_of_the_studys_own_tables(values, store):
    cell = Cell(
        "helpful", "h = 1", {"world.heterogeneity": 1.0, "reward.kinds": ["init_sft", "init_demo"]}, (0, 1)
    )
    study = cell.study(store, profile="smoke")
    table = study.table("outcomes").query("method == 'init_sft' and n == 16 and seed == 1")
    found = values[(values["metric"] == "judge") & (values["method"] == "init_sft") & (values["n"] == 16)]
    assert found.set_index("seed").loc[1, "value"] == pytest.approx(table["value"].mean())
    assert list(values.columns) == list(VALUE_COLUMNS) and values["value"].notna().all()
    assert set(values["table"]) == {"outcomes", "win_rates", "coverage", "probes", "separability"}
    assert set(values.loc[values["table"] == "outcomes", "n"]) <= set(SIZES)


def test_where_only_covering_is_measured_no_reward_model_is_trained(values, store):
    small = values[values["setting"] == "small policy"]
    assert set(small["table"]) == {"coverage"} and set(small["method"]) == {"pi_init", "pi_sft"}
    cell = Cell("helpful", "small policy", {"policy.config.n_embd": 8}, (0,), ("coverage",))
    needed = {
        step.name for step in next(iter(cell.steps(cell.study(store, profile="smoke")))).closure().values()
    }
    assert "reward_model" not in needed and "pi_sft" in needed


def test_wide_tables_hold_the_same_values(values):
    keys = list(VALUE_COLUMNS)
    again = narrow(wide(values)).sort_values(keys[:-1]).reset_index(drop=True)
    pd.testing.assert_frame_equal(
        again, values.sort_values(keys[:-1]).reset_index(drop=True), check_dtype=False
    )


def test_nothing_is_computed_twice_and_the_seconds_are_counted_once(values, store):
    cell = Cell("helpful", "small policy", {"policy.config.n_embd": 8}, (0,), ("coverage",))
    before = sorted(path.stat().st_mtime_ns for path in store.root.rglob("manifest.json"))
    gather([cell, cell], store=store, profile="smoke")
    assert sorted(path.stat().st_mtime_ns for path in store.root.rglob("manifest.json")) == before


def test_step_seconds_count_shared_steps_once(values, store, monkeypatch):
    cell = Cell("helpful", "small policy", {"policy.config.n_embd": 8}, (0,), ("coverage",))
    monkeypatch.setattr("afd_study.study.frozen.grids.PROFILE", "smoke")
    monkeypatch.setattr(Cell.study, "__defaults__", (None, None, "smoke"))
    once = step_seconds([cell], store)
    assert once > 0 and step_seconds([cell, cell], store) == pytest.approx(once)


# chapters


@pytest.fixture
def elsewhere(tmp_path, monkeypatch, store):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    monkeypatch.setenv("AFD_STORE", str(store.root))
    return tmp_path


@pytest.mark.parametrize("kind, makers", [("experiment", EXPERIMENT), ("probes", PROBES)])
def test_a_frozen_chapter_shows_the_tables_that_a_computed_one_does(kind, makers, elsewhere):
    freeze_chapter(kind, "helpful", profile="smoke", jobs=1)
    fresh, kept = (open_chapter(kind, "helpful", "smoke", frozen=frozen) for frozen in (False, True))
    assert kept.settings == fresh.settings == ["h = 0", "h = 1"] and kept.n_seeds == 2
    for name in makers:
        a, b = fresh.table(name), kept.table(name)
        assert list(a.columns) == list(b.columns) and len(a) == len(b) > 0, name
        for column in a.select_dtypes("number"):
            np.testing.assert_allclose(
                a[column].astype(float), b[column].astype(float), rtol=1e-7, err_msg=name
            )


def test_a_gpus_results_lie_apart_and_are_shown_with_what_was_measured_there(elsewhere, monkeypatch):
    monkeypatch.setattr(freezing.distributed, "on_gpu", lambda: False)
    with pytest.raises(SpecError, match="there is no CUDA device.*afd run --profile gpu"):
        freezing.FREEZERS["gpu"](jobs=1)
    assert not list(elsewhere.iterdir()) and benchmarks.on_gpu() == {}
    freeze_chapter("experiment", "helpful", profile="smoke", jobs=1, under="gpu/")
    shown = benchmarks.on_gpu()
    assert [caption.split(" (")[0] for caption in shown] == ["Picks from a larger policy, helpful"]
    found, curves = shown.popitem()[1], open_chapter("experiment", "helpful", "smoke").table("curves")
    assert sorted(set(found["n"])) == [1, 16] and set(found["method"]) == set(curves["method"])
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
    monkeypatch.setattr(freezing, "freeze_chapter", lambda *given, **options: pytest.fail("computed"))
    with pytest.raises(StoreError, match=r"\d+ from a CPU"):
        freezing.freeze_gpu(jobs=1)


def test_frozen_tables_of_other_arguments_are_refused(elsewhere):
    freeze_chapter("experiment", "helpful", profile="smoke", jobs=1)
    for asked in ({"seed": 5}, {"n_seeds": 1}, {"overrides": {"sft.steps": 3}}):
        with pytest.raises(SpecError, match="are of profile = smoke, seed = 0"):
            open_chapter("experiment", "helpful", "smoke", frozen=True, **asked)
    with pytest.raises(StoreError, match="no frozen results 'experiment/harmless'"):
        open_chapter("experiment", "harmless", "smoke", frozen=True)
    with pytest.raises(SpecError, match="did you mean 'experiment'"):
        open_chapter("experimnt", "harmless")
    with pytest.raises(SpecError, match="did you mean 'curves'"):
        open_chapter("experiment", "helpful", "smoke", frozen=True).table("curve")


# the ledger


def made_up():
    """Values for every cell of the ledger: Init-SFT leads everywhere by a tenth of the gap, more or less."""
    rules, rng, rows = load_ledger(), np.random.default_rng(0), []
    points = {
        "random": 0.0,
        "oracle": 2.0,
        "init_sft": 1.0,
        "pi_sft": 0.1,
        "demonstrations": 0.5,
        "pi_init": 0.0,
    }
    for task in ("harmless", "helpful"):
        for setting in rules.settings:
            for seed in rules.seeds:
                front = (task, setting, seed)
                for method in claims.METHODS:
                    worth = points.get(method, 0.8) + 0.01 * rng.normal()
                    rows += [(*front, "outcomes", "judge", method, n, worth) for n in SIZES]
                    rows.append((*front, "win_rates", "win_rate_over_pi_sft", method, 16, 0.8))
                    for metric in ("auc", "auc_without_length"):
                        rows.append((*front, "separability", metric, method, 0, 0.6 + 0.1 * rng.random()))
                    for metric in ("without_length_and_style", "with_closed_form"):
                        rows.append((*front, "probes", f"rank_correlation_{metric}", method, 0, 0.3))
                rows.append((*front, "coverage", "coverage", "pi_sft", 0, 0.9))
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS))


def test_claims_are_judged_from_frozen_values_and_printed(elsewhere):
    freeze("ledger", {"values": wide(made_up())}, profile="cpu", seeds=list(load_ledger().seeds))
    found = claims.claims()
    verdicts = {(row.id, row.task, row.setting): row.verdict for row in found.itertuples()}
    assert verdicts["E4", "harmless", "h = 1"] == "supported"
    assert (
        verdicts["R1", "helpful", "h = 0"] == "supported"
        and verdicts["L4", "helpful", "h = 1"] == "not yet tested"
    )
    assert verdicts["I1", "enumerated", ""] == "supported"
    tested = found[(found["n_seeds"] > 0)]
    assert (tested["n_seeds"] == 8).all() and set(found["id"]) == set(claims.claim_ids())
    page = claims.front_page()
    assert page.count("\n") == len(claims.claim_ids()) + 2 and "| E4 |" in page and "not yet tested" in page
    for row in page.splitlines():  # a bar in a sentence would be a column more
        assert len(re.findall(r"(?<!\\)\|", row)) == 7, row
    command = [sys.executable, "-m", "afd_study.study", "claims", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(told) == len(found)
    assert list(told[0]) == [
        "id", "sentence", "source", "task", "setting", "kind", "effect", "low", "high", "margin", "n_seeds",
        "verdict",
    ]  # fmt: skip
    plain = subprocess.run(command[:-1], capture_output=True, text=True, check=True).stdout
    assert f"{len(tested)} rows" in plain
    with pytest.raises(SpecError, match=r"rests on \('E4', .* but the ledger has .*findings.yaml"):
        claims.in_words(found)


def test_the_front_pages_sentences_rest_on_the_frozen_verdicts(monkeypatch):
    monkeypatch.delenv("AFD_RESULTS", raising=False)
    found = claims.claims()
    told = claims.in_words(found)
    assert told and all(sentence.startswith("**") for sentence in told)
    row = (found["id"] == "L2b") & (found["task"] == "helpful")
    with pytest.raises(SpecError, match="being supported, but the ledger has contradicted"):
        claims.in_words(found.assign(verdict=found["verdict"].mask(row, "contradicted")))


def test_a_claim_of_an_unknown_method_stops_the_ledger(elsewhere, monkeypatch):
    freeze("ledger", {"values": wide(made_up())})
    text = yaml.safe_dump(load_ledger().model_dump(mode="json")).replace(
        "than: likelihood", "than: likelyhood"
    )
    monkeypatch.setattr(claims, "load_ledger", lambda: load_ledger(text))
    with pytest.raises(SpecError, match="'likelyhood': did you mean 'likelihood'"):
        claims.claims()


def test_unknown_results_are_refused(elsewhere):
    command = [sys.executable, "-m", "afd_study.study", "results", "--what", "legder"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (
        done.returncode
        and "'legder': did you mean 'ledger'" in done.stderr
        and "Traceback" not in done.stderr
    )


# the map


def test_the_comparison_at_matched_gain_is_the_ledgers(elsewhere):
    freeze("ledger", {"values": wide(made_up())})
    found = heterogeneity_map.at_matched_gain()
    assert list(found[["task", "h"]].itertuples(index=False, name=None)) == [
        ("harmless", 0.0), ("harmless", 1.0), ("helpful", 0.0), ("helpful", 1.0),
    ]  # fmt: skip
    assert {"lead, a = 0.1", "lead, a = 0.1, matched", "lead, a = 0.9"} <= set(found.columns)


def test_corners_are_computed_and_stand_beside_the_frozen_ones(elsewhere):
    fresh = heterogeneity_map.corners(profile="smoke", seed=0)
    assert set(fresh["task"]) == {"harmless", "helpful"} and fresh.groupby("task")["h"].nunique().eq(2).all()
    both = heterogeneity_map.compared(fresh.assign(low=0.0, high=0.0), fresh)
    assert len(both) == 8 and both["now"].notna().all()
    assert "now" not in heterogeneity_map.compared(fresh.assign(low=0.0, high=0.0), None)
