"""The steps that make texts: those of a controlled world, or those of a data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afd_study.study.spec import StudySpec
from afd_study.study.workflow.step import Step
from afd_study.worlds import hh_rlhf, own_data
from afd_study.worlds.controlled import DEPENDS
from afd_study.worlds.reading import digest


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


def world_settings(spec: StudySpec, table: str) -> dict[str, Any]:
    """Return the knobs of a controlled world that a table depends on, and no others."""
    return spec.world.model_dump(mode="json", include=set(DEPENDS[table]))


def bare_model(spec: StudySpec) -> Any:
    """Return the policy's model without its adapters, which only fine-tuning sees."""
    return spec.policy.model_copy(update={"lora": None})


def _named(spec: StudySpec) -> Any:
    """Return what a tokenizer depends on: which published model, and nothing of one from scratch."""
    return bare_model(spec) if spec.policy.name_or_path else type(spec.policy)()


def controlled_texts(spec: StudySpec, seed: int) -> Texts:
    """Return the steps that draw a controlled world's texts."""

    def table(name: str, weight: float = 1) -> Step:
        settings = {"table": name, "world": world_settings(spec, name), "seed": seed}
        return Step(name, "afd_study.study.steps.texts:world_table", settings, weight=weight)

    def marked(plain: Step) -> Step:
        settings = {"world": world_settings(spec, "marked"), "seed": seed}
        return Step("marked", "afd_study.study.steps.texts:marked", settings, {"demonstrations": plain})

    tokenizers = Step(
        "tokenizers",
        "afd_study.study.steps.texts:tokenizers",
        {"world": world_settings(spec, "vocabulary"), "model": _named(spec), "vocabulary": 0},
    )
    demonstrations = table("demonstrations")
    per_prompt = {"per_prompt": spec.sampling.demonstrations, "seed": seed}
    held_out = Step(
        "held_out",
        "afd_study.study.steps.texts:held_out_demonstrations",
        {"world": world_settings(spec, "held_out_demonstrations"), **per_prompt},
    )
    return Texts(
        prompts=table("prompts"), tokenizers=tokenizers, pretraining=table("pretraining", 8), whole=False,
        demonstrations=demonstrations, shown=marked(demonstrations),
        held_out=held_out, held_out_shown=marked(held_out),
    )  # fmt: skip


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
    corpus = Step("corpus", "afd_study.study.steps.texts:corpus", settings, places=places)

    def texts(kind: str, part: str = "policy") -> Step:
        return Step(
            f"corpus_{kind}",
            "afd_study.study.steps.texts:corpus_texts",
            {"part": part, "kind": kind},
            {"corpus": corpus},
        )

    tokenizers = Step(
        "tokenizers", "afd_study.study.steps.texts:tokenizers",
        {"world": None, "model": _named(spec), "vocabulary": spec.vocabulary},
        {"prompts": corpus, "texts": texts("pretraining")},
    )  # fmt: skip
    steps["corpus"] = corpus
    if spec.sampling.long_prompts == "leave_out":
        bound = {"max_prompt_tokens": spec.sampling.max_prompt_tokens}
        inputs = {"corpus": corpus, "tokenizers": tokenizers}
        corpus = steps["fitting"] = Step("fitting", "afd_study.study.steps.published:fitting", bound, inputs)
    if spec.judge is not None:
        steps["judge_pretraining"] = texts("pretraining", "judge")
    demonstrations, held_out = texts("demonstrations"), texts("held_out")
    return Texts(
        prompts=corpus, tokenizers=tokenizers, pretraining=texts("pretraining"),
        demonstrations=demonstrations, shown=demonstrations,
        held_out=held_out, held_out_shown=held_out, whole=True,
    )  # fmt: skip
