"""Steps that make the first two policies, draw responses, and give responses log-probabilities."""

from functools import partial
from pathlib import Path

import pandas as pd

from afd_study.methods.sft import fine_tune
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import (
    context_length,
    from_scratch,
    load_policy,
    n_parameters,
    pretrained,
    save_policy,
)
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import LoRASpec, ModelSpec, TrainingSpec
from afd_study.models.training import Evaluation
from afd_study.study.steps.bookkeeping import count_training, write_evaluations
from afd_study.study.steps.drawing import draw_responses, requests_for, samples_table
from afd_study.study.steps.encoding import ROW, CommonInputs
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table


def pi_init(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    model: ModelSpec,
    training: TrainingSpec | None,
    whole: bool,
    texts: Path,
) -> None:
    """Make the initial policy: from scratch and pretrained on texts, or as its authors published it."""
    tokenizer = common.policy_tokenizer
    if model.name_or_path:
        lm = pretrained(model)[0]
    else:
        lm = from_scratch(model, tokenizer, common.derived_seed("init"))
    evaluations: list[Evaluation] = []
    if training is not None:
        train, validation, _ = common.training_examples(
            texts, context.workspace, context=context_length(lm), whole=whole
        )
        training = training.over(len(train))
        lm, evaluations = fine_tune(
            lm,
            train,
            validation=validation[:1000],
            training=training,
            workspace=context.workspace,
            seed=common.derived_seed("pretraining"),
            progress=context.steps(training.steps),
        )
        count_training(context, lm, train, training, evaluations[-1].step)
    save_policy(lm, out)
    write_evaluations(out, evaluations)


def pi_sft(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    training: TrainingSpec,
    lora: LoRASpec | None,
    pi_init: Path,
    demonstrations: Path,
) -> None:
    """Fine-tune the initial policy on demonstrations, keeping the lowest validation loss.

    Table `cut` says how many of them were cut at the bounds of prompts and responses.
    """
    cut = _on_demonstrations(out, context, common, pi_init, demonstrations, training=training, lora=lora)
    write_table(out, "cut", cut)


def pi_half(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    training: TrainingSpec,
    lora: LoRASpec | None,
    pi_init: Path,
    pi_sft: Path,
    demonstrations: Path,
) -> None:
    """Fine-tune as pi_SFT was, and stop at half of the steps that its weights took (arXiv 2510.02493).

    These are the steps to its lowest validation loss: where SFT ran longer in vain, half of all of them could
    lie behind pi_SFT itself.
    """
    whole = read_table(pi_sft, "evaluations")
    half = max(1, int(whole["step"].to_numpy()[whole["validation_loss"].argmin()]) // 2)
    _on_demonstrations(out, context, common, pi_init, demonstrations, training=training, lora=lora, stop=half)


def _on_demonstrations(
    out: Path,
    context: Context,
    common: CommonInputs,
    pi_init: Path,
    demonstrations: Path,
    *,
    training: TrainingSpec,
    lora: LoRASpec | None,
    stop: int | None = None,
) -> pd.DataFrame:
    """Fine-tune the initial policy on demonstrations, write it and how its training went; return table `cut`.

    With `stop` the training ends there and not by its validation loss, which is evaluated then alone.
    """
    lm = load_policy(pi_init)
    train, validation, cut = common.training_examples(
        demonstrations, context.workspace, context=context_length(lm)
    )
    training = training.over(len(train))
    if stop is not None:
        once = dict.fromkeys(("evaluate_every", "checkpoint_every"), stop)
        training = training.model_copy(update={**once, "patience": None})
    lm, evaluations = fine_tune(
        lm,
        train,
        validation=validation,
        training=training,
        seed=common.derived_seed("sft"),
        workspace=context.workspace,
        lora=lora,
        stop=stop,
        progress=context.steps(stop or training.steps),
    )
    count_training(context, lm, train, training, evaluations[-1].step)
    save_policy(lm, out)
    write_evaluations(out, evaluations)
    return cut


def samples(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    source: str,
    purpose: str,
    draws: int,
    policy: Path,
    demonstrations: Path | None = None,
) -> None:
    """Draw responses of a policy: table `samples`.

    With `demonstrations`, `draws` responses for each demonstration, to its prompt; without, `draws` for
    each test prompt of the policy's part.
    """
    lm, prompts = load_policy(policy), common.prompt_table.set_index("prompt_id")
    if demonstrations is not None:
        asked = read_table(demonstrations, "demonstrations", ["prompt_id"])
        counts = asked.groupby("prompt_id").size() * draws
    else:
        tested = (prompts["split"] == "test") & (prompts.get("part", "policy") == "policy")
        counts = pd.Series(draws, index=prompts.index[tested])
    ids = common.prompt_ids(prompts.loc[counts.index].reset_index())
    requests = requests_for(ids, {str(prompt): int(count) for prompt, count in counts.items()})
    seed = common.derived_seed(source, purpose)
    responses = draw_responses(lm, requests, common, context, seed=seed)
    table = samples_table(requests, responses, source=source, tokenizer=common.policy_tokenizer)
    write_table(out, "samples", table)


def logprobs(out: Path, context: Context, *, common: CommonInputs, policy: Path, samples: Path) -> None:
    """Give samples the log-probability (nats) that another policy has for them."""
    lm, table = load_policy(policy), read_table(samples, "samples")
    examples = list(common.examples(table, common.policy_tokenizer, context=context_length(lm))["example"])
    context.spend(tokens=sum(len(e.ids) for e in examples), parameters=n_parameters(lm), passes=1)
    values = map_across_ranks(examples, partial(sequence_logprobs, lm))
    write_table(out, "logprobs", table[ROW].assign(logprob_init=values))
