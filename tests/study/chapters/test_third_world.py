"""A third controlled world breaks nothing: old rows stay the same, and tables and figures show the new ones.

The toy world is `harmless` under another name, and wherever results are frozen it has copies of its values.
"""

import sys
from dataclasses import dataclass
from importlib.resources import files
from types import SimpleNamespace
from typing import Literal

import pandas as pd
import pytest
import yaml

from afd_study.evaluation.claims import load_ledger
from afd_study.figures import (
    adversarial,
    arms as draw_arms,
    claims as draw_claims,
    costs as draw_costs,
    heterogeneity_map as draw_map,
    tables,
    text,
)
from afd_study.study.chapters import arms, benchmarks, claims, costs, experiment, heterogeneity_map
from afd_study.study.forecast.dry_run import report
from afd_study.study.frozen import grids, parts
from afd_study.study.frozen.files import freeze, read_frozen
from afd_study.study.frozen.method_costs import cost_table
from afd_study.study.frozen.seed_means import narrow
from afd_study.study.spec import load_spec
from afd_study.study.study import Study
from afd_study.study.workflow import step
from afd_study.study.workflow.code_version import code_version
from afd_study.worlds.harmless import HarmlessSpec, HarmlessWorld
from afd_study.worlds.tasks import CONTROLLED

TOY, COPIED = "candid", "harmless"


class ToySpec(HarmlessSpec):
    name: Literal["candid"] = TOY


@dataclass(frozen=True)
class ToyWorld(HarmlessWorld):
    NAME, SPEC = TOY, ToySpec


@pytest.fixture
def toy(monkeypatch):
    """The toy world among the controlled ones, as a module of its name; no ledger and no map names it.

    The module has no file, whose code a step's key would hold: the copied world's stands in for it.
    """
    monkeypatch.setitem(CONTROLLED, TOY, ToyWorld)
    monkeypatch.setitem(sys.modules, f"afd_study.worlds.{TOY}", SimpleNamespace(World=ToyWorld))
    monkeypatch.setattr(
        step, "code_version", lambda name: code_version(name.replace(f".{TOY}:", f".{COPIED}:"))
    )


@pytest.fixture
def toy_in_the_ledger(toy, monkeypatch):
    """The toy world as a task of the ledger too: a line in claims.yaml, and its values by task."""
    rules = yaml.safe_load(files("afd_study.evaluation").joinpath("claims.yaml").read_text(encoding="utf-8"))
    rules["tasks"].append(TOY)
    for setting in rules["settings"].values():
        for value in setting.values():
            if isinstance(value, dict):
                value[TOY] = value[COPIED]
    ledger = load_ledger(yaml.safe_dump(rules, sort_keys=False))
    for name, module in list(sys.modules.items()):
        if name.startswith("afd_study.study.") and getattr(module, "load_ledger", None) is load_ledger:
            monkeypatch.setattr(module, "load_ledger", lambda: ledger)
    return ledger


def with_toy(table):
    return pd.concat([table, table[table["task"] == COPIED].assign(task=TOY)], ignore_index=True)


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    """The book's frozen results, in which the toy world has copies of another's values."""
    monkeypatch.delenv("AFD_RESULTS", raising=False)
    values = {name: read_frozen(name, "values") for name in ("ledger", "map", "arms")}
    went = {name: with_toy(read_frozen("arms", name)) for name in ("histories", "trajectories")}
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    for name, table in values.items():
        more = {}
        if name == "arms":
            long = with_toy(narrow(table))
            more = {**went, "costs": cost_table(long[long["setting"] == grids.ARMS_SETTING])}
        freeze(name, {"values": with_toy(table), **more})


def cells_of(make):
    return [(cell.task, cell.setting, cell.seeds, cell.wanted) for cell in make()]


def agrees(table, before):
    """Assert that rows of the old tasks are as before, and that the toy's are copies; return their number."""
    old, new = table[table["task"] != TOY], table[table["task"] == TOY]
    pd.testing.assert_frame_equal(old.reset_index(drop=True), before.reset_index(drop=True))
    copied = before[before["task"] == COPIED].assign(task=TOY)
    pd.testing.assert_frame_equal(new.reset_index(drop=True), copied.reset_index(drop=True))
    return len(new)


def panels(figure):
    return [axes.get_title(loc="left").split("\n")[0] for axes in figure.axes]


def test_a_world_that_no_ledger_names_changes_no_cell_and_no_verdict(monkeypatch, request):
    monkeypatch.delenv("AFD_RESULTS", raising=False)
    makers = (grids.ledger_cells, grids.arm_cells, grids.map_cells)
    before = [*map(cells_of, makers)], claims.claims(), claims.front_page(), claims.claim_ids()
    request.getfixturevalue("toy")
    after = [*map(cells_of, makers)], claims.claims(), claims.front_page(), claims.claim_ids()
    assert after[0] == before[0] and after[2:] == before[2:]
    pd.testing.assert_frame_equal(after[1], before[1])


def test_a_task_of_the_ledger_has_cells_beside_the_old_ones(toy, request):
    makers = (grids.ledger_cells, grids.arm_cells)
    before = [*map(cells_of, makers)]
    request.getfixturevalue("toy_in_the_ledger")
    for make, old in zip(makers, before, strict=True):
        cells = cells_of(make)
        assert [cell for cell in cells if cell[0] != TOY] == old
        assert [cell[1:] for cell in cells if cell[0] == TOY] == [c[1:] for c in old if c[0] == COPIED]
    assert {cell.task for cell in grids.map_cells()} == set(grids.map_spec().tasks), (
        "heterogeneity_map.yaml says which"
    )


def cells_in(row):
    """Return the cells of a row of a Markdown table; a bar within a sentence is escaped."""
    return [cell.strip() for cell in row.replace(r"\|", "").split("|")[1:-1]]


def test_the_ledger_and_the_front_page_show_the_new_task(frozen, toy, request):
    before, columns = claims.claims(), cells_in(claims.front_page().splitlines()[0])
    sentences = claims.in_words(before)
    ledger = request.getfixturevalue("toy_in_the_ledger")
    table = claims.claims()
    everywhere = {claim.id for claim in ledger.claims if claim.kind == "identity" or TOY in claim.tasks}
    shared = [each[each["id"].isin(everywhere)] for each in (table, before)]
    assert agrees(*shared) == (table["task"] == TOY).sum() > 100
    assert (table["verdict"] != "not yet tested").all()
    header, *rows = claims.front_page().splitlines()
    assert cells_in(header) == [*columns, f"{TOY}, h = 0", f"{TOY}, h = 1"]
    assert {len(cells_in(row)) for row in rows} == {len(columns) + 2}
    assert claims.in_words(table)[:-1] == sentences and f"`{TOY}`" in claims.in_words(table)[-1]
    assert f"{TOY}, h = 1" in {line.split(":")[0] for line in text.verdict_counts(table).splitlines()}


def test_a_task_whose_values_are_yet_to_be_computed_is_not_yet_tested(monkeypatch, request):
    monkeypatch.delenv("AFD_RESULTS", raising=False)
    before = claims.claims()
    request.getfixturevalue("toy_in_the_ledger")
    table = claims.claims()
    old, new = table[table["task"] != TOY], table[table["task"] == TOY]
    pd.testing.assert_frame_equal(old.reset_index(drop=True), before)
    assert len(new) and new["verdict"].eq("not yet tested").all() and new["effect"].isna().all()
    assert len(tables.claims(table).frame) == len(table) and "not yet tested" in claims.front_page()
    assert panels(draw_claims.claims(table, claims.by_seed())) == ["harmless", "helpful"]


def test_figures_and_tables_of_the_ledger_show_the_new_task(frozen, toy_in_the_ledger):
    table, seeds = claims.claims(), claims.by_seed()
    figure = draw_claims.claims(table, seeds)
    assert panels(figure) == ["harmless", "helpful", TOY] and TOY in set(figure.table["task"])
    shown = tables.claims(table)
    assert len(shown.frame) == len(table)
    row = table[(table["id"] == "E4") & (table["task"] == TOY) & (table["setting"] == "h = 1")]
    assert "10_claims.html" in tables.claims(row)._repr_html_(), "it has no page of its own yet"
    assert set(claims.covering()["task"]) == {"harmless", "helpful", TOY}


def test_the_map_shows_the_new_task_in_a_look_of_its_own(frozen, toy_in_the_ledger):
    cells = heterogeneity_map.frozen_map()
    old = cells[cells["task"] != TOY]
    won = heterogeneity_map.winners(cells)
    for figure in (draw_map.map_of(cells, "lead", "init_demo"), draw_map.winners(won)):
        titles = panels(figure)
        assert TOY in titles and [title for title in titles if title != TOY] == ["harmless", "helpful"]
    figure = draw_map.against_measured(cells)
    lines = {line.get_label(): line for line in figure.axes[0].lines if line.get_label()[0] != "_"}
    assert set(lines) == {"harmless", "helpful", TOY}
    assert len({(line.get_color(), line.get_marker()) for line in lines.values()}) == 3
    assert list(lines[TOY].get_ydata()) == list(lines[COPIED].get_ydata())
    before = draw_map.against_measured(old).axes[0].lines
    assert [line.get_color() for line in before] == [line.get_color() for line in figure.axes[0].lines][:3]
    for show in (heterogeneity_map.winners, heterogeneity_map.measured, heterogeneity_map.predicted):
        agrees(show(cells), show(old))
    assert set(heterogeneity_map.at_matched_gain()["task"]) == {*old["task"], TOY}
    corners = heterogeneity_map.compared(cells, None)
    assert agrees(corners, heterogeneity_map.compared(old, None)) == 4


def test_the_arms_and_their_costs_show_the_new_task(frozen, toy_in_the_ledger):
    tasks = {"harmless", "helpful", TOY}
    levels, spent = arms.reached(), costs.against("flops", "demonstrations", "preference_labels")
    shown = (levels, arms.ways(), arms.covering(), arms.against_sft(), arms.measured(), arms.optima(), spent)
    for table in (*shown, costs.making(), costs.answering(), costs.frontier(), costs.crossings()):
        assert set(table["task"]) == tasks
        assert (table["task"] == TOY).sum() == (table["task"] == COPIED).sum()
    learned = ["adversarial_reverse_kl", "true_reverse_kl"]
    for figure in (
        draw_arms.ways(arms.ways(), levels),
        draw_arms.reached(levels),
        draw_arms.sides(arms.sides(), ["spin"]),
        draw_costs.score_against(spent, levels, metric="flops"),
        draw_costs.score_against_labels(spent, levels),
        draw_costs.totals(costs.totals(["pi_sft", "init_sft"])),
        adversarial.covering(arms.covering()),
        adversarial.courses(arms.paths(), learned),
    ):
        assert {title for title in panels(figure) if title} == tasks


def test_chapters_are_frozen_for_every_controlled_world_of_the_profile(elsewhere, toy, monkeypatch):
    monkeypatch.setattr(parts, "task_names", lambda profile: ["harmless", "helpful", "hh_rlhf"])
    assert parts.chapter_tasks("cpu") == ["harmless", "helpful"], "the profile does not have it"
    monkeypatch.setattr(parts, "task_names", lambda profile: ["hh_rlhf", *CONTROLLED])
    assert parts.chapter_tasks("cpu") == ["harmless", "helpful", TOY]
    curves = pd.DataFrame({"setting": "h = 1", "method": "random", "n": [1, 16], "mean": 0.0})
    tables = {"curves": curves.assign(low=0.0, high=0.0), "settings": pd.DataFrame({"kept": [16]})}
    freeze(f"gpu/experiment/{TOY}", tables)
    assert [TOY in caption for caption in benchmarks.on_gpu()] == [True]


def test_a_dry_run_and_the_first_tables_of_the_new_world(store, toy):
    spec = load_spec(COPIED, "smoke")
    own = spec.model_copy(update={"world": ToySpec(**{**spec.world.model_dump(), "name": TOY})})
    study = Study(TOY, own, (0,), store, quiet=True)
    lines = {
        task: list(report(each, device="H100", price=None))
        for task, each in ((TOY, study), (COPIED, Study(COPIED, spec, (0,), store, quiet=True)))
    }
    assert [line for line in lines[TOY] if line.startswith("time on one")]
    assert len(lines[TOY]) == len(lines[COPIED]) and any(line.startswith("together:") for line in lines[TOY])
    assert len(study.table("prompts")) and len(study.table("demonstrations"))
    notes = experiment.component_notes({"h = 1": study})
    assert list(notes["component"]) == list(ToyWorld(own.world).components)
