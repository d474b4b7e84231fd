"""The steps that measure: the judge, densities and coverage, probes."""

from collections.abc import Mapping

from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.pipeline.policies import (
    training_sampling,
)
from afd_study.study.pipeline.rewards import _judge, scores
from afd_study.study.pipeline.texts import Texts, world_settings
from afd_study.study.spec import StudySpec
from afd_study.study.workflow.step import Step
from afd_study.worlds.controlled import GOOD, ControlledSpec


def densities(spec: StudySpec, source: str, policy: Step, pool: Step, judged: Step, texts: Texts) -> Step:
    """Return the step that gives a policy's samples and demonstrations their densities under both laws."""
    settings = {
        "world": world_settings(spec, "demonstrator_law"),
        "source": source,
        "sampling": training_sampling(spec),
    }
    inputs = {
        "policy": policy, "samples": pool, "judged": judged, "held_out": texts.held_out,
        "tokenizers": texts.tokenizers, "prompts": texts.prompts,
    }  # fmt: skip
    return Step("densities", "afd_study.study.steps.coverage:densities", settings, inputs, weight=4)


def _verdicts(
    spec: StudySpec, seed: int, texts: Texts, steps: dict[str, Step], tested: Mapping[str, Step]
) -> Step | None:
    """Add what the judge says of all test texts, and return it: the world's, a fitted or a published one."""
    if isinstance(spec.world, ControlledSpec):
        name, asked = "judged", {"prompts": texts.prompts, "demonstrations": texts.held_out, **tested}
        steps[name] = Step(
            "judged", "afd_study.study.steps.outcomes:judged", {"world": world_settings(spec, "judge")}, asked
        )
        return steps[name]
    everything = {**tested, "demonstrations": texts.held_out_shown}
    if spec.judge is not None:
        name, steps["judge"] = "judge_scores", _judge(spec, spec.judge, seed, texts, steps)
        steps[name] = scores(spec, "judge", steps["judge"], texts, everything)
    elif spec.judge_model is not None:
        name, asked = "published_judge", {"prompts": texts.prompts, **everything}
        steps[name] = Step(
            name, "afd_study.study.steps.published:judged", {"judge": spec.judge_model}, asked, weight=20
        )
    else:
        return None
    return steps[name]


def _covering(spec: StudySpec, task: str, seed: int, texts: Texts, steps: dict[str, Step]) -> None:
    """Add covering and seeking of both policies, by the exact law of the demonstrators."""
    for policy, pool in (("pi_init", "pool_init"), ("pi_sft", "pool")):
        laws = densities(spec, policy, steps[policy], steps[pool], steps["judged"], texts)
        steps[f"densities_{policy}"] = laws
    measured = {policy: steps[f"densities_{policy}"] for policy in ("pi_init", "pi_sft")}
    settings = {"task": task, "seed": seed, "good": GOOD}
    steps["coverage"] = Step(
        "coverage", "afd_study.study.steps.coverage:coverage", settings, measured, weight=3
    )


def _probes(
    spec: StudySpec, task: str, seed: int, texts: Texts, steps: dict[str, Step], verdicts: Step
) -> None:
    """Add what reward models have learned: on samples, on edited samples, against exact log ratios."""
    world = world_settings(spec, "judge") if "judged" in steps else None
    shared = {"prompts": texts.prompts}
    steps["edits"] = Step(
        "edits",
        "afd_study.study.steps.probes:edits",
        {"world": world, "seed": seed},
        {"pool": steps["pool"], **shared},
    )
    models = {kind: steps[f"reward_{kind}"] for kind in spec.reward.kinds}
    if "judge" in steps:
        models["judge"] = steps["judge"]
    asked = {}
    for scorer, model in models.items():
        asked[f"edited_{scorer}"] = Step(
            "edit_scores", "afd_study.study.steps.probes:edit_scores",
            {"scorer": scorer, "sampling": training_sampling(spec)},
            {"reward_model": model, "tokenizers": texts.tokenizers, "edits": steps["edits"], **shared},
        )  # fmt: skip
    if spec.judge_model is not None:
        asked["edited_judge"] = Step(
            "edit_scores", "afd_study.study.steps.published:judged_edits", {"judge": spec.judge_model},
            {"edits": steps["edits"], **shared},
        )  # fmt: skip
    data = {kind: REWARD_DATA[kind] for kind in spec.reward.kinds}
    inputs = {name: steps[name] for name in ("pool", "pool_init", "init_logprobs", "outcomes", "edits")}
    inputs |= {"shown": texts.held_out_shown, "judged": verdicts}
    if "densities_pi_sft" in steps:
        inputs["densities"] = steps["densities_pi_sft"]
    settings = {"task": task, "seed": seed, "world": world, "data": data}
    steps["probes"] = Step(
        "probes", "afd_study.study.steps.probes:probes", settings, inputs | asked, weight=8
    )
