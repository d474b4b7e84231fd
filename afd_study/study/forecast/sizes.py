"""What the work of every step follows from: a study's settings, its texts, its models."""

from dataclasses import dataclass

from transformers import AutoConfig, PreTrainedConfig

from afd_study.models.model_files import JUDGE
from afd_study.study.forecast.model_shapes import Shape, published_config, shape_of
from afd_study.study.forecast.text_counts import TextCounts, count_texts, vocabulary_size
from afd_study.study.spec import StudySpec


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
