"""The steps of arms: policies made beyond picking, each sampled, judged and measured like the first two."""

from collections.abc import Iterator
from dataclasses import replace

from afd_study.errors import SpecError
from afd_study.methods.arms import (
    ARMS,
    DEMONSTRATORS,
    EQUAL_LENGTH_RIVAL,
    FRESH,
    OPTIMUM_DRAWS,
    OPTIMUM_STRENGTHS,
    PATH_DRAWS,
    PATH_POINTS,
    PATH_PROMPTS,
    PICKED_FROM,
    PROXY,
    SIZES,
    STRENGTHS,
    Arm,
    DirectArm,
    DistilledArm,
    ExtrapolationArm,
    GradientArm,
    ImitationArm,
    SupervisedArm,
    control_of,
)
from afd_study.methods.reward_pairs import RewardData
from afd_study.methods.specs import ArmsSpec
from afd_study.models.specs import TrainingSpec
from afd_study.study.pipeline.builder import Builder
from afd_study.study.pipeline.measures import (
    demonstrator_thresholds,
    densities,
    outcomes,
    policy_densities,
    world_verdicts,
)
from afd_study.study.pipeline.policies import (
    fine_tuned,
    pi_init,
    pi_sft,
    policy,
    pool_init,
    training_samples,
)
from afd_study.study.pipeline.rewards import preferences, reward_model, scores
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step
from afd_study.worlds.controlled import GOOD


def arms(builder: Builder, judged: Step) -> Step:
    """Return the step that gathers what all arms reach: the spec's, those that they build on, and controls.

    Raises SpecError where the reward model that scores arms is not among the study's.
    """
    if PROXY not in builder.spec.reward.kinds:
        raise SpecError(f"arms are scored by the reward model '{PROXY}': add it to reward.kinds")
    spec_names = _settings(builder).names
    needed = [name for each in spec_names for name in (*_before(each), each)]
    names = list(dict.fromkeys([*needed, *filter(None, map(control_of, needed))]))
    direct = [name for name in names if isinstance(ARMS[name], DirectArm)]
    measured = _of_first_policies(builder, judged)
    for name in names:
        measured |= _measured(builder, name)
    measured |= {f"{name} path": path(builder, name) for name in direct}
    settings = {
        "task": builder.task,
        "seed": builder.seed,
        "good": GOOD,
        "proxy": PROXY,
        "equal_length_rival": EQUAL_LENGTH_RIVAL,
        "strengths": STRENGTHS,
        "optimum_strengths": OPTIMUM_STRENGTHS,
        "sizes": tuple(n for n in SIZES if 4 * n <= builder.spec.sampling.draws),
        "names": ("pi_init", "pi_sft", *names),
        "imitated": {
            name: (arm.start, arm.transform) for name in names if isinstance(arm := ARMS[name], ImitationArm)
        },
        "paths": direct,
    }
    inputs = {
        "outcomes": outcomes(builder, judged),
        "judged": judged,
        "optimum": _optimum(builder),
        "thresholds": demonstrator_thresholds(builder),
    }
    return builder.once("arms", lambda: step("arms", settings, inputs | measured))


def _settings(builder: Builder) -> ArmsSpec:
    spec = builder.spec.arms
    assert spec is not None  # plan asks for arms only where the spec names some
    return spec


def _before(name: str) -> Iterator[str]:
    """Yield the arms that an arm builds on, first things first."""
    arm = ARMS[name]
    for needed in dict.fromkeys((arm.start, *arm.sources)):
        if needed in ARMS:
            yield from _before(needed)
            yield needed


def arm_policy(builder: Builder, name: str) -> Step:
    """Return the step that makes a policy by name: an arm's, or one of those that arms start from."""
    return builder.once(name, lambda: _trained(builder, name)) if name in ARMS else policy(builder, name)


def _trained(builder: Builder, name: str) -> Step:
    arm = ARMS[name]
    assert not isinstance(arm, ExtrapolationArm)  # which has no weights of its own
    spec = _settings(builder)
    training = spec.scheduled(name, arm.training(spec, builder.spec.sft))
    if isinstance(arm, (SupervisedArm, DistilledArm)):
        start, responses = arm_policy(builder, arm.start), _responses(builder, arm)
        assert isinstance(training, TrainingSpec)  # as these arms' methods have it
        return fine_tuned(builder, training, start=start, responses=responses)
    settings = {"name": name, "training": training, **arm.settings}
    inputs = {"policy": arm_policy(builder, arm.start)}
    if isinstance(arm, ImitationArm):
        marked = arm.against == "marked_demonstrations"
        inputs["demonstrations"] = builder.texts.shown if marked else builder.texts.demonstrations
        if arm.against == DEMONSTRATORS:
            settings["world"] = builder.world("demonstrator_law")
        return builder.reading(arm.step, settings, inputs)
    settings["lora"] = builder.spec.policy.lora
    if isinstance(arm, GradientArm):
        inputs["reward_model"] = reward_model(builder, arm.reward)
        return builder.reading(arm.step, settings, inputs)
    settings["points"] = PATH_POINTS
    inputs["demonstrations"] = builder.texts.demonstrations
    for source in arm.sources:
        inputs |= _source(builder, source)
    return builder.reading(arm.step, settings, inputs)


def _responses(builder: Builder, arm: SupervisedArm | DistilledArm) -> Step:
    """Return what an arm learns by SFT: a source's responses, or the best of several by a reward model."""
    if isinstance(arm, SupervisedArm) and arm.high == "demonstrations":
        return builder.texts.demonstrations
    if isinstance(arm, SupervisedArm):
        inputs = _source(builder, arm.high) | {"tokenizers": builder.texts.tokenizers}
        return step("chosen_responses", {"source": arm.high}, inputs)
    samples = training_samples(builder, arm.start, arm_policy(builder, arm.start), PICKED_FROM)
    scored = scores(builder, arm.reward, _reward(builder, arm), {arm.start: samples})
    settings = {"scorer": arm.reward, "group_size": PICKED_FROM}
    return step("best_responses", settings, {"samples": samples, "scores": scored})


def _reward(builder: Builder, arm: DistilledArm) -> Step:
    """Return an arm's reward model; a fresh one is the proxy's, with the arm's own samples for pi_SFT's."""
    if arm.reward != FRESH:
        return reward_model(builder, arm.reward)
    proxy = reward_model(builder, PROXY)
    samples = training_samples(builder, arm.start, arm_policy(builder, arm.start))
    inputs = {name: each for name, each in proxy.inputs.items() if name != "pi_sft"} | {arm.start: samples}
    settings = {**proxy.settings, "kind": f"{FRESH} {arm.start}", "data": RewardData(arm.start, "pi_init")}
    return replace(proxy, settings=settings, inputs=inputs)


def _source(builder: Builder, source: str) -> dict[str, Step]:
    """Return the input that holds a source's responses, one for each demonstration."""
    if source == "demonstrations":
        return {"source_demonstrations": builder.texts.demonstrations}
    if source in ("preferred", "rejected"):
        return {"preferences": preferences(builder)}
    return {source: training_samples(builder, source, arm_policy(builder, source))}


def path(builder: Builder, name: str) -> Step:
    """Return the step that samples and judges the policies along a direct arm's run."""
    settings = {
        "world": builder.world("demonstrator_law"),
        "method": name,
        "n_prompts": PATH_PROMPTS,
        "draws": PATH_DRAWS,
    }
    inputs = {"start": arm_policy(builder, ARMS[name].start), "policy": arm_policy(builder, name)}
    return builder.once(f"{name} path", lambda: builder.reading("direct_path", settings, inputs))


def _measured(builder: Builder, name: str) -> dict[str, Step]:
    """Return what is measured of an arm's responses: judge, proxy, KL, and both laws where it has weights."""
    texts = {"demonstrations": builder.texts.held_out}
    pool = _pool(builder, name)
    judged = builder.once(f"{name} judged", lambda: world_verdicts(builder, texts | {name: pool}))
    proxy = reward_model(builder, PROXY)
    measured = {
        f"{name} judged": judged,
        f"{name} scores": builder.once(f"{name} scores", lambda: scores(builder, PROXY, proxy, {name: pool})),
        f"{name} kls": pool if _is_extrapolation(ARMS[name]) else _kls(builder, name, pool),
    }
    if not _is_extrapolation(ARMS[name]):
        policy_step, role = arm_policy(builder, name), f"{name} densities"
        measured[role] = builder.once(role, lambda: densities(builder, name, policy_step, judged))
    return measured


def _is_extrapolation(arm: Arm) -> bool:
    """Tell whether an arm has no weights of its own: it tilts those of two policies as it draws."""
    return isinstance(arm, ExtrapolationArm)


def _pool(builder: Builder, name: str) -> Step:
    """Return an arm's responses to test prompts."""
    arm, draws = ARMS[name], _settings(builder).draws
    if isinstance(arm, ExtrapolationArm):
        settings = {"source": name, "draws": draws, "exponent": arm.exponent}
        inputs = {"policy": arm_policy(builder, arm.start), "origin": pi_init(builder)}
        return builder.once(f"{name} pool", lambda: builder.reading("extrapolation", settings, inputs))
    settings = {"source": name, "draws": draws, "purpose": "test"}
    inputs = {"policy": arm_policy(builder, name)}
    return builder.once(f"{name} pool", lambda: builder.reading("samples", settings, inputs))


def _kls(builder: Builder, name: str, pool: Step) -> Step:
    """Return the KL of a policy's responses to pi_SFT."""
    inputs = {"policy": arm_policy(builder, name), "reference": pi_sft(builder), "samples": pool}
    return builder.once(f"{name} kls", lambda: builder.reading("response_kls", {}, inputs, seeded=False))


def _of_first_policies(builder: Builder, judged: Step) -> dict[str, Step]:
    """Return the same measures of pi_init and pi_SFT, which arms stand beside."""
    measured = dict[str, Step]()
    for name in ("pi_init", "pi_sft"):
        measured |= {
            f"{name} judged": judged,
            f"{name} scores": builder.steps[f"scores_{PROXY}"],
            f"{name} kls": _kls(builder, name, judged.inputs[name]),
            f"{name} densities": policy_densities(builder, name, judged),
        }
    return measured


def _optimum(builder: Builder) -> Step:
    """Return demonstrations to test prompts, many to each, with densities under pi_init and their own law."""
    world = builder.world("held_out_demonstrations")
    settings = {"world": world, "per_prompt": OPTIMUM_DRAWS, "seed": builder.seed}
    texts = {
        "demonstrations": step("held_out_demonstrations", settings),
        "pi_init": pool_init(builder),
    }
    return densities(builder, "pi_init", pi_init(builder), world_verdicts(builder, texts))
