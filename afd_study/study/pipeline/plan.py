"""How the steps of a study hang together: from a spec and a seed to the steps that make each table."""

from collections.abc import Mapping
from dataclasses import dataclass

from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.pipeline.arms import arms
from afd_study.study.pipeline.builder import Builder
from afd_study.study.pipeline.demonstrator import model_coverage, model_densities, with_demonstrator
from afd_study.study.pipeline.judges import second_judge
from afd_study.study.pipeline.measures import (
    coverage,
    ensembles,
    likelihoods,
    outcomes,
    probes,
    reward_scores,
    verdicts,
    when,
)
from afd_study.study.pipeline.policies import pi_init, pi_sft, policy, training_samples
from afd_study.study.pipeline.rewards import preferences
from afd_study.study.pipeline.texts import Texts, texts
from afd_study.study.spec import StudySpec
from afd_study.study.steps import STEPS, step
from afd_study.study.workflow.step import Step


@dataclass(frozen=True)
class Plan:
    """All steps of a study at one seed, by role."""

    steps: Mapping[str, Step]

    def step(self, role: str) -> Step:
        """Return the step of a role."""
        return self.steps[role]


_BY_ROLE = (
    *("outcomes", "demonstrator_thresholds", "coverage", "arms", "probes", "when"),
    *("pair_agreement", "judges"),
)
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
    "cut": ("pi_sft", "cut"),
    "left_out": ("short_prompts", "left_out"),
    "all_scores": ("scored", "scores"),
    "words_judge_accuracy": ("words_judge", "judge_accuracy"),
    "densities": ("model_densities", "densities"),
    "exact_discrimination": ("model_densities", "discrimination"),
    "model_thresholds": ("model_coverage", "demonstrator_thresholds"),
    "model_coverage": ("model_coverage", "coverage"),
    "model_coverage_summary": ("model_coverage", "summary"),
}
TABLES |= {table: (role, table) for role in _BY_ROLE for table in STEPS[role].tables}
TABLES |= {f"{table}_by_judge": ("by_judge", table) for table in STEPS["by_judge"].tables}
"""Table of a study -> the role of the step that holds it, and the name that it has there."""


def plan(spec: StudySpec, *, task: str, seed: int, start: Texts | None = None) -> Plan:
    """Lay out every step of the study, behind the steps of its texts.

    Nothing is run. Data on disk are read to tell whether they changed, unless `start` is given.
    """
    start = start or texts(spec, seed)
    builder = with_demonstrator(Builder(spec, task, seed, start, start.roles()))
    pi_init(builder)
    pi_sft(builder)
    for name in ("pi_init", "pi_sft", *_further_policies(builder)):
        training_samples(builder, name, policy(builder, name))
    if _labelled(spec):
        preferences(builder)
    when(builder)
    judged = verdicts(builder)
    if judged is None:
        inputs = {**likelihoods(builder), **reward_scores(builder), **model_densities(builder)}
        settings = {"ensembles": ensembles(builder)}
        scored = builder.once("scored", lambda: step("all_scores", settings, inputs))
        model_coverage(builder, scored)
        return Plan(builder.steps)
    model_coverage(builder, outcomes(builder, judged))
    if (
        builder.controlled and spec.sampling.temperature == 1
    ):  # else samples are of another law than the policy's
        coverage(builder, judged)
    probes(builder, judged)
    if spec.second_judge:
        second_judge(builder, judged)
    if spec.arms is not None and spec.arms.names:
        arms(builder, judged)
    return Plan(builder.steps)


def _further_policies(builder: Builder) -> list[str]:
    """Return the spec's further policies that some reward model learns from."""
    sources = {side for kind in builder.spec.reward.kinds for side in REWARD_DATA[kind][:2]}
    return [name for name in builder.spec.policies if name in sources]


def _labelled(spec: StudySpec) -> bool:
    """Tell whether anything learns from preferences."""
    kinds = any(REWARD_DATA[kind].high == "preferred" for kind in spec.reward.kinds)
    return kinds or (spec.arms is not None and bool(spec.arms.names))
