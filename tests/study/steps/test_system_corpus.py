"""Real systems as a data set: a study of them runs to its tables, and is keyed by what is read."""

import shutil

import gguf_models
import pytest

from afd_study.errors import DataError
from afd_study.models.gguf_files import convert
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec
from afd_study.study.study import open_study
from afd_study.study.workflow.store import Store


def corpus_of(**world):
    spec = load_spec("alpaca_eval", "smoke", {f"world.{name}": value for name, value in world.items()})
    return plan(spec, task="alpaca_eval", seed=0).step("corpus")


def test_a_pretrained_model_learns_from_one_system_and_a_judge_from_verdicts_of_others(given, tmp_path):
    """As task helpful of profile pretrained has it: chats, frozen bodies, long prompts left out."""
    convert(gguf_models.write(gguf_models.llama(), tmp_path / "tiny.gguf"), tmp_path / "llama")
    own = {"reward.body": "frozen", "policy.name_or_path": str(tmp_path / "llama")}
    own |= {"sampling.long_prompts": "leave_out", "world.leave_out": ["gpt4_0314", "gpt4_1106_preview"]}
    how = {"overrides": {**given["alpaca_eval"], **own}, "store": Store(tmp_path / "store"), "quiet": True}
    study = open_study("alpaca_eval", "smoke", 0, 1, **how)
    assert {"init_sft", "oracle", "preferences"} <= set(study.table("outcomes")["method"])
    assert study.table("demonstrations")["text"].str.startswith("gpt4 ").all()
    labels = study.table("preferences")
    writers = {text.split()[0] for side in ("preferred", "rejected") for text in labels[side]}
    assert writers == {"alpha", "beta", "delta", "gamma"}
    assert labels.groupby("prompt_id").size().max() == 4 and study.table("left_out").empty
    judge, prompts = study.table("judge_accuracy").iloc[0], study.table("prompts")
    assert judge["n_pairs"] > judge["n_training_pairs"] / 4 > 0
    assert 0 <= judge["low"] <= judge["accuracy"] <= judge["high"] <= 1
    asked = prompts.set_index("prompt_id").loc[study.table("samples")["prompt_id"].unique()]
    assert set(asked["split"]) == {"test"} and set(asked["part"]) == {"policy"}
    report = study.table("report")
    assert report["kept"].all() and (report["file"] == "gpt4").sum() == len(prompts) == 160


def test_it_is_keyed_by_what_is_read_and_whose_it_is_wherever_it_lies(systems, tmp_path):
    key = corpus_of(folder=str(systems), leave_out=["gamma"]).key
    shutil.copytree(systems, tmp_path / "copy")
    assert corpus_of(folder=str(tmp_path / "copy"), leave_out=["gamma"]).key == key
    others = ["alpha", "beta", "delta", "gpt4_0314", "gpt4_1106_preview"]
    assert corpus_of(folder=str(systems), systems=others).key == key
    changes = {
        "whose": {"leave_out": ["delta"]},
        "demonstrator": {"demonstrator": "alpha", "leave_out": ["gamma"]},
        "pairs": {"pairs_per_prompt": 3, "leave_out": ["gamma"]},
        "seed": {"pair_seed": 1, "leave_out": ["gamma"]},
        "prompts": {"datasets": ["koala"], "leave_out": ["gamma"]},
    }
    keys = {corpus_of(folder=str(systems), **change).key for change in changes.values()}
    assert len(keys | {key}) == len(changes) + 1
    results = tmp_path / "copy" / "results"
    (results / "delta").rename(results / "epsilon")  # the same files in the same order
    assert corpus_of(folder=str(tmp_path / "copy"), leave_out=["gamma"]).key != key


def test_a_part_with_too_little_is_refused_before_anything_is_trained(given, tmp_path):
    how = {"store": Store(tmp_path), "quiet": True}
    study = open_study(
        "alpaca_eval", "smoke", 0, 1, overrides={**given["alpaca_eval"], "judge_share": 0.98}, **how
    )
    with pytest.raises(DataError, match="the policy's part of the prompts .judge_share=0.98"):
        study.table("report")
