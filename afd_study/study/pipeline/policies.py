"""The steps that make the first two policies, and draw their responses."""

from afd_study.models.specs import TrainingSpec
from afd_study.study.pipeline.builder import Builder
from afd_study.study.pipeline.texts import bare_model, controlled_texts
from afd_study.study.workflow.step import Step


def pi_init(builder: Builder) -> Step:
    """Return the step that makes the initial policy."""
    return builder.once("pi_init", lambda: pretrained(builder, builder.texts.pretraining))


def pretrained(builder: Builder, texts: Step) -> Step:
    """Return the step that makes a model of the initial policy's kind, pretrained on some texts."""
    spec = builder.spec
    settings = {"model": bare_model(spec), "training": spec.pretraining, "whole": builder.texts.whole}
    return builder.reading("pi_init", settings, {"texts": texts})


def pi_sft(builder: Builder) -> Step:
    """Return the step that fine-tunes it, as far as the spec says or as brings it to the matched score."""
    if builder.spec.matched_style is None:
        return builder.once("pi_sft", lambda: fine_tuned(builder, builder.spec.sft))
    return builder.once("pi_sft", lambda: _matched(builder))


def fine_tuned(
    builder: Builder, training: TrainingSpec, *, start: Step | None = None, responses: Step | None = None
) -> Step:
    """Return the step that fine-tunes a policy on responses: by default pi_init on the demonstrations."""
    settings = {"training": training, "lora": builder.spec.policy.lora}
    inputs = {
        "pi_init": start or pi_init(builder),
        "demonstrations": responses or builder.texts.demonstrations,
    }
    return builder.reading("pi_sft", settings, inputs)


def pi_half(builder: Builder) -> Step:
    """Return the step that fine-tunes the initial policy for half of the steps that pi_SFT took."""
    settings = {"training": builder.spec.sft, "lora": builder.spec.policy.lora}
    inputs = {
        "pi_init": pi_init(builder),
        "pi_sft": pi_sft(builder),
        "demonstrations": builder.texts.demonstrations,
    }
    return builder.once("pi_half", lambda: builder.reading("pi_half", settings, inputs))


def _matched(builder: Builder) -> Step:
    """Return SFT that stops where it scores as SFT at another absorbed style does, which is its reference."""
    spec = builder.spec
    styled = spec.world.model_copy(update={"absorbed_style": spec.matched_style})
    other = spec.model_copy(update={"matched_style": None, "world": styled})
    reference = Builder(other, builder.task, builder.seed, controlled_texts(other, builder.seed))
    inputs = {
        "pi_init": pi_init(builder),
        "demonstrations": builder.texts.demonstrations,
        "reference": fine_tuned(reference, other.sft, start=pi_init(builder)),
    }
    settings = {"training": spec.sft, "lora": spec.policy.lora, "world": builder.world("judge")}
    return builder.reading("matched_sft", settings, inputs)


def policy(builder: Builder, name: str) -> Step:
    """Return the step that makes a policy for reward models to learn from: pi_init, pi_sft, a further one."""
    if name == "pi_init":
        return pi_init(builder)
    if name == "pi_sft":
        return pi_sft(builder)
    sft = builder.spec.sft.model_dump(exclude_unset=True) | builder.spec.policies[name]
    return builder.once(name, lambda: fine_tuned(builder, TrainingSpec(**sft)))


def training_samples(
    builder: Builder, source: str, policy_step: Step, times: int = 1, replicate: int = 0
) -> Step:
    """Return the step that draws a policy's responses for training, `times` a demonstration (at least 2).

    Each number of draws has a step of its own: no reward model depends on what another one needs. Replicates
    of a reward model have draws of their own.
    """
    draws = max(2, times)
    purpose = "training" if replicate == 0 else f"training {replicate}"
    settings = {"source": source, "purpose": purpose, "draws": draws}
    inputs = {"policy": policy_step, "demonstrations": builder.texts.demonstrations}
    role = f"training_{source}" if draws == 2 else f"training_{source}_x{draws}"
    if replicate:
        role += f"#{replicate}"
    return builder.once(role, lambda: builder.reading("samples", settings, inputs))


def pool(builder: Builder) -> Step:
    """Return the step that draws pi_SFT's responses to test prompts, from which the best of n are picked."""
    draws = builder.spec.sampling.draws
    return builder.once("pool", lambda: _test_samples(builder, "pi_sft", draws))


def pool_init(builder: Builder) -> Step:
    """Return the step that draws pi_init's responses to test prompts."""
    draws = builder.spec.sampling.baseline_draws
    return builder.once("pool_init", lambda: _test_samples(builder, "pi_init", draws))


def _test_samples(builder: Builder, source: str, draws: int) -> Step:
    sampling = builder.bounds.model_copy(update={"temperature": builder.spec.sampling.temperature})
    settings = {"source": source, "purpose": "test", "draws": draws, "sampling": sampling}
    return builder.reading("samples", settings, {"policy": policy(builder, source)})


def init_logprobs(builder: Builder) -> Step:
    """Return the step that gives pi_SFT's pool its log-probabilities under pi_init."""
    return builder.once("init_logprobs", lambda: _logprobs(builder, pi_init(builder)))


def half_logprobs(builder: Builder) -> dict[str, Step]:
    """Return the step that gives the pool its log-probabilities under pi_half by name, if it is asked for."""
    if not builder.spec.late_reference:
        return {}
    return {"half_logprobs": builder.once("half_logprobs", lambda: _logprobs(builder, pi_half(builder)))}


def _logprobs(builder: Builder, policy_step: Step) -> Step:
    inputs = {"policy": policy_step, "samples": pool(builder)}
    return builder.reading("logprobs", {}, inputs, seeded=False)
