"""Plans: steps fit their functions, every setting reaches a key, and no step is keyed by what it ignores."""

import pytest
from settings_leaves import leaves

from afd_study.errors import SpecError
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.methods.reward_pairs import RewardData
from afd_study.study.pipeline.plan import TABLES, plan
from afd_study.study.spec import StudySpec, load_spec, profile_names, task_names
from afd_study.study.workflow import code_version
from afd_study.study.workflow.context import derived_seed
from afd_study.study.workflow.executor import check_signature
from afd_study.study.workflow.step import Step, closure

PLANS = [(profile, task) for profile in profile_names() for task in task_names(profile)]


def steps_of(overrides=None, *, task="harmless", profile="smoke", seed=0):
    return plan(load_spec(task, profile, overrides), task=task, seed=seed).steps


def everything(steps):
    return closure(steps.values())


@pytest.mark.parametrize("profile, task", PLANS)
def test_every_steps_settings_and_inputs_fit_its_function(profile, task, needs):
    for backbone in ("pi_sft", "pi_init", "scratch"):
        if (backbone, profile) == ("scratch", "pretrained"):
            continue  # a frozen body says nothing unless it was trained before
        wanted = needs(profile, task) | {"reward.backbone": backbone}
        steps = steps_of(wanted, task=task, profile=profile)
        for step in everything(steps).values():
            check_signature(step)


def test_a_step_that_does_not_fit_is_noticed():
    """The check above can fail."""
    step = steps_of()["pi_sft"]
    for settings in (
        {**step.settings, "more": 1},
        {k: v for k, v in step.settings.items() if k != "training"},
    ):
        with pytest.raises(TypeError):
            check_signature(Step(step.name, step.function, settings, step.inputs))
    with pytest.raises(TypeError):
        check_signature(Step(step.name, step.function, step.settings, {**step.inputs, "others": step}))


@pytest.mark.parametrize("profile, task", PLANS)
def test_every_table_lies_in_a_step_of_the_plan_or_is_not_to_be_had(profile, task, needs):
    steps = steps_of(needs(profile, task), task=task, profile=profile)
    there = {name for name, (step, _) in TABLES.items() if step in steps}
    two_judges = {"pair_agreement", "pair_differences", "judges", "judges_agree", "judges_share"}
    two_judges |= {name for name in TABLES if name.endswith("_by_judge")} | {"words_judge_accuracy"}
    second = load_spec(task, profile, needs(profile, task)).second_judge
    assert there & two_judges == (two_judges if second else set())
    common = {
        "prompts",
        "demonstrations",
        "held_out_demonstrations",
        "samples",
        "init_samples",
        "cut",
        "when",
    }
    judged = {"scores", "outcomes", "summary", "win_rates", "diagnostics", "discrimination"}
    judged |= {"regression", "rank_correlations", "conditional_auc", "calibration", "calibration_curve"}
    judged |= {"edit_effects", "pessimism"}
    covering = {"demonstrator_thresholds", "coverage", "distinct_good"}
    published = judged | {"report", "left_out", "judge_reading"}
    own = {"judged": judged, "covering": covering, "published": published}
    assert there - {"preferences"} - two_judges == common | _of_task(task, profile, **own)


def _of_task(task, profile, *, judged, covering, published):
    if task == "own_data":
        return {"report", "all_scores"}
    compared = judged | {"report", "judge_accuracy"}
    if profile == "pretrained":
        return compared | ({"left_out"} if task == "helpful" else set())
    if task in ("harmless", "helpful"):
        return published if profile == "paper" else judged | covering | {"components"}
    return compared


def changed(before, after):
    assert set(before) == set(after)
    return {name for name in before if before[name].key != after[name].key}


KINDS = set(load_spec("harmless", "smoke").reward.kinds)
REWARDS = {f"reward_{kind}" for kind in KINDS}
SHOWN = {f"shown_{kind}" for kind in KINDS}
SCORES = {f"scores_{kind}" for kind in KINDS}
COVERING = {"densities_pi_init", "densities_pi_sft", "coverage"}
THRESHOLDS, ENDS = {"demonstrator_thresholds"}, {"outcomes", "probes"}  # the first know no policy
LEARNED = ENDS | {"when"}  # what discriminators have to do with, and preferences have not
POOL, EVERY = {"pool", "init_logprobs", "judged", "edits"} | SCORES | COVERING | LEARNED, set(steps_of())
OF_PI_INIT = EVERY - THRESHOLDS - {"prompts", "shown", "held_out"}
DRAWN = {f"training_{policy}{times}" for policy in ("pi_init", "pi_sft") for times in ("", "_x10")}
SFT = {"shown", "pi_sft", "training_pi_sft", "training_pi_sft_x10"} | POOL | REWARDS | SHOWN


def of(kind):
    """The steps of one reward model: itself, and its scores of samples and of demonstrations."""
    return {f"reward_{kind}", f"scores_{kind}", f"shown_{kind}"}


HEADS = REWARDS | SCORES | SHOWN | LEARNED
FROZEN = {"reward.body": "frozen"}
# setting -> another value, and the steps whose key it may and must change
REACH = {
    "world.heterogeneity": (0.5, {"shown", *of("init_demo"), *of("sft_demo")} | SHOWN | LEARNED),
    "world.preference_noise": (0.1, {"preferences", *of("preferences")} | ENDS),
    "world.preference_scale": (1.0, {"preferences", *of("preferences")} | ENDS),
    "world.absorbed_style": (0.5, SFT | DRAWN | THRESHOLDS | {"held_out", "preferences"}),
    "world.demonstration_quality": (0.6, SFT | DRAWN | THRESHOLDS | {"held_out", "preferences"}),
    "world.n_demonstrations": (170, SFT | DRAWN | {"preferences"}),
    "world.n_pretraining": (410, OF_PI_INIT),
    "world.n_good_answers": (4, EVERY - {"prompts"}),
    "world.variant": (100, EVERY),
    "world.stray": (0.03, EVERY - {"prompts"}),
    "world.max_words": (20, EVERY - {"prompts"}),
    "world.n_test": (13, EVERY),
    "world.n_validation": (41, EVERY),
    "policy.config": ({"n_embd": 16}, OF_PI_INIT),
    "policy.architecture": ("llama", OF_PI_INIT),
    "policy.lora": ({"r": 4}, SFT - {"shown"}),
    "policy.name_or_path": ("gpt2", OF_PI_INIT),
    "policy.dtype": ("bfloat16", OF_PI_INIT),
    "policy.allow_download": (True, OF_PI_INIT),
    "pretraining": ({"steps": 50}, OF_PI_INIT),
    "sft": ({"steps": 30}, SFT - {"shown"}),
    "matched_style": (0.9, SFT - {"shown"}),
    "reward.training": ({"steps": 30}, REWARDS | SCORES | SHOWN | LEARNED),
    "reward.recipes": ({"init_sft": {"training": {"steps": 30}}}, of("init_sft") | ENDS),
    "reward.backbone": ("pi_init", REWARDS | SCORES | SHOWN | LEARNED),
    "reward.lora": ({"r": 4}, REWARDS | SCORES | SHOWN | LEARNED),
    "reward.layer": (1, HEADS | {name for name in steps_of(FROZEN) if name.startswith("states_")}),
    "reward.head": ("network", HEADS),
    "policy.chat": (False, OF_PI_INIT),
    "reward.config": ({"n_embd": 16}, REWARDS | SCORES | SHOWN | LEARNED),
    "reward.n_preferences": (100, of("preferences") | ENDS),
    "sampling.draws": (20, POOL),
    "sampling.n_max": (15, ENDS),
    "sampling.baseline_draws": (5, {"pool_init", "judged"} | SCORES | COVERING | LEARNED),
    "sampling.demonstrations": (3, {"held_out", "judged"} | SHOWN | COVERING | LEARNED),
    "sampling.max_new_tokens": (23, OF_PI_INIT | THRESHOLDS),
    "sampling.max_prompt_tokens": (9, OF_PI_INIT),
}
# what a study of one seed does not depend on; a judge and a vocabulary are fitted to data sets alone
NO_REACH = {
    "n_seeds": 9,
    "threads": 2,
    "settings": {},
    "judge": {"steps": 9},
    "judge_share": 0.3,
    "vocabulary": 300,
    "policies": {"early": {"steps": 3}},  # until a reward model learns from one
    "arms": {"direct": {"steps": 5}},  # until one is named
}


OF_DATA_SETS = {"judge_model", "sampling.stop", "sampling.long_prompts"}  # refused elsewhere; see below
OF_DATA_SETS |= {"demonstrator"}  # test_demonstrator


def test_settings_of_data_sets_reach_what_depends_on_them(given):
    def steps(more):
        return steps_of({**given["hh_rlhf"], "judge": None, **more}, task="hh_rlhf")

    judged = {"judge_model.name_or_path": "a"}
    before, other = steps(judged), steps({"judge_model.name_or_path": "b"})
    assert changed(before, other) == {"published_judge", "outcomes", "probes"}
    stopped = steps({**judged, "sampling.stop": ["Human"]})
    assert {"pool", "pool_init", "training_pi_init", "reward_init_sft"} <= changed(before, stopped)
    short = steps({**judged, "sampling.long_prompts": "leave_out"})
    assert set(short) - set(before) == {"short_prompts"} and short["corpus"].key == before["corpus"].key
    assert all(short[name].key != before[name].key for name in set(before) - {"corpus"})
    longer = steps({**judged, "sampling.long_prompts": "leave_out", "sampling.max_prompt_tokens": 65})
    assert "short_prompts" in changed(short, longer)


NEEDS = {
    "reward.config": {"reward.backbone": "scratch"},  # a body of another size starts from nothing
    **{f"reward.{name}": FROZEN for name in ("layer", "head")},
    "policy.chat": {"policy.name_or_path": "gpt2", "policy.config": {}},
}


@pytest.mark.parametrize("setting", REACH)
def test_a_setting_changes_the_keys_of_what_depends_on_it_and_no_others(setting):
    (value, expected), before = REACH[setting], NEEDS.get(setting, {})
    shape = {"policy.config": {}} if setting == "policy.name_or_path" else {}
    overrides = before | shape | {setting: value}
    assert changed(steps_of(before), steps_of(overrides)) == expected


def test_no_setting_goes_unkeyed():
    """A new setting must say here which steps it reaches."""
    known = set(REACH) | set(NO_REACH) | {"world.name", "reward.kinds", "sampling.temperature"}
    known |= {
        "reward.replicates",
        "reward.body",
        "late_reference",
        "second_judge",
        "pairs_share",
    }  # which add steps: test_rewards, test_policies, test_judges
    known |= OF_DATA_SETS | {"policy.gguf"}  # a folder's name by the time that steps are laid out
    assert set(leaves(StudySpec)) == known


@pytest.mark.parametrize("setting", NO_REACH)
def test_what_a_study_of_one_seed_does_not_depend_on_changes_no_key(setting):
    assert not changed(steps_of(), steps_of({setting: NO_REACH[setting]}))


def test_policies_do_not_know_of_marks():
    """The same policies and pools at every heterogeneity: what differs is what reward models read."""
    low, high = steps_of({"world.heterogeneity": 0.0}), steps_of({"world.heterogeneity": 1.0})
    same = set(low) - changed(low, high)
    assert {"prompts", "pi_init", "pi_sft", "pool", "pool_init", "judged", "preferences", "held_out"} <= same
    assert {"reward_init_sft", "reward_preferences", "reward_init_sft_x10"} <= same
    assert {"reward_init_demo", "reward_sft_demo"} <= changed(low, high)


def test_seeds_share_only_what_is_drawn_by_none():
    first, other = everything(steps_of(seed=0)), everything(steps_of(seed=1))
    assert {first[key].name for key in set(first) & set(other)} == {"tokenizers"}
    assert {step.name for step in first.values()} == {step.name for step in other.values()}


def test_every_step_that_draws_has_the_studys_seed():
    for step in everything(steps_of(seed=7)).values():
        assert step.settings.get("seed", 7) == 7, step.name
    seedless = {step.name for step in everything(steps_of()).values() if "seed" not in step.settings}
    assert seedless == {"tokenizers", "logprobs", "verdicts", "scores", "densities", "edit_scores"}


def test_a_kind_of_reward_model_does_not_change_the_others():
    few = steps_of({"reward.kinds": ["init_sft", "init_demo"]})
    many = steps_of({"reward.kinds": ["init_demo", "init_sft", "sft_demo", "preferences"]})
    for name in ("reward_init_sft", "reward_init_demo", "scores_init_sft", "pool", "training_pi_sft"):
        assert few[name].key == many[name].key
    assert "preferences" not in few and "reward_sft_demo" not in few


def test_a_data_set_is_keyed_by_what_it_holds_and_not_by_where_it_lies(given, tmp_path):
    import shutil

    source = given["hh_rlhf"]["world.folder"]
    first = steps_of(given["hh_rlhf"], task="hh_rlhf")
    shutil.copytree(source, tmp_path / "copy")
    moved = steps_of({"world.folder": str(tmp_path / "copy")}, task="hh_rlhf")
    assert not changed(first, moved)
    with (tmp_path / "copy" / "harmless-base" / "train.jsonl").open("a") as file:
        file.write("\n")
    assert changed(first, steps_of({"world.folder": str(tmp_path / "copy")}, task="hh_rlhf")) >= {
        "corpus",
        "pi_init",
    }
    for setting, value in (
        ("judge_share", 0.4),
        ("vocabulary", 300),
        ("judge.steps", 20),
        ("world.test", 0.3),
    ):
        found = changed(first, steps_of({**given["hh_rlhf"], setting: value}, task="hh_rlhf"))
        assert "outcomes" in found and ("pi_init" in found) == (setting != "judge.steps")


def test_the_judge_of_a_data_set_shares_no_text_with_the_policies(given):
    steps = steps_of(given["hh_rlhf"], task="hh_rlhf")
    judge, policy = steps["judge"].closure(), steps["pi_sft"].closure()
    parts = {
        name: {step.settings["part"] for step in closure.values() if "part" in step.settings}
        for name, closure in (("judge", judge), ("policy", policy))
    }
    # all read one byte vocabulary, made of the policy's part
    assert parts == {"judge": {"judge", "policy"}, "policy": {"policy"}}
    body = steps["judge"].inputs["policy"]
    assert body.name == "pi_init" and body.inputs["texts"].settings["part"] == "judge"
    assert steps["pi_init"].inputs["texts"].settings["part"] == "policy"


def test_uses_of_a_seed_have_seeds_of_their_own():
    uses = [("init",), ("sft",), ("pi_sft", "test"), ("pi_sft", "training"), ("pi_init", "test")]
    found = {derived_seed(seed, *use) for seed in range(50) for use in uses}
    assert len(found) == 250 and all(0 <= seed < 2**31 for seed in found)
    assert derived_seed(3, "a", "b") == derived_seed(3, "a", "b") != derived_seed(3, "a")


def test_covering_is_measured_at_temperature_one_alone():
    before, after = steps_of(), steps_of({"sampling.temperature": 0.9})
    assert (
        set(before) - set(after) == COVERING | THRESHOLDS
    )  # the samples are of another law than the recorded one
    outdated = {name for name in after if after[name].key != before[name].key}
    # what is learned from is drawn at temperature 1: policies and reward models stay
    assert outdated == (POOL | {"pool_init"}) - COVERING


def test_a_pool_is_drawn_at_the_temperature_asked_for_and_what_is_learned_from_at_one():
    steps = steps_of({"sampling.temperature": 0.9})
    assert {steps[name].settings["sampling"].temperature for name in ("pool", "pool_init")} == {0.9}
    drawn = [step for step in everything(steps).values() if step.settings.get("purpose") == "training"]
    assert drawn and {step.settings["sampling"].temperature for step in drawn} == {1.0}


# variants of a world


def test_priors_are_in_the_keys_of_variants_and_of_no_other_world(monkeypatch):
    loads = {each for step in everything(steps_of()).values() for each in step.loads}
    assert loads == {"afd_study.worlds.harmless:World"}
    before, variant = steps_of(), steps_of({"world.variant": 100})
    old = {name: (before[name].key, variant[name].key) for name in ("prompts", "held_out", "preferences")}
    real = code_version._module_hash
    monkeypatch.setattr(
        code_version,
        "_module_hash",
        lambda name: "new" if name == "afd_study.worlds.variants" else real(name),
    )
    code_version.code_version.cache_clear()
    after, changed_variant = steps_of(), steps_of({"world.variant": 100})
    for name, (key, variant_key) in old.items():
        assert after[name].key == key and changed_variant[name].key != variant_key
    code_version.code_version.cache_clear()


# fewer and more preferences


def test_as_many_preferences_as_demonstrations_are_the_usual_ones():
    usual, named = steps_of(), steps_of({"reward.n_preferences": 160})
    assert not changed(usual, named)


def test_of_a_data_set_as_many_labels_are_chosen_as_are_asked_for(given):
    whole = steps_of(given["hh_rlhf"], task="hh_rlhf")
    fewer = steps_of({**given["hh_rlhf"], "reward.n_preferences": 20}, task="hh_rlhf")
    assert changed(whole, fewer) == of("preferences") | ENDS
    chosen = fewer["reward_preferences"].inputs["preferences"]
    assert chosen.settings["n"] == 20 and chosen.inputs["preferences"] is fewer["preferences"]


def test_fewer_preferences_are_chosen_and_more_are_labelled():
    usual = steps_of()["preferences"]
    fewer, more = (steps_of({"reward.n_preferences": n})["reward_preferences"].inputs for n in (100, 161))
    for inputs, n in ((fewer, 100), (more, 161)):
        assert inputs["preferences"].settings["n"] == n
        assert inputs["demonstrations"] is inputs["preferences"]  # which set the number of pairs
    assert fewer["preferences"].inputs["preferences"].key == usual.key
    labelled = more["preferences"].inputs["preferences"]
    assert (
        labelled.inputs["pi_init"].settings["draws"] == 4 and usual.inputs["pi_init"].settings["draws"] == 2
    )


# a user's own choice of data


def test_samples_of_an_earlier_step_of_sft_can_be_a_source(monkeypatch):
    before = steps_of()
    monkeypatch.setitem(REWARD_DATA, "early_late", RewardData(high="pi_sft", low="pi_sft_early"))
    kinds = ["early_late", *KINDS]
    steps = steps_of({"policies": {"pi_sft_early": {"steps": 10}}, "reward.kinds": kinds})
    assert (
        steps["pi_sft_early"].settings["training"].steps == 10 != steps["pi_sft"].settings["training"].steps
    )
    inputs = steps["reward_early_late"].inputs
    for name in ("pi_sft", "pi_sft_early"):
        assert inputs[name] is steps[f"training_{name}"]
    assert not {name for name in REWARDS if steps[name].key != before[name].key}  # nobody else's is outdated


def test_a_reward_model_does_not_depend_on_which_others_are_trained():
    every, alone = steps_of(), steps_of({"reward.kinds": ["init_sft"]})
    assert alone["reward_init_sft"].key == every["reward_init_sft"].key
    assert every["reward_init_sft_x10"].inputs["pi_sft"] is every["training_pi_sft_x10"]
    assert every["training_pi_sft_x10"].settings["draws"] == 10 and "training_pi_sft_x10" not in alone


def test_a_source_or_setting_that_there_is_not_is_named(monkeypatch):
    monkeypatch.setitem(REWARD_DATA, "early_late", RewardData(high="pi_sft", low="pi_sft_erly"))
    asked = {"policies": {"pi_sft_early": {"steps": 10}}, "reward.kinds": ["early_late"]}
    with pytest.raises(SpecError, match="'pi_sft_erly': did you mean 'pi_sft_early'"):
        load_spec("harmless", "smoke", asked)
    with pytest.raises(SpecError, match="setting of policy early 'stps': did you mean 'steps'"):
        load_spec("harmless", "smoke", {"policies": {"early": {"stps": 10}}})
    with pytest.raises(SpecError, match="matched_style needs a world with a judge"):
        load_spec("own_data", "smoke", {"matched_style": 0.5, "world.demonstrations": "my.csv"})
