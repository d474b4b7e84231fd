"""The policy that a study asks for: a model as steps know it, and where else its weights may come from."""

from typing import Any

from pydantic import Field, model_validator

from afd_study.models.specs import ModelSpec
from afd_study.settings import HomePath


class PolicySpec(ModelSpec):
    """A causal model, from scratch, by name or folder, or out of a GGUF file.

    Steps are keyed by the plain `ModelSpec` (`model`), so that a further source of weights changes no key.
    """

    gguf: HomePath | None = Field(None, description="a GGUF file, converted once into AFD_MODELS")
    chat: bool = Field(True, description="lay texts out by the tokenizer's chat template, where it has one")

    @model_validator(mode="after")
    def _one_file(self) -> "PolicySpec":
        if self.gguf is not None and (self.name_or_path is not None or self.config):
            raise ValueError("give one of gguf, name_or_path and config, and not two")
        return self

    def model(self) -> ModelSpec:
        """Return the model as steps know it, without adapters, which only fine-tuning sees."""
        values: dict[str, Any] = {name: getattr(self, name) for name in ModelSpec.model_fields}
        return ModelSpec.model_construct(**values | {"lora": None})

    def converted(self) -> "PolicySpec":
        """Return the policy by the folder that its GGUF file is converted to: once, by the file's hash.

        Raises DataError, SpecError or StoreError, as models.gguf_files.convert does.
        """
        if self.gguf is None:
            return self
        from afd_study.models.fetched_models import converted  # waits for transformers

        return self.model_copy(update={"name_or_path": str(converted(self.gguf)), "gguf": None})
