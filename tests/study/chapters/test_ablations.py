"""Ablations: what each grid reaches, how grids are frozen one by one, and what is read from them."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from afd_study.errors import DataError, SpecError, StoreError
from afd_study.evaluation.claim_effects import SIZES, VALUE_COLUMNS
from afd_study.evaluation.claims import load_ledger
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study import freeze as freezing
from afd_study.study.__main__ import main
from afd_study.study.chapters import ablations as study
from afd_study.study.chapters.ablations import BESIDE, points
from afd_study.study.frozen import ablation_grids
from afd_study.study.frozen.ablation_grids import Ablations, Grid, ablation_cells, ablations
from afd_study.study.frozen.files import freeze, read_frozen, read_manifest
from afd_study.study.frozen.seed_means import gather, wide
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec
from afd_study.study.steps.preferences import chosen_preferences
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.store import Store
from afd_study.study.workflow.tables import read_table, write_table

GRIDS = list(ablations().grids)
# The first steps that a value of the grid computes anew: all else is the reference's, or follows from these.
FIRST = {
    "number_of_demonstrations": {"demonstrations"},
    "quality_of_demonstrations": {"demonstrations", "held_out"},
    "number_of_preferences": {"preferences", "samples"},  # chosen, or more pairs drawn
    "preference_noise": {"preferences"},
    "number_of_responses": set(),
    "backbone": {"reward_model"},
    "size_of_the_reward_model": {"reward_model"},
    "sft_steps": {"pi_sft"},
    "temperature": {"samples"},
    "loss": set(),
    "free_samples": set(),
}


def closure(task, overrides, profile="cpu", seed=0):
    return plan(load_spec(task, profile, overrides), task=task, seed=seed).steps["outcomes"].closure()


def test_every_grid_is_looked_at_here():
    assert set(FIRST) == set(GRIDS)


def test_grids_are_of_the_checks_seeds_and_not_of_the_ledgers():
    assert ablations().seeds == (0, 1, 2) and not {*ablations().seeds} & {*load_ledger().seeds}
    for name in GRIDS:
        for cell in ablation_cells(name):
            load_spec(cell.task, "cpu", cell.overrides)
            assert cell.seeds == ablations().seeds and cell.wanted == ("outcomes",)


@pytest.mark.parametrize("name", GRIDS)
def test_a_value_reaches_the_steps_that_it_should_and_none_before_them(name):
    grid = ablations().grid(name)
    for task in grid.tasks:
        base = {**ablations().setting, "reward.kinds": list(grid.models)}
        usual = closure(task, base | grid.changes(grid.reference))
        first = set()
        for value in set(grid.values) - {grid.reference}:
            steps = closure(task, base | grid.changes(value))
            new = {key: step for key, step in steps.items() if key not in usual}
            heads = [
                step for step in new.values() if not any(each.key in new for each in step.inputs.values())
            ]
            assert bool(heads) == (grid.varies not in ablation_grids.NO_SETTING), (name, value)
            first |= {step.name for step in heads}
            if name == "temperature":  # the pools alone: reward models and what they learn from stay
                assert {step.settings["purpose"] for step in heads} == {"test"}
                assert "reward_model" not in {step.name for step in new.values()}
        assert first == FIRST[name]


@pytest.mark.parametrize("name", GRIDS)
def test_the_usual_cell_is_the_profiles_own_at_every_reference(name):
    """Grids share it: a reference that names the usual value must not be computed again."""
    grid = ablations().grid(name)
    if grid.varies in ablation_grids.NO_SETTING:
        return
    base = {**ablations().setting, **grid.common, "reward.kinds": list(grid.models)}
    named = closure("harmless", base | {grid.varies: grid.reference})
    assert set(named) == set(closure("harmless", base))


def test_cells_that_vary_nothing_are_one_and_hold_every_reward_model_of_the_grid():
    [cell] = ablation_cells("loss")
    assert cell.setting == "usual" and set(cell.overrides) == {"world.heterogeneity", "reward.kinds"}
    assert set(cell.overrides["reward.kinds"]) == {
        "init_sft", "init_sft_bt", "preferences", "preferences_bce",
    }  # fmt: skip
    pairs = {
        line: [REWARD_DATA[kind] for kind in kinds] for line, kinds in ablations().grid("loss").kinds.items()
    }
    for one, other in pairs.values():  # the same data, and the losses in the values' order
        assert one[:2] == other[:2] and (one.loss, other.loss) == ("discriminator_bce", "bradley_terry")
    once, ten = (REWARD_DATA[kind] for kind in ablations().grid("free_samples").kinds["init_sft"])
    assert once._replace(times=10) == ten


def grid(**changes):
    told = {
        "question": "?", "axis": "noise", "varies": "world.preference_noise", "values": [0.0, 0.4],
        "reference": 0.0, "kinds": ["init_sft", "preferences"], "tasks": ["harmless", "helpful"],
    }  # fmt: skip
    return Grid.model_validate(told | changes)


FAULTS = {
    "reference": ({"reference": 0.1}, "the reference 0.1 must be one of the values"),
    "kinds": ({"kinds": ["init_stf"]}, "'init_stf': did you mean 'init_sft'"),
    "a kind a value": ({"kinds": {"init_sft": ["init_sft"]}}, "a reward model for each of"),
    "one value": ({"values": [0.0]}, "at least 2 items"),
    "n that no curve has": ({"varies": "n", "values": [1, 3], "reference": 1}, "curves are kept at n"),
    "unknown field": ({"reads": "?"}, "Extra inputs"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_grid_that_does_not_fit_is_refused(fault):
    changes, message = FAULTS[fault]
    with pytest.raises((ValidationError, SpecError), match=message):
        grid(**changes)


def test_an_unknown_ablation_is_named_with_the_nearest():
    for ask in (ablation_cells, study.effects):
        with pytest.raises(
            SpecError, match="unknown ablation 'preference_nois': did you mean 'preference_noise'"
        ):
            ask("preference_nois")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--what", "ablations", "--only", "temprature"], "'temprature': did you mean 'temperature'"),
        (["--what", "map", "--only", "temperature"], "use it with --what ablations"),
        (["--what", "ablation"], "unknown frozen result 'ablation': did you mean 'ablations'"),
    ],
)
def test_the_command_line_names_what_is_wrong_before_anything_runs(words, message, monkeypatch, tmp_path):
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(sys, "argv", ["afd", "results", *words])
    with pytest.raises(SystemExit) as done:
        main()
    assert message in str(done.value.code) and not (tmp_path / "store").exists()


# what is read from values


def made_up(name):
    """Values of every cell of a grid: Init-SFT at 1, preferences rising by half a point a value."""
    rows, rng = [], np.random.default_rng(0)
    for place, cell in enumerate(ablation_cells(name)):
        worth = {"random": 0.7, "demonstrations": 0.9, "oracle": 2.0, "preferences": 0.7 + 0.2 * place}
        for seed in cell.seeds:
            for method in [*worth, *cell.overrides["reward.kinds"]]:
                value = worth.get(method, 1.0) + 0.01 * rng.normal()
                sizes = (1,) if method == "demonstrations" else SIZES
                rows += [
                    (cell.task, cell.setting, seed, "outcomes", "judge", method, n, value) for n in sizes
                ]
                rows.append(
                    (cell.task, cell.setting, seed, "win_rates", "win_rate_over_pi_sft", method, 16, 0.5)
                )
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS)).drop_duplicates(list(VALUE_COLUMNS)[:-1])


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    for name in GRIDS:
        freeze(
            f"ablations/{name}",
            {"values": wide(made_up(name))},
            profile="cpu",
            seeds=[0, 1, 2],
            step_seconds=9,
        )


@pytest.mark.parametrize("name", GRIDS)
def test_points_hold_every_value_line_and_seed_of_their_grid(name):
    grid, found = ablations().grid(name), points(name, made_up(name))
    lines = len(grid.kinds) + len(BESIDE)
    assert len(found) == len(grid.tasks) * len(grid.values) * lines * len(ablations().seeds)
    assert set(found.loc[found["reference"], "value"]) == {str(grid.reference)}
    assert set(found["method"]) == {*grid.kinds, *BESIDE}


def test_a_point_is_the_judges_mean_of_its_own_cell_reward_model_and_n():
    values = made_up("loss")
    found = points("loss", values).set_index(["method", "value", "seed"])
    one = values[(values["method"] == "init_sft_bt") & (values["n"] == 16) & (values["metric"] == "judge")]
    assert found.loc[("init_sft", "Bradley-Terry", 1), "judge"] == one.set_index("seed").loc[1, "value"]
    assert found.loc[("init_sft", "Bradley-Terry", 1), "kind"] == "init_sft_bt"
    curve = made_up("number_of_responses")
    curve.loc[(curve["n"] == 4) & (curve["method"] == "init_sft"), "value"] = 7.0
    along = points("number_of_responses", curve)
    assert set(along.loc[(along["value"] == "4") & (along["method"] == "init_sft"), "judge"]) == {7.0}


def test_everything_that_the_chapter_shows_is_read_from_frozen_values(elsewhere):
    assert set(study.responses()["grid"]) == set(GRIDS) == set(study.manifests()["grid"])
    assert study.responses("loss")["axis"].eq("loss").all() and len(study.questions()) == len(GRIDS)
    noise = study.effects_in_words("preference_noise")
    assert noise["varied"].eq("share of labels flipped (against 0.0)").all()
    rising = noise[(noise["method"] == "preferences") & (noise["task"] == "harmless")]["effects"].item()
    assert rising.startswith("0.2: +0.") and rising.count(";") == 1 and rising.endswith("*")
    chance, effects = study.chance(), study.effects()
    tested = effects[~effects["method"].isin(BESIDE)]
    assert chance["comparisons"] == len(tested) and chance["clear"] == tested["clear"].sum()
    assert chance["expected_by_chance"] == pytest.approx(0.05 * len(tested))


def test_what_a_demonstration_is_worth_is_told_in_labels_or_in_words(elsewhere):
    worth = study.labels_worth().set_index(["task", "seed"])
    # preferences rise from .7 by .2 a value: 2000 labels make .9, 4000 make 1.1, Init-SFT has 1
    assert 2000 < float(worth.loc[("harmless", "mean"), "labels"]) < 4000
    assert 1 < float(worth.loc[("harmless", "mean"), "labels per demonstration"]) < 2
    # of `helpful` the made-up preferences begin at 1.5
    assert worth.loc[("helpful", "mean"), "labels"] == "fewer than 500"
    assert worth.loc[("helpful", "0"), "labels per demonstration"] == "fewer than 0.25"
    low = made_up("number_of_preferences").assign(
        value=lambda rows: rows["value"].where(rows["method"] != "preferences", 0.0)
    )
    freeze("ablations/number_of_preferences", {"values": wide(low)})
    assert set(study.labels_worth()["labels"]) == {"more than 8000"}


def test_values_of_another_grid_are_refused(elsewhere, tmp_path):
    values = made_up("temperature")
    freeze("ablations/temperature", {"values": wide(values[~values["setting"].str.contains("0.7")])})
    with pytest.raises(StoreError, match=r"temperature = 0\.7.*make results WHAT=ablations ONLY=temperature"):
        study.responses("temperature")
    shutil.rmtree(tmp_path / "ablations" / "loss")
    with pytest.raises(StoreError, match="no frozen results 'ablations/loss'"):
        study.responses("loss")


# one grid computed and frozen by itself


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


SMALL = Ablations(
    setting={"world.n_validation": 400, "world.n_pretraining": 200, "pretraining.steps": 20},
    seeds=(0, 1), n=16, level=0.95,
    grids={
        "noise": grid(tasks=["harmless"]),
        "labels": grid(
            varies="reward.n_preferences", values=[130, 160, 170], reference=160, tasks=["harmless"],
            kinds=["preferences"],
        ),
        "loss": grid(
            varies="kind", values=["one", "other"], reference="one", tasks=["harmless"],
            kinds={"preferences": ["preferences", "preferences_bce"]},
        ),
    },
)  # fmt: skip


@pytest.fixture
def small(monkeypatch, tmp_path, store):
    """The command of the results, with grids of the smoke profile."""
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    monkeypatch.setenv("AFD_STORE", str(store.root))
    for module in (ablation_grids, study, freezing):
        monkeypatch.setattr(module, "ablations", lambda: SMALL)
    monkeypatch.setattr("afd_study.study.frozen.grids.Cell.study.__defaults__", (None, None, "smoke"))
    monkeypatch.setitem(gather.__kwdefaults__, "profile", "smoke")
    return tmp_path / "ablations"


def test_one_grid_is_computed_and_frozen_and_leaves_the_others_alone(small, store):
    freezing.freeze_ablations(jobs=1, only="noise")
    assert [path.name for path in small.iterdir()] == ["noise"]
    before = (small / "noise" / "values.csv").read_bytes()
    assert read_manifest("ablations/noise")["step_seconds"] > 0
    freezing.freeze_ablations(jobs=1, only="loss")
    assert (small / "noise" / "values.csv").read_bytes() == before
    assert set(study.effects("loss")["method"]) == {"preferences"}
    # again, and all at once: the same tables
    freezing.freeze_ablations(jobs=1)
    assert (small / "noise" / "values.csv").read_bytes() == before
    assert {path.name for path in small.iterdir()} == set(SMALL.grids)
    frozen = read_frozen("ablations/labels", "effects")
    assert frozen["value"].tolist() == [130, 170] and np.isfinite(frozen["effect"]).all()
    called_for = {
        json.loads(path.read_text())["settings"]["n"]
        for path in store.root.glob("preferences/*/manifest.json")
        if "n" in json.loads(path.read_text())["settings"]
    }
    assert called_for == {130, 170}


# fewer preferences


def test_a_larger_choice_of_preferences_holds_every_smaller_one(tmp_path):
    rows = [(f"p{i}", draw, f"good {i} {draw}", f"bad {i} {draw}") for i in range(10) for draw in range(3)]
    write_table(
        tmp_path, "preferences", pd.DataFrame(rows, columns=["prompt_id", "draw", "preferred", "rejected"])
    )

    def chosen(n, seed=0):
        out = tmp_path / f"{n}-{seed}"
        out.mkdir()
        context = Context(tmp_path)
        chosen_preferences(out, context, n=n, seed=seed, preferences=tmp_path, tokenizers=tmp_path)
        assert context.cost == {"labels": n}
        found, counts = read_table(out, "preferences"), read_table(out, "demonstrations")
        assert len(found) == n and found[["prompt_id", "draw"]].equals(counts[["prompt_id", "draw"]])
        # numbered afresh: pairs are called for by prompt and draw from 0
        assert (found["draw"] == found.groupby("prompt_id").cumcount()).all()
        assert (
            found["preferred"].str.removeprefix("good") == found["rejected"].str.removeprefix("bad")
        ).all()
        return set(found["preferred"])

    few, many = chosen(7), chosen(20)
    assert few < many and chosen(7, seed=1) != few and len(chosen(30)) == 30
    with pytest.raises(DataError, match="reward.n_preferences=31, but there are 30 preferences"):
        chosen(31)
