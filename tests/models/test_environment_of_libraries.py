"""No environment variable of a library changes a number: each is neutral, or refused by its name."""

import os
import subprocess
import sys

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from torch import nn

from afd_study.errors import SpecError
from afd_study.models import distributed
from afd_study.models.library_variables import (
    REFUSED,
    REFUSED_IN_A_LAUNCH,
    hidden_from_accelerate,
    refuse_variables,
)
from afd_study.models.policy import from_scratch, load_policy, save_policy
from afd_study.models.specs import ModelSpec, TrainingSpec
from afd_study.models.training import train

NEUTRAL = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "8",
    "ACCELERATE_GRADIENT_CLIPPING": "0.001",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
    "ACCELERATE_DYNAMO_MODE": "max-autotune",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_USE_MEGATRON_LM": "true",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "true",
    "ACCELERATE_USE_SAGEMAKER": "true",
    "ACCELERATE_FP8_BACKEND": "TE",
    "ACCELERATE_TORCH_DEVICE": "meta",
    "ACCELERATE_DOWNCAST_BF16": "true",
    "ACCELERATE_DEBUG_MODE": "nonsense",
    "ACCELERATE_CPU_AFFINITY": "true",
    "ACCELERATE_BYPASS_DEVICE_MAP": "true",
    "FSDP_VERSION": "1",
    "FSDP_OFFLOAD_PARAMS": "true",
    "PARALLELISM_CONFIG_TP_SIZE": "2",
    "FORK_LAUNCHED": "1",
    "RANK": "1",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_SIZE": "4",
    "PMI_SIZE": "4",
    "MV2_COMM_WORLD_SIZE": "4",
    "TORCH_COMPILE_DISABLE": "1",
    "TORCHINDUCTOR_USE_FAST_MATH": "1",
    "PYTHONHASHSEED": "7",
}
ITEMS = [(float(number), number / 7) for number in range(24)]


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Accelerate keeps what it has read for the whole process; each test starts without it."""

    def reset():
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    reset()
    yield
    reset()


def trained(folder):
    """A short training with dropout: the weights' bits and all losses."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))

    def loss(module, items):
        x, y = torch.tensor(items).T
        return ((module(x[:, None])[:, 0] - y) ** 2).sum() / 8

    spec = TrainingSpec(
        steps=6, batch_size=8, micro_batch_size=4, evaluate_every=2, checkpoint_every=2, max_grad_norm=0.5
    )
    net, evaluations = train(
        net,
        ITEMS,
        loss=loss,
        length=lambda item: 1,
        spec=spec,
        seed=1,
        evaluate=lambda module: float(loss(module, ITEMS).detach()),
        workspace=folder,
    )
    weights = b"".join(weight.detach().numpy().tobytes() for weight in net.parameters())
    return weights.hex() + repr(evaluations)


@pytest.mark.parametrize("cpu", [False, True])
@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_variable_changes_no_bit(name, cpu, tmp_path, monkeypatch):
    if cpu:
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    expected = trained(tmp_path / "plain")
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    monkeypatch.setenv(name, NEUTRAL[name])
    assert trained(tmp_path / "changed") == expected
    assert os.environ[name] == NEUTRAL[name]


def test_nor_do_all_of_them_when_they_are_set_from_the_start(tmp_path):
    """In a process of its own, where libraries read the environment as they are loaded."""
    program = (
        "import sys, torch; torch.set_num_threads(1); from pathlib import Path; "
        "sys.path.insert(0, sys.argv[2]); import test_environment_of_libraries as here; "
        "print(here.trained(Path(sys.argv[1])))"
    )
    together = {name: value for name, value in NEUTRAL.items() if name != "LOCAL_RANK"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "process"), os.path.dirname(__file__)],
        env={**os.environ, **together},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == trained(tmp_path / "here")


@pytest.mark.parametrize("name", REFUSED)
def test_a_variable_that_cannot_be_undone_is_refused(name, tmp_path, tokenizer, build, monkeypatch):
    save_policy(build("gpt2"), tmp_path / "policy")
    value = {"NPY_DISABLE_CPU_FEATURES": "AVX2", "NVIDIA_TF32_OVERRIDE": "1"}.get(name, "yes")
    monkeypatch.setenv(name, value)
    for use in (
        lambda: trained(tmp_path / "run"),
        lambda: from_scratch(ModelSpec(), tokenizer, 0),
        lambda: load_policy(tmp_path / "policy"),
    ):
        with pytest.raises(
            SpecError, match=f"variable {name} is set, and would change results: .*unset {name}"
        ):
            use()
    assert not (tmp_path / "run").exists()
    for harmless in ("", *REFUSED[name].harmless):
        refuse_variables({name: harmless.upper()})


@pytest.mark.parametrize("name", REFUSED_IN_A_LAUNCH)
def test_what_a_launcher_cannot_decide_is_refused_under_a_launch(name, monkeypatch):
    refuse_variables({name: "true"})
    monkeypatch.setattr(distributed, "launched", lambda: True)
    with pytest.raises(SpecError, match=name):
        refuse_variables({name: "true"})
    refuse_variables({"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_FSDP": "true", name: ""})
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with hidden_from_accelerate():  # the launcher speaks through it
        assert os.environ["ACCELERATE_USE_FSDP"] == "true"


def test_process_variables_that_are_no_launch_are_named(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(SpecError, match="WORLD_SIZE is 'many', and no number"):
        distributed.launched()
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SpecError, match="RANK, MASTER_ADDR, MASTER_PORT is not set: unset them"):
        distributed.count()
