"""The steps that make preferences, reward models, scores and a fitted judge."""

from collections.abc import Mapping
from typing import Any

from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.pipeline.policies import (
    _training,
    pi_init,
    training_samples,
    training_sampling,
)
from afd_study.study.pipeline.texts import Texts, bare_model, world_settings
from afd_study.study.spec import StudySpec
from afd_study.study.workflow.step import Step
from afd_study.worlds.controlled import ControlledSpec


def scores(spec: StudySpec, scorer: str, model: Step, texts: Texts, asked: Mapping[str, Step]) -> Step:
    """Return the step that scores texts of some sources by a model."""
    settings = {"scorer": scorer, "sampling": training_sampling(spec)}
    inputs = {"reward_model": model, "tokenizers": texts.tokenizers, "prompts": texts.prompts}
    return Step(
        "scores", "afd_study.study.steps.reward_models:scores", settings, inputs | dict(asked), weight=5
    )


def _preferences(spec: StudySpec, seed: int, steps: Mapping[str, Step], texts: Texts, times: int = 1) -> Step:
    """Preferences: the world's judge labels `times` pairs of pi_init samples for each demonstration.

    Of a data set those that people have labelled, however many.
    """
    if "corpus" in steps:
        return Step(
            "corpus_preferences",
            "afd_study.study.steps.texts:corpus_preferences",
            {"part": "policy"},
            {"corpus": texts.prompts},
        )
    labels = world_settings(spec, "preferences")
    settings = {
        "world": world_settings(spec, "judge"), "seed": seed,
        "scale": labels["preference_scale"], "noise": labels["preference_noise"],
    }  # fmt: skip
    drawn = training_samples(spec, seed, texts, "pi_init", steps["pi_init"], 2 * times)
    inputs = {"prompts": texts.prompts, "pi_init": drawn}
    return Step(
        "preferences", "afd_study.study.steps.preferences:judged_preferences", settings, inputs, weight=2
    )


def _learned_preferences(spec: StudySpec, seed: int, steps: Mapping[str, Step], texts: Texts) -> Step:
    """The preferences that reward models learn from: all there are, or as many as the spec says."""
    n = spec.reward.n_preferences
    usual = spec.world.n_demonstrations if isinstance(spec.world, ControlledSpec) else None
    if n is None or n == usual:
        return steps["preferences"]
    times = -(-n // usual) if usual else 1
    labelled = _preferences(spec, seed, steps, texts, times) if times > 1 else steps["preferences"]
    inputs = {"preferences": labelled, "tokenizers": texts.tokenizers}
    return Step(
        "preferences", "afd_study.study.steps.preferences:chosen_preferences", {"n": n, "seed": seed}, inputs
    )


def _judge(spec: StudySpec, training: Any, seed: int, texts: Texts, steps: Mapping[str, Step]) -> Step:
    """A judge fitted to people's preferences, on a body pretrained on its own part of the data alone."""
    body = pi_init(spec, seed, texts, steps["judge_pretraining"])
    settings = {"training": training, "sampling": training_sampling(spec), "seed": seed}
    inputs = {"tokenizers": texts.tokenizers, "corpus": texts.prompts, "policy": body}
    return Step("judge", "afd_study.study.steps.preferences:fitted_judge", settings, inputs, weight=30)


def _scored(
    spec: StudySpec, seed: int, texts: Texts, steps: dict[str, Step], tested: Mapping[str, Step]
) -> dict[str, Step]:
    """Add every reward model with its scores, and return the scores.

    Demonstrations are scored by a step of their own: their marks must not have all samples scored again.
    """
    scored, shown = dict[str, Step](), {"demonstrations": texts.held_out_shown}
    for kind in spec.reward.kinds:
        model = steps[f"reward_{kind}"] = _reward(spec, seed, kind, steps, texts)
        scored[kind] = steps[f"scores_{kind}"] = scores(spec, kind, model, texts, tested)
        scored[f"{kind}_shown"] = steps[f"shown_{kind}"] = scores(spec, kind, model, texts, shown)
    return scored


def _reward(spec: StudySpec, seed: int, kind: str, steps: Mapping[str, Step], texts: Texts) -> Step:
    contrast, reward = REWARD_DATA[kind], spec.reward
    settings = {
        "kind": kind, "data": contrast, "backbone": reward.backbone, "model": _body(spec),
        "lora": reward.lora, "training": reward.training, "sampling": training_sampling(spec), "seed": seed,
    }  # fmt: skip
    inputs = {
        "tokenizers": texts.tokenizers,
        "prompts": texts.prompts,
        "demonstrations": texts.demonstrations,
    }
    if reward.backbone != "scratch":
        inputs["policy"] = steps[reward.backbone]
    if contrast.high == "preferred":
        learned = inputs["preferences"] = _learned_preferences(spec, seed, steps, texts)
        if "corpus" in steps or learned is not steps["preferences"]:  # as many pairs as are labelled
            inputs["demonstrations"] = learned
    drawn = {name: _training(name, contrast.times) for name in contrast[:2]}
    sources = {name: steps[step] for name, step in drawn.items() if step in steps}
    # demonstrations are read twice: with marks as a source, and for how many pairs each prompt gets
    shown = {"source_demonstrations": texts.shown} if "demonstrations" in contrast[:2] else {}
    return Step(
        "reward_model",
        "afd_study.study.steps.reward_models:reward_model",
        settings,
        inputs | sources | shown,
        weight=15,
    )


def _body(spec: StudySpec) -> Any:
    """Return the model that a reward model's body is made by: of its own size, if the spec gives it one."""
    model = bare_model(spec)
    return model.model_copy(update={"config": model.config | spec.reward.config})
