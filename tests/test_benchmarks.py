"""Benchmarks compare like with like, in turns; no test here asks how long anything takes."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from afd_study.errors import SpecError
from afd_study.study.chapters import benchmarks
from benchmarks import (
    __main__ as command,
    evaluation,
    features,
    growth,
    records,
    sampling,
    scoring,
    shapes,
    study,
    texts,
    timing,
    variants,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def mini(monkeypatch):
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 160, **shapes.FAST}
    monkeypatch.setitem(shapes.SHAPES, "mini", shapes.Shape("gpt2", 40, sizes))
    monkeypatch.setattr(sampling, "DRAWS", 3)
    monkeypatch.setattr(scoring, "DRAWS", 3)


def one(**changes):
    inputs = {
        "name": "sft",
        "model": "1M",
        "peer_name": "TRL",
        "ours": [1.0, 2.0, 4.0],
        "peer": [3.0, 4.0, 4.0],
        "flops": 8e9,
        "tokens": 10,
        "peak": 1e10,
    }
    return records.record(**inputs | changes)


def test_a_record_holds_medians_and_the_range_of_ratios():
    result = one()
    assert (result.ours, result.peer, result.ratio) == (2.0, 4.0, 2.0)
    assert (result.ratio_low, result.ratio_high, result.share_of_peak) == (1.0, 3.0, pytest.approx(0.4))
    assert "2.00 [1.00, 3.00]" in records.table([result]) and "40%" in records.table([result])


def test_records_are_written_with_what_they_were_taken_on(tmp_path):
    records.write([one()], tmp_path / "new" / "found.json", peak=1e10, threads=2)
    result = json.loads((tmp_path / "new" / "found.json").read_text())
    assert result["records"][0]["ratio"] == 2.0 and result["peak_gflops"] == 10.0
    assert {"commit", "libraries", "hardware", "threads"} <= set(result)


def test_sides_take_turns_and_change_places(monkeypatch):
    order = []
    monkeypatch.setattr(timing, "ENOUGH", 0.0)
    times = timing.interleave(lambda: order.append("a"), lambda: order.append("b"), pairs=3, device=CPU)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab" and [len(each) for each in times] == [3, 3]
    assert timing.matmul_peak(CPU, torch.float32, size=32, repeats=2) > 0


def test_short_runs_are_repeated_more_often(monkeypatch):
    monkeypatch.setattr(timing, "seconds", lambda side, device: side())
    for took, repeats in ((0.1, 6), (10.0, 4), (100.0, 2)):
        half = partial(float, took / 2)
        times = timing.interleave(half, half, pairs=2, device=CPU)
        assert [len(each) for each in times] == [repeats, repeats]


def test_what_has_no_peer_has_a_time_and_no_ratio():
    result = one(peer=[])
    assert (result.ours, result.peer, result.ratio, result.pairs) == (2.0, None, None, 0)
    assert timing.interleave(lambda: None, None, pairs=5, device=CPU)[1] == []
    assert "2" in records.table([result])


MAKERS = [sampling.sampling, scoring.scoring, scoring.logprobs, evaluation.divergences]


@pytest.mark.parametrize("make", MAKERS)
def test_both_sides_do_the_same_before_any_time_is_taken(make):
    pair = make("mini", CPU)
    pair.check()
    assert pair.flops > 0 and pair.tokens > 0


def test_best_of_n_is_what_its_definition_gives():
    evaluation.best_of_n("500 x 64", CPU).check()


@pytest.mark.slow
def test_the_study_is_timed_with_every_step_computed_once():
    pair = study.study("smoke", CPU)
    assert pair.peer is None
    pair.ours()  # raises where a step was computed twice, or not at all


def test_a_check_fails_where_the_sides_differ(monkeypatch):
    pair = scoring.logprobs("mini", CPU)
    monkeypatch.setattr(scoring, "sequence_logprobs", lambda lm, data: np.zeros(len(data)))
    with pytest.raises(AssertionError):
        pair.check()


def test_trainers_lose_what_trls_lose():
    pytest.importorskip("trl", reason="TRL is missing: pip install -e '.[bench]'")
    if torch.cuda.is_available():
        pytest.skip("trainers then train on the GPU, in half precision")
    for name in ("sft", "reward_model", "discriminator"):
        command.BENCHMARKS[name][0]("mini", CPU).check()


def test_the_end_mark_comes_about_as_often_as_asked():
    lm = shapes.ending(shapes.build("mini"), 1, mean_length=8)
    with torch.no_grad():
        law = lm(
            input_ids=torch.tensor([each.ids[:20] for each in texts.examples(8, 40, seed=0)])
        ).logits.softmax(-1)
    assert 0.08 < law[..., 1].mean() < 0.2


def test_flops_of_a_pass_by_hand():
    lm = shapes.build("mini")
    assert shapes.matrix_parameters(lm) == 2 * 12 * 16**2
    result = shapes.forward_flops(lm, read=[3], predicted=1)
    assert result == 2 * 2 * 12 * 16**2 * 3 + 2 * 3 * 4 * 16 * 2 + 2 * 16 * 40


def test_growth_is_measured_along_each_axis(monkeypatch):
    monkeypatch.setattr(growth, "BASE", growth.Point(32, 4, 2, 2, 40))
    small = {"width": (32, 64), "tokens": (4, 8), "draws": (1, 3), "prompts": (1, 3), "vocabulary": (40, 80)}
    monkeypatch.setattr(growth, "AXES", small)
    result = growth.measure(CPU, 1)
    assert len(result) == 2 * sum(map(len, growth.GROWS.values())) and (result["seconds"] > 0).all()
    parameters = result.query("work == 'training' and axis == 'parameters'")["value"].tolist()
    assert parameters == [4 * 12 * 32**2, 4 * 12 * 64**2]


def test_a_power_law_has_its_exponent():
    value = np.array([1.0, 2, 4, 8])
    part = {"work": "training", "axis": "tokens", "value": value}
    result = growth.exponents(pd.DataFrame({**part, "seconds": 3 * value**1.5})).iloc[0]
    np.testing.assert_allclose(result[["exponent", "low", "high", "last"]].to_numpy(float), 1.5)
    late = growth.exponents(pd.DataFrame({**part, "seconds": 10 + value})).iloc[0]
    assert late["low"] < late["exponent"] < late["last"] < 1


def test_every_benchmark_has_a_name_on_the_page():
    assert set(benchmarks.WORK) == set(command.BENCHMARKS) | set(variants.WORKS)


def test_a_gpu_runs_larger_shapes_in_half_precision():
    gpu = torch.device("cuda")  # named, not used
    assert command.models_of("sft", gpu) == ("124M", "gemma-2b")
    assert command.models_of("reward_model", CPU) == ("1M", "10M")
    assert command.models_of("best_of_n", gpu) == tuple(evaluation.POOLS)
    assert shapes.precision(gpu) == shapes.weights_dtype("gemma-2b", gpu) == torch.bfloat16
    assert shapes.weights_dtype("124M", gpu) == shapes.precision(CPU) == torch.float32
    assert shapes.batch_size("124M", gpu) > shapes.batch_size("gemma-2b", gpu)


@pytest.mark.parametrize("make", [sampling.sampling, scoring.scoring, scoring.logprobs])
def test_other_architectures_do_the_same_on_both_sides(make, monkeypatch):
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "head_dim": 8,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 160,
    }
    monkeypatch.setitem(shapes.SHAPES, "mini", shapes.Shape("gemma", 40, sizes))
    make("mini", CPU).check()


@pytest.fixture
def small_llama(monkeypatch):
    sizes = {**shapes.SHAPES["135M"].config, "hidden_size": 24, "intermediate_size": 32}
    sizes |= {"num_hidden_layers": 3, "num_attention_heads": 3, "num_key_value_heads": 1}
    monkeypatch.setitem(shapes.SHAPES, "small", shapes.Shape("llama", 40, sizes))
    monkeypatch.setattr(features, "PROMPTS", 2)
    monkeypatch.setattr(features, "DRAWS", 8)


@pytest.mark.parametrize("half", [False, True])
def test_a_pretrained_models_shape_does_the_same_on_both_sides(half, small_llama, monkeypatch):
    monkeypatch.setattr(shapes, "PRETRAINED", ("small",) if half else ())
    monkeypatch.setattr(shapes, "has_bfloat16_units", lambda: True)
    setting = sampling.PRETRAINED._replace(prompts=3, draws=4, longest=10, trial=2)
    for pair in (sampling.pretrained_sampling("small", CPU, setting), features.features("small", CPU)):
        pair.check()
        pair.peer()
        assert pair.flops > 0 and pair.tokens > 0


def test_the_check_of_features_fails_where_the_sides_differ(small_llama, monkeypatch):
    pair = features.features("small", CPU)
    wrong = features.text_states
    monkeypatch.setattr(features, "text_states", lambda *a, layer: wrong(*a, layer=layer - 1))
    with pytest.raises(AssertionError, match="off by"):
        pair.check()


def test_a_llamas_end_mark_comes_about_as_often_as_asked(small_llama):
    lm = shapes.ending(shapes.build("small"), 1, mean_length=8)
    with torch.no_grad():
        ids = torch.tensor([each.ids[:20] for each in texts.examples(8, 40, seed=0)])
        law = lm(input_ids=ids).logits.softmax(-1)
    assert 0.08 < law[..., 1].mean() < 0.2


def test_a_pretrained_models_shape_is_the_published_one():
    lm = shapes.SHAPES["135M"]
    with torch.device("meta"):
        config = AutoConfig.for_model(lm.architecture, vocab_size=lm.vocabulary, **lm.config)
        assert AutoModelForCausalLM.from_config(config).num_parameters() == 134_515_008


def test_groups_have_their_own_benchmarks_and_places():
    assert command._names("pretrained", None) == list(command.PRETRAINED)
    assert not set(command._names("all", None)) & set(command.PRETRAINED)
    assert command._names("sft", None) == ["sft"] and "study" not in command._names("all", "1M")
    assert command.models_of("features", torch.device("cuda")) == shapes.PRETRAINED
    assert len(set(command.GROUPS.values())) == len(command.GROUPS)


@pytest.mark.parametrize("asked", [{"prompts": 1}, {"prompts": 5, "draws": 1}])
def test_one_prompt_and_equal_batches_are_checked_too(asked):
    sampling.sampling("mini", CPU, **asked).check()


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(SpecError, match="sampling"):
        command.main("samplin")
    with pytest.raises(SpecError, match="10M"):
        shapes.build("10m")


@pytest.mark.parametrize(
    "asked",
    [
        {"name": "growth", "json": "found.json"},
        {"name": "variants", "json": "found.json"},
        {"name": "growth", "model": "1M"},
        {"name": "sft", "freeze": True},
        {"name": "variants", "model": "1M", "freeze": True},
        {"name": "all", "model": "1m"},
    ],
)
def test_what_would_be_ignored_or_half_frozen_is_refused(asked):
    with pytest.raises(SpecError, match="leave --|replaces a table|did you mean '1M'"):
        command.main(**asked)


def test_a_benchmark_that_fails_is_reported_and_the_others_are_kept(tmp_path, monkeypatch, capsys):
    def wrong():
        raise AssertionError("the sides differ")

    good = timing.Pair("peer", lambda: None, lambda: None, lambda: None, flops=0, tokens=1)
    made = {"sft": lambda model, device: good._replace(check=wrong), "scoring": lambda model, device: good}
    monkeypatch.setattr(command, "BENCHMARKS", {name: (make, ("1M",)) for name, make in made.items()})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    for pairs in (2, 3):
        with pytest.raises(SystemExit, match="failed: sft, 1M"):
            command.main("all", json=tmp_path / "found.json", freeze=True, pairs=pairs)
    assert "AssertionError: the sides differ" in capsys.readouterr().err
    (record,) = json.loads((tmp_path / "found.json").read_text())["records"]
    assert (
        record["name"] == "scoring"
        and record["pairs"] == 9
        and benchmarks.manifest()["failed"] == ["sft, 1M"]
    )
    assert benchmarks.compared()["work"].tolist() == ["scoring"]
    kept = pd.read_csv(tmp_path / "benchmarks" / "records.csv")
    assert kept["pairs"].tolist() == [6], "one that lacks rows replaces none"
    monkeypatch.setitem(
        command.BENCHMARKS,
        "scoring",
        (lambda model, device: good._replace(check=wrong if model == "10M" else good.check), ("1M", "10M")),
    )
    with pytest.raises(SystemExit, match="failed: scoring, 10M$"):
        command.main("scoring", json=tmp_path / "found.json", pairs=2)
    (record,) = json.loads((tmp_path / "found.json").read_text())["records"]
    assert record["model"] == "1M", "a model that fails does not lose another"
    with pytest.raises(AssertionError):  # alone there is nothing to go on with
        command.main("sft", pairs=2)
