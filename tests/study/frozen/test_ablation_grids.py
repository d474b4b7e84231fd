"""Grids of ablations: valid studies whose values reach the steps that they should; refusals of others."""

import sys

import pytest
from pydantic import ValidationError

from afd_study.errors import SpecError
from afd_study.evaluation.claims import load_ledger
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.__main__ import main
from afd_study.study.chapters.ablations import effects
from afd_study.study.frozen.ablation_grids import NO_SETTING, Grid, ablation_cells, ablations
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec

GRIDS = list(ablations().grids)
# The first steps that a value of the grid computes anew: all else is the reference's, or follows from these.
FIRST = {
    "number_of_demonstrations": {"demonstrations"},
    "quality_of_demonstrations": {"demonstrations", "held_out_demonstrations"},
    "number_of_preferences": {"chosen_preferences", "samples"},  # fewer, or more pairs to draw
    "preference_noise": {"judged_preferences"},
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
            heads = [s for s in new.values() if not any(each.key in new for each in s.inputs.values())]
            assert bool(heads) == (grid.varies not in NO_SETTING), (name, value)
            first |= {step.name for step in heads}
            if name == "temperature":  # only the pools: reward models and what they learn from stay
                assert {step.settings["purpose"] for step in heads} == {"test"}
                assert "reward_model" not in {step.name for step in new.values()}
        assert first == FIRST[name]


@pytest.mark.parametrize("name", GRIDS)
def test_the_usual_cell_is_the_profiles_own_at_every_reference(name):
    """Grids share it: a reference that names the usual value must not be computed again."""
    grid = ablations().grid(name)
    if grid.varies in NO_SETTING:
        return
    base = {**ablations().setting, **grid.common, "reward.kinds": list(grid.models)}
    named = closure("harmless", base | {grid.varies: grid.reference})
    assert set(named) == set(closure("harmless", base))


def test_cells_that_vary_nothing_are_one_and_hold_every_reward_model_of_the_grid():
    [cell] = ablation_cells("loss")
    assert cell.setting == "usual" and set(cell.overrides) == {"world.heterogeneity", "reward.kinds"}
    kinds = {"init_sft", "init_sft_bt", "preferences", "preferences_bce"}
    assert set(cell.overrides["reward.kinds"]) == kinds
    for line in ablations().grid("loss").kinds.values():  # the same data, and the losses in the values' order
        one, other = (REWARD_DATA[kind] for kind in line)
        assert one[:2] == other[:2] and (one.loss, other.loss) == ("discriminator_bce", "bradley_terry")
    once, ten = (REWARD_DATA[kind] for kind in ablations().grid("free_samples").kinds["init_sft"])
    assert once._replace(times=10) == ten


SOUND = {
    "question": "?",
    "axis": "noise",
    "varies": "world.preference_noise",
    "values": [0.0, 0.4],
    "reference": 0.0,
    "kinds": ["init_sft", "preferences"],
    "tasks": ["harmless", "helpful"],
}
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
    assert Grid.model_validate(SOUND)
    with pytest.raises((ValidationError, SpecError), match=message):
        Grid.model_validate(SOUND | changes)


@pytest.mark.parametrize("ask", [ablation_cells, effects])
def test_an_unknown_ablation_is_named_with_the_nearest(ask):
    with pytest.raises(SpecError, match="ablation 'preference_nois': did you mean 'preference_noise'"):
        ask("preference_nois")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--what", "ablations", "--only", "temprature"], "'temprature': did you mean 'temperature'"),
        (["--what", "map", "--only", "temperature"], "use it with --what ablations"),
        (["--what", "ablation"], "unknown frozen result 'ablation': did you mean 'ablations'"),
    ],
)
def test_the_command_line_names_what_is_wrong_before_anything_runs(
    words, message, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(sys, "argv", ["afd", "results", *words])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
