"""What chapter 11 shows of scale: a plan on paper, for models and prompt counts that we have never run.

Each stage's FLOPs, bytes and layers follow from a model's shape as in `forecast`. Its hours follow in two
ways from a device's peaks: by assumed shares of them, as in `forecast`, and by the share of peak that the
same stage reached on the CPU of the benchmarks (book/results/benchmarks), as if the engine used a GPU as well
as it uses that CPU. Neither has been measured.
"""

from math import ceil
from typing import NamedTuple

import pandas as pd

from afd_study.study.forecast.model_shapes import Shape, constants, published_config, shape_of
from afd_study.study.forecast.step_work import OPTIMISER, Work, device_peaks, drawing, reading
from afd_study.study.frozen.files import read_frozen

RECORD = 4 + 1 / 4  # bytes of a stored token: its id, and its share of what a response has once


class Setting(NamedTuple):
    """The numbers of a plan: prompts, draws a prompt, tokens of a prompt and of a response."""

    prompts: int = 1_000_000
    draws: int = 16
    prompt: int = 128
    response: int = 128


MILLION = Setting()
MODELS = {
    "GPT-2 (124 M)": "gpt2",
    "Gemma (2 B)": "google/gemma-2b",
    "Llama 2 (7 B)": "meta-llama/Llama-2-7b-hf",
}


class Stage(NamedTuple):
    """A stage, what it takes of a device, the benchmark that is like it, and the bytes that it stores.

    A benchmark may read a prompt for each response, where the stage reads it once: `counted` is the
    benchmark's FLOPs for the same work, relative to the stage's.
    """

    name: str
    work: Work
    like: str
    stored: float
    counted: float = 1.0


def stages(shape: Shape, setting: Setting) -> list[Stage]:
    """Return the stages of Best-of-N by Init-SFT's reward, one pass over the data each; texts in bfloat16."""
    n, draws, response = setting.prompts, setting.draws, setting.response
    text, pair = setting.prompt + response, setting.prompt + 2 * response  # a pair's prompt is read once
    pool = n * (setting.prompt + draws * response)  # and so is that of all draws
    weights, record = 4.0 * shape.parameters, n * response * RECORD
    sampled, pooled = _drawn(shape, setting, 2), _drawn(shape, setting, draws)
    scored = reading(pool, shape, at_once="judge")
    return [
        Stage("SFT", _trained(shape, n * text), "sft", weights),
        Stage("a sample for each prompt, of pi_init and of pi_SFT", sampled, "sampling", 2 * record),
        Stage("reward model", _trained(shape, n * pair), "reward_model", weights, 2 * text / pair),
        Stage(f"{draws} draws a prompt", pooled, "sampling", draws * record),
        Stage("their rewards", scored, "scoring", 8.0 * n * draws, n * draws * text / pool),
    ]


def plan(names: dict[str, str], *, device: str = "H100", setting: Setting = MILLION) -> pd.DataFrame:
    """Return the stages for some models: the label to show -> the name in forecast.yaml.

    Columns model, stage, flops, gpu_hours (by assumed shares), gpu_hours_as_cpu (by the CPU's share of peak),
    held (bytes on the device), devices (so many hold it), stored (bytes on disk).

    Raises SpecError for a model or device that is not known, StoreError without frozen benchmarks.
    """
    peaks, shares = device_peaks(device), cpu_shares()
    rows = []
    for label, name in names.items():
        shape = shape_of(published_config(name)[0], weights="bfloat16", published="bfloat16")
        for stage in stages(shape, setting):
            work, peak = stage.work, peaks["bfloat16"] * shares[stage.like]
            hours = (work.seconds(device) / 3600, stage.counted * work.flops / peak / 3600)
            devices = ceil(work.held / peaks["memory"])
            rows.append((label, stage.name, work.flops, *hours, work.held, devices, stage.stored))
    columns = ("model", "stage", "flops", "gpu_hours", "gpu_hours_as_cpu", "held", "devices", "stored")
    return pd.DataFrame(rows, columns=list(columns))


def cpu_shares() -> dict[str, float]:
    """Return the share of peak that each benchmark reached at the largest model that it was run with."""
    records = read_frozen("benchmarks", "records").dropna(subset="share_of_peak")
    return dict(records.groupby("name", sort=False)["share_of_peak"].last())


def _trained(shape: Shape, tokens: float) -> Work:
    """Return the work of training all weights on so many tokens, 16,384 at a time."""
    passes = 3 * ceil(tokens / constants()["scored_tokens"]["judge"])
    moved = passes * (shape.bytes() + 10 * shape.parameters)  # the optimiser's share, once in three
    flops, held = 6 * shape.parameters * tokens, OPTIMISER * shape.parameters
    return Work(flops, moved, passes * shape.layers, held, True)


def _drawn(shape: Shape, setting: Setting, draws: int) -> Work:
    lengths = {"prompt": setting.prompt, "longest": setting.prompt, "horizon": setting.response}
    return drawing(shape, responses=setting.prompts * draws, draws=draws, **lengths)
