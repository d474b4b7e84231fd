"""The profile `paper` end to end, with tiny stand-ins of its models' classes and data in its layout."""

import numpy as np
import pytest
import standins

from afd_study.models.specs import SamplingSpec
from afd_study.models.tokenizers import encode, load_tokenizer
from afd_study.study.steps.encoding import encoded_prompts
from afd_study.study.study import open_study
from afd_study.study.workflow.store import Store

RULES = {"init_sft", "init_demo", "sft_demo", "preferences", "random", "oracle", "closed_form", "pi_sft"}


@pytest.fixture(scope="module", params=["harmless", "helpful"])
def study(request, tmp_path_factory):
    """The whole profile, told nothing but where models and data lie: demonstrations for one task in a CSV."""
    task, folder = request.param, tmp_path_factory.mktemp(request.param)
    gemma = task == "helpful"
    data = standins.dialogues(folder / "data", f"{task}-base")
    given = {
        "world.hub": None,
        "world.folder": str(folder / "data"),
        "policy.name_or_path": str(standins.policy(folder / "policy", gemma=gemma)),
        "judge_model.name_or_path": str(standins.judge(folder / "judge", gemma=gemma)),
    }
    if gemma:
        given["world.demonstrations"] = str(standins.shown(data, f"{task}-base", folder / "shown.csv"))
        given["world.prompt_column"] = "query"
    found = open_study(task, "paper", overrides=given, store=Store(folder / "store"), quiet=True)
    found.run()
    return found


def tokenizer_of(study):
    step = study.plans()[0].step("pi_sft").inputs["tokenizers"]
    return load_tokenizer(study.store.folder(step) / "policy")


def test_outcomes_are_there_and_finite(study):
    found = study.table("outcomes")
    assert set(found["method"]) >= RULES and np.isfinite(found["value"]).all()
    assert found["n"].max() == 50 and set(found["judge"]) == {"judge"}
    best = found[found["n"] == 50].groupby("method")["value"].mean()
    assert best["oracle"] > best["random"]
    for name in ("summary", "win_rates", "diagnostics", "rank_correlations", "edit_effects"):
        assert len(study.table(name))
    assert "judge" in set(study.table("edit_effects")["method"])


def test_demonstrations_are_those_of_the_file_or_the_chosen_responses(study):
    found = study.table("demonstrations")["text"]
    assert len(found) > 45
    assert found.str.startswith("please bake bread ").mean() == (study.task == "helpful")


def test_responses_end_before_the_next_human_turn(study):
    drawn = study.table("init_samples")
    for name in ("init_samples", "samples"):
        assert not study.table(name)["text"].str.contains("\n\nHuman", regex=False).any()
    tokenizer = tokenizer_of(study)
    lengths = drawn["token_ids"].map(len)
    ended = drawn["token_ids"].map(lambda ids: ids[-1]) == tokenizer.eos_token_id
    # the stand-in has read no end mark, only further turns: where it ended, it was stopped
    assert ended[lengths < 128].all() and ended.mean() > 0.2


def test_prompts_that_are_too_long_are_left_out(study):
    out = study.table("left_out")
    assert set(out["split"]) >= {"train", "test"} and len(out) == 2 and (out["tokens"] > 450).all()
    assert not set(out["prompt_id"]) & set(study.table("prompts")["prompt_id"])
    assert not set(out["prompt_id"]) & set(study.table("samples")["prompt_id"])
    lines = study.table("report").query("file.str.endswith('.jsonl')")
    assert lines["kept"].sum() == len(study.table("prompts")) + len(out)


def test_every_demonstration_is_read_twice(study):
    """Two epochs at one demonstration a step, and at eight pairs a step."""
    train = study.table("prompts").query("split == 'train'")["prompt_id"]
    n = int(study.table("demonstrations")["prompt_id"].isin(train).sum())
    last = study.evaluations().groupby("model")["step"].max()
    assert last["pi_sft"] == 2 * n
    assert last["init_demo"] == 2 * (n // 8) == last["preferences"]
    assert np.isfinite(study.evaluations()["validation_loss"].astype(float)).all()


def test_the_judge_says_what_it_read(study):
    reading = study.table("judge_reading").set_index("source")
    assert set(reading.index) == {"pi_sft", "pi_init", "demonstrations"}
    assert reading.loc["pi_sft", "n"] == len(study.table("samples")) and (reading["n_cut"] == 0).all()


def test_a_begin_mark_stands_before_every_prompt_of_a_model_that_was_trained_with_one(study):
    tokenizer, asked = tokenizer_of(study), study.table("prompts")
    read = encoded_prompts(asked, tokenizer, SamplingSpec())
    plain = dict(zip(asked["prompt_id"], map(tuple, encode(tokenizer, asked["text"].tolist())), strict=True))
    begin = (tokenizer.bos_token_id,) if study.task == "helpful" else ()
    assert all(ids == (*begin, *plain[name]) for name, ids in read.items())
    short = encoded_prompts(asked, tokenizer, SamplingSpec(max_prompt_tokens=5))
    assert all(ids == (*begin, *plain[name][-(5 - len(begin)) :]) for name, ids in short.items())
