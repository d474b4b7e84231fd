"""The steps that make texts: those of a controlled world, or those of a data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afd_study.models.specs import ModelSpec
from afd_study.study.spec import StudySpec
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step
from afd_study.worlds import alpaca_eval_corpus, hh_rlhf, own_data
from afd_study.worlds.alpaca_eval_corpus import AlpacaEvalCorpusSpec
from afd_study.worlds.controlled import DEPENDS, ControlledSpec
from afd_study.worlds.reading import digest

CORPORA = {"hh_rlhf": hh_rlhf, "own_data": own_data, "alpaca_eval": alpaca_eval_corpus}


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
    corpus: Step | None = None  # a data set as it lies on disk
    short_prompts: Step | None = None  # the same without prompts that are too long, where these are left out
    judge_pretraining: Step | None = None  # what the body of a fitted judge is pretrained on

    def roles(self) -> dict[str, Step]:
        """Return the steps that a study shows tables of, by role."""
        steps = {
            "prompts": self.prompts,
            "shown": self.shown,
            "held_out": self.held_out,
            "corpus": self.corpus,
            "short_prompts": self.short_prompts,
            "judge_pretraining": self.judge_pretraining,
        }
        return {role: each for role, each in steps.items() if each is not None}


def texts(spec: StudySpec, seed: int) -> Texts:
    """Return the steps that make a study's texts. Data on disk are read to tell whether they changed."""
    return controlled_texts(spec, seed) if isinstance(spec.world, ControlledSpec) else corpus_texts(spec)


def world_settings(spec: StudySpec, table: str) -> dict[str, Any]:
    """Return the settings of a controlled world that a table depends on, and no others."""
    return spec.world.model_dump(mode="json", include=set(DEPENDS[table]))


def bare_model(spec: StudySpec) -> ModelSpec:
    """Return the policy's model without its adapters, which only fine-tuning sees."""
    return spec.policy.model()


def _tokenizer_model(spec: StudySpec) -> dict[str, Any]:
    """Return what a tokenizer depends on: which published model, and nothing of one from scratch."""
    if spec.policy.name_or_path is None:
        return {"model": ModelSpec()}
    return {"model": bare_model(spec), "chat": spec.policy.chat}


def controlled_texts(spec: StudySpec, seed: int) -> Texts:
    """Return the steps that draw a controlled world's texts."""

    def drawn(name: str, **settings: Any) -> Step:
        return step(name, {"world": world_settings(spec, name), "seed": seed, **settings})

    def marked(plain: Step) -> Step:
        settings = {"world": world_settings(spec, "marked"), "seed": seed}
        return step("marked_demonstrations", settings, {"demonstrations": plain})

    demonstrations = drawn("demonstrations")
    held_out = drawn("held_out_demonstrations", per_prompt=spec.sampling.demonstrations)
    vocabulary = {"world": world_settings(spec, "vocabulary"), **_tokenizer_model(spec)}
    return Texts(
        prompts=drawn("prompts"),
        tokenizers=step("tokenizers", {**vocabulary, "vocabulary": 0}),
        pretraining=drawn("pretraining"),
        demonstrations=demonstrations,
        shown=marked(demonstrations),
        held_out=held_out,
        held_out_shown=marked(held_out),
        whole=False,
    )


def corpus_texts(spec: StudySpec, *, content: str | None = None) -> Texts:
    """Return the steps that read a data set's texts.

    Its files are read to tell whether they changed, unless `content`, their digest, is given.
    """
    world, reader = spec.world, "corpus"
    if isinstance(world, AlpacaEvalCorpusSpec):  # what its files hold does not say whose they are
        reader = "system_corpus"
        world = alpaca_eval_corpus.named(world) if content is None else world
    files = {name: value for name, value in dict(world).items() if isinstance(value, Path)}
    settings = {
        "world": world.model_dump(mode="json", exclude=set(files)),
        "digest": digest(CORPORA[world.name].files(world)) if content is None else content,
        "judge_share": spec.share_of_judge,
        **({"pairs_share": spec.pairs_share} if spec.pairs_share else {}),
    }
    # a data set is keyed by what it holds, wherever it lies
    places = {"files": {name: str(path.resolve()) for name, path in files.items()}}
    whole = step(reader, settings, places=places)
    vocabulary = {"world": None, **_tokenizer_model(spec), "vocabulary": spec.vocabulary}
    own_words = {"prompts": whole, "texts": _part(whole, "pretraining")}
    tokenizers = step("tokenizers", vocabulary, own_words)
    short = None
    if spec.sampling.long_prompts == "leave_out":
        bound = {"max_prompt_tokens": spec.sampling.max_prompt_tokens}
        short = step("short_prompts", bound, {"corpus": whole, "tokenizers": tokenizers})
    corpus = short or whole
    demonstrations, held_out = _part(corpus, "demonstrations"), _part(corpus, "held_out")
    return Texts(
        prompts=corpus,
        tokenizers=tokenizers,
        pretraining=_part(corpus, "pretraining"),
        demonstrations=demonstrations,
        shown=demonstrations,
        held_out=held_out,
        held_out_shown=held_out,
        whole=True,
        corpus=whole,
        short_prompts=short,
        judge_pretraining=None if spec.judge is None else _part(corpus, "pretraining", "judge"),
    )


def _part(corpus: Step, kind: str, part: str = "policy") -> Step:
    return step("corpus_texts", {"part": part, "kind": kind}, {"corpus": corpus})
