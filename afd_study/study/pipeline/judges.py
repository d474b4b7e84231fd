"""The steps of a second judge, and those that ask people's own pairs: which rule do they side with?"""

from collections.abc import Mapping

from afd_study.methods.best_of_n import JUDGE
from afd_study.methods.ensembles import ensemble_name
from afd_study.records import SPLITS
from afd_study.study.pipeline.builder import Builder
from afd_study.study.pipeline.measures import ensembles, outcomes, outcomes_under, replicates, reward_scores
from afd_study.study.pipeline.policies import pi_half, pi_init, pi_sft, pool, pool_init
from afd_study.study.pipeline.rewards import FROZEN, fitted_judge, scores
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step

WORDS = "words_judge"  # the second judge's name, beside JUDGE
COMPARED_AT = 16  # n of contrasts, or n_max where that is smaller
MAIN = "init_sft"  # what other rules are compared with
KINDS = ("init_demo", "sft_demo", "preferences")
RULES = ("closed_form", "longest", "shortest")


def second_judge(builder: Builder, judged: Step) -> None:
    """Lay out what a second judge says beside the first, whose verdicts are `judged`, and what people say."""
    pair_agreement(builder)
    outcomes_by_judge(builder, judged)
    judges(builder, judged)


def words_judge(builder: Builder) -> Step:
    """Return the step that fits the judge that reads words."""
    inputs = {"corpus": builder.texts.prompts}
    return builder.once(WORDS, lambda: builder.reading("words_judge", {}, inputs, seeded=False))


def words_scores(builder: Builder, role: str, scorer: str, texts: Mapping[str, Step]) -> Step:
    """Return the step in which the judge that reads words scores texts of some sources."""
    inputs = {"judge": words_judge(builder), "corpus": builder.texts.prompts, **texts}
    return builder.once(
        role, lambda: builder.reading("words_scores", {"scorer": scorer}, inputs, seeded=False)
    )


def outcomes_by_judge(builder: Builder, judged: Step) -> Step:
    """Return the step that holds every rule's outcomes under each judge."""
    tested = {
        "pi_sft": pool(builder),
        "pi_init": pool_init(builder),
        "demonstrations": builder.texts.held_out_shown,
    }
    words = words_scores(builder, "words_verdicts", JUDGE, tested)
    other = builder.once(f"outcomes_{WORDS}", lambda: outcomes_under(builder, words))
    inputs = {JUDGE: outcomes(builder, judged), WORDS: other}
    return builder.once("by_judge", lambda: step("by_judge", {}, inputs))


def judges(builder: Builder, judged: Step) -> Step:
    """Return the step that compares judges with people, and with each other."""
    pairs = _pairs(builder, "pairs_unseen_by_judges", SPLITS)
    judge = fitted_judge(builder)
    scored = {
        JUDGE: builder.once("judge_pairs", lambda: _judge_pairs(builder, judge, pairs)),
        WORDS: words_scores(builder, "words_pairs", WORDS, {"pairs": pairs}),
    }
    others = ("demonstrations", "random")
    settings = {"n": min(COMPARED_AT, builder.spec.sampling.n_max), "contrasts": _contrasts(builder, others)}
    inputs = {"outcomes": outcomes_by_judge(builder, judged), "pairs": pairs, **scored}
    return builder.once("judges", lambda: builder.reading("judges", settings, inputs))


def _judge_pairs(builder: Builder, judge: Step, pairs: Step) -> Step:
    """Return the first judge's scores of people's pairs: a frozen body has read all of them already."""
    if judge.name in FROZEN:
        read = {name: judge.inputs[name] for name in ("corpus", "states_corpus")}
        return step("frozen_pair_scores", {"scorer": JUDGE}, {"reward_model": judge, **read})
    return scores(builder, JUDGE, judge, {"pairs": pairs})


def pair_agreement(builder: Builder) -> Step:
    """Return the step that asks how often rules agree with people on pairs that nobody learned from."""
    pairs = _pairs(builder, "held_out_pairs", ("test",))
    read = builder.once("pairs_by_pi_sft", lambda: _logprobs(builder, pi_sft(builder), pairs))
    inputs = {"pairs": read, "init_logprobs": _under(builder, "pi_init", pi_init(builder), read)}
    if builder.spec.late_reference:
        inputs["half_logprobs"] = _under(builder, "pi_half", pi_half(builder), read)
    pooled = reward_scores(builder)
    for models in replicates(builder).values():
        for name, model in models.items():
            own = _scored(builder, name, model, pairs)
            inputs |= {name: pooled[name], f"{name}_pairs": own}
    settings = {"ensembles": ensembles(builder), "contrasts": _contrasts(builder)}
    return builder.once("pair_agreement", lambda: builder.reading("pair_agreement", settings, inputs))


def _scored(builder: Builder, name: str, model: Step, pairs: Step) -> Step:
    return builder.once(f"pairs_{name}", lambda: scores(builder, name, model, {"pairs": pairs}))


def _pairs(builder: Builder, role: str, splits: tuple[str, ...]) -> Step:
    """Return the step that takes out of a data set pairs of the policy's part: no judge learns from them."""
    settings, inputs = {"part": "policy", "splits": splits}, {"corpus": builder.texts.prompts}
    return builder.once(role, lambda: step("held_out_pairs", settings, inputs))


def _logprobs(builder: Builder, policy: Step, pairs: Step) -> Step:
    return builder.reading("pair_logprobs", {}, {"policy": policy, "pairs": pairs}, seeded=False)


def _under(builder: Builder, name: str, policy: Step, read: Step) -> Step:
    inputs = {"policy": policy, "samples": read}
    return builder.once(f"pairs_by_{name}", lambda: builder.reading("logprobs", {}, inputs, seeded=False))


def _contrasts(builder: Builder, others: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    """Return the rule MAIN with what it is compared with; a kind with several reward models is their mean."""
    means = ensembles(builder)

    def named(kind: str) -> str:
        return ensemble_name(kind) if ensemble_name(kind) in means else kind

    return tuple((named(MAIN), named(other)) for other in (*KINDS, *others, *RULES))
