"""How the steps of a study hang together: from a spec and a seed to the steps that make each table."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afd_study.methods.reward_data import REWARD_DATA
from afd_study.models.specs import TrainingSpec
from afd_study.study.spec import StudySpec
from afd_study.study.store import Step
from afd_study.worlds import hh_rlhf, own_data
from afd_study.worlds.controlled import DEPENDS, ControlledSpec
from afd_study.worlds.reading import digest

TEXTS, REWARDS = "afd_study.study.steps", "afd_study.study.reward_steps"


@dataclass(frozen=True)
class Texts:
    """The steps that a world begins with, whatever the world."""

    prompts: Step
    tokenizers: Step
    pretraining: Step
    demonstrations: Step  # as the policy reads them
    shown: Step  # as reward models read them, with marks
    held_out: Step  # demonstrations for test prompts
    held_out_shown: Step
    whole: bool  # pretraining reads prompts too


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
    "all_scores": ("scored", "scores"),
} | {
    name: ("outcomes", name)
    for name in ("scores", "outcomes", "summary", "win_rates", "diagnostics", "discrimination")
}


def plan(spec: StudySpec, *, task: str, seed: int) -> Plan:
    """Lay out every step of the study. Nothing is run; data on disk are read to tell whether they changed."""
    steps: dict[str, Step] = {}
    controlled = isinstance(spec.world, ControlledSpec)
    texts = _controlled(spec, seed) if controlled else _corpus(spec, steps)
    steps |= {"prompts": texts.prompts, "shown": texts.shown, "held_out": texts.held_out}
    steps["pi_init"] = _pi_init(spec, seed, texts, texts.pretraining)
    steps["pi_sft"] = _pi_sft(spec, seed, texts, steps["pi_init"])
    _samples(spec, seed, texts, steps)
    tested = {"pi_sft": steps["pool"], "pi_init": steps["pool_init"]}
    if "preferences" in spec.reward.kinds:
        steps["preferences"] = _preferences(spec, seed, steps, texts)
    if controlled:
        steps["judged"] = Step(
            "judged", f"{REWARDS}:judged", {"world": _knobs(spec, "judge")},
            {"prompts": texts.prompts, "demonstrations": texts.held_out, **tested},
        )  # fmt: skip
    elif spec.judge is not None:
        steps["judge"] = _judge(spec, spec.judge, seed, texts, steps)
        steps["judge_scores"] = _scores(spec, "judge", steps["judge"], texts, tested)
    scored = {}
    for kind in spec.reward.kinds:
        steps[f"reward_{kind}"] = _reward(spec, seed, kind, steps, texts)
        scored[kind] = _scores(spec, kind, steps[f"reward_{kind}"], texts, tested)
        steps[f"scores_{kind}"] = scored[kind]
    pooled = {name: steps[name] for name in ("pool", "init_logprobs")}
    verdicts = steps.get("judged") or steps.get("judge_scores")
    if verdicts is not None:
        pooled["judged"] = verdicts
        settings = {
            "task": task,
            "seed": seed,
            "sampling": spec.sampling,
            "scorers": {kind: REWARD_DATA[kind] for kind in spec.reward.kinds},
        }
        steps["outcomes"] = Step("outcomes", f"{REWARDS}:outcomes", settings, pooled | scored, weight=6)
    else:
        steps["scored"] = Step("scored", f"{REWARDS}:all_scores", {}, pooled | scored)
    return Plan(steps)


def _knobs(spec: StudySpec, table: str) -> dict[str, Any]:
    """Return the knobs of a controlled world that a table depends on, and no others."""
    return spec.world.model_dump(mode="json", include=set(DEPENDS[table]))


def _lengths(spec: StudySpec) -> Any:
    """Return the sampling settings that shape a response, the numbers of draws left at their defaults."""
    shape = spec.sampling.model_dump(include={"max_new_tokens", "max_prompt_tokens", "temperature"})
    return type(spec.sampling)(**shape)


def _model(spec: StudySpec) -> Any:
    """Return the policy's model without its adapters, which only fine-tuning sees."""
    return spec.policy.model_copy(update={"lora": None})


def _named(spec: StudySpec) -> Any:
    """Return what a tokenizer depends on: which published model, and nothing of one from scratch."""
    return _model(spec) if spec.policy.name_or_path else type(spec.policy)()


def _controlled(spec: StudySpec, seed: int) -> Texts:
    def table(name: str, weight: float = 1) -> Step:
        settings = {"table": name, "world": _knobs(spec, name), "seed": seed}
        return Step(name, f"{TEXTS}:world_table", settings, weight=weight)

    def marked(plain: Step) -> Step:
        settings = {"world": _knobs(spec, "marked"), "seed": seed}
        return Step("marked", f"{TEXTS}:marked", settings, {"demonstrations": plain})

    tokenizers = Step(
        "tokenizers",
        f"{TEXTS}:tokenizers",
        {"world": _knobs(spec, "vocabulary"), "model": _named(spec), "vocabulary": 0},
    )
    demonstrations = table("demonstrations")
    per_prompt = {"per_prompt": spec.sampling.demonstrations, "seed": seed}
    held_out = Step(
        "held_out",
        f"{TEXTS}:held_out_demonstrations",
        {"world": _knobs(spec, "held_out_demonstrations"), **per_prompt},
    )
    return Texts(
        prompts=table("prompts"), tokenizers=tokenizers, pretraining=table("pretraining", 8), whole=False,
        demonstrations=demonstrations, shown=marked(demonstrations),
        held_out=held_out, held_out_shown=marked(held_out),
    )  # fmt: skip


def _corpus(spec: StudySpec, steps: dict[str, Step]) -> Texts:
    module: Any = {"hh_rlhf": hh_rlhf, "own_data": own_data}[spec.world.name]
    files = {name: value for name, value in dict(spec.world).items() if isinstance(value, Path)}
    settings = {
        "world": spec.world.model_dump(mode="json", exclude=set(files)),
        "digest": digest(module.files(spec.world)),
        "judge_share": spec.judge_share,
    }
    # a data set is keyed by what it holds, wherever it lies
    places = {"files": {name: str(path.resolve()) for name, path in files.items()}}
    corpus = Step("corpus", f"{TEXTS}:corpus", settings, places=places)

    def texts(kind: str, part: str = "policy") -> Step:
        return Step(
            f"corpus_{kind}", f"{TEXTS}:corpus_texts", {"part": part, "kind": kind}, {"corpus": corpus}
        )

    pretraining, demonstrations, held_out = texts("pretraining"), texts("demonstrations"), texts("held_out")
    tokenizers = Step(
        "tokenizers", f"{TEXTS}:tokenizers",
        {"world": None, "model": _named(spec), "vocabulary": spec.vocabulary},
        {"prompts": corpus, "texts": pretraining},
    )  # fmt: skip
    steps |= {"corpus": corpus, "judge_pretraining": texts("pretraining", "judge")}
    return Texts(
        prompts=corpus, tokenizers=tokenizers, pretraining=pretraining, demonstrations=demonstrations,
        shown=demonstrations, held_out=held_out, held_out_shown=held_out, whole=True,
    )  # fmt: skip


def _samples(spec: StudySpec, seed: int, texts: Texts, steps: dict[str, Step]) -> None:
    """Add samples of all policies for training reward models, and those of the first two for test prompts."""
    sampling = spec.sampling
    shared = {"tokenizers": texts.tokenizers, "prompts": texts.prompts}
    wanted = [REWARD_DATA[kind] for kind in spec.reward.kinds]
    most = max([2, *(contrast.times for contrast in wanted)])
    for name, changes in spec.policies.items():
        if any(name in contrast[:2] for contrast in wanted):
            training = TrainingSpec(**(spec.sft.model_dump() | changes))
            other = spec.model_copy(update={"sft": training})
            steps[name] = _pi_sft(other, seed, texts, steps["pi_init"])
    policies = [name for name in ("pi_init", "pi_sft", *spec.policies) if name in steps]
    for policy in policies:
        common = {"source": policy, "sampling": _lengths(spec), "seed": seed}
        steps[f"training_{policy}"] = Step(
            "samples", f"{TEXTS}:samples", {**common, "purpose": "training", "draws": most},
            {"policy": steps[policy], "demonstrations": texts.demonstrations, **shared}, weight=8,
        )  # fmt: skip
    for policy, pool, draws in (
        ("pi_init", "pool_init", sampling.baseline_draws),
        ("pi_sft", "pool", sampling.draws),
    ):
        common = {"source": policy, "sampling": _lengths(spec), "seed": seed}
        steps[pool] = Step(
            "samples", f"{TEXTS}:samples", {**common, "purpose": "test", "draws": draws},
            {"policy": steps[policy], **shared}, weight=4,
        )  # fmt: skip
    steps["init_logprobs"] = Step(
        "logprobs", f"{TEXTS}:logprobs", {"sampling": _lengths(spec)},
        {"policy": steps["pi_init"], "samples": steps["pool"], **shared}, weight=3,
    )  # fmt: skip


def _pi_init(spec: StudySpec, seed: int, texts: Texts, read: Step) -> Step:
    settings = {
        "model": _model(spec), "training": spec.pretraining, "sampling": _lengths(spec),
        "whole": texts.whole, "seed": seed,
    }  # fmt: skip
    inputs = {"tokenizers": texts.tokenizers, "prompts": texts.prompts, "texts": read}
    return Step("pi_init", f"{TEXTS}:pi_init", settings, inputs, weight=60)


def _pi_sft(spec: StudySpec, seed: int, texts: Texts, pi_init: Step) -> Step:
    settings = {"training": spec.sft, "sampling": _lengths(spec), "lora": spec.policy.lora, "seed": seed}
    inputs = {
        "pi_init": pi_init, "demonstrations": texts.demonstrations, "tokenizers": texts.tokenizers,
        "prompts": texts.prompts,
    }  # fmt: skip
    if spec.matched_style is None:
        return Step("pi_sft", f"{TEXTS}:pi_sft", settings, inputs, weight=8)
    styled = spec.world.model_copy(update={"absorbed_style": spec.matched_style})
    reference = spec.model_copy(update={"matched_style": None, "world": styled})
    inputs["reference"] = _pi_sft(reference, seed, _controlled(reference, seed), pi_init)
    settings["world"] = _knobs(spec, "judge")
    return Step("pi_sft", "afd_study.study.matching:pi_sft_matched", settings, inputs, weight=30)


def _preferences(spec: StudySpec, seed: int, steps: Mapping[str, Step], texts: Texts) -> Step:
    """Preferences: the world's judge labels samples of pi_init, or people have labelled a data set."""
    if "corpus" in steps:
        return Step(
            "corpus_preferences",
            f"{TEXTS}:corpus_preferences",
            {"part": "policy"},
            {"corpus": steps["corpus"]},
        )
    knobs = _knobs(spec, "preferences")
    settings = {
        "world": _knobs(spec, "judge"), "seed": seed,
        "scale": knobs["preference_scale"], "noise": knobs["preference_noise"],
    }  # fmt: skip
    inputs = {
        "prompts": texts.prompts,
        "demonstrations": texts.demonstrations,
        "pi_init": steps["training_pi_init"],
    }
    return Step("preferences", f"{REWARDS}:judged_preferences", settings, inputs, weight=2)


def _judge(spec: StudySpec, training: Any, seed: int, texts: Texts, steps: Mapping[str, Step]) -> Step:
    """A judge fitted to people's preferences, on a body pretrained on its own part of the data alone."""
    body = _pi_init(spec, seed, texts, steps["judge_pretraining"])
    settings = {"training": training, "sampling": _lengths(spec), "seed": seed}
    inputs = {"tokenizers": texts.tokenizers, "corpus": texts.prompts, "policy": body}
    return Step("judge", f"{REWARDS}:fitted_judge", settings, inputs, weight=30)


def _reward(spec: StudySpec, seed: int, kind: str, steps: Mapping[str, Step], texts: Texts) -> Step:
    contrast, reward = REWARD_DATA[kind], spec.reward
    settings = {
        "kind": kind, "data": contrast, "backbone": reward.backbone, "model": _model(spec),
        "lora": reward.lora, "training": reward.training, "sampling": _lengths(spec), "seed": seed,
    }  # fmt: skip
    inputs = {
        "tokenizers": texts.tokenizers,
        "prompts": texts.prompts,
        "demonstrations": texts.demonstrations,
    }
    if reward.backbone != "scratch":
        inputs["policy"] = steps[reward.backbone]
    if contrast.high == "preferred":
        inputs["preferences"] = steps["preferences"]
        if "corpus" in steps:  # as many pairs as people have labelled
            inputs["demonstrations"] = steps["preferences"]
    sources = {name: steps[f"training_{name}"] for name in contrast[:2] if f"training_{name}" in steps}
    # demonstrations are read twice: with marks as a source, and for how many pairs each prompt gets
    shown = {"source_demonstrations": texts.shown} if "demonstrations" in contrast[:2] else {}
    return Step("reward_model", f"{REWARDS}:reward_model", settings, inputs | sources | shown, weight=15)


def _scores(spec: StudySpec, scorer: str, model: Step, texts: Texts, tested: Mapping[str, Step]) -> Step:
    settings = {"scorer": scorer, "sampling": _lengths(spec)}
    inputs = {"reward_model": model, "tokenizers": texts.tokenizers, "prompts": texts.prompts}
    shown = {"demonstrations": texts.held_out_shown}
    return Step("scores", f"{REWARDS}:scores", settings, inputs | dict(tested) | shown, weight=5)
