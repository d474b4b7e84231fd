"""How the steps of a study hang together: from a spec and a seed to the steps that make each table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from afd_study.methods.reward_data import REWARD_DATA
from afd_study.models.specs import TrainingSpec
from afd_study.study.arms import add_arms
from afd_study.study.beginnings import (
    PROBES,
    PUBLISHED,
    REWARDS,
    TEXTS,
    Texts,
    bare_model,
    controlled_texts,
    corpus_texts,
    densities,
    knobs,
    lengths,
    pi_init,
    pi_sft,
    scores,
    training_samples,
)
from afd_study.study.spec import StudySpec
from afd_study.study.store import Step
from afd_study.worlds.controlled import GOOD, ControlledSpec


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
        steps["outcomes"] = Step("outcomes", f"{REWARDS}:outcomes", settings, pooled | scored, weight=6)
        if controlled and spec.sampling.temperature == 1:  # else samples are of another law than the policy's
            _covering(spec, task, seed, texts, steps)
        _probes(spec, task, seed, texts, steps, verdicts)
        add_arms(spec, task, seed, texts, steps)
    else:
        steps["scored"] = Step("scored", f"{REWARDS}:all_scores", {}, pooled | scored)
    return Plan(steps)


def _verdicts(
    spec: StudySpec, seed: int, texts: Texts, steps: dict[str, Step], tested: Mapping[str, Step]
) -> Step | None:
    """Add what the judge says of all test texts, and return it: the world's, a fitted or a published one."""
    if isinstance(spec.world, ControlledSpec):
        name, asked = "judged", {"prompts": texts.prompts, "demonstrations": texts.held_out, **tested}
        steps[name] = Step("judged", f"{REWARDS}:judged", {"world": knobs(spec, "judge")}, asked)
        return steps[name]
    everything = {**tested, "demonstrations": texts.held_out_shown}
    if spec.judge is not None:
        name, steps["judge"] = "judge_scores", _judge(spec, spec.judge, seed, texts, steps)
        steps[name] = scores(spec, "judge", steps["judge"], texts, everything)
    elif spec.judge_model is not None:
        name, asked = "published_judge", {"prompts": texts.prompts, **everything}
        steps[name] = Step(name, f"{PUBLISHED}:judged", {"judge": spec.judge_model}, asked, weight=20)
    else:
        return None
    return steps[name]


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
        drawn_at = lengths(spec).model_copy(update={"temperature": sampling.temperature})
        common = {"source": policy, "sampling": drawn_at, "seed": seed}
        steps[pool] = Step(
            "samples", f"{TEXTS}:samples", {**common, "purpose": "test", "draws": draws},
            {"policy": steps[policy], **shared}, weight=4,
        )  # fmt: skip
    steps["init_logprobs"] = Step(
        "logprobs", f"{TEXTS}:logprobs", {"sampling": lengths(spec)},
        {"policy": steps["pi_init"], "samples": steps["pool"], **shared}, weight=3,
    )  # fmt: skip


def _training(source: str, times: int) -> str:
    """Return the name of the step with a policy's samples for training, `times` as many as demonstrations."""
    return f"training_{source}" if times == 1 else f"training_{source}_x{times}"


def _preferences(spec: StudySpec, seed: int, steps: Mapping[str, Step], texts: Texts, times: int = 1) -> Step:
    """Preferences: the world's judge labels `times` pairs of pi_init samples for each demonstration.

    Of a data set those that people have labelled, however many.
    """
    if "corpus" in steps:
        return Step(
            "corpus_preferences",
            f"{TEXTS}:corpus_preferences",
            {"part": "policy"},
            {"corpus": texts.prompts},
        )
    labels = knobs(spec, "preferences")
    settings = {
        "world": knobs(spec, "judge"), "seed": seed,
        "scale": labels["preference_scale"], "noise": labels["preference_noise"],
    }  # fmt: skip
    drawn = training_samples(spec, seed, texts, "pi_init", steps["pi_init"], 2 * times)
    inputs = {"prompts": texts.prompts, "pi_init": drawn}
    return Step("preferences", f"{REWARDS}:judged_preferences", settings, inputs, weight=2)


def _learned_preferences(spec: StudySpec, seed: int, steps: Mapping[str, Step], texts: Texts) -> Step:
    """The preferences that reward models learn from: all there are, or as many as the spec says."""
    n = spec.reward.n_preferences
    usual = spec.world.n_demonstrations if isinstance(spec.world, ControlledSpec) else None
    if n is None or n == usual:
        return steps["preferences"]
    times = -(-n // usual) if usual else 1
    labelled = _preferences(spec, seed, steps, texts, times) if times > 1 else steps["preferences"]
    inputs = {"preferences": labelled, "tokenizers": texts.tokenizers}
    return Step("preferences", f"{REWARDS}:chosen_preferences", {"n": n, "seed": seed}, inputs)


def _judge(spec: StudySpec, training: Any, seed: int, texts: Texts, steps: Mapping[str, Step]) -> Step:
    """A judge fitted to people's preferences, on a body pretrained on its own part of the data alone."""
    body = pi_init(spec, seed, texts, steps["judge_pretraining"])
    settings = {"training": training, "sampling": lengths(spec), "seed": seed}
    inputs = {"tokenizers": texts.tokenizers, "corpus": texts.prompts, "policy": body}
    return Step("judge", f"{REWARDS}:fitted_judge", settings, inputs, weight=30)


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
        "lora": reward.lora, "training": reward.training, "sampling": lengths(spec), "seed": seed,
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
    return Step("reward_model", f"{REWARDS}:reward_model", settings, inputs | sources | shown, weight=15)


def _body(spec: StudySpec) -> Any:
    """Return the model that a reward model's body is made by: of its own size, if the spec gives it one."""
    model = bare_model(spec)
    return model.model_copy(update={"config": model.config | spec.reward.config})


def _covering(spec: StudySpec, task: str, seed: int, texts: Texts, steps: dict[str, Step]) -> None:
    """Add covering and seeking of both policies, by the exact law of the demonstrators."""
    for policy, pool in (("pi_init", "pool_init"), ("pi_sft", "pool")):
        laws = densities(spec, policy, steps[policy], steps[pool], steps["judged"], texts)
        steps[f"densities_{policy}"] = laws
    measured = {policy: steps[f"densities_{policy}"] for policy in ("pi_init", "pi_sft")}
    settings = {"task": task, "seed": seed, "good": GOOD}
    steps["coverage"] = Step("coverage", f"{PROBES}:coverage", settings, measured, weight=3)


def _probes(
    spec: StudySpec, task: str, seed: int, texts: Texts, steps: dict[str, Step], verdicts: Step
) -> None:
    """Add what reward models have learned: on samples, on edited samples, against exact log ratios."""
    world = knobs(spec, "judge") if "judged" in steps else None
    shared = {"prompts": texts.prompts}
    steps["edits"] = Step(
        "edits", f"{PROBES}:edits", {"world": world, "seed": seed}, {"pool": steps["pool"], **shared}
    )
    models = {kind: steps[f"reward_{kind}"] for kind in spec.reward.kinds}
    if "judge" in steps:
        models["judge"] = steps["judge"]
    asked = {}
    for scorer, model in models.items():
        asked[f"edited_{scorer}"] = Step(
            "edit_scores", f"{PROBES}:edit_scores", {"scorer": scorer, "sampling": lengths(spec)},
            {"reward_model": model, "tokenizers": texts.tokenizers, "edits": steps["edits"], **shared},
        )  # fmt: skip
    if spec.judge_model is not None:
        asked["edited_judge"] = Step(
            "edit_scores", f"{PUBLISHED}:judged_edits", {"judge": spec.judge_model},
            {"edits": steps["edits"], **shared},
        )  # fmt: skip
    data = {kind: REWARD_DATA[kind] for kind in spec.reward.kinds}
    inputs = {name: steps[name] for name in ("pool", "pool_init", "init_logprobs", "outcomes", "edits")}
    inputs |= {"shown": texts.held_out_shown, "judged": verdicts}
    if "densities_pi_sft" in steps:
        inputs["densities"] = steps["densities_pi_sft"]
    settings = {"task": task, "seed": seed, "world": world, "data": data}
    steps["probes"] = Step("probes", f"{PROBES}:probes", settings, inputs | asked, weight=8)
