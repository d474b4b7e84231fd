"""What is to be run: a study's settings as one frozen value, from a profile and overrides."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Union

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from afd_study.errors import SpecError, unknown_name
from afd_study.methods.arms import ARMS, ExtrapolationArm, made_by
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.methods.specs import ArmsSpec
from afd_study.models.specs import ClassifierSpec, SamplingSpec, TrainingSpec
from afd_study.settings import Settings
from afd_study.study.demonstrator_spec import DemonstratorSpec
from afd_study.study.policy_spec import PolicySpec
from afd_study.study.reward_spec import BACKBONES, RewardSpec
from afd_study.study.setting_texts import field_of, read_setting, refuse_endless_numbers
from afd_study.worlds.alpaca_eval_corpus import AlpacaEvalCorpusSpec
from afd_study.worlds.controlled import ControlledSpec
from afd_study.worlds.hh_rlhf import HHRLHFSpec
from afd_study.worlds.own_data import OwnDataSpec
from afd_study.worlds.tasks import CONTROLLED
from afd_study.worlds.variants import cell

WORLDS: Mapping[str, type[BaseModel]] = {
    **{name: world.SPEC for name, world in CONTROLLED.items()},
    "hh_rlhf": HHRLHFSpec,
    "own_data": OwnDataSpec,
    "alpaca_eval": AlpacaEvalCorpusSpec,
}
if TYPE_CHECKING:
    WorldSpec = ControlledSpec | HHRLHFSpec | OwnDataSpec | AlpacaEvalCorpusSpec
else:  # whatever worlds there are
    WorldSpec = Annotated[Union[tuple(WORLDS.values())], Field(discriminator="name")]  # noqa: UP007
SOURCES = ("pi_init", "pi_sft", "demonstrations", "preferred", "rejected")  # of responses to learn from


NAMED = ("name_or_path", "gguf")  # fields of a policy that name pretrained weights


class StudySpec(Settings):
    """All settings of one study at one seed."""

    world: WorldSpec
    policy: PolicySpec
    vocabulary: int = Field(
        2048, ge=258, description="byte-level BPE ids, where the world has no words of its own"
    )
    pretraining: TrainingSpec | None = Field(description="None: the policy is pretrained already")
    sft: TrainingSpec
    policies: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="further SFT policies, for reward models to learn from: name -> overrides of sft",
    )
    late_reference: bool = Field(
        False, description="also pick by log pi_SFT - log pi_half, half-way SFT: one more training"
    )
    reward: RewardSpec
    arms: ArmsSpec | None = Field(None, description="policies made beyond picking (controlled worlds)")
    judge: TrainingSpec | None = Field(None, description="how to fit a judge, where the world has none")
    judge_model: ClassifierSpec | None = Field(
        None, description="a published judge, by name or path, where the world has none"
    )
    judge_share: float = Field(
        0.5, ge=0, lt=1, description="share of a data set's prompts that a fitted judge learns from"
    )
    pairs_share: float = Field(0.0, ge=0, lt=1, description="share whose pairs nobody learns from")
    second_judge: bool = Field(
        False,
        description="also judge by words without length, and compare rules with people on held-out pairs",
    )
    demonstrator: DemonstratorSpec | None = Field(
        None, description="a model whose samples are the demonstrations (data sets); None: the data's own"
    )
    sampling: SamplingSpec = SamplingSpec()
    matched_style: float | None = Field(
        None,
        ge=0,
        le=1,
        description="stop SFT where it scores as SFT at this absorbed style does (controlled worlds)",
    )
    n_seeds: int = Field(3, ge=1, description="seeds of a chapter, from the given one on")
    threads: int = Field(1, ge=1, description="CPU threads a step; the same bits need the same number")
    settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="the named settings that a chapter compares: name -> overrides"
    )

    @property
    def share_of_judge(self) -> float:
        """The share of a data set's prompts that is set aside: none where no judge learns from them."""
        return self.judge_share if self.judge is not None else 0.0

    @model_validator(mode="after")
    def _known_names(self) -> "StudySpec":
        for name in self.arms.names if self.arms is not None else ():
            if name not in ARMS:
                raise unknown_name("arm", name, ARMS)
        if self.arms is not None:
            _refuse_schedules(self.arms, self.sft)
        for kind in self.reward.kinds:
            if kind not in REWARD_DATA:
                raise unknown_name("reward model", kind, REWARD_DATA)
            for source in REWARD_DATA[kind][:2]:
                if source not in (*SOURCES, *self.policies):
                    raise unknown_name(f"source of reward model {kind}", source, (*SOURCES, *self.policies))
        for name, changes in self.policies.items():
            for key in set(changes) - set(TrainingSpec.model_fields):
                raise unknown_name(f"setting of policy {name}", key, TrainingSpec.model_fields)
        if self.reward.backbone not in BACKBONES:
            raise unknown_name("backbone", self.reward.backbone, BACKBONES)
        return self

    @model_validator(mode="after")
    def _fits_its_world(self) -> "StudySpec":
        controlled, name = isinstance(self.world, ControlledSpec), self.world.name
        if self.arms is not None and self.arms.names and not controlled:
            raise ValueError(f"arms need a world with a judge, and '{name}' has none")
        if self.arms is not None and self.arms.names and self.reward.body == "frozen":
            raise ValueError("arms are optimised against trained reward models: reward.body=trained")
        if self.arms is not None and self.arms.names and self.sampling.temperature != 1:
            raise ValueError("arms are drawn at temperature 1, and so must be the pool they stand beside")
        if self.matched_style is not None and not controlled:
            raise ValueError(f"matched_style needs a world with a judge, and '{name}' has none")
        if self.matched_style is not None and self.late_reference:
            raise ValueError("late_reference is half-way of an SFT that matched_style has end elsewhere")
        if self.demonstrator is not None and controlled:
            raise ValueError(f"demonstrator is for a data set, and '{name}' has demonstrators of its own")
        if self.demonstrator is not None and self.sampling.stop:
            raise ValueError("of responses that sampling.stop ends no law is known: leave out demonstrator")
        if self.judge_model is not None and controlled:
            raise ValueError(f"judge_model is for a data set, and '{name}' has a judge of its own")
        if self.judge_model is not None and self.judge is not None:
            raise ValueError("judge_model stands in place of a fitted judge: set judge to null")
        if self.pairs_share and not self.second_judge:
            raise ValueError("pairs_share keeps pairs for second_judge, which holds rules against people")
        if self.share_of_judge + self.pairs_share >= 1:
            raise ValueError("judge_share and pairs_share leave no prompt to the policy: lower one of them")
        if self.second_judge and (controlled or self.judge is None):
            raise ValueError(
                "second_judge stands beside a judge that is fitted to people's preferences: it needs a data "
                "set with preferences, and the setting judge"
            )
        if isinstance(self.world, OwnDataSpec) and self.world.preferences is None:
            kinds = [kind for kind in self.reward.kinds if REWARD_DATA[kind].high == "preferred"]
            reader = "judge" if self.judge is not None else f"reward.kinds={kinds}" if kinds else None
            if reader is not None:
                raise ValueError(f"{reader} learns from preferences: set world.preferences, or leave it out")
        if isinstance(self.world, ControlledSpec) and self.world.variant is not None:
            _refuse_made_up_ends(self.world, self.sampling.max_new_tokens)
        if controlled and (self.sampling.stop or self.sampling.long_prompts != "cut"):
            raise ValueError(f"sampling.stop and long_prompts are of dialogues, and '{name}' has none")
        return self


def _refuse_schedules(arms: ArmsSpec, sft: TrainingSpec) -> None:
    """Raise SpecError or ValueError for the schedule of an unknown arm, or one that its method can't have."""
    trained = [name for name in ARMS if name not in made_by(ExtrapolationArm)]
    for name in arms.schedules:
        if name not in trained:
            raise unknown_name("arm that is trained", name, trained)
        training = ARMS[name].training(arms, sft)
        try:
            arms.scheduled(name, training)
        except ValidationError as fault:
            first = fault.errors()[0]
            *path, last = map(str, first["loc"] or ("",))
            if first["type"] == "extra_forbidden":
                model: Any = type(training)
                for part in path:
                    model = _model_of(model.model_fields[part].annotation)
                raise unknown_name(f"setting of the schedule of {name}", last, model.model_fields) from None
            where = ".".join([f"arms.schedules.{name}", *path, last]).rstrip(".")
            raise ValueError(f"{where}: {first['msg']}") from None


def _refuse_made_up_ends(world: ControlledSpec, horizon: int) -> None:
    """Raise ValueError for a variant that there is not, or whose endless texts would seem to end early."""
    assert world.variant is not None
    if not cell(world.name, world.variant).web_ends and world.max_words < horizon:
        raise ValueError(
            f"pretraining text of variant {world.variant} does not end, but cut at world.max_words="
            f"{world.max_words} it would seem to: set it to sampling.max_new_tokens={horizon} or more"
        )


def profile_names() -> list[str]:
    """Return the names of the profiles that come with the package."""
    folder = files("afd_study.study").joinpath("profiles")
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def task_names(profile: str) -> list[str]:
    """Return the tasks that a profile has settings for."""
    return list(_profile(profile))


def load_spec(task: str, profile: str, overrides: Mapping[str, Any] | None = None) -> StudySpec:
    """Return the settings of a task in a profile, with single values replaced.

    `overrides` maps dotted keys to values: {"world.heterogeneity": 0.5, "sft.steps": 200}; a value given
    as text is read as its field wants it (setting_texts). A policy that is named
    (`policy.name_or_path`, `policy.gguf`) has its own shape and is not pretrained again, unless
    `policy.config` or `pretraining` are overridden too.

    Raises SpecError for an unknown profile, task or key (with the nearest known one) and for a value of the
    wrong type or out of range.
    """
    tasks = _profile(profile)
    if task not in tasks:
        raise unknown_name("task", task, tasks)
    values = yaml.safe_load(yaml.safe_dump(tasks[task]))  # a copy that may be changed
    changes = _read(overrides or {}, world=values["world"]["name"])
    if any(changes.get(f"policy.{source}") for source in NAMED):  # a model with a shape of its own
        values["policy"].pop("config", None)
        values["pretraining"] = None
    for key, value in changes.items():
        _put(values, key, value)
    try:
        spec = StudySpec.model_validate(values)
    except ValidationError as fault:
        raise SpecError(_explain(fault, f"task '{task}' of profile '{profile}'")) from None
    for name, value in spec.model_dump().items():
        refuse_endless_numbers(name, value)
    return spec


@cache
def _profile(name: str) -> dict[str, Any]:
    if name not in profile_names():
        raise unknown_name("profile", name, profile_names())
    text = files("afd_study.study").joinpath("profiles", f"{name}.yaml").read_text(encoding="utf-8")
    profile = yaml.safe_load(text)
    tasks = dict(profile["tasks"])
    shared = profile.get("controlled")  # the settings of every controlled world
    worlds = CONTROLLED if shared is not None else ()
    return {name: {**shared, "world": {**shared["world"], "name": name}} for name in worlds} | tasks


def _read(overrides: Mapping[str, Any], world: str) -> dict[str, Any]:
    """Return the values that overrides stand for: texts read as their fields want them, others as given."""
    world = overrides.get("world.name", world)
    changes = {}
    for key, value in overrides.items():
        if isinstance(value, str):
            value = read_setting(key, value, field_of(StudySpec, key, WORLDS, world))
        refuse_endless_numbers(key, value)
        changes[key] = value
    return changes


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; what pydantic knows of the place is checked later, with all values in."""
    *path, last = key.split(".")
    place = values
    for part in path:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise SpecError(f"setting '{key}': '{part}' is a single value and has no parts")
    place[last] = value


def _explain(fault: ValidationError, where: str) -> str:
    """Say each fault in a line; for an unknown key name the nearest known one."""
    lines = []
    for error in fault.errors():
        # the discriminated union puts the world's name into the path
        path = [str(part) for part in error["loc"] if part not in WORLDS]
        key = ".".join(path)
        if error["type"] == "extra_forbidden":
            lines.append(str(unknown_name("setting", key, _known_keys(path[:-1], error["loc"]))))
        else:
            lines.append(
                f"setting '{key}' = {_short(error['input'])}: {error['msg']}" if key else error["msg"]
            )
    return f"{where}: " + "; ".join(lines)


def _short(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 200 else written[:200] + "..."


def _known_keys(path: list[str], location: tuple[int | str, ...]) -> list[str]:
    """Return the dotted keys that the model at `path` has."""
    model: Any = StudySpec
    for part in path:
        worlds = [WORLDS[str(name)] for name in location if name in WORLDS]
        model = worlds[0] if part == "world" and worlds else _model_of(model.model_fields[part].annotation)
    return [".".join([*path, name]) for name in model.model_fields]


def _model_of(annotation: Any) -> Any:
    """Return the pydantic model in an annotation such as `TrainingSpec | None`."""
    options = [annotation, *getattr(annotation, "__args__", ())]
    return next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
