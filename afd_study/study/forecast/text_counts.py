"""How much text a study has, before a step is run: counted where it lies here, else from forecast.yaml."""

from statistics import mean
from typing import Any, NamedTuple

from afd_study.study.forecast.model_shapes import constants
from afd_study.study.pipeline.texts import CORPORA
from afd_study.study.spec import StudySpec
from afd_study.worlds.controlled import ControlledSpec, ControlledWorld, open_world
from afd_study.worlds.corpus import Corpus
from afd_study.worlds.grammar import split_words
from afd_study.worlds.hh_rlhf import HHRLHFSpec

SAMPLE = 500  # demonstrations that lengths are measured on
SPECIAL_IDS = 2  # of a word-level tokenizer: padding and unknown words; the end mark is in the alphabet


class TextCounts(NamedTuple):
    """Texts that the policy's part of a study has, and their mean tokens."""

    demonstrations: float  # to learn from
    validation: float  # demonstrations of validation prompts
    tested: float  # prompts
    held_out: float  # demonstrations to test prompts
    preferences: float
    pretraining: float  # texts
    prompt: float  # tokens
    response: float
    judge: float = 0.0  # preferences of the judge's part
    pairs: float = 0.0  # pairs that nobody learns from


def count_texts(spec: StudySpec) -> TextCounts:
    """Return how much text a study has.

    Raises DataError where data that are to be here are missing or damaged.
    """
    if isinstance(spec.world, ControlledSpec):
        return _of_world(spec, spec.world)
    if isinstance(spec.world, HHRLHFSpec) and spec.world.hub is not None:
        return _of_hub(spec, spec.world)
    module: Any = CORPORA[spec.world.name]
    return _of_corpus(spec, module.load(spec.world, keep_texts=False))


def vocabulary_size(spec: StudySpec) -> int:
    """Return how many ids the tokenizer of a policy from scratch has."""
    if isinstance(spec.world, ControlledSpec):
        return len(_world(spec.world).alphabet) + SPECIAL_IDS
    return spec.vocabulary


def _of_world(spec: StudySpec, world: ControlledSpec) -> TextCounts:
    """Count a controlled world's texts; lengths are means over prompts and SAMPLE demonstrations."""
    few = min(SAMPLE, world.n_demonstrations)
    whole_world = _world(world.model_copy(update={"n_demonstrations": few}))
    prompts, demonstrations = whole_world.prompts(0), whole_world.demonstrations(0)
    n = float(world.n_demonstrations)
    share = world.n_validation / float((prompts["split"] != "test").sum())
    tables = (prompts["text"], demonstrations["text"])
    words = [mean(len(split_words(text)) for text in texts) for texts in tables]
    return TextCounts(
        demonstrations=n * (1 - share),
        validation=n * share,
        tested=world.n_test,
        held_out=world.n_test * spec.sampling.demonstrations,
        preferences=n * (1 - share),
        pretraining=world.n_pretraining,
        prompt=words[0],
        response=words[1],
    )


def _world(spec: ControlledSpec) -> ControlledWorld:
    return open_world(spec.model_dump(mode="json"))


def _of_hub(spec: StudySpec, world: HHRLHFSpec) -> TextCounts:
    published = constants()["hh_rlhf"]
    rows = sum(published["rows"][subset] for subset in world.subsets)
    most = world.max_rows or rows
    part = (1 - spec.share_of_judge - spec.pairs_share) * min(1.0, most / rows)
    learned, tested = part * rows, part * published["test_rows"] * len(world.subsets)
    tokens = [published[side] / constants()["characters_per_token"] for side in ("prompt", "response")]
    return TextCounts(
        demonstrations=learned * (1 - world.validation),
        validation=learned * world.validation,
        tested=tested,
        held_out=tested,
        preferences=learned * (1 - world.validation),
        pretraining=learned,
        prompt=tokens[0],
        response=tokens[1],
        judge=spec.share_of_judge * min(rows, most),
        pairs=spec.pairs_share * min(rows, most),
    )


def _of_corpus(spec: StudySpec, corpus: Corpus) -> TextCounts:
    rows = corpus.rows
    by_split = rows.loc[rows["demonstrated"], "split"].value_counts()
    pairs = rows.loc[rows["compared"], "split"].value_counts()
    part = 1 - spec.share_of_judge - spec.pairs_share
    lengths = (
        (rows.loc[rows["first"], "prompt_length"], spec.sampling.max_prompt_tokens),
        (rows.loc[rows["demonstrated"], "answer_length"], spec.sampling.max_new_tokens),
    )
    each = constants()["characters_per_token"]
    prompt, response = (float((length / each).clip(upper=most).mean()) for length, most in lengths)
    return TextCounts(
        demonstrations=part * by_split.get("train", 0),
        validation=part * by_split.get("validation", 0),
        tested=part * (rows["first"] & (rows["split"] == "test")).sum(),
        held_out=part * by_split.get("test", 0),
        preferences=part * pairs.get("train", 0),
        pretraining=part * by_split.sum(),
        prompt=prompt,
        response=response,
        judge=spec.share_of_judge * pairs.get("train", 0),
        pairs=spec.pairs_share * pairs.sum(),
    )
