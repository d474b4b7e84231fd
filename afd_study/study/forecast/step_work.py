"""What a study takes, told before it is run: downloads, memory, time, by step. Nothing is fetched.

Of each step that takes a model through texts it is told how many FLOPs that is (2 a parameter and token
forwards, 6 in training, attention left out, as `Context.spend` has it), how many bytes move and how many
layers are called one after the other. Its time on a device is the largest of

    FLOPs / (peak x assumed share),  bytes / (bandwidth x assumed share),  layers called x assumed launch.

Peaks are a data sheet's, shares and launches assumptions: forecast.yaml. No time on a GPU has been measured.
Responses that are drawn are taken to be as long as they may become, which most are not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import pandas as pd
from transformers import AutoConfig, PreTrainedConfig

from afd_study.errors import unknown_name
from afd_study.evaluation.counterfactual_edits import EDITS
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.models.kernels.shared_prompt_scoring import FEWEST
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.study.forecast.model_shapes import (
    BYTES,
    Shape,
    adapters,
    constants,
    published_config,
    shape_of,
)
from afd_study.study.forecast.text_counts import Amounts, amounts, vocabulary_size
from afd_study.study.spec import StudySpec
from afd_study.study.steps import STEPS
from afd_study.study.steps.probes import EDITED_DRAWS
from afd_study.study.workflow.step import Step
from afd_study.worlds.hh_rlhf import HHRLHFSpec

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
        peaks, known = device_peaks(device), constants()
        compute = self.flops / (
            peaks["bfloat16" if self.bfloat16 else "float32"] * known["shares"]["compute"]
        )
        moving = self.moved / (peaks["bandwidth"] * known["shares"]["bandwidth"])
        return float(max(compute, moving, self.layers * known["launch_seconds"]))


@dataclass(frozen=True)
class Sizes:
    """What the work of every step follows from: settings, texts, models."""

    spec: StudySpec
    texts: Amounts
    config: PreTrainedConfig
    policy: Shape
    judge: Shape | None

    @property
    def drawn(self) -> float:
        """Tokens of a prompt with the longest response that may be drawn."""
        return self.texts.prompt + self.spec.sampling.max_new_tokens

    @property
    def longest(self) -> float:
        """Tokens of the longest prompt that is read, with the longest response; what memory has to hold."""
        return (
            self.spec.sampling.max_prompt_tokens or 2 * self.texts.prompt
        ) + self.spec.sampling.max_new_tokens

    @property
    def told(self) -> float:
        """Tokens of a prompt with a response of the data."""
        return self.texts.prompt + min(self.texts.response, self.spec.sampling.max_new_tokens)


def device_peaks(device: str) -> Mapping[str, float]:
    """Return a device's peaks and memory; SpecError for one that forecast.yaml does not name."""
    known = constants()["devices"]
    if device not in known:
        raise unknown_name("device", device, known)
    return dict(known[device])


def sizes(spec: StudySpec) -> Sizes:
    """Return a study's sizes.

    Raises SpecError for a model whose size is not known, DataError for data that are not there.
    """
    if spec.policy.name_or_path is None:
        ids = {"vocab_size": vocabulary_size(spec)}
        settings = {**spec.policy.config, **ids, "bos_token_id": None, "eos_token_id": None}
        config = AutoConfig.for_model(spec.policy.architecture, **settings)
        policy = shape_of(config, weights="float32", published="float32")
    else:
        config, published = published_config(spec.policy.name_or_path)
        wanted = published if spec.policy.dtype == "auto" else spec.policy.dtype
        policy = shape_of(config, weights=wanted, published=published)
    judge = None
    if spec.judge_model is not None:
        of_judge, published = published_config(spec.judge_model.name_or_path)
        judge = shape_of(of_judge, weights=published, published=published)
    return Sizes(spec, amounts(spec), config, policy, judge)


def downloads(found: Sizes) -> pd.DataFrame:
    """Return what a run would fetch from the hub, unless its cache has it: kind, name, bytes.

    Weights as published, tokenizers left out; data by the size of a compressed row.
    """
    spec, rows = found.spec, []
    for kind, model, shape in (
        ("policy", spec.policy, found.policy),
        ("judge", spec.judge_model, found.judge),
    ):
        if model is not None and shape is not None and model.name_or_path and model.allow_download:
            rows.append((kind, model.name_or_path, shape.parameters * BYTES[shape.published]))
    if isinstance(spec.world, HHRLHFSpec) and spec.world.hub is not None:
        known, subsets = constants()["hh_rlhf"], spec.world.subsets
        n = sum(known["rows"][subset] + known["test_rows"] for subset in subsets)
        name = f"{spec.world.hub} ({', '.join(subsets)})"
        rows.append(("data", name, n * known["bytes_per_row"]))
    return pd.DataFrame(rows, columns=["kind", "name", "bytes"])


def forecast(
    found: Sizes, steps: Iterable[tuple[str, Step]], *, device: str
) -> tuple[pd.DataFrame, list[Step]]:
    """Return each of some named steps that takes a model through texts (COLUMNS), and the other steps."""
    rows, rest = [], []
    for name, step in steps:
        work = work_of(step, found)
        if work is None:
            rest.append(step)
        else:
            rows.append((name, work.flops, work.seconds(device), work.held / 1e9))
    return pd.DataFrame(rows, columns=list(COLUMNS)), rest


def work_of(step: Step, found: Sizes) -> Work | None:
    """Return what a step takes of a device; None where it takes no model through texts, or no rule says."""
    work = STEPS[step.name].work
    if work == "training":
        return _training(step, found)
    if work == "drawing":
        horizon, prompt = found.spec.sampling.max_new_tokens, found.texts.prompt
        return drawing(
            found.policy,
            responses=_responses(step, found),
            draws=step.settings["draws"],
            prompt=prompt,
            longest=found.longest - horizon,
            horizon=horizon,
        )
    if work == "judging":
        assert found.judge is not None  # sizes() read the same settings
        return reading(_texts(step, found) * found.drawn, found.judge, at_once="judge")
    if work in ("scoring", "logprobs"):
        n = _texts(step, found)
        prompts = found.texts.tested if n >= FEWEST * found.texts.tested else n
        tokens = found.drawn - found.texts.prompt * (1 - prompts / n)
        return reading(n * tokens, found.policy, laws=work == "logprobs")
    return None


def _responses(step: Step, found: Sizes) -> float:
    """Return how many texts a step holds: responses of a policy, or demonstrations to test prompts."""
    if step.name != "samples":
        return found.texts.shown
    if step.settings["purpose"] == "test":
        return float(step.settings["draws"] * found.texts.tested)
    return float(step.settings["draws"] * (found.texts.demonstrations + found.texts.validation))


def _texts(step: Step, found: Sizes) -> float:
    """Return how many texts a step that scores takes through its model."""
    if "edits" in step.inputs:
        return EDITED_DRAWS * (1 + len(EDITS)) * found.texts.tested
    if step.name == "densities":
        return found.texts.shown  # samples know theirs from when they were drawn
    aside = ("reward_model", "tokenizers", "prompts", "policy")
    return sum(_responses(each, found) for name, each in step.inputs.items() if name not in aside)


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
    shape: Shape, *, responses: float, draws: int, prompt: float, longest: float, horizon: int
) -> Work:
    """Draw responses, `draws` a prompt: its keys and values are held and read once for all of them.

    `prompt` and `longest` are tokens, of a prompt on average and at most; `horizon` those of a response.
    """
    known, kept = constants(), shape.cached * BYTES[shape.weights]
    rows = min(responses, known["rows_at_once"])
    passes, law = ceil(responses / known["rows_at_once"]) * horizon, rows * shape.vocabulary
    read = rows / draws * prompt + rows * horizon / 2  # tokens behind a new one, half of it on average
    moved = passes * (shape.bytes() + law * known["law_bytes"] + read * kept)
    held = (rows / draws * longest + rows * horizon) * kept + law * known["law_peak_bytes"]
    flops = 2 * shape.parameters * (responses * horizon + responses / draws * prompt)
    return Work(flops, moved, passes * shape.layers, shape.bytes() + held, shape.weights != "float32")


def _training(step: Step, found: Sizes) -> Work | None:
    told: TrainingSpec | None = step.settings["training"]
    if told is None:
        return None
    items, held_out, tokens = _items(step, found)
    spec, shape, lora = told.over(int(items)), found.policy, step.settings.get("lora")
    trained = adapters(found.config, lora) if isinstance(lora, LoRASpec) else shape.parameters
    times = 8 if spec.gradient_checkpointing else 6
    evaluated = ceil(spec.steps / spec.evaluate_every) * held_out
    at_once = spec.micro_batch_size or spec.batch_size
    passes = spec.steps * ceil(spec.batch_size / at_once) * times / 2
    kept = _kept(shape) * (1 if not spec.gradient_checkpointing else 1 / shape.layers)
    whole = step.name in ("pi_init", "pi_sft")  # whose losses need next-token laws, 3 times in float32
    laws = 12 * shape.vocabulary if whole else 0.0
    flops = shape.parameters * tokens * (times * spec.steps * spec.batch_size + 2 * evaluated)
    held = shape.bytes() + OPTIMISER * trained - (4 * trained if trained == shape.parameters else 0)
    held += at_once * found.longest * (1 if whole else 2) * (kept + laws)
    moved = passes * shape.bytes() + spec.steps * trained * (
        OPTIMISER + 12
    )  # read, and written but for gradients
    return Work(flops, moved, passes * shape.layers, held, True)


def _items(step: Step, found: Sizes) -> tuple[float, float, float]:
    """Return how many items a training learns from, how many it is evaluated on, and an item's tokens."""
    texts = found.texts
    if step.name == "pi_init":
        return texts.pretraining, min(1000.0, texts.validation), found.told
    if step.name == "pi_sft":
        return texts.demonstrations, texts.validation, found.told
    if step.name == "fitted_judge":
        return texts.judge, texts.judge * texts.validation / max(1.0, texts.demonstrations), 2 * found.told
    data = REWARD_DATA.get(step.settings.get("kind", ""))
    if data is None:
        return texts.demonstrations, texts.validation, 2 * found.drawn
    if data.high == "preferred":
        n = found.spec.reward.n_preferences or texts.preferences
        return n, texts.validation, 2 * found.told
    sides = [found.told if side == "demonstrations" else found.drawn for side in (data.high, data.low)]
    return texts.demonstrations * data.times, texts.validation * data.times, sum(sides)


def _kept(shape: Shape) -> float:
    """Return the bytes of states that a token's way back needs, in bfloat16 (arXiv 2205.05198, section 4.1).

    Without attention's scores, which fused kernels do not keep, and without dropout.
    """
    return shape.layers * shape.width * (15 + 4 * shape.inner)
