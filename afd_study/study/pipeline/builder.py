"""What the wiring holds: a study's settings at one seed, its texts, and the steps laid out so far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from afd_study.models.specs import SamplingSpec
from afd_study.study.pipeline.texts import Texts, world_settings
from afd_study.study.spec import StudySpec
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step
from afd_study.worlds.controlled import ControlledSpec


@dataclass(frozen=True)
class Builder:
    """Lays out the steps of a study at one seed; `steps` holds them by role.

    The functions of this folder take a builder and return the step that they are named for. A step that has a
    role is laid out once, when it is first needed.
    """

    spec: StudySpec
    task: str
    seed: int
    texts: Texts
    steps: dict[str, Step] = field(default_factory=dict)

    def once(self, role: str, make: Callable[[], Step]) -> Step:
        """Return the step of a role; `make` lays it out if nothing has."""
        if role not in self.steps:
            laid_out = make()  # first, for it lays out what it needs
            self.steps[role] = laid_out
        return self.steps[role]

    @property
    def controlled(self) -> bool:
        """Whether the world is a controlled one, whose laws and judge are exact."""
        return isinstance(self.spec.world, ControlledSpec)

    @cached_property
    def bounds(self) -> SamplingSpec:
        """The sampling settings that bound texts; numbers of draws and temperature at their defaults.

        What is learned from is drawn at temperature 1, from a policy's own law: else the best discriminator's
        logit would not be log pi_SFT - log pi_init.
        """
        names = {"max_new_tokens", "max_prompt_tokens", "stop"}
        return SamplingSpec(**self.spec.sampling.model_dump(include=names))

    def world(self, table: str) -> dict[str, Any]:
        """Return the settings of a controlled world that a table depends on, and no others."""
        return world_settings(self.spec, table)

    def reading(
        self, name: str, settings: Mapping[str, Any], inputs: Mapping[str, Step], *, seeded: bool = True
    ) -> Step:
        """Return a step with its own settings and inputs, and the common ones (encoding.CommonInputs)."""
        common: dict[str, Any] = {"sampling": self.bounds} | ({"seed": self.seed} if seeded else {})
        texts = {"tokenizers": self.texts.tokenizers, "prompts": self.texts.prompts}
        return step(name, {**common, **settings}, {**texts, **inputs})
