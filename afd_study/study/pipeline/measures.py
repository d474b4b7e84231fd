"""The steps that measure: the judge, densities and coverage, probes."""

from collections.abc import Mapping

from afd_study.evaluation.demonstrator_thresholds import DRAWS
from afd_study.methods.ensembles import ensemble_name, parts_of, replicate_name
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.pipeline.builder import Builder
from afd_study.study.pipeline.demonstrator import EXACT, model_densities
from afd_study.study.pipeline.policies import half_logprobs, init_logprobs, policy, pool, pool_init
from afd_study.study.pipeline.rewards import (
    FROZEN,
    fitted_judge,
    replicates,
    reward_model,
    scores,
    states_for,
)
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step
from afd_study.worlds.controlled import GOOD, ControlledSpec

DISCRIMINATORS = ("init_sft", "init_demo", "sft_demo")  # whose AUCs are among evaluation.when.DIAGNOSTICS
FREE = "_x10"  # ends the names of kinds with free samples
MEASURED_TWICE = ("init_sft", "init_demo")  # whose replicates' disagreement is


def verdicts(builder: Builder) -> Step | None:
    """Return the judge's verdicts on all test texts, None without one: the world's, fitted or published."""
    spec, texts = builder.spec, builder.texts
    tested = {"pi_sft": pool(builder), "pi_init": pool_init(builder)}
    everything = {**tested, "demonstrations": texts.held_out_shown}
    if builder.controlled:
        plain = {"demonstrations": texts.held_out, **tested}
        return builder.once("judged", lambda: world_verdicts(builder, plain))
    if spec.judge is not None:
        judge = fitted_judge(builder)
        return builder.once("judge_scores", lambda: scores(builder, "judge", judge, everything))
    if spec.judge_model is not None:
        settings, inputs = {"judge": spec.judge_model}, {"prompts": texts.prompts, **everything}
        return builder.once("published_judge", lambda: step("published_verdicts", settings, inputs))
    return None


def world_verdicts(builder: Builder, texts: Mapping[str, Step]) -> Step:
    """Return the step in which a controlled world's judge scores texts of some sources."""
    return step("verdicts", {"world": builder.world("judge")}, {"prompts": builder.texts.prompts, **texts})


def reward_scores(builder: Builder) -> dict[str, Step]:
    """Return every reward model's scores of test texts.

    Demonstrations are scored by a step of their own: their marks must not have all samples scored again.
    """
    tested = {"pi_sft": pool(builder), "pi_init": pool_init(builder)}
    demonstrations = {"demonstrations": builder.texts.held_out_shown}
    scored = dict[str, Step]()
    for models in replicates(builder).values():
        for name, model in models.items():
            scored[name] = _scores_of(builder, f"scores_{name}", name, model, tested)
            scored[f"{name}_shown"] = _scores_of(builder, f"shown_{name}", name, model, demonstrations)
    return scored


def _scores_of(builder: Builder, role: str, name: str, model: Step, texts: Mapping[str, Step]) -> Step:
    return builder.once(role, lambda: scores(builder, name, model, texts))


def ensembles(builder: Builder) -> dict[str, tuple[str, ...]]:
    """Return the scorers that replicates make together: name -> its members; none where each kind has one."""
    models = replicates(builder).items()
    return {ensemble_name(kind): tuple(names) for kind, names in models if len(names) > 1}


def outcomes(builder: Builder, judged: Step) -> Step:
    """Return the step that judges every selection rule at every n."""
    return builder.once("outcomes", lambda: outcomes_under(builder, judged))


def outcomes_under(builder: Builder, judged: Step) -> Step:
    """Return the step that judges every selection rule at every n by some judge's verdicts."""
    spec, models, exact = builder.spec, replicates(builder), model_densities(builder)
    scorers = {name: REWARD_DATA[kind] for kind, names in models.items() for name in names}
    settings = {
        "task": builder.task,
        "seed": builder.seed,
        "sampling": spec.sampling,
        "scorers": scorers | (EXACT if exact else {}),
        "ensembles": ensembles(builder),
    }
    inputs = {**likelihoods(builder), "judged": judged, **reward_scores(builder), **exact}
    return step("outcomes", settings, inputs)


def likelihoods(builder: Builder) -> dict[str, Step]:
    """Return the pool and what other policies think of it: what rules without training score by."""
    pooled = {"pool": pool(builder), "init_logprobs": init_logprobs(builder)}
    return pooled | half_logprobs(builder)


def when(builder: Builder) -> Step:
    """Return the step that measures what predicts when Init-SFT picks best, without a judge.

    Where a kind has a reward model with free samples, that is the one which is measured.
    """
    every, models = replicates(builder), dict[str, list[str]]()
    for kind in DISCRIMINATORS:
        names = every.get(f"{kind}{FREE}") or every.get(kind)
        if names:
            models[kind] = list(names)[: 2 if kind in MEASURED_TWICE else 1]
    settings = {
        "task": builder.task,
        "data": {kind: REWARD_DATA[parts_of(names[0])[0]] for kind, names in models.items()},
        "called": {
            name: replicate_name(kind, r) for kind, names in models.items() for r, name in enumerate(names)
        },
    }
    scored, shown = reward_scores(builder), [f"{names[0]}_shown" for names in models.values()]
    inputs = {
        "pool": pool(builder),
        "pool_init": pool_init(builder),
        "shown": builder.texts.held_out_shown,
        **{name: scored[name] for name in (*settings["called"], *shown)},
    }
    return builder.once("when", lambda: builder.reading("when", settings, inputs))


def densities(builder: Builder, source: str, policy_step: Step, judged: Step) -> Step:
    """Return the step that gives a policy's samples and demonstrations their densities under both laws.

    `judged` are verdicts on the samples (its input of the source's name) and on demonstrations.
    """
    settings = {"world": builder.world("demonstrator_law"), "source": source}
    inputs = {
        "policy": policy_step,
        "samples": judged.inputs[source],
        "judged": judged,
        "held_out": judged.inputs["demonstrations"],
    }
    return builder.reading("densities", settings, inputs, seeded=False)


def coverage(builder: Builder, judged: Step) -> Step:
    """Return covering and seeking of both policies, by the exact law of the demonstrators."""
    settings = {"task": builder.task, "seed": builder.seed, "good": GOOD}
    inputs = {name: policy_densities(builder, name, judged) for name in ("pi_init", "pi_sft")}
    inputs["thresholds"] = demonstrator_thresholds(builder)
    return builder.once("coverage", lambda: step("coverage", settings, inputs))


def demonstrator_thresholds(builder: Builder) -> Step:
    """Return where the demonstrators' highest-probability sets begin, which all policies are held against.

    Demonstrations are cut at the horizon at which samples are.
    """
    assert isinstance(builder.spec.world, ControlledSpec)  # plan measures coverage in no other world
    settings = {
        "world": builder.world("demonstrator_law"),
        "seed": builder.seed,
        "draws": DRAWS,
        "max_words": min(builder.spec.world.max_words, builder.bounds.max_new_tokens),
    }
    inputs = {"prompts": builder.texts.prompts}
    return builder.once("demonstrator_thresholds", lambda: step("demonstrator_thresholds", settings, inputs))


def policy_densities(builder: Builder, name: str, judged: Step) -> Step:
    """Return the densities of pi_init's or pi_SFT's samples."""
    policy_step = policy(builder, name)
    return builder.once(f"densities_{name}", lambda: densities(builder, name, policy_step, judged))


def edits(builder: Builder) -> Step:
    """Return the step that edits samples of pi_SFT in one thing each."""
    settings = {"world": builder.world("judge") if builder.controlled else None, "seed": builder.seed}
    inputs = {"pool": pool(builder), "prompts": builder.texts.prompts}
    return builder.once("edits", lambda: step("edits", settings, inputs))


def _edited(builder: Builder) -> dict[str, Step]:
    """Return the scores of edited samples by every reward model, and by a judge that is a model."""
    models = {kind: reward_model(builder, kind) for kind in builder.spec.reward.kinds}
    if builder.texts.judge_pretraining is not None:
        models["judge"] = fitted_judge(builder)
    edit_scores = {}
    for scorer, model in models.items():
        inputs, settings = {"reward_model": model, "edits": edits(builder)}, {"scorer": scorer}
        if model.name in FROZEN:
            inputs |= states_for(builder, model, {"edits": edits(builder)})
            edit_scores[f"edited_{scorer}"] = step("frozen_edit_scores", settings, inputs)
        else:
            edit_scores[f"edited_{scorer}"] = builder.reading("edit_scores", settings, inputs, seeded=False)
    if builder.spec.judge_model is not None:
        inputs, published = (
            {"edits": edits(builder), "prompts": builder.texts.prompts},
            builder.spec.judge_model,
        )
        edit_scores["edited_judge"] = step("published_edit_scores", {"judge": published}, inputs)
    return edit_scores


def probes(builder: Builder, judged: Step) -> Step:
    """Return what reward models have learned: on samples, on edited samples, against exact log ratios."""
    settings = {
        "task": builder.task,
        "seed": builder.seed,
        "world": builder.world("judge") if builder.controlled else None,
        "data": {kind: REWARD_DATA[kind] for kind in builder.spec.reward.kinds},
    }
    inputs = {
        "pool": pool(builder),
        "pool_init": pool_init(builder),
        "init_logprobs": init_logprobs(builder),
        "outcomes": outcomes(builder, judged),
        "edits": edits(builder),
        "shown": builder.texts.held_out_shown,
        "judged": judged,
    }
    for role in ("densities_pi_sft", "model_densities"):  # by the world's law, or by a model's
        if role in builder.steps:
            inputs["densities"] = builder.steps[role]
    return builder.once("probes", lambda: step("probes", settings, inputs | _edited(builder)))
