"""The plan on paper follows from shapes, peaks and frozen shares of peak, stage by stage."""

import pytest

from afd_study.errors import SpecError, StoreError
from afd_study.study.chapters.scale_plan import Setting, plan, stages
from afd_study.study.forecast.model_shapes import published_config, shape_of
from afd_study.study.frozen.files import freeze


@pytest.fixture(autouse=True)
def frozen(tmp_path, monkeypatch, benchmark_records):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    freeze("benchmarks", {"records": benchmark_records}, threads=2)


def of(name):
    return shape_of(published_config(name)[0], weights="bfloat16", published="bfloat16")


def test_flops_are_two_a_parameter_and_token_and_six_in_training():
    shape, setting = of("gpt2"), Setting(prompts=1000, draws=4, prompt=10, response=20)
    flops = {stage.name: stage.work.flops / shape.parameters for stage in stages(shape, setting)}
    assert flops == {
        "SFT": 6 * 1000 * 30,
        "a sample for each prompt, of pi_init and of pi_SFT": 2 * 1000 * (10 + 2 * 20),
        "reward model": 6 * 1000 * 50,
        "4 draws a prompt": 2 * 1000 * (10 + 4 * 20),
        "their rewards": 2 * 1000 * (10 + 4 * 20),
    }


def test_hours_as_on_the_cpu_use_the_largest_models_share():
    table = plan({"GPT-2": "gpt2"}).set_index("stage")
    sft = table.loc["SFT"]
    assert sft["gpu_hours_as_cpu"] == pytest.approx(sft["flops"] / (0.5 * 989e12) / 3600)
    assert sft["gpu_hours"] >= sft["flops"] / (0.35 * 989e12) / 3600 * 0.999
    assert (table["gpu_hours"] > 0).all() and (table["stored"] > 0).all()


def test_hours_as_on_the_cpu_count_a_prompt_for_each_response_as_its_benchmark_does():
    table = plan({"GPT-2": "gpt2"}, setting=Setting(prompts=1000, draws=4, prompt=10, response=20))
    hours, shape = table.set_index("stage")["gpu_hours_as_cpu"], of("gpt2")
    stages_of = (
        ("reward model", 0.4, 6 * 2 * 30),
        ("their rewards", 0.25, 2 * 4 * 30),
        ("4 draws a prompt", 0.1, 2 * (10 + 4 * 20)),
    )
    for stage, share, tokens in stages_of:
        seconds = 1000 * tokens * shape.parameters / (share * 989e12)
        assert hours[stage] == pytest.approx(seconds / 3600), stage


def test_a_model_of_7_billion_does_not_train_whole_on_one_device():
    shape = of("meta-llama/Llama-2-7b-hf")
    assert shape.parameters == pytest.approx(6.74e9, rel=0.01)
    devices = plan({"7B": "meta-llama/Llama-2-7b-hf"}).set_index("stage")["devices"]
    assert devices["SFT"] == 2 and devices["their rewards"] == 1


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
