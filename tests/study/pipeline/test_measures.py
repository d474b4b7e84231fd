"""The diagnostics of `when` read what discriminators say, two replicates of them at most, and no judge."""

from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec

KINDS = ["init_sft", "init_demo", "sft_demo", "preferences", "init_sft_x10"]


def when_of(overrides=None, task="harmless"):
    return plan(load_spec(task, "smoke", overrides), task=task, seed=0).steps["when"]


def names_of(step):
    scored = {name for name, each in step.inputs.items() if each.name == "scores"}
    return {name for name in scored if not name.endswith("_shown")}, {
        name.removesuffix("_shown") for name in scored if name.endswith("_shown")
    }


def test_it_reads_the_three_discriminators_and_nothing_of_a_judge():
    step = when_of({"reward.kinds": KINDS})
    meant = {"init_sft_x10": "init_sft", "init_demo": "init_demo", "sft_demo": "sft_demo"}
    assert names_of(step) == (set(meant),) * 2, "the one with free samples, where there is one"
    assert step.settings["called"] == meant and set(step.settings["data"]) == set(meant.values())
    assert step.settings["data"]["init_sft"].times == 10
    assert not {"verdicts", "preferences"} & {each.name for each in step.closure().values()}


def test_of_more_replicates_it_reads_the_second_alone():
    step = when_of({"reward.replicates": 4, "reward.kinds": KINDS[:4]})
    samples, demonstrations = names_of(step)
    assert samples == {"init_sft", "init_demo", "sft_demo", "init_sft#1", "init_demo#1"}
    assert demonstrations == {"init_sft", "init_demo", "sft_demo"}
    assert {"init_sft#1", "init_demo#1"} < set(step.settings["called"].values())


def test_a_study_without_a_judge_has_it_too(given):
    assert names_of(when_of(given["own_data"], task="own_data"))[0] == {"init_sft", "init_demo", "sft_demo"}
