"""Which reward models a study trains, by which recipes, and how often."""

from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from afd_study.errors import unknown_name
from afd_study.methods.reward_data import REWARD_DATA, TRAINED
from afd_study.methods.reward_pairs import RewardData, Trained
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.settings import Settings

BACKBONES = ("pi_sft", "pi_init", "scratch")


class Recipe(Settings):
    """How reward models of one choice of data are trained, where not as all others are."""

    times: int | None = Field(
        None, ge=1, description="samples of each policy a demonstration; None: as methods.reward_data says"
    )
    training: dict[str, Any] = Field(default_factory=dict, description="what differs from reward.training")
    replicates: int | None = Field(
        None, ge=1, description="reward models of this kind; None: as many as reward.replicates says"
    )
    trained: Trained | None = Field(
        None, description="all, or the head on frozen features; None: as methods.reward_data says"
    )

    @model_validator(mode="after")
    def _known_settings(self) -> "Recipe":
        for key in set(self.training) - set(TrainingSpec.model_fields):
            raise unknown_name("setting of a recipe's training", key, TrainingSpec.model_fields)
        return self


class RewardSpec(Settings):
    """Which reward models are trained, and how: by default all alike, so that only their data differ."""

    kinds: tuple[str, ...] = Field(("init_sft", "init_demo", "sft_demo", "preferences"), min_length=1)
    body: Literal["trained", "frozen"] = Field(
        "trained",
        description="frozen: heads alone are trained, on states of the backbone, computed once a text",
    )
    layer: int | None = Field(
        None, ge=1, description="block whose states a frozen body gives; None: at two thirds of the depth"
    )
    head: Literal["linear", "network"] = Field("linear", description="on a frozen body")
    backbone: str = Field("pi_sft", description=f"what a reward model starts from: {', '.join(BACKBONES)}")
    config: dict[str, Any] = Field(
        default_factory=dict, description="of a backbone from scratch: what differs from the policy's config"
    )
    training: TrainingSpec
    recipes: dict[str, Recipe] = Field(
        default_factory=dict, description="reward model -> its own recipe, where it has one"
    )
    replicates: int = Field(
        1, ge=1, description="reward models of each kind: other heads, orders and samples, the same labels"
    )
    lora: LoRASpec | None = None
    n_preferences: int | None = Field(
        None, ge=1, description="labels to learn from; None: one for each demonstration (of a data set all)"
    )

    def recipe(self, kind: str) -> tuple[RewardData, TrainingSpec]:
        """Return the data and the training of a kind, by its own recipe where it has one."""
        data, recipe = REWARD_DATA[kind], self.recipes.get(kind, Recipe())
        training = TrainingSpec(**self.training.model_dump(exclude_unset=True) | recipe.training)
        return data._replace(times=recipe.times or data.times), training

    def replicates_of(self, kind: str) -> int:
        """Return how many reward models there are of a kind."""
        return self.recipes.get(kind, Recipe()).replicates or self.replicates

    def trained(self, kind: str) -> Trained:
        """Return what is trained of a kind's reward models."""
        return self.recipes.get(kind, Recipe()).trained or TRAINED.get(kind, "all")

    @model_validator(mode="after")
    def _recipes_fit(self) -> "RewardSpec":
        for kind, recipe in self.recipes.items():
            if kind not in REWARD_DATA:
                raise unknown_name("reward model", kind, REWARD_DATA)
            if recipe.times and REWARD_DATA[kind].high == "preferred":
                raise ValueError(f"recipe of {kind}: only samples are free, and its labels are not: no times")
            try:
                self.recipe(kind)
            except ValidationError as fault:
                first = fault.errors()[0]
                where = ".".join(map(str, (f"recipes.{kind}.training", *first["loc"])))
                raise ValueError(f"{where}: {first['msg']}") from None
        return self

    @model_validator(mode="after")
    def _frozen_bodies_are_policies(self) -> "RewardSpec":
        if self.body == "frozen" and self.backbone == "scratch":
            raise ValueError("a body from scratch says nothing while it is frozen: name a policy as backbone")
        return self

    @model_validator(mode="after")
    def _own_config_from_scratch(self) -> "RewardSpec":
        if self.config and self.backbone != "scratch":
            raise ValueError(
                f"reward.config is of a backbone from scratch, and reward.backbone is '{self.backbone}'"
            )
        return self
