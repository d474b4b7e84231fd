"""The plan on paper follows from shapes, peaks and frozen shares of peak, stage by stage."""

import pandas as pd
import pytest

from afd_study.errors import SpecError, StoreError
from afd_study.study.chapters import benchmarks
from afd_study.study.chapters.scale_plan import Setting, plan, stages
from afd_study.study.forecast.model_shapes import published_config, shape_of
from afd_study.study.frozen.files import freeze

RECORDS = pd.DataFrame(
    [
        (name, model, "TRL", 1.0, 2.0, 2.0, 1.5, 2.5, share)
        for name, share in (("sft", 0.5), ("reward_model", 0.4), ("sampling", 0.1), ("scoring", 0.25))
        for model, share in (("1M", share / 2), ("10M", share))
    ],
    columns=[
        "name", "model", "peer_name", "ours", "peer", "ratio", "ratio_low", "ratio_high", "share_of_peak",
    ],
)  # fmt: skip


@pytest.fixture(autouse=True)
def frozen(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    freeze("benchmarks", {"records": RECORDS}, threads=2)


def of(name):
    return shape_of(published_config(name)[0], weights="bfloat16", published="bfloat16")


def test_flops_are_two_a_parameter_and_token_and_six_in_training():
    shape, setting = of("gpt2"), Setting(prompts=1000, draws=4, prompt=10, response=20)
    found = {stage.name: stage.work.flops / shape.parameters for stage in stages(shape, setting)}
    assert found == {
        "SFT": 6 * 1000 * 30, "a sample for each prompt, of pi_init and of pi_SFT": 2 * 1000 * (10 + 2 * 20),
        "reward model": 6 * 1000 * 50, "4 draws a prompt": 2 * 1000 * (10 + 4 * 20),
        "their rewards": 2 * 1000 * (10 + 4 * 20),
    }  # fmt: skip


def test_hours_as_on_the_cpu_use_the_largest_models_share():
    found = plan({"GPT-2": "gpt2"}).set_index("stage")
    sft = found.loc["SFT"]
    assert sft["gpu_hours_as_cpu"] == pytest.approx(sft["flops"] / (0.5 * 989e12) / 3600)
    assert sft["gpu_hours"] >= sft["flops"] / (0.35 * 989e12) / 3600 * 0.999
    assert (found["gpu_hours"] > 0).all() and (found["stored"] > 0).all()


def test_hours_as_on_the_cpu_count_a_prompt_for_each_response_as_its_benchmark_does():
    found = plan({"GPT-2": "gpt2"}, setting=Setting(prompts=1000, draws=4, prompt=10, response=20))
    hours, shape = found.set_index("stage")["gpu_hours_as_cpu"], of("gpt2")
    for stage, share, tokens in (
        ("reward model", 0.4, 6 * 2 * 30), ("their rewards", 0.25, 2 * 4 * 30),
        ("4 draws a prompt", 0.1, 2 * (10 + 4 * 20)),
    ):  # fmt: skip
        seconds = 1000 * tokens * shape.parameters / (share * 989e12)
        assert hours[stage] == pytest.approx(seconds / 3600), stage


def test_a_model_of_7_billion_does_not_train_whole_on_one_device():
    shape = of("meta-llama/Llama-2-7b-hf")
    assert shape.parameters == pytest.approx(6.74e9, rel=0.01)
    found = plan({"7B": "meta-llama/Llama-2-7b-hf"}).set_index("stage")["devices"]
    assert found["SFT"] == 2 and found["their rewards"] == 1


def test_costs_grow_in_proportion_to_prompts():
    few, many = (plan({"GPT-2": "gpt2"}, setting=Setting(prompts=n)) for n in (10**5, 10**6))
    for column in ("flops", "gpu_hours"):
        assert (many[column] / few[column]).to_numpy() == pytest.approx(10, rel=0.01)


def test_unknown_names_and_missing_benchmarks_are_refused(tmp_path, monkeypatch):
    with pytest.raises(SpecError, match="H100"):
        plan({"GPT-2": "gpt2"}, device="h100")
    with pytest.raises(SpecError, match="gpt3"):
        plan({"GPT-3": "gpt3"})
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="benchmarks"):
        plan({"GPT-2": "gpt2"})


def test_compared_tells_ratio_range_and_share():
    found = benchmarks.compared().iloc[0]
    assert found["work"] == "SFT" and found["range"] == "1.50 to 2.50" and found["share_of_peak"] == 0.25


def test_on_gpu_is_empty_until_something_was_measured():
    assert benchmarks.on_gpu() == {}
    freeze("gpu/benchmarks", {"records": RECORDS}, threads=2)
    ((caption, table),) = benchmarks.on_gpu().items()
    assert len(table) == len(RECORDS) and caption.startswith("Beside other libraries (")
    assert f"commit {benchmarks.manifest('gpu/benchmarks')['commit']}" in caption


def test_variants_tell_a_ratio_and_its_range_or_why_there_is_none():
    found = pd.DataFrame({
        "work": "sft", "model": ["1M", "1M", "10M", "10M"], "way": ["engine", "padded", "engine", "padded"],
        "seconds": [1.0, 2, 3, None], "ratio": [1.0, 0.5, 1, None], "low": [1.0, 0.4, 1, None],
        "high": [1.0, 0.6, 1, None], "fault": ["", "", "", "needs a GPU"],
    })  # fmt: skip
    freeze("gpu/variants", {"variants": found})
    shown = benchmarks.variants("gpu/variants")
    assert shown.to_numpy().tolist() == [["SFT", "padded", "0.50 (0.40 to 0.60)", "needs a GPU"]]
    assert list(shown.columns) == ["work", "way", "1M", "10M"]
    assert [caption.split(" (")[0] for caption in benchmarks.on_gpu()] == ["Other ways"]
