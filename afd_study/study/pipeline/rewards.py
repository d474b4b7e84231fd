"""The steps that make preferences, reward models, scores and a fitted judge."""

from collections.abc import Mapping

from afd_study.methods.ensembles import replicate_name
from afd_study.methods.reward_pairs import RewardData
from afd_study.models.specs import ModelSpec
from afd_study.study.pipeline.builder import Builder
from afd_study.study.pipeline.policies import pi_init, policy, pretrained, training_samples
from afd_study.study.pipeline.texts import bare_model
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step
from afd_study.worlds.controlled import ControlledSpec

FROZEN = ("frozen_reward", "frozen_judge")  # steps that fit a head on states
COUNTS = "demonstrations"  # the input that says how many pairs a prompt gets


def preferences(builder: Builder) -> Step:
    """Return the step that makes preferences: one pair for each demonstration, or those of a data set."""
    if builder.texts.corpus is not None:
        corpus = {"corpus": builder.texts.prompts}
        return builder.once("preferences", lambda: step("corpus_preferences", {"part": "policy"}, corpus))
    return builder.once("preferences", lambda: _judged_preferences(builder))


def _judged_preferences(builder: Builder, times: int = 1) -> Step:
    """Have the world's judge label `times` pairs of pi_init samples for each demonstration."""
    labels = builder.world("preferences")
    settings = {
        "world": builder.world("judge"),
        "seed": builder.seed,
        "scale": labels["preference_scale"],
        "noise": labels["preference_noise"],
    }
    samples = training_samples(builder, "pi_init", pi_init(builder), 2 * times)
    return step("judged_preferences", settings, {"prompts": builder.texts.prompts, "pi_init": samples})


def learned_preferences(builder: Builder) -> Step:
    """Return the preferences that reward models learn from: all there are, or as many as the spec says."""
    n, world = builder.spec.reward.n_preferences, builder.spec.world
    usual = world.n_demonstrations if isinstance(world, ControlledSpec) else None
    if n is None or n == usual:
        return preferences(builder)
    times = -(-n // usual) if usual else 1
    labelled = _judged_preferences(builder, times) if times > 1 else preferences(builder)
    inputs = {"preferences": labelled, "tokenizers": builder.texts.tokenizers}
    return step("chosen_preferences", {"n": n, "seed": builder.seed}, inputs)


def reward_model(builder: Builder, kind: str, replicate: int = 0) -> Step:
    """Return the step that trains a reward model on one choice of data (methods.reward_data).

    Replicates differ in their heads, in the order of their pairs and in their samples.
    """
    name = replicate_name(kind, replicate)
    return builder.once(f"reward_{name}", lambda: _reward_model(builder, kind, replicate))


def replicates(builder: Builder) -> dict[str, dict[str, Step]]:
    """Return each kind's reward models by name."""
    spec = builder.spec.reward
    return {
        kind: {
            replicate_name(kind, r): reward_model(builder, kind, r) for r in range(spec.replicates_of(kind))
        }
        for kind in spec.kinds
    }


def _reward_model(builder: Builder, kind: str, replicate: int) -> Step:
    reward = builder.spec.reward
    data, training = reward.recipe(kind)
    common = {"kind": replicate_name(kind, replicate), "data": data}
    inputs = _learned_from(builder, data, replicate)
    if reward.body == "frozen":
        read = {f"states_{name}": states(builder, each) for name, each in inputs.items() if name != COUNTS}
        return builder.reading("frozen_reward", common | {"shape": reward.head}, inputs | read)
    settings = {
        **common,
        "backbone": reward.backbone,
        "model": _body(builder),
        "lora": reward.lora,
        "training": training,
    }
    if reward.trained(kind) == "head":
        settings |= {"trained": "head", "lora": None}  # a body that stays as it is has no adapters
    if reward.backbone != "scratch":
        inputs["policy"] = policy(builder, reward.backbone)
    return builder.reading("reward_model", settings, inputs)


def _learned_from(builder: Builder, data: RewardData, replicate: int) -> dict[str, Step]:
    """Return the steps that hold a reward model's responses; COUNTS says how many pairs a prompt gets."""
    inputs = {COUNTS: builder.texts.demonstrations}
    for side in (data.high, data.low):
        if side in ("pi_init", "pi_sft", *builder.spec.policies):
            inputs[side] = training_samples(builder, side, policy(builder, side), data.times, replicate)
        elif (
            side == "demonstrations"
        ):  # read twice: with marks as a source, and for how many pairs a prompt gets
            inputs["source_demonstrations"] = builder.texts.shown
    if data.high == "preferred":
        labels = inputs["preferences"] = learned_preferences(builder)
        if builder.texts.corpus is not None or labels is not preferences(builder):
            inputs[COUNTS] = labels  # as many pairs as are labelled
    return inputs


def states(builder: Builder, texts: Step, body: Step | None = None) -> Step:
    """Return the step in which a frozen body reads the texts of a step: the reward models' by default."""
    reward = builder.spec.reward
    role = next((name for name, each in builder.steps.items() if each is texts), texts.name)
    inputs = {"policy": body or policy(builder, reward.backbone), "texts": texts}
    return builder.once(
        f"states_{role}" + "_of_judge" * (body is not None),
        lambda: builder.reading("text_states", {"layer": reward.layer}, inputs, seeded=False),
    )


def states_for(builder: Builder, model: Step, texts: Mapping[str, Step]) -> dict[str, Step]:
    """Return the states that a head on a frozen body scores texts by: a judge's body is pi_init."""
    body = pi_init(builder) if model.name == "frozen_judge" else None
    return {f"states_{name}": states(builder, each, body) for name, each in texts.items()}


def _body(builder: Builder) -> ModelSpec:
    """Return the model that a reward model's body is made by: of its own size, if the spec gives it one."""
    model = bare_model(builder.spec)
    return model.model_copy(update={"config": model.config | builder.spec.reward.config})


def scores(builder: Builder, scorer: str, model: Step, texts: Mapping[str, Step]) -> Step:
    """Return the step that scores texts of some sources by a model."""
    if model.name in FROZEN:
        inputs = {"reward_model": model, **texts, **states_for(builder, model, texts)}
        return step("frozen_scores", {"scorer": scorer}, inputs)
    return builder.reading("scores", {"scorer": scorer}, {"reward_model": model, **texts}, seeded=False)


def fitted_judge(builder: Builder) -> Step:
    """Return a judge fitted to people's preferences on its own part of the data, as reward models are fitted.

    Its body is pretrained on that part; a frozen one is pi_init, which has seen none of the data.
    """
    if builder.spec.reward.body == "frozen":
        corpus = {"corpus": builder.texts.prompts}
        corpus["states_corpus"] = states(builder, builder.texts.prompts, pi_init(builder))
        return builder.once("judge", lambda: builder.reading("frozen_judge", {}, corpus))
    texts = builder.texts.judge_pretraining
    assert texts is not None  # there are such texts wherever the spec has a judge to fit
    inputs = {"corpus": builder.texts.prompts, "policy": pretrained(builder, texts)}
    settings = {"training": builder.spec.judge}
    return builder.once("judge", lambda: builder.reading("fitted_judge", settings, inputs))
