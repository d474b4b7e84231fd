"""Settings: profiles are valid, single values can be replaced, and what is wrong is named."""

import re

import pytest
import yaml

from afd_study.errors import SpecError
from afd_study.study.spec import StudySpec, load_spec, profile_names, task_names
from afd_study.study.study import open_settings, open_study


def test_profiles_are_those_of_the_package_and_have_tasks():
    assert {"smoke", "cpu", "gpu", "paper", "pretrained"} == set(profile_names())
    for profile in profile_names():
        assert "harmless" in task_names(profile)


@pytest.mark.parametrize("profile, task", [(p, t) for p in profile_names() for t in task_names(p)])
def test_every_task_of_every_profile_is_valid_in_every_setting(profile, task, needs):
    systems = profile == "pretrained" and task == "helpful"
    on_dialogues = profile == "paper" or (profile == "pretrained" and task == "harmless")
    world, given = "alpaca_eval" if systems else "hh_rlhf" if on_dialogues else task, needs(profile, task)
    spec = load_spec(task, profile, given)
    assert isinstance(spec, StudySpec) and spec.world.name == world
    for values in spec.settings.values():
        assert load_spec(task, profile, {**given, **values}) != spec or values in spec.settings.values()
    studies = open_settings(task, profile, overrides=given)
    assert list(studies) == list(spec.settings or {"as given": {}})
    if spec.policy.name_or_path is not None:
        return
    # a response of the horizon and any prompt fit the context of a policy from scratch
    most = spec.policy.config["n_positions"]
    assert spec.sampling.max_new_tokens + (spec.sampling.max_prompt_tokens or 20) <= most


def test_single_values_are_replaced_and_text_is_read_as_yaml():
    spec = load_spec(
        "harmless",
        "smoke",
        {
            "world.heterogeneity": "0.5",
            "sft.steps": 7,
            "reward.kinds": "[init_sft, preferences]",
            "sft.patience": "null",
            "reward.lora.r": "4",
            "policy.config.n_embd": "16",
            "n_seeds": "1",
        },
    )
    assert spec.world.heterogeneity == 0.5 and spec.sft.steps == 7 and spec.sft.patience is None
    assert spec.reward.kinds == ("init_sft", "preferences") and spec.reward.lora.r == 4
    assert spec.policy.config["n_embd"] == 16 and spec.n_seeds == 1


def test_a_variant_is_a_number_or_none():
    variants = {
        text: load_spec("helpful", "smoke", {"world.variant": text}).world.variant for text in ("7", "null")
    }
    assert variants == {"7": 7, "null": None} and load_spec("helpful", "smoke").world.variant is None


def test_replacing_a_value_leaves_the_profile_alone():
    before = load_spec("harmless", "smoke")
    load_spec("harmless", "smoke", {"sft.steps": 7, "policy.config.n_embd": 8})
    assert load_spec("harmless", "smoke") == before


def test_specs_do_not_change():
    spec = load_spec("harmless", "smoke")
    with pytest.raises(ValueError, match="frozen"):
        spec.sft.steps = 3
    with pytest.raises(ValueError, match="frozen"):
        spec.world.heterogeneity = 0.3


FAULTS = {
    "unknown task": (("harmles", "smoke", {}), "unknown task 'harmles': did you mean 'harmless'"),
    "unknown profile": (("harmless", "smok", {}), "unknown profile 'smok': did you mean 'smoke'"),
    "unknown knob": ({"world.heterogenity": 1}, "'world.heterogenity': did you mean 'world.heterogeneity'"),
    "unknown setting": ({"sft.stepz": 1}, "'sft.stepz': did you mean 'sft.steps'"),
    "unknown setting deep down": ({"reward.training.stepz": 1}, "did you mean 'reward.training.steps'"),
    "unknown part": ({"rewards.steps": 1}, "'rewards': did you mean 'reward'"),
    "unknown top": ({"n_seed": 1}, "unknown setting 'n_seed': did you mean 'n_seeds'"),
    "unknown adapter": ({"policy.lora.rank": 1}, "unknown setting 'policy.lora.rank'"),
    "unknown reward model": ({"reward.kinds": ["init_stf"]}, "'init_stf': did you mean 'init_sft'"),
    "no reward model": ({"reward.kinds": []}, "setting 'reward.kinds' = .*at least 1 item"),
    "unknown backbone": ({"reward.backbone": "pi_stf"}, "'pi_stf': did you mean 'pi_sft'"),
    "unknown world": (
        {"world.name": "harmles"},
        "harmles.*'harmless', 'helpful', 'hh_rlhf', 'own_data', 'alpaca_eval'",
    ),
    "wrong type": ({"sft.steps": "many"}, "setting 'sft.steps' = 'many': .*integer"),
    "a fraction": ({"sft.steps": 1.5}, "setting 'sft.steps' = 1.5"),
    "out of range": ({"world.stray": 1.5}, "setting 'world.stray' = 1.5: .*less than 1"),
    "negative": ({"sft.learning_rate": -1}, "setting 'sft.learning_rate' = -1: .*greater than 0"),
    "below a value": ({"sft.steps.more": 1}, "'steps' is a single value and has no parts"),
    "no YAML": ({"sft.steps": "[1"}, r"setting 'sft.steps': '\[1' is neither a number"),
    "pool too small": ({"sampling.draws": 16}, "draws=16 must exceed n_max=16"),
    "checkpoints off": ({"sft.checkpoint_every": 15}, "multiple of evaluate_every"),
    "no such wording": ({"world.n_good_answers": 5}, "no choice of wordings gives 5; possible: 1, 2, 4"),
    "no such variant": (
        {"world.variant": 30},
        r"'harmless' has no variant 30: there are 0 to 23 \(judging\)",
    ),
    "half a variant": ({"world.variant": 1.5}, "setting 'world.variant' = 1.5: .*integer"),
    "a variant's wordings": (
        {"world.variant": 100, "world.n_good_answers": 4},
        "a variant draws its own wordings: leave n_good_answers at 12",
    ),
    "ends that are made up": (
        {"world.variant": 101, "world.max_words": 20},
        "variant 101 does not end, but cut at world.max_words=20 it would seem to: set it to",
    ),
    "config of a body that is there": ({"reward.config": {"n_embd": 8}}, "reward.backbone is 'pi_sft'"),
    "arms beside a sharper pool": (
        {"arms.names": ["spin"], "sampling.temperature": 0.5},
        "arms are drawn at temperature 1",
    ),
    "a schedule of no arm": (
        {"arms.schedules": {"spin_l": {"steps": 5}}},
        "unknown arm that is trained 'spin_l': did you mean 'spin_1'",
    ),
    "a schedule of what is not trained": (
        {"arms.schedules": {"extrapolation_2": {"steps": 5}}},
        "unknown arm that is trained 'extrapolation_2'",
    ),
    "a schedule's unknown setting": (
        {"arms.schedules": {"adversarial_js": {"policy": {"learning_rat": 0.1}}}},
        "unknown setting of the schedule of adversarial_js 'learning_rat': did you mean 'learning_rate'",
    ),
    "a schedule out of range": (
        {"arms.schedules": {"adversarial_js": {"policy": {"draws": 1}}}},
        "arms.schedules.adversarial_js.policy.draws: .*greater than or equal to 2",
    ),
    "a schedule of two lengths": (
        {"arms.schedules": {"spin_1": {"data_epochs": 1.0}}},
        "arms.schedules.spin_1: .*either steps or data_epochs, and not both",
    ),
    "no preferences": ({"reward.n_preferences": 0}, "'reward.n_preferences' = 0: .*greater than or equal"),
    "two lengths": ({"sft.data_epochs": 2}, "'sft' = .*either steps or data_epochs, and not both"),
    "no length": ({"sft": {"batch_size": 8}}, "either steps or data_epochs, and not both"),
    "no bound": ({"sampling.long_prompts": "leave_out"}, "long_prompts=leave_out needs max_prompt_tokens"),
    "an empty stop": ({"sampling.stop": [""]}, "stop holds an empty text"),
    "a stop where no dialogues are": ({"sampling.stop": ["Human"]}, "stop and long_prompts are of dialogues"),
    "a second judge": ({"judge_model.name_or_path": "gpt2"}, "judge_model is for a data set"),
    "name and config": (
        {"policy.name_or_path": "gpt2", "policy.config": {"n_embd": 8}},
        "not both",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named_with_what_was_meant(fault):
    arguments, message = FAULTS[fault]
    arguments = arguments if isinstance(arguments, tuple) else ("harmless", "smoke", arguments)
    with pytest.raises(SpecError, match=message) as found:
        load_spec(*arguments)
    if "unknown" not in str(found.value)[:8] and fault not in ("below a value", "no YAML"):
        assert "task 'harmless' of profile 'smoke'" in str(found.value)


def test_several_faults_are_all_named():
    with pytest.raises(SpecError) as found:
        load_spec("harmless", "smoke", {"sft.steps": 0, "world.stray": 2, "nseeds": 1})
    for word in ("sft.steps", "world.stray", "nseeds"):
        assert word in str(found.value)


def test_a_study_opens_without_computing(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    study = open_study("harmless", "smoke", 4, overrides={"sft.steps": 3})
    assert study.seeds == (4, 5) and study.spec.sft.steps == 3 and study.jobs == 1
    assert open_study("harmless", "smoke", 4, 1).seeds == (4,)
    assert not (tmp_path / "store").exists()
    for seed, count in ((-1, 1), (0, 0)):
        with pytest.raises(SpecError, match="must be 0 or more"):
            open_study("harmless", "smoke", seed, count)


def test_tables_that_there_are_none_of_are_named(tmp_path, monkeypatch, given):
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    study = open_study("harmless", "smoke")
    with pytest.raises(SpecError, match="unknown table 'outcome': did you mean 'outcomes'"):
        study.table("outcome")
    with pytest.raises(SpecError, match="this study has no table 'judge_accuracy'"):
        study.table("judge_accuracy")
    with pytest.raises(SpecError, match="unknown table or step 'pi_stf': did you mean 'pi_sft'"):
        study.folder("pi_stf")
    own = open_study("own_data", "smoke", overrides=given["own_data"])
    assert study.has("outcomes") and not own.has("outcomes") and own.has("report")
    with pytest.raises(SpecError, match="a judge needs preferences"):
        own.table("outcomes")
    assert not (tmp_path / "store").exists()


def test_settings_of_a_study_keep_what_was_overridden(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_STORE", str(tmp_path))
    studies = open_settings("harmless", "smoke", overrides={"sft.steps": 3})
    assert [study.spec.world.heterogeneity for study in studies.values()] == [0.0, 1.0]
    assert all(study.spec.sft.steps == 3 for study in studies.values())
    # a value given by the reader wins over the setting's own
    studies = open_settings("harmless", "smoke", overrides={"world.heterogeneity": 0.3})
    assert [study.spec.world.heterogeneity for study in studies.values()] == [0.3, 0.3]


def test_profiles_are_plain_data():
    from importlib.resources import files

    for name in profile_names():
        text = files("afd_study.study").joinpath("profiles", f"{name}.yaml").read_text()
        assert {"tasks"} <= set(yaml.safe_load(text)) <= {"tasks", "controlled"}


def test_every_value_of_the_paper_profile_says_where_it_is_from(root):
    lines = (root / "afd_study/study/profiles/paper.yaml").read_text(encoding="utf-8").splitlines()
    for line in lines:
        code, _, comment = line.partition("#")
        if code.strip() and not code.rstrip().endswith(":") and "<<" not in code and "tasks" not in code:
            assert re.search("paper|code|ours|above", comment) or "&" in code, line


def test_a_policy_that_is_named_brings_its_own_shape_and_is_not_pretrained_again():
    spec = load_spec("harmless", "smoke", {"policy.name_or_path": "gpt2"})
    assert spec.policy.config == {} and spec.pretraining is None
    longer = {"policy.name_or_path": "gpt2", "pretraining": {"steps": 5}}
    assert load_spec("harmless", "smoke", longer).pretraining.steps == 5
