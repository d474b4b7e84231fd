"""A demonstrator that is a language model, so that its law is known where the texts are a data set's."""

from pydantic import Field, model_validator

from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.settings import Settings
from afd_study.study.policy_spec import PolicySpec


class DemonstratorSpec(Settings):
    """Which model demonstrates, what it learns from the data set's answers, and how its law is graded.

    Its samples take the place of the data set's demonstrations. Two settings grade how far it stands from
    pi_init, and so how well it can be told from pi_SFT: `strength` and `temperature`.
    """

    model: PolicySpec | None = Field(
        None, description="weights to start from, with the policy's own tokenizer; None: those of pi_init"
    )
    training: TrainingSpec | None = Field(
        None, description="on the data set's answers, as pi_SFT is trained; None: the model as it is"
    )
    lora: LoRASpec | None = Field(None, description="adapters that are trained; None: all weights are")
    strength: float = Field(
        1.0,
        ge=0,
        le=10,
        description="weights are start + strength x (trained - start): 0 is the start, above 1 exaggerates",
    )
    temperature: float = Field(1.0, ge=1e-3, le=1e3, description="of each token of its law")

    @model_validator(mode="after")
    def _one_place_for_each_setting(self) -> "DemonstratorSpec":
        if self.model is not None:
            if self.model.name_or_path is None and self.model.gguf is None:
                raise ValueError("demonstrator.model needs name_or_path or gguf; left out, it is pi_init")
            if self.model.lora is not None:
                raise ValueError("a demonstrator's adapters are demonstrator.lora: leave model.lora out")
            if not self.model.chat:
                raise ValueError("a demonstrator reads texts as the policy does: set policy.chat")
        if self.training is None and (self.lora is not None or self.strength != 1):
            raise ValueError("lora and strength are of what was trained: set demonstrator.training")
        return self

    def converted(self) -> "DemonstratorSpec":
        """Return the demonstrator by the folder that its GGUF file is converted to (PolicySpec.converted)."""
        if self.model is None:
            return self
        return self.model_copy(update={"model": self.model.converted()})
