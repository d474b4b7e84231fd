"""Small frozen settings of models, training and sampling; read without loading torch."""

from typing import Any, Literal

from pydantic import Field, model_validator

from afd_study.settings import NameOrPath, Settings


class LoRASpec(Settings):
    """Low-rank adapters (peft); merged into the weights when the model is saved."""

    r: int = Field(32, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | None = None  # None: peft's own choice for the architecture


class ModelSpec(Settings):
    """A causal model: from scratch (`architecture` and its transformers config) or by `name_or_path`."""

    architecture: str = "gpt2"
    config: dict[str, Any] = Field(default_factory=dict, description="settings of the transformers config")
    name_or_path: NameOrPath | None = None
    allow_download: bool = Field(False, description="fetch name_or_path from the hub if it is no folder")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of name_or_path's weights; auto: as published"
    )
    lora: LoRASpec | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "ModelSpec":
        if self.name_or_path is not None and self.config:
            raise ValueError("give either name_or_path or config (from scratch), not both")
        return self


class TrainingSpec(Settings):
    """How to train. Counts are of optimiser steps; the learning rate follows `schedule` over all of them.

    Their number is `steps`, or follows from `data_epochs` and the amount of data (`over`).
    """

    steps: int = Field(0, ge=1, description="optimiser steps; left out where data_epochs is given")
    data_epochs: float | None = Field(None, gt=0, description="passes over the data, in place of steps")
    batch_size: int = Field(64, ge=1, description="examples (or pairs) a step, over all processes")
    micro_batch_size: int | None = Field(None, ge=1, description="examples at once on a device; None: all")
    gradient_checkpointing: bool = Field(
        False, description="compute a layer's states again backwards: less memory, a third more time"
    )
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    evaluate_every: int = Field(50, ge=1)
    patience: int | None = Field(None, ge=1, description="evaluations without a new best before stopping")
    checkpoint_every: int = Field(200, ge=1, description="steps; a multiple of evaluate_every")

    @model_validator(mode="after")
    def _checkpoints_at_evaluations(self) -> "TrainingSpec":
        if self.checkpoint_every % self.evaluate_every:
            raise ValueError("checkpoint_every must be a multiple of evaluate_every")
        return self

    @model_validator(mode="after")
    def _one_length(self) -> "TrainingSpec":
        if (self.steps > 0) == (self.data_epochs is not None):
            raise ValueError("give either steps or data_epochs, and not both")
        return self

    def over(self, n_items: int) -> "TrainingSpec":
        """Return the same settings with `steps`: an epoch has as many as `n_items` fill batches."""
        if self.data_epochs is None:
            return self
        steps = max(1, round(self.data_epochs * (n_items // self.batch_size)))
        return self.model_copy(update={"steps": steps, "data_epochs": None})


class SamplingSpec(Settings):
    """How many responses are drawn, and how long they and their prompts may be (tokens)."""

    max_new_tokens: int = Field(64, ge=1)
    max_prompt_tokens: int | None = Field(None, ge=1, description="longest prompt; None: any length")
    long_prompts: Literal["cut", "leave_out"] = Field(
        "cut", description="a longer prompt keeps its last tokens, or is no part of the study (of data sets)"
    )
    stop: tuple[str, ...] = Field(
        (), description="a response ends where it writes one of these texts, without it (of data sets)"
    )
    temperature: float = Field(1.0, ge=1e-3, le=1e3)
    draws: int = Field(128, ge=2, description="responses of pi_SFT a test prompt: the Best-of-N pool")
    n_max: int = Field(50, ge=1, description="largest N of the Best-of-N curve")
    baseline_draws: int = Field(16, ge=1, description="responses of pi_init a test prompt")
    demonstrations: int = Field(8, ge=1, description="held-out demonstrations a test prompt, to be judged")

    @model_validator(mode="after")
    def _pool_exceeds_n(self) -> "SamplingSpec":
        if self.draws <= self.n_max:
            raise ValueError(f"draws={self.draws} must exceed n_max={self.n_max}")
        return self

    @model_validator(mode="after")
    def _bounds_fit(self) -> "SamplingSpec":
        if self.long_prompts == "leave_out" and self.max_prompt_tokens is None:
            raise ValueError("long_prompts=leave_out needs max_prompt_tokens: how long is too long?")
        if not all(self.stop):
            raise ValueError("stop holds an empty text, which every response does: leave it out")
        return self


class ClassifierSpec(Settings):
    """Which classifier judges, which of its outputs is the score, and how much of a text it reads."""

    name_or_path: NameOrPath = Field(min_length=1)
    label: str | None = Field(None, description="the label whose output is the score; None: the only one")
    score: Literal["logit", "log_odds"] = Field("logit", description="log_odds: label against all others")
    max_tokens: int = Field(512, ge=8, description="a longer text loses its beginning")
    allow_download: bool = Field(False, description="fetch name_or_path from the hub if it is no folder")
