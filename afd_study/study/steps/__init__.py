"""The functions that a study runs: each reads its inputs' folders and writes its own.

`STEPS` says what each one is, and is the only place that does: the wiring (`study.pipeline`), the tables that
a study has, the forecast, the costs and the dry run read it. A step's function bears the step's name.
"""

from collections.abc import Mapping
from typing import Any

from afd_study.errors import unknown_name
from afd_study.study.workflow.step import Step, StepKind

# work: training, drawing, scoring (one number a text), logprobs (next-token laws), judging (by a published
# judge), unknown (through a model, by no rule of the forecast), none
_TABLES_OF_PROBES = (
    "regression", "rank_correlations", "conditional_auc", "calibration", "calibration_curve", "edit_effects",
)  # fmt: skip
_TABLES_OF_OUTCOMES = (
    "scores", "outcomes", "summary", "win_rates", "diagnostics", "discrimination", "pessimism",
)  # fmt: skip
STEPS: Mapping[str, StepKind] = {
    # texts of a controlled world
    "prompts": StepKind("texts:prompts", ("prompts",)),
    "demonstrations": StepKind("texts:demonstrations", ("demonstrations",)),
    "pretraining": StepKind("texts:pretraining", ("demonstrations",), seconds=8),
    "held_out_demonstrations": StepKind("texts:held_out_demonstrations", ("demonstrations",)),
    "marked_demonstrations": StepKind("texts:marked_demonstrations", ("demonstrations",)),
    # texts of a data set
    "corpus": StepKind("texts:corpus", ("prompts", "demonstrations", "preferences", "report")),
    "system_corpus": StepKind(
        "texts:system_corpus", ("prompts", "demonstrations", "preferences", "report"), seconds=15
    ),
    "corpus_texts": StepKind("texts:corpus_texts", ("demonstrations",)),
    "corpus_preferences": StepKind("texts:corpus_preferences", ("preferences", "demonstrations")),
    "short_prompts": StepKind(
        "published:short_prompts", ("prompts", "demonstrations", "preferences", "left_out")
    ),
    "tokenizers": StepKind("texts:tokenizers"),
    # a model that demonstrates on a data set's prompts, and what three laws say of its texts and others'
    "demonstrator": StepKind("demonstrator:demonstrator", ("evaluations",), "training", seconds=8),
    "model_demonstrations": StepKind("demonstrator:model_demonstrations", ("demonstrations",)),
    "law_logprobs": StepKind("demonstrator:law_logprobs", ("scores",), "logprobs", seconds=4),
    "model_densities": StepKind(
        "demonstrator:model_densities", ("densities", "scores", "discrimination"), seconds=3
    ),
    "model_coverage": StepKind(
        "model_coverage:model_coverage", ("coverage", "summary", "demonstrator_thresholds"), seconds=3
    ),
    # policies and their responses
    "pi_init": StepKind("policies:pi_init", ("evaluations",), "training", seconds=60),
    "pi_sft": StepKind("policies:pi_sft", ("evaluations", "cut"), "training", seconds=8),
    "pi_half": StepKind("policies:pi_half", ("evaluations",), "unknown", seconds=5),
    "matched_sft": StepKind("matched_sft:matched_sft", ("evaluations", "matching"), "unknown", seconds=30),
    "samples": StepKind("policies:samples", ("samples",), "drawing", ("demonstrations",), seconds=6),
    "logprobs": StepKind("policies:logprobs", ("logprobs",), "logprobs", seconds=3),
    # preferences and reward models
    "judged_preferences": StepKind("preferences:judged_preferences", ("preferences",), seconds=2),
    "chosen_preferences": StepKind("preferences:chosen_preferences", ("preferences", "demonstrations")),
    "fitted_judge": StepKind(
        "preferences:fitted_judge", ("evaluations", "judge_accuracy"), "training", seconds=30
    ),
    "reward_model": StepKind(
        "reward_models:reward_model",
        ("evaluations", "reward_model"),
        "training",
        ("demonstrations",),
        seconds=15,
    ),
    "scores": StepKind("reward_models:scores", ("scores",), "scoring", seconds=5),
    # the same by heads on states that a policy's body gives out, read once
    "text_states": StepKind("frozen_rewards:text_states", (), "scoring", seconds=60),
    "frozen_reward": StepKind(
        "frozen_rewards:frozen_reward", ("reward_model",), "none", ("demonstrations",), seconds=5
    ),
    "frozen_judge": StepKind("frozen_rewards:frozen_judge", ("judge_accuracy",), seconds=5),
    "frozen_scores": StepKind("frozen_rewards:frozen_scores", ("scores",)),
    "frozen_edit_scores": StepKind("frozen_rewards:frozen_edit_scores", ("edit_scores",)),
    # what the judge says, and how rules of selection fare
    "verdicts": StepKind("best_of_n:verdicts", ("components", "scores")),
    "published_verdicts": StepKind(
        "published:published_verdicts", ("scores", "judge_reading"), "judging", seconds=20
    ),
    "outcomes": StepKind("best_of_n:outcomes", _TABLES_OF_OUTCOMES, seconds=6),
    "all_scores": StepKind("best_of_n:all_scores", ("scores",)),
    # a second judge of people's preferences, and rules beside people's own pairs
    "words_judge": StepKind("words_judge:words_judge", ("reward_model", "judge_accuracy"), seconds=5),
    "words_scores": StepKind("words_judge:words_scores", ("scores",), seconds=5),
    "held_out_pairs": StepKind("pairs:held_out_pairs", ("demonstrations",)),
    "pair_logprobs": StepKind("pairs:pair_logprobs", ("samples",), "logprobs", seconds=3),
    "frozen_pair_scores": StepKind("pairs:frozen_pair_scores", ("scores",)),
    "pair_agreement": StepKind("judges:pair_agreement", ("pair_agreement", "pair_differences"), seconds=3),
    "by_judge": StepKind(
        "judges:by_judge", ("scores", "outcomes", "summary", "win_rates", "diagnostics"), seconds=2
    ),
    "judges": StepKind("judges:judges", ("judges", "judges_agree", "judges_share"), seconds=3),
    # covering, seeking, and what reward models have learned
    "densities": StepKind("coverage:densities", ("densities",), "logprobs", seconds=4),
    "demonstrator_thresholds": StepKind(
        "coverage:demonstrator_thresholds", ("demonstrator_thresholds",), seconds=3
    ),
    "coverage": StepKind("coverage:coverage", ("coverage", "distinct_good"), seconds=3),
    "edits": StepKind("probes:edits", ("edits",)),
    "edit_scores": StepKind("probes:edit_scores", ("edit_scores",), "scoring"),
    "published_edit_scores": StepKind("published:published_edit_scores", ("edit_scores",), "judging"),
    "probes": StepKind("probes:probes", _TABLES_OF_PROBES, seconds=8),
    "when": StepKind("when:when", ("when",), seconds=2),
    # policies beyond picking
    "chosen_responses": StepKind("arms:chosen_responses", ("demonstrations",)),
    "best_responses": StepKind("arms:best_responses", ("demonstrations",)),
    "direct_policy": StepKind(
        "arms:direct_policy", ("history",), "training", ("demonstrations",), seconds=12
    ),
    "direct_path": StepKind("direct_path:direct_path", ("path",), "unknown", seconds=12),
    "gradient_policy": StepKind("arms:gradient_policy", ("trajectory",), "unknown", seconds=40),
    "adversarial_policy": StepKind("adversarial:adversarial_policy", ("trajectory",), "unknown", seconds=40),
    "extrapolation": StepKind("arms:extrapolation", ("samples", "kls"), "unknown", seconds=4),
    "response_kls": StepKind("arms:response_kls", ("kls",), "unknown", seconds=2),
    "arms": StepKind("arms:arms", ("arms", "drift", "objectives", "path"), seconds=3),
    # real systems
    "system_answers": StepKind(
        "systems:system_answers", ("system_grid", "system_prompts", "system_report"), seconds=30
    ),
    "system_triple": StepKind(
        "systems:system_triple", ("told_apart", "agreement", "system_picks", "within_policy"), seconds=40
    ),
    "system_states": StepKind("system_states:system_states", ("system_logprobs",), "unknown", seconds=6000),
    "system_judge": StepKind("systems:system_judge", ("judge_strata",), seconds=120),
    "system_penalties": StepKind("systems:system_penalties", (), seconds=600),
}
"""Name of a step -> what it is."""


def step(
    name: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Step] | None = None,
    *,
    places: Mapping[str, Any] | None = None,
) -> Step:
    """Return a step of STEPS. A controlled world that it opens by name is part of its key, as are priors.

    Raises SpecError with the nearest name for a step that is not in the table.
    """
    if name not in STEPS:
        raise unknown_name("step", name, STEPS)
    kind, world = STEPS[name], settings.get("world")
    loads: tuple[str, ...] = ()
    if world is not None and "report" not in kind.tables:  # of a data set, whose reader the step imports
        loads = (f"afd_study.worlds.{world['name']}:World",)
        if world["variant"] is not None:  # drawn from priors, which no other world depends on
            loads += (f"afd_study.worlds.{world['name']}_variants:traits",)
    function = f"{__name__}.{kind.function}"
    return Step(name, function, settings, inputs or {}, places or {}, weight=kind.seconds, loads=loads)
