"""STEPS: one table that says what each step is, and everything that it says is so."""

from importlib import import_module
from pathlib import Path

import pytest

from afd_study.errors import SpecError
from afd_study.methods.arms import ARMS
from afd_study.records import TABLES
from afd_study.study.pipeline.plan import TABLES as OF_A_STUDY, plan
from afd_study.study.pipeline.systems import ModelPlace, systems_by
from afd_study.study.spec import load_spec, profile_names, task_names
from afd_study.study.steps import STEPS, step
from afd_study.study.study import open_study
from afd_study.study.workflow.step import closure
from afd_study.study.workflow.store import Store

WORK = {"none", "training", "drawing", "scoring", "logprobs", "judging", "unknown"}


def test_a_name_outside_the_table_is_refused_with_the_nearest():
    with pytest.raises(SpecError, match="unknown step 'sampels': did you mean 'samples'"):
        step("sampels", {})


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_a_function_of_its_name_and_its_tables_have_columns(name):
    module, function = STEPS[name].function.split(":")
    assert function == name and callable(getattr(import_module(f"afd_study.study.steps.{module}"), name))
    assert set(STEPS[name].tables) <= set(TABLES) and STEPS[name].work in WORK


def test_every_table_of_a_study_is_one_that_its_step_makes(needs):
    for profile in profile_names():
        for task in task_names(profile):
            steps = plan(load_spec(task, profile, needs(profile, task)), task=task, seed=0).steps
            for role, table in OF_A_STUDY.values():
                assert role not in steps or table in STEPS[steps[role].name].tables


def test_every_step_of_the_table_is_in_some_plan(given):
    changes = {"matched_style": 0.9, "arms.names": list(ARMS), "reward.n_preferences": 100}
    plans = [("harmless", "smoke", changes), ("hh_rlhf", "smoke", given["hh_rlhf"])]
    published = {"judge": None, "judge_model.name_or_path": "a", "sampling.long_prompts": "leave_out"}
    plans.append(("hh_rlhf", "smoke", {**given["hh_rlhf"], **published}))
    plans.append(("own_data", "smoke", {**given["own_data"], "late_reference": True}))
    frozen = {"reward.body": "frozen", "second_judge": True}
    plans.append(("hh_rlhf", "smoke", {**given["hh_rlhf"], **frozen}))
    plans.append(("alpaca_eval", "smoke", given["alpaca_eval"]))
    plans.append(("own_data", "smoke", {**given["own_data"], "demonstrator.temperature": 0.5}))
    names = set()
    for task, profile, overrides in plans:
        steps = plan(load_spec(task, profile, overrides), task=task, seed=0).steps
        names |= {each.name for each in closure(steps.values()).values()}
    real = systems_by("", model=ModelPlace("", Path("model"))).all()
    names |= {each.name for each in closure(real).values()}
    assert names == set(STEPS)


def test_every_step_writes_the_tables_that_it_is_said_to(tmp_path):
    store = Store(tmp_path)
    study = open_study(
        "harmless", "smoke", 0, 1, overrides={"arms.names": ["spin_1"]}, store=store, quiet=True
    )
    study.run()
    for each in closure(study.steps()).values():
        written = {path.stem for path in store.folder(each).glob("*.parquet")}
        assert written == set(STEPS[each.name].tables), each.name


def test_a_world_that_a_step_opens_is_part_of_its_key_and_no_other_world_is(monkeypatch):
    from afd_study.study.workflow import step as steps

    def keys(changed):
        version = steps.code_version
        monkeypatch.setattr(steps, "code_version", lambda name: "new" if changed in name else version(name))
        named = plan(load_spec("harmless", "smoke"), task="harmless", seed=0).steps
        found = {role: each.key for role, each in named.items()}
        monkeypatch.undo()
        return found

    before, own, other = keys("no such module"), keys("worlds.harmless:"), keys("worlds.helpful:")
    assert before == other  # a new world has nothing computed again
    assert before["prompts"] != own["prompts"] and before["judged"] != own["judged"]
