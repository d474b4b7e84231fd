"""What work costs as it grows: seconds along one axis at a time and an exponent, all else as in BASE.

The points of an axis are timed in turns, so that a machine that slows down does so for all of them. Where a
cost has a part that does not grow (a call, a prompt that is read once), the exponent of the whole axis lies
below that of its last step, which is reported beside it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from tqdm import tqdm
from transformers import PreTrainedModel

from afd_study.methods.sft import fine_tune
from afd_study.models.batches import Example
from afd_study.models.decoding import Request, sample
from afd_study.models.reward import RewardModel, rewards
from afd_study.models.scoring import backbone_of
from afd_study.models.specs import TrainingSpec
from benchmarks import shapes
from benchmarks.timing import seconds

EOS, PROMPT, STEPS, BATCH = 1, 32, 2, 32


class Point(NamedTuple):
    """A GPT-2's width (it has 4 layers) and vocabulary, tokens a response, draws a prompt, and prompts."""

    width: int = 128
    tokens: int = 64
    draws: int = 16
    prompts: int = 16
    vocabulary: int = 2048


BASE = Point()
AXES: dict[str, tuple[int, ...]] = {
    "width": (64, 128, 256, 384),
    "tokens": (32, 64, 128, 256),
    "draws": (4, 16, 64, 128),
    "prompts": (4, 16, 64, 128),
    "vocabulary": (1024, 4096, 16_384, 32_768),
}
GROWS = {  # which work an axis makes grow
    "training": ("width", "tokens", "vocabulary"),
    "sampling": ("width", "tokens", "draws", "prompts", "vocabulary"),
    "scoring": ("width", "tokens", "draws", "prompts"),
}


def measure(device: torch.device, repeats: int) -> pd.DataFrame:
    """Return columns work, axis, value, seconds (the median of `repeats`), low, high (their range).

    For the axis `width` the value is the model's number of weights in matrix products.
    """
    rows = []
    todo = [(work, axis) for work, axes in GROWS.items() for axis in axes]
    for work, axis in tqdm(todo, desc="growth", unit="axis"):
        points = [BASE._replace(**{axis: value}) for value in AXES[axis]]
        runs = [WORKS[work](point, device) for point in points]
        times = [[seconds(run, device) for _, run in runs] for _ in range(repeats + 1)]
        taken = np.transpose(times[1:])  # the first warms up
        for point, (parameters, _), each in zip(points, runs, taken, strict=True):
            value = parameters if axis == "width" else getattr(point, axis)
            rows.append((work, axis, value, np.median(each), each.min(), each.max()))
    table = pd.DataFrame(rows, columns=["work", "axis", "value", "seconds", "low", "high"])
    return table.replace({"axis": {"width": "parameters"}})


def exponents(measured: pd.DataFrame) -> pd.DataFrame:
    """Return columns work, axis, exponent, low, high, last of seconds ~ value^exponent.

    Least squares of logarithms, with a 95 % interval, and the exponent of the last step alone.
    """
    rows = []
    for (work, axis), part in measured.groupby(["work", "axis"], sort=False):
        x, y = np.log(part["value"].to_numpy(float)), np.log(part["seconds"].to_numpy())
        fit = stats.linregress(x, y)
        margin = fit.stderr * stats.t.ppf(0.975, len(x) - 2) if len(x) > 2 else np.inf
        last = (y[-1] - y[-2]) / (x[-1] - x[-2])
        rows.append((work, axis, fit.slope, fit.slope - margin, fit.slope + margin, last))
    return pd.DataFrame(rows, columns=["work", "axis", "exponent", "low", "high", "last"])


def _training(point: Point, device: torch.device) -> tuple[int, Callable[[], object]]:
    lm = _model(point, device)
    data = list(_texts(point, STEPS * BATCH))
    spec = TrainingSpec(steps=STEPS, batch_size=BATCH, evaluate_every=STEPS, checkpoint_every=STEPS)

    def run() -> None:
        with TemporaryDirectory() as folder:
            fine_tune(lm, data, validation=data[:1], training=spec, seed=0, workspace=Path(folder))

    return shapes.matrix_parameters(lm), run


def _sampling(point: Point, device: torch.device) -> tuple[int, Callable[[], object]]:
    lm = _model(point, device)
    prompts = [each.ids[:PROMPT] for each in _texts(point, point.prompts)]
    requests = [Request(str(i), ids, draw) for i, ids in enumerate(prompts) for draw in range(point.draws)]
    run = partial(sample, lm, requests, seed=0, eos_id=EOS, max_new_tokens=point.tokens)
    return shapes.matrix_parameters(lm), run


def _scoring(point: Point, device: torch.device) -> tuple[int, Callable[[], object]]:
    model = RewardModel(backbone_of(_model(point, device))).to(device)
    responses = [each.ids[PROMPT:] for each in _texts(point, point.draws)]
    prompts = [each.ids[:PROMPT] for each in _texts(point, point.prompts)]
    data = [Example((*ids, *response), PROMPT) for ids in prompts for response in responses]
    return shapes.matrix_parameters(model.backbone), partial(rewards, model, data)


WORKS = {"training": _training, "sampling": _sampling, "scoring": _scoring}


def _model(point: Point, device: torch.device) -> PreTrainedModel:
    config = {
        "n_embd": point.width,
        "n_layer": 4,
        "n_head": point.width // 32,
        "n_positions": 512,
        **shapes.FAST,
    }
    lm = shapes.from_shape(shapes.Shape("gpt2", point.vocabulary, config))
    torch.nn.Module.to(lm, device)
    return lm


def _texts(point: Point, n: int) -> Iterator[Example]:
    """Yield prompts of PROMPT tokens with responses of all the same length."""
    rng = np.random.default_rng(8)
    for _ in range(n):
        yield Example(tuple(rng.integers(3, point.vocabulary, PROMPT + point.tokens).tolist()), PROMPT)
