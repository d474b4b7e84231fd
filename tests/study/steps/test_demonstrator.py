"""A model that demonstrates, in small studies: its law, its cut answers, and what is measured by them."""

import gguf_models
import numpy as np
import pandas as pd
import pytest
import torch

from afd_study.errors import DataError, SpecError
from afd_study.models.gguf_files import convert
from afd_study.models.policy import load_policy
from afd_study.models.tokenizers import load_tokenizer
from afd_study.study import open_study
from afd_study.study.forecast.sizes import study_sizes
from afd_study.study.forecast.step_work import forecast
from afd_study.study.steps import STEPS
from afd_study.study.steps.demonstrator import move_from
from afd_study.study.workflow.step import closure
from afd_study.study.workflow.store import Store
from afd_study.study.workflow.tables import read_table

OVERRIDES = {
    "demonstrator.training": {"steps": 20, "batch_size": 8, "learning_rate": 1e-2, "evaluate_every": 10,
                              "checkpoint_every": 10},
    "reward.kinds": ["init_sft", "init_demo"],
    "sampling.demonstrations": 12,
    "sampling.max_new_tokens": 5,  # which most answers have, and some would exceed
}  # fmt: skip
LAWS = ["logprob_demo", "logprob_pi_init", "logprob_pi_sft"]


@pytest.fixture(scope="module")
def opened(given, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("demonstrator"))

    def study(overrides, in_store=store):
        own = {**given["own_data"], **overrides}
        return open_study("own_data", "smoke", 0, 1, overrides=own, store=in_store, quiet=True)

    return study


@pytest.fixture(scope="module")
def study(opened):
    whole = opened(OVERRIDES)
    whole.run()
    return whole


def test_the_whole_study_runs_and_writes_the_tables_that_it_is_said_to(study):
    for each in closure(study.steps()).values():
        written = {path.stem for path in study.store.folder(each).glob("*.parquet")}
        assert written == set(STEPS[each.name].tables), each.name
    assert "demonstrator" in set(study.evaluations()["model"])
    assert study.table("when")["auc_init_demo"].notna().all()


def test_cut_answers_keep_their_ids_and_get_no_end_mark(study):
    steps = study.plans()[0].steps
    end = load_tokenizer(study.store.folder(steps["pi_init"].inputs["tokenizers"]) / "policy").eos_token_id
    names = ("demonstrations", "held_out_demonstrations")
    ids = pd.concat([study.table(name)["token_ids"] for name in names])
    cut = ids.map(lambda each: each[-1] != end)
    assert cut.any() and not cut.all() and (ids[cut].map(len) == 5).all() and (ids.map(len) <= 5).all()
    own = study.table("densities").query("source == 'demonstrations'").set_index(["prompt_id", "draw"])
    drawn = read_table(study.store.folder(steps["demonstrator_test"]), "samples")
    recorded = drawn.set_index(["prompt_id", "draw"])["logprob"]
    assert own["logprob_demo"].loc[recorded.index].to_numpy() == pytest.approx(recorded.to_numpy(), abs=1e-3)


def test_all_texts_have_all_three_densities_and_a_samples_own_is_its_policys(study):
    table = study.table("densities")
    assert set(table["source"]) == {"pi_init", "pi_sft", "demonstrations"}
    assert np.isfinite(table[LAWS]).all().all()
    for source, role in (("pi_init", "pool_init"), ("pi_sft", "pool")):
        samples = read_table(study.store.folder(study.plans()[0].steps[role]), "samples")
        both = samples.merge(table, on=["prompt_id", "source", "draw"], suffixes=("_drawn", ""))
        assert len(both) == len(samples)
        assert both[f"logprob_{source}"].to_numpy() == pytest.approx(both["logprob_drawn"], abs=1e-3)
        assert (both["logprob"] == both[f"logprob_{source}"]).all()


def test_exact_logits_are_scores_of_all_rules_and_tell_sources_apart(study):
    scores, laws = study.table("all_scores"), study.table("densities")
    exact = scores[scores["scorer"] == "exact_logit"].merge(laws, on=["prompt_id", "source", "draw"])
    assert len(exact) == len(laws)
    assert (exact["reward"] == exact["logprob_demo"] - exact["logprob_pi_init"]).all()
    aucs = study.table("exact_discrimination").set_index("scorer")
    assert aucs.loc["exact_logit", "auc"] > aucs.loc["exact_logit_sft", "auc_low"] > 0.4
    assert aucs.loc["exact_logit", "auc"] > 0.6, "it learned something that pi_init does not say"


def test_coverage_is_measured_of_both_policies_and_of_best_of_n_by_every_rule(study):
    table = study.table("model_coverage")
    rules = set(table.loc[table["n"] > 1, "method"])
    assert {"init_sft", "init_demo", "exact_logit", "exact_logit_sft", "closed_form", "longest"} <= rules
    assert set(table.loc[table["n"] == 1, "policy"]) == {"pi_init", "pi_sft"}
    means = study.table("model_coverage_summary").set_index(["method", "judge"])
    kls = means.loc[[("pi_init", "forward_kl"), ("pi_init", "reverse_kl")], ["low", "mean", "high"]]
    assert (kls["low"] <= kls["mean"]).all() and (kls["mean"] <= kls["high"]).all() and (kls > 0).all().all()
    exact = means.loc[("exact_logit_sft", "reverse_kl"), "mean"]
    assert exact < means.loc[("longest", "reverse_kl"), "mean"], "picking by the exact ratio goes to demo"
    assert (study.table("model_thresholds")["n"] == 12).all()


def test_the_same_settings_give_the_same_bits(study, opened, tmp_path):
    again = opened(OVERRIDES, Store(tmp_path))
    for name in ("demonstrations", "held_out_demonstrations"):
        first, second = study.table(name), again.table(name)
        assert first["text"].tolist() == second["text"].tolist()
    weights = [each.folder("demonstrator") / "model.safetensors" for each in (study, again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_pi_init_itself_is_at_no_distance_and_cannot_be_told(opened):
    """The same laws by the same passes: nought to the last bit."""
    same = opened({**OVERRIDES, "demonstrator": {}, "demonstrator.training": None})
    laws = same.table("densities")
    assert (laws["logprob_demo"] == laws["logprob_pi_init"]).all()
    means = same.table("model_coverage_summary").set_index(["method", "judge"])["mean"]
    assert means["pi_init", "forward_kl"] == means["pi_init", "reverse_kl"] == 0
    assert means["pi_init", "coverage"] == 1
    assert same.table("exact_discrimination").set_index("scorer").loc["exact_logit", "auc"] == 0.5


def test_strength_moves_weights_along_the_line(study):
    start, trained = (load_policy(study.folder(name)) for name in ("pi_init", "demonstrator"))
    half, twice = (load_policy(study.folder("demonstrator")) for _ in range(2))
    move_from(start, half, strength=0.5)
    move_from(start, twice, strength=2.0)
    for a, b, c, d in zip(*(each.parameters() for each in (start, half, trained, twice)), strict=True):
        torch.testing.assert_close(b - a, (c - a) / 2)
        torch.testing.assert_close(d - a, (c - a) * 2)


def test_more_strength_and_less_temperature_are_told_more_easily(study, opened):
    """Each grades the demonstrator, whose law is exact at any setting."""
    aucs = [
        each.table("exact_discrimination").set_index("scorer").loc["exact_logit", "auc"]
        for each in (
            opened({**OVERRIDES, "demonstrator.strength": 0.3}),
            study,
            opened({**OVERRIDES, "demonstrator.temperature": 0.3}),
        )
    ]
    assert 0.5 < aucs[0] < aucs[1] < aucs[2]


@pytest.fixture(scope="module")
def llamas(tmp_path_factory):
    """Folders of two tiny random Llamas with one tokenizer."""
    place = tmp_path_factory.mktemp("llamas")
    for seed in (0, 1):
        convert(gguf_models.write(gguf_models.llama(seed), place / f"{seed}.gguf"), place / str(seed))
    return [str(place / str(seed)) for seed in (0, 1)]


def test_another_model_demonstrates_to_frozen_bodies_and_a_judge(given, llamas, tmp_path):
    """A Llama that is not pi_init, as it is, at a temperature: with frozen bodies and a judge."""
    other = {"policy.name_or_path": llamas[0], "demonstrator.model.name_or_path": llamas[1]}
    how = {"reward.body": "frozen", "policy.dtype": "bfloat16", "demonstrator.temperature": 0.7}
    overrides = {**given["hh_rlhf"], **other, **how, "sampling.demonstrations": 4}
    study = open_study(
        "hh_rlhf", "smoke", 0, 1, overrides=overrides, store=Store(tmp_path / "store"), quiet=True
    )
    study.run()
    steps = study.plans()[0].steps
    assert steps["shown_init_demo"].inputs["states_demonstrations"].inputs["texts"] is steps["held_out"]
    laws = study.table("densities")
    assert (laws["logprob_demo"] != laws["logprob_pi_init"]).all()
    assert load_policy(study.folder("demonstrator")).dtype == torch.float32
    assert {"exact_logit", "exact_logit_sft", "init_demo"} <= set(study.table("outcomes")["method"])
    told_apart = study.table("discrimination").set_index("scorer")
    assert told_apart.loc["exact_logit", "auc"] > 0.65, "a sharper law is told from another one"
    assert told_apart.loc["exact_logit", "auc"] > told_apart.loc["init_demo", "auc"]
    assert {"init_demo", "sft_demo"} <= set(study.table("calibration")["method"])
    assert "oracle" in set(study.table("model_coverage")["method"])


def test_what_a_dry_run_tells_of_it_is_near_to_what_it_spends(study):
    """Over it, since answers are shorter than the longest, and evaluations are not noted.

    Under it where many answers share a prompt: a dry run counts that once, and what is spent with each.
    """
    steps = study.plans()[0].steps
    told, _ = forecast(study_sizes(study.spec), steps.items(), device="H100")
    told, own = told.set_index("step"), ("demonstrator", "demonstrator_training", "demonstrator_test")
    for name in (*own, "logprobs_demonstrator", "logprobs_pi_sft"):
        spent = study.store.manifest(steps[name])["cost"]["flops"]
        assert 0.2 < told.loc[name, "flops"] / spent < 3, name


def test_a_model_of_another_vocabulary_is_refused(opened, llamas):
    with pytest.raises(SpecError, match=r"another tokenizer than the policy \(\d+ and \d+ tokens; .*leave"):
        opened({**OVERRIDES, "demonstrator.model.name_or_path": llamas[0]}).folder("demonstrator")


def test_too_few_test_prompts_are_named_before_anything_is_trained(opened, tmp_path):
    file = tmp_path / "few.csv"
    file.write_text("prompt,response\n" + "\n".join(f"question {n},answer {n}" for n in range(30)) + "\n")
    few = {"world.demonstrations": str(file), "world.test": 0.02, "world.split_seed": 4}
    with pytest.raises(DataError, match="intervals over prompts need 2: raise world.test"):
        opened({**OVERRIDES, **few}).folder("demonstrator")
