"""The steps that a study begins with: texts of a world or a data set, tokenizers, and the policies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afd_study.study.spec import StudySpec
from afd_study.study.store import Step
from afd_study.worlds import hh_rlhf, own_data
from afd_study.worlds.controlled import DEPENDS
from afd_study.worlds.reading import digest

TEXTS, REWARDS, PROBES, PUBLISHED = (
    f"afd_study.study.{name}" for name in ("steps", "reward_steps", "probe_steps", "published_steps")
)


@dataclass(frozen=True)
class Texts:
    """The steps that a world begins with, whatever the world."""

    prompts: Step
    tokenizers: Step
    pretraining: Step
    demonstrations: Step  # as the policy reads them
    shown: Step  # as reward models read them, with marks
    held_out: Step  # demonstrations for test prompts
    held_out_shown: Step
    whole: bool  # pretraining reads prompts too


def knobs(spec: StudySpec, table: str) -> dict[str, Any]:
    """Return the knobs of a controlled world that a table depends on, and no others."""
    return spec.world.model_dump(mode="json", include=set(DEPENDS[table]))


def lengths(spec: StudySpec) -> Any:
    """Return the sampling settings that bound texts; numbers of draws and temperature at their defaults.

    What is learned from is drawn at temperature 1, from a policy's own law: else the best discriminator's
    logit would not be log pi_SFT - log pi_init.
    """
    shape = spec.sampling.model_dump(include={"max_new_tokens", "max_prompt_tokens", "stop"})
    return type(spec.sampling)(**shape)


def bare_model(spec: StudySpec) -> Any:
    """Return the policy's model without its adapters, which only fine-tuning sees."""
    return spec.policy.model_copy(update={"lora": None})


def _named(spec: StudySpec) -> Any:
    """Return what a tokenizer depends on: which published model, and nothing of one from scratch."""
    return bare_model(spec) if spec.policy.name_or_path else type(spec.policy)()


def controlled_texts(spec: StudySpec, seed: int) -> Texts:
    """Return the steps that draw a controlled world's texts."""

    def table(name: str, weight: float = 1) -> Step:
        settings = {"table": name, "world": knobs(spec, name), "seed": seed}
        return Step(name, f"{TEXTS}:world_table", settings, weight=weight)

    def marked(plain: Step) -> Step:
        settings = {"world": knobs(spec, "marked"), "seed": seed}
        return Step("marked", f"{TEXTS}:marked", settings, {"demonstrations": plain})

    tokenizers = Step(
        "tokenizers",
        f"{TEXTS}:tokenizers",
        {"world": knobs(spec, "vocabulary"), "model": _named(spec), "vocabulary": 0},
    )
    demonstrations = table("demonstrations")
    per_prompt = {"per_prompt": spec.sampling.demonstrations, "seed": seed}
    held_out = Step(
        "held_out",
        f"{TEXTS}:held_out_demonstrations",
        {"world": knobs(spec, "held_out_demonstrations"), **per_prompt},
    )
    return Texts(
        prompts=table("prompts"), tokenizers=tokenizers, pretraining=table("pretraining", 8), whole=False,
        demonstrations=demonstrations, shown=marked(demonstrations),
        held_out=held_out, held_out_shown=marked(held_out),
    )  # fmt: skip


def training_samples(
    spec: StudySpec, seed: int, texts: Texts, source: str, policy: Step, times: int = 1
) -> Step:
    """Return the step that draws a policy's responses for training, `times` for each demonstration."""
    settings = {
        "source": source, "sampling": lengths(spec), "seed": seed, "purpose": "training",
        "draws": max(2, times),
    }  # fmt: skip
    inputs = {
        "policy": policy, "demonstrations": texts.demonstrations, "tokenizers": texts.tokenizers,
        "prompts": texts.prompts,
    }  # fmt: skip
    return Step("samples", f"{TEXTS}:samples", settings, inputs, weight=8)


def scores(spec: StudySpec, scorer: str, model: Step, texts: Texts, asked: Mapping[str, Step]) -> Step:
    """Return the step that scores texts of some sources by a model."""
    settings = {"scorer": scorer, "sampling": lengths(spec)}
    inputs = {"reward_model": model, "tokenizers": texts.tokenizers, "prompts": texts.prompts}
    return Step("scores", f"{REWARDS}:scores", settings, inputs | dict(asked), weight=5)


def densities(spec: StudySpec, source: str, policy: Step, pool: Step, judged: Step, texts: Texts) -> Step:
    """Return the step that gives a policy's samples and demonstrations their densities under both laws."""
    settings = {"world": knobs(spec, "demonstrator_law"), "source": source, "sampling": lengths(spec)}
    inputs = {
        "policy": policy, "samples": pool, "judged": judged, "held_out": texts.held_out,
        "tokenizers": texts.tokenizers, "prompts": texts.prompts,
    }  # fmt: skip
    return Step("densities", f"{PROBES}:densities", settings, inputs, weight=4)


def corpus_texts(spec: StudySpec, steps: dict[str, Step]) -> Texts:
    """Return the steps that read a data set's texts; those of its judge are added to `steps`."""
    module: Any = {"hh_rlhf": hh_rlhf, "own_data": own_data}[spec.world.name]
    files = {name: value for name, value in dict(spec.world).items() if isinstance(value, Path)}
    settings = {
        "world": spec.world.model_dump(mode="json", exclude=set(files)),
        "digest": digest(module.files(spec.world)),
        "judge_share": spec.judge_share,
    }
    # a data set is keyed by what it holds, wherever it lies
    places = {"files": {name: str(path.resolve()) for name, path in files.items()}}
    corpus = Step("corpus", f"{TEXTS}:corpus", settings, places=places)

    def texts(kind: str, part: str = "policy") -> Step:
        return Step(
            f"corpus_{kind}", f"{TEXTS}:corpus_texts", {"part": part, "kind": kind}, {"corpus": corpus}
        )

    tokenizers = Step(
        "tokenizers", f"{TEXTS}:tokenizers",
        {"world": None, "model": _named(spec), "vocabulary": spec.vocabulary},
        {"prompts": corpus, "texts": texts("pretraining")},
    )  # fmt: skip
    steps["corpus"] = corpus
    if spec.sampling.long_prompts == "leave_out":
        bound = {"max_prompt_tokens": spec.sampling.max_prompt_tokens}
        inputs = {"corpus": corpus, "tokenizers": tokenizers}
        corpus = steps["fitting"] = Step("fitting", f"{PUBLISHED}:fitting", bound, inputs)
    if spec.judge is not None:
        steps["judge_pretraining"] = texts("pretraining", "judge")
    demonstrations, held_out = texts("demonstrations"), texts("held_out")
    return Texts(
        prompts=corpus, tokenizers=tokenizers, pretraining=texts("pretraining"),
        demonstrations=demonstrations, shown=demonstrations,
        held_out=held_out, held_out_shown=held_out, whole=True,
    )  # fmt: skip


def pi_init(spec: StudySpec, seed: int, texts: Texts, read: Step) -> Step:
    """Return the step that makes the initial policy, pretrained on `read`."""
    settings = {
        "model": bare_model(spec), "training": spec.pretraining, "sampling": lengths(spec),
        "whole": texts.whole, "seed": seed,
    }  # fmt: skip
    inputs = {"tokenizers": texts.tokenizers, "prompts": texts.prompts, "texts": read}
    return Step("pi_init", f"{TEXTS}:pi_init", settings, inputs, weight=60)


def pi_sft(spec: StudySpec, seed: int, texts: Texts, pi_init: Step) -> Step:
    """Return the step that fine-tunes it, as far as the spec says or as brings it to the matched score."""
    settings = {"training": spec.sft, "sampling": lengths(spec), "lora": spec.policy.lora, "seed": seed}
    inputs = {
        "pi_init": pi_init, "demonstrations": texts.demonstrations, "tokenizers": texts.tokenizers,
        "prompts": texts.prompts,
    }  # fmt: skip
    if spec.matched_style is None:
        return Step("pi_sft", f"{TEXTS}:pi_sft", settings, inputs, weight=8)
    styled = spec.world.model_copy(update={"absorbed_style": spec.matched_style})
    reference = spec.model_copy(update={"matched_style": None, "world": styled})
    inputs["reference"] = pi_sft(reference, seed, controlled_texts(reference, seed), pi_init)
    settings["world"] = knobs(spec, "judge")
    return Step("pi_sft", "afd_study.study.matching:pi_sft_matched", settings, inputs, weight=30)
