"""Settings of the methods that train a policy on a reward or against a discriminator."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import Field, model_validator

from afd_study.models.specs import TrainingSpec
from afd_study.settings import Settings

Method = TypeVar("Method", bound=Settings)


class PolicyGradientSpec(TrainingSpec):
    """How to optimise a policy on a reward. A step draws `draws` responses to each of `batch_size` prompts.

    Responses are drawn at temperature 1, for the policy's own law is what is differentiated.
    """

    algorithm: Literal["rloo", "ppo_clip"] = "rloo"
    steps: int = Field(150, ge=1, description="batches of responses that are drawn")
    batch_size: int = Field(16, ge=1, description="prompts a step, over all processes")
    draws: int = Field(8, ge=2, description="responses a prompt and step")
    micro_batch_size: int | None = Field(None, ge=1, description="prompts at once on a device; None: all")
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    kl_coefficient: float = Field(0.05, ge=0, description="reward per nat of KL(policy || reference)")
    clip: float = Field(0.2, gt=0, lt=1, description="ppo_clip: half-width of the ratios' range")
    epochs: int = Field(1, ge=1, description="ppo_clip: optimiser steps on one batch of responses")
    evaluate_every: int = Field(25, ge=1)
    evaluation_draws: int = Field(4, ge=1, description="responses a validation prompt and evaluation")
    checkpoint_every: int = Field(50, ge=1, description="steps; a multiple of evaluate_every")

    @model_validator(mode="after")
    def _fits(self) -> "PolicyGradientSpec":
        if self.algorithm == "rloo" and self.epochs > 1:
            raise ValueError("rloo needs fresh responses at each step: epochs=1, or algorithm=ppo_clip")
        if self.patience is not None:
            raise ValueError("patience must be None: the last weights are kept, and training runs to its end")
        return self

    def optimiser(self) -> TrainingSpec:
        """Return the same settings with everything that counts steps counting optimiser steps."""
        counts = ("steps", "warmup_steps", "evaluate_every", "checkpoint_every")
        return self.model_copy(update={name: getattr(self, name) * self.epochs for name in counts})


class AdversarialSpec(Settings):
    """Policy and discriminator in turns; a discriminator's batch holds pairs (demonstration, sample)."""

    policy: PolicyGradientSpec = PolicyGradientSpec(kl_coefficient=0.0)
    policy_reward: Literal["airl", "gail", "density_ratio"] = Field(
        "airl", description="of the logit; descends the reverse KL, the JS divergence or the forward KL"
    )
    logit_clip: float = Field(5.0, gt=0, description="a learned logit is kept within +- this, in nats")
    true_logit_clip: float = Field(30.0, gt=0, description="the same of the true logit")
    batch_size: int = Field(64, ge=1, description="pairs of a discriminator's step")
    updates: int = Field(3, ge=1, description="discriminator's steps for each step of the policy")
    warmup_updates: int = Field(200, ge=0, description="discriminator's steps before the policy's first")
    replay: int = Field(1024, ge=1, description="latest samples of the policy that it is trained on")
    learning_rate: float = Field(5e-4, gt=0, description="the discriminator's")
    betas: tuple[float, float] = Field(
        (0.5, 0.95), description="the discriminator's; Adam's for means, squares"
    )
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _fills_a_batch(self) -> "AdversarialSpec":
        if self.replay < self.batch_size:
            raise ValueError(f"replay={self.replay} must hold at least a batch of {self.batch_size}")
        return self

    def discriminator(self) -> TrainingSpec:
        """Return the settings of the discriminator's optimiser; its rate is constant."""
        return TrainingSpec(
            steps=1,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            schedule="constant",
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
        )


class ArmsSpec(Settings):
    """Policies beyond picking: which of methods.arms.ARMS, how they are trained, how often drawn from."""

    names: tuple[str, ...] = ()
    direct: TrainingSpec
    gradient: PolicyGradientSpec = PolicyGradientSpec()
    adversarial: AdversarialSpec = AdversarialSpec()
    schedules: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="arm -> what differs from its method's settings, where some do"
    )
    ppo_epochs: int = Field(2, ge=1, description="ppo_clip: optimiser steps on one batch of responses")
    draws: int = Field(16, ge=2, description="responses of an arm to a test prompt")

    def scheduled(self, name: str, training: Method) -> Method:
        """Return the training of an arm, `training` by its method, with what its own schedule changes.

        A setting that is not named keeps the method's value; settings may be nested as the method's are.

        Raises pydantic.ValidationError for a setting that the method has not, or for a value out of range.
        """
        changes = self.schedules.get(name)
        if not changes:
            return training
        return type(training).model_validate(_merged(training.model_dump(exclude_unset=True), changes))


def _merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with some of them replaced."""
    return values | {
        name: _merged(values.get(name, {}), value) if isinstance(value, Mapping) else value
        for name, value in changes.items()
    }
