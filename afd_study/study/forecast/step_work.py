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
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import pandas as pd
from transformers import AutoConfig, PreTrainedConfig

from afd_study.errors import unknown_name
from afd_study.evaluation.counterfactual_edits import EDITS
from afd_study.models.kernels.shared_prompt_scoring import FEWEST
from afd_study.models.model_files import JUDGE
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.study.forecast.model_shapes import (
    BYTES,
    Shape,
    adapters,
    constants,
    published_config,
    shape_of,
)
from afd_study.study.forecast.text_counts import TextCounts, count_texts, vocabulary_size
from afd_study.study.spec import StudySpec
from afd_study.study.steps import STEPS
from afd_study.study.steps.probes import EDITED_DRAWS
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


@dataclass(frozen=True)
class Sizes:
    """What the work of every step follows from: settings, texts, models."""

    spec: StudySpec
    texts: TextCounts
    config: PreTrainedConfig
    policy: Shape
    judge: Shape | None

    @property
    def longest(self) -> float:
        """Tokens of the longest prompt that is read, with the longest response; what memory has to hold."""
        sampling = self.spec.sampling
        return (sampling.max_prompt_tokens or 2 * self.texts.prompt) + sampling.max_new_tokens

    @property
    def answer(self) -> float:
        """Tokens of a response of the data."""
        return min(self.texts.response, self.spec.sampling.max_new_tokens)

    @property
    def written(self) -> float:
        """Tokens of a prompt with a response of the data."""
        return self.texts.prompt + self.answer

    @property
    def sampled(self) -> float:
        """Tokens of a prompt with a response of pi_init, which as published may go on to the bound."""
        published = self.spec.policy.name_or_path is not None and self.spec.pretraining is None
        return self.texts.prompt + (self.spec.sampling.max_new_tokens if published else self.answer)


def device_peaks(device: str) -> Mapping[str, float]:
    """Return a device's peaks and memory; SpecError for one that forecast.yaml does not name."""
    devices = constants()["devices"]
    if device not in devices:
        raise unknown_name("device", device, devices)
    return dict(devices[device])


def study_sizes(spec: StudySpec) -> Sizes:
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
        weights = published if spec.policy.dtype == "auto" else spec.policy.dtype
        policy = shape_of(config, weights=weights, published=published)
    judge = None
    if spec.judge_model is not None:
        of_judge, published = published_config(spec.judge_model.name_or_path, JUDGE)
        judge = shape_of(of_judge, weights=published, published=published)
    return Sizes(spec, count_texts(spec), config, policy, judge)


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
            responses=_responses(step, sizes),
            draws=step.settings["draws"],
            prompt=prompt,
            longest=sizes.longest - horizon,
            horizon=horizon,
            mean=_response(step, sizes),
        )
    if work in ("scoring", "logprobs", "judging"):
        n, tokens = _texts(step, sizes)
        if work == "judging":
            assert sizes.judge is not None  # study_sizes() read the same settings
            return reading(n * sizes.texts.prompt + tokens, sizes.judge, at_once="judge")
        texts = step.inputs.get("texts", step)  # those of training have one or two responses a prompt
        tested = texts.name != "samples" or texts.settings["purpose"] == "test"
        prompts = sizes.texts.tested if tested and n >= FEWEST * sizes.texts.tested else n
        return reading(prompts * sizes.texts.prompt + tokens, sizes.policy, laws=work == "logprobs")
    return None


def _responses(step: Step, sizes: Sizes) -> float:
    """Return how many texts a step holds: responses of a policy, or demonstrations to test prompts."""
    if step.name == "pair_logprobs":
        return _responses(step.inputs["pairs"], sizes)
    if step.name == "held_out_pairs":  # both answers; of all splits where a judge is tried
        learned = sizes.texts.preferences * ("train" in step.settings["splits"])
        return 2 * (sizes.texts.held_out + learned + sizes.texts.pairs)
    step = step.inputs["samples"] if step.name == "model_demonstrations" else step
    if step.name != "samples":
        return sizes.texts.held_out
    if step.settings["purpose"] == "test":
        return float(step.settings["draws"] * sizes.texts.tested)
    return float(step.settings["draws"] * (sizes.texts.demonstrations + sizes.texts.validation))


def _response(step: Step, sizes: Sizes) -> float:
    """Return the tokens of a response that a step holds, on average."""
    by_init = step.name == "samples" and step.inputs["policy"].name == "pi_init"
    return (sizes.sampled if by_init else sizes.written) - sizes.texts.prompt


def _texts(step: Step, sizes: Sizes) -> tuple[float, float]:
    """Return how many texts a step that scores takes through its model, and the tokens of their responses."""
    if step.name == "text_states":
        texts = step.inputs["texts"]
        n = _read_once(texts, sizes)
        return n, n * _response(texts, sizes)
    if "edits" in step.inputs or step.name == "densities":  # samples know theirs from when they were drawn
        n = EDITED_DRAWS * (1 + len(EDITS)) * sizes.texts.tested
        n = n if "edits" in step.inputs else sizes.texts.held_out
        return n, n * sizes.answer
    aside = ("reward_model", "tokenizers", "prompts", "policy")
    held = [(_responses(each, sizes), each) for name, each in step.inputs.items() if name not in aside]
    return sum(n for n, _ in held), sum(n * _response(each, sizes) for n, each in held)


def _read_once(texts: Step, sizes: Sizes) -> float:
    """Return how many texts a frozen body reads of a step."""
    if texts.name == "edits":
        return EDITED_DRAWS * (1 + len(EDITS)) * sizes.texts.tested
    if texts.name in ("corpus", "system_corpus", "short_prompts"):  # pairs, the judge's and the others'
        return 2 * (sizes.texts.preferences + sizes.texts.judge)
    if "preferences" in texts.name:
        return 2 * sizes.texts.preferences
    if texts.name == "model_demonstrations":
        return _responses(texts, sizes)
    names = [texts.name, str(texts.settings.get("kind")), *(each.name for each in texts.inputs.values())]
    if texts.name == "samples" or any("held_out" in name for name in names):
        return _responses(texts, sizes)
    return sizes.texts.demonstrations + sizes.texts.validation


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
    items, held_out, tokens = _items(step, sizes)
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


def _items(step: Step, sizes: Sizes) -> tuple[float, float, float]:
    """Return how many items a training learns from, how many it is evaluated on, and an item's tokens."""
    texts = sizes.texts
    if step.name == "pi_init":
        return texts.pretraining, min(1000.0, texts.validation), sizes.written
    if step.name in ("pi_sft", "demonstrator"):
        return texts.demonstrations, texts.validation, sizes.written
    if step.name == "fitted_judge":
        return texts.judge, texts.judge * texts.validation / max(1.0, texts.demonstrations), 2 * sizes.written
    data = step.settings.get("data")  # of a reward model, its recipe's times included
    if data is None:
        return texts.demonstrations, texts.validation, 2 * sizes.sampled
    if data.high == "preferred":
        n = sizes.spec.reward.n_preferences or texts.preferences
        return n, texts.validation, 2 * sizes.written
    sides = [sizes.written if side == "demonstrations" else sizes.sampled for side in (data.high, data.low)]
    return texts.demonstrations * data.times, texts.validation * data.times, sum(sides)


def _kept(shape: Shape) -> float:
    """Return the bytes of activations of a token's backward pass, in bfloat16 (arXiv 2205.05198, 4.1).

    Without attention's scores, which fused kernels do not keep, and without dropout.
    """
    return shape.layers * shape.width * (15 + 4 * shape.inner)
