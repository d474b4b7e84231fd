"""How the steps of a study hang together: from a spec and a seed to the steps that make each table."""

from collections.abc import Mapping
from dataclasses import dataclass

from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.pipeline.arms import add_arms
from afd_study.study.pipeline.measures import _covering, _probes, _verdicts
from afd_study.study.pipeline.policies import (
    _samples,
    pi_init,
    pi_sft,
)
from afd_study.study.pipeline.rewards import _preferences, _scored
from afd_study.study.pipeline.texts import controlled_texts, corpus_texts
from afd_study.study.spec import StudySpec
from afd_study.study.workflow.step import Step
from afd_study.worlds.controlled import ControlledSpec


@dataclass(frozen=True)
class Plan:
    """All steps of a study at one seed, by what they make, and which step holds which table."""

    steps: Mapping[str, Step]

    def step(self, name: str) -> Step:
        """Return a step by name."""
        return self.steps[name]


# table -> the step that holds it (and the name that it has there)
TABLES: dict[str, tuple[str, str]] = {
    "prompts": ("prompts", "prompts"),
    "demonstrations": ("shown", "demonstrations"),
    "held_out_demonstrations": ("held_out", "demonstrations"),
    "samples": ("pool", "samples"),
    "init_samples": ("pool_init", "samples"),
    "components": ("judged", "components"),
    "report": ("corpus", "report"),
    "preferences": ("preferences", "preferences"),
    "judge_accuracy": ("judge", "judge_accuracy"),
    "judge_reading": ("published_judge", "judge_reading"),
    "left_out": ("fitting", "left_out"),
    "all_scores": ("scored", "scores"),
} | {
    name: (step, name)
    for step, names in {
        "outcomes": ("scores", "outcomes", "summary", "win_rates", "diagnostics", "discrimination"),
        "coverage": ("coverage", "distinct_good"),
        "arms": ("arms", "drift"),
        "probes": (
            "regression",
            "rank_correlations",
            "conditional_auc",
            "calibration",
            "calibration_curve",
            "edit_effects",
            "remedies",
        ),
    }.items()
    for name in names
}


def plan(spec: StudySpec, *, task: str, seed: int) -> Plan:
    """Lay out every step of the study. Nothing is run; data on disk are read to tell whether they changed."""
    steps: dict[str, Step] = {}
    controlled = isinstance(spec.world, ControlledSpec)
    texts = controlled_texts(spec, seed) if controlled else corpus_texts(spec, steps)
    steps |= {"prompts": texts.prompts, "shown": texts.shown, "held_out": texts.held_out}
    steps["pi_init"] = pi_init(spec, seed, texts, texts.pretraining)
    steps["pi_sft"] = pi_sft(spec, seed, texts, steps["pi_init"])
    _samples(spec, seed, texts, steps)
    tested = {"pi_sft": steps["pool"], "pi_init": steps["pool_init"]}
    labelled = any(REWARD_DATA[kind].high == "preferred" for kind in spec.reward.kinds)
    if labelled or (spec.arms is not None and spec.arms.names):
        steps["preferences"] = _preferences(spec, seed, steps, texts)
    verdicts = _verdicts(spec, seed, texts, steps, tested)
    scored = _scored(spec, seed, texts, steps, tested)
    pooled = {name: steps[name] for name in ("pool", "init_logprobs")}
    if verdicts is not None:
        pooled["judged"] = verdicts
        settings = {
            "task": task,
            "seed": seed,
            "sampling": spec.sampling,
            "scorers": {kind: REWARD_DATA[kind] for kind in spec.reward.kinds},
        }
        steps["outcomes"] = Step(
            "outcomes", "afd_study.study.steps.outcomes:outcomes", settings, pooled | scored, weight=6
        )
        if controlled and spec.sampling.temperature == 1:  # else samples are of another law than the policy's
            _covering(spec, task, seed, texts, steps)
        _probes(spec, task, seed, texts, steps, verdicts)
        add_arms(spec, task, seed, texts, steps)
    else:
        steps["scored"] = Step("scored", "afd_study.study.steps.outcomes:all_scores", {}, pooled | scored)
    return Plan(steps)
