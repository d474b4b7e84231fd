"""The steps of arms: policies made beyond picking, each sampled, judged and measured like the first two."""

from collections.abc import Iterator
from dataclasses import replace

from afd_study.errors import SpecError
from afd_study.methods.arms import (
    ARMS,
    DEMONSTRATORS,
    FRESH,
    GRADIENT,
    OPTIMUM_DRAWS,
    OPTIMUM_STRENGTHS,
    PICKED_FROM,
    PROXY,
    SIZES,
    STRENGTHS,
    Arm,
)
from afd_study.methods.reward_data import RewardData
from afd_study.study.pipeline.measures import densities
from afd_study.study.pipeline.policies import training_samples, training_sampling
from afd_study.study.pipeline.rewards import scores
from afd_study.study.pipeline.texts import Texts, world_settings
from afd_study.study.spec import ArmsSpec, StudySpec
from afd_study.study.workflow.step import Step
from afd_study.worlds.controlled import GOOD


def add_arms(spec: StudySpec, task: str, seed: int, texts: Texts, steps: dict[str, Step]) -> None:
    """Add the arms that the spec names, those that they build on, and the step that gathers all of them."""
    asked = spec.arms
    if asked is None or not asked.names:
        return
    if PROXY not in spec.reward.kinds:
        raise SpecError(f"arms are scored by the reward model '{PROXY}': add it to reward.kinds")
    names = list(dict.fromkeys(name for each in asked.names for name in (*_before(each), each)))
    for name in names:
        _make(name, ARMS[name], spec, asked, seed, texts, steps)
        _measure(name, spec, texts, steps)
    pools = {"pi_init": "pool_init", "pi_sft": "pool"} | {name: f"{name} pool" for name in names}
    measured: dict[str, Step] = {}
    for name, pool in pools.items():
        if f"{name} kls" not in steps:
            steps[f"{name} kls"] = _kls(name, pool, spec, texts, steps)
        parts = {
            "judged": steps.get(f"{name} judged", steps["judged"]),
            "scores": steps.get(f"{name} scores", steps[f"scores_{PROXY}"]),
            "kls": steps[f"{name} kls"],
            "densities": steps.get(f"{name} densities") or steps.get(f"densities_{name}"),
        }
        measured |= {f"{name} {part}": step for part, step in parts.items() if step is not None}
    settings = {
        "task": task, "seed": seed, "good": GOOD, "proxy": PROXY, "strengths": STRENGTHS,
        "optimum_strengths": OPTIMUM_STRENGTHS,
        "sizes": tuple(n for n in SIZES if 4 * n <= spec.sampling.draws),
        "names": tuple(pools),
    }  # fmt: skip
    inputs = {
        "outcomes": steps["outcomes"], "judged": steps["judged"],
        "optimum": _optimum(spec, seed, texts, steps), **measured,
    }  # fmt: skip
    steps["arms"] = Step("arms", "afd_study.study.steps.arms:arms", settings, inputs, weight=3)


def _before(name: str) -> Iterator[str]:
    """Yield the arms that an arm builds on, first things first."""
    arm = ARMS[name]
    for needed in dict.fromkeys((arm.start, arm.high, arm.low)):
        if needed in ARMS:
            yield from _before(needed)
            yield needed


def _make(
    name: str, arm: Arm, spec: StudySpec, asked: ArmsSpec, seed: int, texts: Texts, steps: dict[str, Step]
) -> None:
    """Add the steps that make an arm's policy and draw its responses to test prompts."""
    shared = {"tokenizers": texts.tokenizers, "prompts": texts.prompts}
    common = {"source": name, "sampling": training_sampling(spec), "seed": seed, "draws": asked.draws}
    if arm.method == "extrapolation":
        inputs = {"policy": steps[arm.start], "origin": steps["pi_init"], **shared}
        step = Step(
            "extrapolated",
            "afd_study.study.steps.arms:extrapolated",
            {**common, "strength": arm.strength},
            inputs,
            weight=4,
        )
        steps[f"{name} pool"] = steps[f"{name} kls"] = step
        return
    makers = {"sft": _supervised, "direct": _direct, "adversarial": _imitated}
    makers |= dict.fromkeys(GRADIENT, _optimised)
    steps[name] = makers[arm.method](name, arm, spec, asked, seed, texts, steps)
    steps[f"{name} pool"] = Step(
        "samples",
        "afd_study.study.steps.policies:samples",
        {**common, "purpose": "test"},
        {"policy": steps[name], **shared},
        weight=2,
    )


def _direct(
    name: str, arm: Arm, spec: StudySpec, asked: ArmsSpec, seed: int, texts: Texts, steps: dict[str, Step]
) -> Step:
    settings = {
        "name": name, "data": RewardData(arm.high, arm.low), "beta": arm.strength, "training": asked.direct,
        "lora": spec.policy.lora, "sampling": training_sampling(spec),
        "seed": seed,
    }  # fmt: skip
    inputs = {
        "tokenizers": texts.tokenizers, "prompts": texts.prompts, "demonstrations": texts.demonstrations,
        "policy": steps[arm.start],
    }  # fmt: skip
    for source in (arm.high, arm.low):
        inputs |= _source(source, 1, spec, seed, texts, steps)
    return Step("direct_policy", "afd_study.study.steps.arms:direct_policy", settings, inputs, weight=12)


def _optimised(
    name: str, arm: Arm, spec: StudySpec, asked: ArmsSpec, seed: int, texts: Texts, steps: dict[str, Step]
) -> Step:
    epochs = asked.ppo_epochs if arm.method == "ppo_clip" else 1
    own = {"kl_coefficient": arm.strength, "algorithm": arm.method, "epochs": epochs}
    ascent = asked.gradient.model_copy(update=own)
    settings = {
        "name": name, "ascent": ascent, "lora": spec.policy.lora, "sampling": training_sampling(spec),
        "seed": seed,
    }  # fmt: skip
    inputs = {
        "policy": steps[arm.start], "reward_model": steps[f"reward_{arm.reward}"],
        "tokenizers": texts.tokenizers, "prompts": texts.prompts,
    }  # fmt: skip
    return Step("optimised", "afd_study.study.steps.arms:optimised", settings, inputs, weight=40)


def _imitated(
    name: str, arm: Arm, spec: StudySpec, asked: ArmsSpec, seed: int, texts: Texts, steps: dict[str, Step]
) -> Step:
    exact = arm.high == DEMONSTRATORS
    settings = {
        "name": name, "spec": asked.adversarial.model_copy(update={"policy_reward": arm.reward}),
        "world": world_settings(spec, "demonstrator_law") if exact else None,
        "sampling": training_sampling(spec), "seed": seed,
    }  # fmt: skip
    inputs = {
        "policy": steps[arm.start], "tokenizers": texts.tokenizers, "prompts": texts.prompts,
        "demonstrations": texts.shown if arm.high == "marked_demonstrations" else texts.demonstrations,
    }  # fmt: skip
    return Step("imitated", "afd_study.study.steps.adversarial:imitated", settings, inputs, weight=40)


def _supervised(
    name: str, arm: Arm, spec: StudySpec, asked: ArmsSpec, seed: int, texts: Texts, steps: dict[str, Step]
) -> Step:
    """SFT on responses that are given, or on the best of as many draws as stand for one demonstration."""
    settings = {
        "training": spec.sft,
        "sampling": training_sampling(spec),
        "lora": spec.policy.lora,
        "seed": seed,
    }
    inputs = {
        "pi_init": steps[arm.start], "demonstrations": _learned_from(arm, spec, seed, texts, steps),
        "tokenizers": texts.tokenizers, "prompts": texts.prompts,
    }  # fmt: skip
    return Step("pi_sft", "afd_study.study.steps.policies:pi_sft", settings, inputs, weight=8)


def _learned_from(arm: Arm, spec: StudySpec, seed: int, texts: Texts, steps: dict[str, Step]) -> Step:
    times = PICKED_FROM if arm.reward else 1
    [[label, read]] = _source(arm.high, times, spec, seed, texts, steps).items()
    if not arm.reward:
        inputs = {label: read, "tokenizers": texts.tokenizers}
        return Step("chosen", "afd_study.study.steps.arms:chosen", {"high": arm.high}, inputs)
    scored = scores(spec, arm.reward, _reward(arm, spec, seed, texts, steps), texts, {arm.high: read})
    inputs = {"samples": read, "scores": scored}
    return Step("picked", "afd_study.study.steps.arms:picked", {"scorer": arm.reward}, inputs)


def _reward(arm: Arm, spec: StudySpec, seed: int, texts: Texts, steps: dict[str, Step]) -> Step:
    """Return an arm's reward model; a fresh one is the proxy's, with the arm's own samples for pi_SFT's."""
    if arm.reward != FRESH:
        return steps[f"reward_{arm.reward}"]
    proxy = steps[f"reward_{PROXY}"]
    drawn = training_samples(spec, seed, texts, arm.high, steps[arm.high])
    inputs = {name: step for name, step in proxy.inputs.items() if name != "pi_sft"} | {arm.high: drawn}
    settings = {**proxy.settings, "kind": f"{FRESH} {arm.high}", "data": RewardData(arm.high, "pi_init")}
    return replace(proxy, settings=settings, inputs=inputs)


def _source(
    source: str, times: int, spec: StudySpec, seed: int, texts: Texts, steps: dict[str, Step]
) -> dict[str, Step]:
    """Return the input that holds a source's responses: `times` for each demonstration, where drawn."""
    if source == "demonstrations":
        return {"source_demonstrations": texts.demonstrations}
    if source in ("preferred", "rejected"):
        return {"preferences": steps["preferences"]}
    return {source: training_samples(spec, seed, texts, source, steps[source], times)}


def _measure(name: str, spec: StudySpec, texts: Texts, steps: dict[str, Step]) -> None:
    """Add what is asked of an arm's responses: the judge, the proxy, both laws where it has one, the KL."""
    pool = steps[f"{name} pool"]
    held_out = {"prompts": texts.prompts, "demonstrations": texts.held_out}
    judged = steps[f"{name} judged"] = Step(
        "judged",
        "afd_study.study.steps.outcomes:judged",
        {"world": world_settings(spec, "judge")},
        held_out | {name: pool},
    )
    steps[f"{name} scores"] = scores(spec, PROXY, steps[f"reward_{PROXY}"], texts, {name: pool})
    if name in steps:  # an extrapolation is no policy with weights of its own
        steps[f"{name} densities"] = densities(spec, name, steps[name], pool, judged, texts)


def _optimum(spec: StudySpec, seed: int, texts: Texts, steps: dict[str, Step]) -> Step:
    """Return demonstrations to test prompts, many to each, with densities under pi_init and their own law."""
    world = world_settings(spec, "held_out_demonstrations")
    settings = {"world": world, "per_prompt": OPTIMUM_DRAWS, "seed": seed}
    many = replace(
        texts, held_out=Step("held_out", "afd_study.study.steps.texts:held_out_demonstrations", settings)
    )
    read = {"prompts": texts.prompts, "demonstrations": many.held_out, "pi_init": steps["pool_init"]}
    verdicts = Step(
        "judged", "afd_study.study.steps.outcomes:judged", {"world": world_settings(spec, "judge")}, read
    )
    return densities(spec, "pi_init", steps["pi_init"], steps["pool_init"], verdicts, many)


def _kls(name: str, pool: str, spec: StudySpec, texts: Texts, steps: dict[str, Step]) -> Step:
    inputs = {
        "policy": steps[name], "reference": steps["pi_sft"], "samples": steps[pool],
        "tokenizers": texts.tokenizers, "prompts": texts.prompts,
    }  # fmt: skip
    return Step(
        "kls", "afd_study.study.steps.arms:kls", {"sampling": training_sampling(spec)}, inputs, weight=2
    )
