"""What a study takes, estimated before it is run: downloads, memory, time, by step. Nothing is fetched.

For each step that takes a model through texts this module counts FLOPs (2 a parameter and token in a forward
pass, 6 in training, without attention, as `Context.spend` does), the bytes that move, and the layers that are
called one after the other. The step's time on a device is the largest of

    FLOPs / (peak x assumed share),  bytes / (bandwidth x assumed share),  layers called x assumed launch.

Peaks are those of a data sheet; shares and launches are assumptions (forecast.yaml). No time on a GPU has
been measured. Responses of a policy that learned from data are assumed to be as long as theirs, cut at the
bound; those of a published model as long as they may become.
"""

from collections.abc import Iterable, Mapping
from math import ceil
from typing import NamedTuple

import pandas as pd

from afd_study.errors import unknown_name
from afd_study.models.kernels.shared_prompt_scoring import FEWEST
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.study.forecast.model_shapes import (
    BYTES,
    Shape,
    adapters,
    constants,
)
from afd_study.study.forecast.sizes import Sizes
from afd_study.study.forecast.step_texts import (
    items_learned,
    response_tokens,
    responses_held,
    texts_read,
)
from afd_study.study.steps import STEPS
from afd_study.study.workflow.step import Step

OPTIMISER = 16  # bytes a trained parameter: weight, gradient, both moments, in float32
COLUMNS = ("step", "flops", "seconds", "gigabytes")


class Work(NamedTuple):
    """What a step takes of a device: FLOPs, bytes moved, layers called one after the other, bytes held."""

    flops: float
    moved: float
    layers: float
    held: float
    bfloat16: bool  # which of the device's peaks counts

    def seconds(self, device: str) -> float:
        """Return its seconds on a device of forecast.yaml, by the module's rule."""
        peaks, assumed = device_peaks(device), constants()
        compute = self.flops / (
            peaks["bfloat16" if self.bfloat16 else "float32"] * assumed["shares"]["compute"]
        )
        moving = self.moved / (peaks["bandwidth"] * assumed["shares"]["bandwidth"])
        return float(max(compute, moving, self.layers * assumed["launch_seconds"]))


def device_peaks(device: str) -> Mapping[str, float]:
    """Return a device's peaks and memory; SpecError for one that forecast.yaml does not name."""
    devices = constants()["devices"]
    if device not in devices:
        raise unknown_name("device", device, devices)
    return dict(devices[device])


def forecast(
    sizes: Sizes, steps: Iterable[tuple[str, Step]], *, device: str
) -> tuple[pd.DataFrame, list[Step]]:
    """Return each of some named steps that takes a model through texts (COLUMNS), and the other steps."""
    rows, rest = [], []
    for name, step in steps:
        work = work_of(step, sizes)
        if work is None:
            rest.append(step)
        else:
            rows.append((name, work.flops, work.seconds(device), work.held / 1e9))
    return pd.DataFrame(rows, columns=list(COLUMNS)), rest


def work_of(step: Step, sizes: Sizes) -> Work | None:
    """Return what a step takes of a device; None where it takes no model through texts, or no rule says."""
    work = STEPS[step.name].work
    if work == "training":
        return _training(step, sizes)
    if work == "drawing":
        horizon, prompt = sizes.spec.sampling.max_new_tokens, sizes.texts.prompt
        return drawing(
            sizes.policy,
            responses=responses_held(step, sizes),
            draws=step.settings["draws"],
            prompt=prompt,
            longest=sizes.longest - horizon,
            horizon=horizon,
            mean=response_tokens(step, sizes),
        )
    if work in ("scoring", "logprobs", "judging"):
        n, tokens = texts_read(step, sizes)
        if work == "judging":
            assert sizes.judge is not None  # study_sizes() read the same settings
            return reading(n * sizes.texts.prompt + tokens, sizes.judge, at_once="judge")
        texts = step.inputs.get("texts", step)  # those of training have one or two responses a prompt
        tested = texts.name != "samples" or texts.settings["purpose"] == "test"
        prompts = sizes.texts.tested if tested and n >= FEWEST * sizes.texts.tested else n
        return reading(prompts * sizes.texts.prompt + tokens, sizes.policy, laws=work == "logprobs")
    return None


def reading(tokens: float, shape: Shape, *, at_once: str = "other", laws: bool = False) -> Work:
    """Take so many tokens through a model, forwards; `laws`: to their next-token laws.

    `at_once` names in forecast.yaml how many are read at once.
    """
    batch = constants()["scored_tokens"][at_once]
    passes = ceil(tokens / batch)
    states = _kept(shape) / shape.layers * BYTES[shape.weights] / 2  # of a layer at a time
    held = shape.bytes() + batch * (states + 8 * shape.vocabulary * laws)
    flops = 2 * shape.parameters * tokens
    return Work(flops, passes * shape.bytes(), passes * shape.layers, held, shape.weights != "float32")


def drawing(
    shape: Shape,
    *,
    responses: float,
    draws: int,
    prompt: float,
    longest: float,
    horizon: int,
    mean: float | None = None,
) -> Work:
    """Draw responses, `draws` a prompt: its keys and values are held and read once for all of them.

    `prompt` and `longest` are tokens, of a prompt on average and at most; `mean` and `horizon` those of a
    response (None: all are as long as they may become).
    """
    assumed, cache_bytes = constants(), shape.cached * BYTES[shape.weights]
    rows = min(responses, assumed["rows_at_once"])
    passes, law = ceil(responses / assumed["rows_at_once"]) * horizon, rows * shape.vocabulary
    read = rows / draws * prompt + rows * horizon / 2  # tokens behind a new one, half of it on average
    moved = passes * (shape.bytes() + law * assumed["law_bytes"] + read * cache_bytes)
    held = (rows / draws * longest + rows * horizon) * cache_bytes + law * assumed["law_peak_bytes"]
    flops = 2 * shape.parameters * responses * ((horizon if mean is None else mean) + prompt / draws)
    return Work(flops, moved, passes * shape.layers, shape.bytes() + held, shape.weights != "float32")


def _training(step: Step, sizes: Sizes) -> Work | None:
    settings: TrainingSpec | None = step.settings["training"]
    if settings is None:  # a model as it is
        return None
    items, held_out, tokens = items_learned(step, sizes)
    spec, shape, lora = settings.over(int(items)), sizes.policy, step.settings.get("lora")
    trained = adapters(sizes.config, lora) if isinstance(lora, LoRASpec) else shape.parameters
    times = 8 if spec.gradient_checkpointing else 6
    if step.settings.get("trained") == "head":  # nothing goes backwards through the body
        trained, times = shape.width, 2
    evaluated = ceil(spec.steps / spec.evaluate_every) * held_out
    at_once = spec.micro_batch_size or spec.batch_size
    passes = spec.steps * ceil(spec.batch_size / at_once) * times / 2
    state_bytes = _kept(shape) * (1 if not spec.gradient_checkpointing else 1 / shape.layers)
    whole = step.name in (
        "pi_init",
        "pi_sft",
        "demonstrator",
    )  # whose losses need next-token laws, 3 times in float32
    laws = 12 * shape.vocabulary if whole else 0.0
    flops = shape.parameters * tokens * (times * spec.steps * spec.batch_size + 2 * evaluated)
    held = shape.bytes() + OPTIMISER * trained - (4 * trained if trained == shape.parameters else 0)
    held += at_once * sizes.longest * (1 if whole else 2) * (state_bytes + laws)
    updated = OPTIMISER + 12  # bytes that are read, and those that are written: all but gradients
    moved = passes * shape.bytes() + spec.steps * trained * updated
    return Work(flops, moved, passes * shape.layers, held, True)


def _kept(shape: Shape) -> float:
    """Return the bytes of activations of a token's backward pass, in bfloat16 (arXiv 2205.05198, 4.1).

    Without attention's scores, which fused kernels do not keep, and without dropout.
    """
    return shape.layers * shape.width * (15 + 4 * shape.inner)
