"""Steps that make texts and policies. Each reads its inputs' folders and writes its own."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from afd_study.methods.sft import fine_tune
from afd_study.models.decoding import Drawn, Request, sample
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
from afd_study.models.specs import LoRASpec, ModelSpec, SamplingSpec, TrainingSpec
from afd_study.models.stop_strings import Stop
from afd_study.models.tokenizers import decode, load_tokenizer
from afd_study.models.training import Evaluation
from afd_study.study.steps.bookkeeping import count_draws, count_training, write_evaluations
from afd_study.study.steps.encoding import encoded_prompts, examples_from, split_examples
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table


def pi_init(
    out: Path, context: Context, *, model: ModelSpec, training: TrainingSpec | None, sampling: SamplingSpec,
    whole: bool, seed: int, tokenizers: Path, prompts: Path, texts: Path,
) -> None:  # fmt: skip
    """Make the initial policy: from scratch and pretrained on texts, or as its authors published it."""
    tokenizer = load_tokenizer(tokenizers / "policy")
    lm = (
        pretrained(model)[0]
        if model.name_or_path
        else from_scratch(model, tokenizer, derived_seed(seed, "init"))
    )
    evaluations: list[Evaluation] = []
    if training is not None:
        rows = examples_from(
            read_table(texts, "demonstrations"), read_table(prompts, "prompts"), tokenizer, sampling,
            context=context_length(lm), whole=whole,
        )  # fmt: skip
        train, validation = split_examples(rows)
        training = training.over(len(train))
        lm, evaluations = fine_tune(
            lm, train, validation=validation[:1000], training=training, workspace=context.workspace,
            seed=derived_seed(seed, "pretraining"), progress=context.steps(training.steps),
        )  # fmt: skip
        count_training(context, lm, train, training, evaluations)
    save_policy(lm, out)
    write_evaluations(out, evaluations)


def pi_sft(
    out: Path, context: Context, *, training: TrainingSpec, sampling: SamplingSpec, lora: LoRASpec | None,
    seed: int, pi_init: Path, tokenizers: Path, prompts: Path, demonstrations: Path,
) -> None:  # fmt: skip
    """Fine-tune the initial policy on demonstrations, keeping the lowest validation loss."""
    tokenizer, lm = load_tokenizer(tokenizers / "policy"), load_policy(pi_init)
    rows = examples_from(
        read_table(demonstrations, "demonstrations"), read_table(prompts, "prompts"), tokenizer, sampling,
        context=context_length(lm),
    )  # fmt: skip
    train, validation = split_examples(rows)
    training = training.over(len(train))
    lm, evaluations = fine_tune(
        lm, train, validation=validation, training=training, seed=derived_seed(seed, "sft"),
        workspace=context.workspace, lora=lora, progress=context.steps(training.steps),
    )  # fmt: skip
    count_training(context, lm, train, training, evaluations)
    save_policy(lm, out)
    write_evaluations(out, evaluations)


def samples(
    out: Path, context: Context, *, source: str, purpose: str, sampling: SamplingSpec, draws: int, seed: int,
    policy: Path, tokenizers: Path, prompts: Path, demonstrations: Path | None = None,
) -> None:  # fmt: skip
    """Draw responses of a policy: table `samples`.

    With `demonstrations`, `draws` responses for each demonstration, to its prompt; without, `draws` for
    each test prompt of the policy's part.
    """
    tokenizer, lm = load_tokenizer(tokenizers / "policy"), load_policy(policy)
    asked = read_table(prompts, "prompts").set_index("prompt_id")
    if demonstrations is not None:
        counts = read_table(demonstrations, "demonstrations").groupby("prompt_id").size() * draws
    else:
        tested = asked[(asked["split"] == "test") & (asked.get("part", "policy") == "policy")]
        counts = pd.Series(draws, index=tested.index)
    ids = encoded_prompts(asked.loc[counts.index].reset_index(), tokenizer, sampling)
    named = [(str(prompt), int(count)) for prompt, count in counts.items()]
    requests = [Request(prompt, ids[prompt], draw) for prompt, count in named for draw in range(count)]
    drawn = map_across_ranks(requests, lambda mine: sample(
        lm, mine, seed=derived_seed(seed, source, purpose), eos_id=tokenizer.eos_token_id,
        max_new_tokens=sampling.max_new_tokens, temperature=sampling.temperature,
        stop=Stop(tokenizer, sampling.stop) if sampling.stop else None,
        progress=lambda done: context.progress(done / len(mine), f"{done} of {len(mine)} responses"),
    ))  # fmt: skip
    count_draws(context, requests, drawn, parameters=n_parameters(lm))
    write_table(out, "samples", samples_table(requests, drawn, source=source, tokenizer=tokenizer))


def samples_table(
    requests: Sequence[Request], drawn: Sequence[Drawn], *, source: str, tokenizer: Any
) -> pd.DataFrame:
    """Return responses, in the requests' order, with the columns of table `samples`."""
    asked_for = {"prompt_id": [each.prompt_id for each in requests], "draw": [each.draw for each in requests]}
    return pd.DataFrame(asked_for).assign(
        source=source,
        token_ids=pd.Series([list(each.ids) for each in drawn], dtype=object),
        text=[text.strip() for text in decode(tokenizer, [each.ids for each in drawn])],
        logprob=[each.logprob for each in drawn],
    )


def logprobs(
    out: Path,
    context: Context,
    *,
    sampling: SamplingSpec,
    policy: Path,
    tokenizers: Path,
    prompts: Path,
    samples: Path,
) -> None:
    """Give samples the log-probability (nats) that another policy has for them."""
    tokenizer, lm = load_tokenizer(tokenizers / "policy"), load_policy(policy)
    drawn = read_table(samples, "samples")
    rows = examples_from(
        drawn, read_table(prompts, "prompts"), tokenizer, sampling, context=context_length(lm)
    )
    context.spend(tokens=sum(len(e.ids) for e in rows["example"]), parameters=n_parameters(lm), passes=1)
    found = map_across_ranks(list(rows["example"]), partial(sequence_logprobs, lm))
    write_table(out, "logprobs", drawn[["prompt_id", "source", "draw"]].assign(logprob_init=found))
