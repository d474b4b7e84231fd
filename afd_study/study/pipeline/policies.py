"""The steps that a study begins with: texts of a world or a data set, tokenizers, and the policies."""

from typing import Any

from afd_study.methods.reward_data import REWARD_DATA
from afd_study.models.specs import TrainingSpec
from afd_study.study.pipeline.texts import Texts, bare_model, controlled_texts, world_settings
from afd_study.study.spec import StudySpec
from afd_study.study.workflow.step import Step


def training_sampling(spec: StudySpec) -> Any:
    """Return the sampling settings that bound texts; numbers of draws and temperature at their defaults.

    What is learned from is drawn at temperature 1, from a policy's own law: else the best discriminator's
    logit would not be log pi_SFT - log pi_init.
    """
    shape = spec.sampling.model_dump(include={"max_new_tokens", "max_prompt_tokens", "stop"})
    return type(spec.sampling)(**shape)


def training_samples(
    spec: StudySpec, seed: int, texts: Texts, source: str, policy: Step, times: int = 1
) -> Step:
    """Return the step that draws a policy's responses for training, `times` for each demonstration."""
    settings = {
        "source": source, "sampling": training_sampling(spec), "seed": seed, "purpose": "training",
        "draws": max(2, times),
    }  # fmt: skip
    inputs = {
        "policy": policy, "demonstrations": texts.demonstrations, "tokenizers": texts.tokenizers,
        "prompts": texts.prompts,
    }  # fmt: skip
    return Step("samples", "afd_study.study.steps.policies:samples", settings, inputs, weight=8)


def pi_init(spec: StudySpec, seed: int, texts: Texts, read: Step) -> Step:
    """Return the step that makes the initial policy, pretrained on `read`."""
    settings = {
        "model": bare_model(spec), "training": spec.pretraining, "sampling": training_sampling(spec),
        "whole": texts.whole, "seed": seed,
    }  # fmt: skip
    inputs = {"tokenizers": texts.tokenizers, "prompts": texts.prompts, "texts": read}
    return Step("pi_init", "afd_study.study.steps.policies:pi_init", settings, inputs, weight=60)


def pi_sft(spec: StudySpec, seed: int, texts: Texts, pi_init: Step) -> Step:
    """Return the step that fine-tunes it, as far as the spec says or as brings it to the matched score."""
    settings = {
        "training": spec.sft,
        "sampling": training_sampling(spec),
        "lora": spec.policy.lora,
        "seed": seed,
    }
    inputs = {
        "pi_init": pi_init, "demonstrations": texts.demonstrations, "tokenizers": texts.tokenizers,
        "prompts": texts.prompts,
    }  # fmt: skip
    if spec.matched_style is None:
        return Step("pi_sft", "afd_study.study.steps.policies:pi_sft", settings, inputs, weight=8)
    styled = spec.world.model_copy(update={"absorbed_style": spec.matched_style})
    reference = spec.model_copy(update={"matched_style": None, "world": styled})
    inputs["reference"] = pi_sft(reference, seed, controlled_texts(reference, seed), pi_init)
    settings["world"] = world_settings(spec, "judge")
    return Step("pi_sft", "afd_study.study.steps.matched_sft:pi_sft_matched", settings, inputs, weight=30)


def _samples(spec: StudySpec, seed: int, texts: Texts, steps: dict[str, Step]) -> None:
    """Add samples of all policies for training reward models, and those of the first two for test prompts."""
    sampling = spec.sampling
    shared = {"tokenizers": texts.tokenizers, "prompts": texts.prompts}
    wanted = [REWARD_DATA[kind] for kind in spec.reward.kinds]
    for name, changes in spec.policies.items():
        if any(name in contrast[:2] for contrast in wanted):
            training = TrainingSpec(**(spec.sft.model_dump(exclude_unset=True) | changes))
            other = spec.model_copy(update={"sft": training})
            steps[name] = pi_sft(other, seed, texts, steps["pi_init"])
    policies = [name for name in ("pi_init", "pi_sft", *spec.policies) if name in steps]
    for policy in policies:
        for times in {1, *(contrast.times for contrast in wanted if policy in contrast[:2])}:
            # a step for each number of draws: no reward model depends on what another one asks for
            drawn = training_samples(spec, seed, texts, policy, steps[policy], times)
            steps[_training(policy, times)] = drawn
    for policy, pool, draws in (
        ("pi_init", "pool_init", sampling.baseline_draws),
        ("pi_sft", "pool", sampling.draws),
    ):
        drawn_at = training_sampling(spec).model_copy(update={"temperature": sampling.temperature})
        common = {"source": policy, "sampling": drawn_at, "seed": seed}
        steps[pool] = Step(
            "samples", "afd_study.study.steps.policies:samples",
            {**common, "purpose": "test", "draws": draws},
            {"policy": steps[policy], **shared}, weight=4,
        )  # fmt: skip
    steps["init_logprobs"] = Step(
        "logprobs", "afd_study.study.steps.policies:logprobs", {"sampling": training_sampling(spec)},
        {"policy": steps["pi_init"], "samples": steps["pool"], **shared}, weight=3,
    )  # fmt: skip


def _training(source: str, times: int) -> str:
    """Return the name of the step with a policy's samples for training, `times` as many as demonstrations."""
    return f"training_{source}" if times == 1 else f"training_{source}_x{times}"
