"""The steps of a demonstrator that is a language model, and what is measured because its law is known."""

from dataclasses import replace

from afd_study.evaluation.exact_logits import DEMONSTRATOR, EXACT_LOGITS, LAWS
from afd_study.methods.reward_pairs import RewardData
from afd_study.models.specs import ModelSpec
from afd_study.study.demonstrator_spec import DemonstratorSpec
from afd_study.study.pipeline.builder import Builder
from afd_study.study.pipeline.policies import pi_init, policy, pool, pool_init
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step

BEST_OF = 16  # draws that Best-of-n is measured with, or sampling.n_max where that is fewer
EXACT = {name: RewardData(high="demonstrations", low=low) for name, low in EXACT_LOGITS.items()}
"""The exact discriminators -> whose samples they tell apart."""


def with_demonstrator(builder: Builder) -> Builder:
    """Return the builder of the same study with a model's samples for demonstrations, where it has one.

    Pretraining, tokenizers, preferences and a fitted judge keep to the data set's own texts.
    """
    asked = builder.spec.demonstrator
    if asked is None:
        return builder
    model = builder.once(DEMONSTRATOR, lambda: _demonstrator(builder, asked))
    shown = _demonstrations(builder, model, "training", 1)
    held_out = _demonstrations(builder, model, "test", builder.spec.sampling.demonstrations)
    texts = replace(
        builder.texts, demonstrations=shown, shown=shown, held_out=held_out, held_out_shown=held_out
    )
    return replace(builder, texts=texts, steps=builder.steps | texts.roles())


def _demonstrator(builder: Builder, asked: DemonstratorSpec) -> Step:
    settings = {"training": asked.training, "lora": asked.lora, "strength": asked.strength}
    inputs = {"start": pi_init(builder), "demonstrations": builder.texts.demonstrations}
    if asked.model is not None:
        model = asked.model.model()
        inputs |= {"start": _published(builder, model), "own_tokenizers": _tokenizers(builder, model)}
    return builder.reading("demonstrator", settings, inputs)


def _published(builder: Builder, model: ModelSpec) -> Step:
    """Return the step that reads a published model as its authors left it."""
    settings = {"model": model, "training": None, "whole": builder.texts.whole}
    return builder.reading("pi_init", settings, {"texts": builder.texts.pretraining}, seeded=False)


def _tokenizers(builder: Builder, model: ModelSpec) -> Step:
    """Return the step that reads the tokenizer that came with a model, laid out as the policy's is."""
    spec = builder.spec
    settings = {"world": None, "model": model, "chat": spec.policy.chat, "vocabulary": spec.vocabulary}
    return step("tokenizers", settings, builder.texts.tokenizers.inputs)


def _demonstrations(builder: Builder, model: Step, purpose: str, draws: int) -> Step:
    """Return a model's samples as demonstrations: to train on, one for each of the data set's own."""
    asked = builder.spec.demonstrator
    assert asked is not None
    sampling = builder.bounds.model_copy(update={"temperature": asked.temperature})
    settings = {"source": "demonstrations", "purpose": purpose, "draws": draws, "sampling": sampling}
    inputs = {"policy": model}
    if purpose == "training":
        inputs["demonstrations"] = builder.texts.demonstrations
    role = f"{DEMONSTRATOR}_{purpose}"
    drawn = builder.once(role, lambda: builder.reading("samples", settings, inputs))
    return step("model_demonstrations", {}, {"samples": drawn})


def model_densities(builder: Builder) -> dict[str, Step]:
    """Return the step that holds what three laws say of all test texts, by its role; {} without a model."""
    asked = builder.spec.demonstrator
    if asked is None:
        return {}
    texts = {"pi_init": pool_init(builder), "pi_sft": pool(builder), "demonstrations": builder.texts.held_out}
    laws = {law: _law(builder, law, asked.temperature, texts) for law in LAWS}
    inputs = {"pool": pool(builder), "pool_init": pool_init(builder), "held_out": builder.texts.held_out}
    made = builder.once(
        "model_densities", lambda: step("model_densities", {"seed": builder.seed}, inputs | laws)
    )
    return {"model_densities": made}


def _law(builder: Builder, law: str, temperature: float, texts: dict[str, Step]) -> Step:
    is_own = law == DEMONSTRATOR
    settings = {"law": law, "temperature": temperature if is_own else 1.0}
    source = builder.steps[DEMONSTRATOR] if is_own else policy(builder, law)
    # policies' samples are named for them, and so is the input that holds one's weights
    inputs = {"policy": source, **texts}
    return builder.once(
        f"logprobs_{law}", lambda: builder.reading("law_logprobs", settings, inputs, seeded=False)
    )


def model_coverage(builder: Builder, scored: Step) -> None:
    """Lay out covering and seeking of both policies and of Best-of-n, by the demonstrator's law.

    `scored` holds the scores of every rule. At another temperature than 1 the pool is of another law than
    pi_SFT's, and nothing is measured.
    """
    spec, densities = builder.spec, model_densities(builder)
    if not densities or spec.sampling.temperature != 1:
        return
    settings = {"task": builder.task, "seed": builder.seed, "n": min(BEST_OF, spec.sampling.n_max)}
    inputs = {"densities": densities["model_densities"], "scored": scored, "pool": pool(builder)}
    inputs["held_out"] = builder.texts.held_out
    builder.once("model_coverage", lambda: step("model_coverage", settings, inputs))
