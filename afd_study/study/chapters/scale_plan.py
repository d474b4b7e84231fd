"""A plan on paper: Best-of-N by a learned reward, for models and prompt counts that no run of ours has had.

Each stage's FLOPs, bytes and layers follow from a model's shape as in `forecast`, and its hours from a
device's peaks by that rule, with assumed shares of them. Beside these hours stand those at the share of peak
that the same stage reached on the CPU of the benchmarks (book/results/benchmarks): what the engine would take
if it used a GPU as well as it uses that CPU. Neither has been measured.
"""

from math import ceil
from typing import NamedTuple

import pandas as pd

from afd_study.study.forecast.model_shapes import Shape, constants, published_config, shape_of
from afd_study.study.forecast.step_work import OPTIMISER, Work, device_peaks, drawing, reading
from afd_study.study.frozen.files import read_frozen

RECORD = 4 + 1 / 4  # bytes that a stored token takes: its id, and its share of what is stored once a response


class Setting(NamedTuple):
    """What is planned: prompts, draws a prompt, tokens of a prompt and of a response."""

    prompts: int = 1_000_000
    draws: int = 16
    prompt: int = 128
    response: int = 128


MILLION = Setting()
MODELS = {
    "GPT-2 (124 M)": "gpt2", "Gemma (2 B)": "google/gemma-2b", "Llama 2 (7 B)": "meta-llama/Llama-2-7b-hf",
}  # fmt: skip


class Stage(NamedTuple):
    """A stage, what it takes of a device, the benchmark that is like it, and the bytes that it stores.

    `apart` is how many times its FLOPs that benchmark would count, which has a prompt read for each response.
    """

    name: str
    work: Work
    like: str
    stored: float
    apart: float = 1.0


def stages(shape: Shape, setting: Setting) -> list[Stage]:
    """Return the stages of Best-of-N by Init-SFT's reward, one pass over the data each; texts in bfloat16."""
    n, draws, text = setting.prompts, setting.draws, setting.prompt + setting.response
    pairs = setting.prompt + 2 * setting.response  # a prompt is read once for both
    behind = n * (setting.prompt + draws * setting.response)
    weights = 4.0 * shape.parameters
    return [
        Stage("SFT", _trained(shape, n * text), "sft", weights),
        Stage("a sample for each prompt, of pi_init and of pi_SFT", _drawn(shape, setting, 2), "sampling",
              2 * n * setting.response * RECORD),
        Stage("reward model", _trained(shape, n * pairs), "reward_model", weights, 2 * text / pairs),
        Stage(f"{draws} draws a prompt", _drawn(shape, setting, draws), "sampling",
              n * draws * setting.response * RECORD),
        Stage("their rewards", reading(behind, shape, at_once="judge"), "scoring", 8.0 * n * draws,
              n * draws * text / behind),
    ]  # fmt: skip


def plan(names: dict[str, str], *, device: str = "H100", setting: Setting = MILLION) -> pd.DataFrame:
    """Return the stages for some models: what is shown -> its name in forecast.yaml.

    Columns model, stage, flops, gpu_hours (by assumed shares), gpu_hours_as_cpu (by the CPU's share of peak),
    held (bytes on the device), devices (so many hold it), stored (bytes on disk).

    Raises SpecError for a model or device that is not known, StoreError without frozen benchmarks.
    """
    peaks, shares = device_peaks(device), cpu_shares()
    rows = []
    for shown, name in names.items():
        shape = shape_of(published_config(name)[0], weights="bfloat16", published="bfloat16")
        for stage in stages(shape, setting):
            as_cpu = stage.apart * stage.work.flops / (peaks["bfloat16"] * shares[stage.like]) / 3600
            rows.append((
                shown, stage.name, stage.work.flops, stage.work.seconds(device) / 3600, as_cpu,
                stage.work.held, ceil(stage.work.held / peaks["memory"]), stage.stored,
            ))  # fmt: skip
    columns = ("model", "stage", "flops", "gpu_hours", "gpu_hours_as_cpu", "held", "devices", "stored")
    return pd.DataFrame(rows, columns=list(columns))


def cpu_shares() -> dict[str, float]:
    """Return the share of peak that each benchmark reached at the largest model that it was run with."""
    found = read_frozen("benchmarks", "records").dropna(subset="share_of_peak")
    return dict(found.groupby("name", sort=False)["share_of_peak"].last())


def _trained(shape: Shape, tokens: float) -> Work:
    """Train all weights on so many tokens, 16,384 at a time."""
    passes = 3 * ceil(tokens / constants()["scored_tokens"]["judge"])
    moved = passes * (shape.bytes() + 10 * shape.parameters)  # the optimiser's share, once in three
    return Work(
        6 * shape.parameters * tokens, moved, passes * shape.layers, OPTIMISER * shape.parameters, True
    )


def _drawn(shape: Shape, setting: Setting, draws: int) -> Work:
    prompt = setting.prompt
    return drawing(
        shape, responses=setting.prompts * draws, draws=draws, prompt=prompt, longest=prompt,
        horizon=setting.response,
    )  # fmt: skip
