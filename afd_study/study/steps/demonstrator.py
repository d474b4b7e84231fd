"""Steps of a demonstrator that is a language model: it is made, its samples demonstrate, its law is known."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.diagnostics import discrimination
from afd_study.evaluation.exact_logits import DEMONSTRATOR, EXACT_LOGITS, LAWS, exact_logits
from afd_study.methods.sft import fine_tune
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import context_length, load_policy, n_parameters, save_policy
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.models.tempered import tempered_logprobs
from afd_study.models.tokenizers import fingerprint, load_tokenizer
from afd_study.models.training import Evaluation
from afd_study.study.steps.bookkeeping import count_training, write_evaluations
from afd_study.study.steps.encoding import ROW, CommonInputs, texts_of
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table

FEWEST = 2  # test prompts, over which intervals are taken


def demonstrator(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    training: TrainingSpec | None,
    lora: LoRASpec | None,
    strength: float,
    start: Path,
    demonstrations: Path,
    own_tokenizers: Path | None = None,
) -> None:
    """Fine-tune a model on a data set's answers, and move it by `strength` from where it started.

    It is saved in float32, whose law is the demonstrator's. Its seed is another one than pi_SFT's, whose
    adapters would else begin as its own did. `own_tokenizers` are those that came with its weights.

    Raises SpecError where these differ from the policy's, DataError for fewer than FEWEST test prompts.
    """
    if own_tokenizers is not None:
        _refuse_other_tokenizer(common, own_tokenizers)
    _refuse_few_prompts(common.prompt_table)
    lm, evaluations = load_policy(start), list[Evaluation]()
    if training is not None:
        train, validation, _ = common.training_examples(
            demonstrations, context.workspace, context=context_length(lm)
        )
        training = training.over(len(train))
        lm, evaluations = fine_tune(
            lm,
            train,
            validation=validation,
            training=training,
            seed=common.derived_seed("demonstrator"),
            workspace=context.workspace,
            lora=lora,
            progress=context.steps(training.steps),
        )
        count_training(context, lm, train, training, evaluations[-1].step)
    lm = lm.float()
    if strength != 1:
        move_from(load_policy(start).float(), lm, strength=strength)
    save_policy(lm, out)
    write_evaluations(out, evaluations)


@torch.no_grad()
def move_from(start: PreTrainedModel, trained: PreTrainedModel, *, strength: float) -> None:
    """Set the trained model's weights to start + strength x (trained - start)."""
    for weight, old in zip(trained.parameters(), start.parameters(), strict=True):
        weight.copy_(torch.lerp(old, weight, strength))


def _refuse_other_tokenizer(common: CommonInputs, own_tokenizers: Path) -> None:
    """Raise SpecError where a demonstrator's ids are not the policy's, to which they would be noise."""
    own, policy = load_tokenizer(own_tokenizers / "policy"), common.policy_tokenizer
    if fingerprint(own) == fingerprint(policy):
        return
    words, known = own.get_vocab(), policy.get_vocab()
    differ = sorted(word for word in words.keys() | known.keys() if words.get(word) != known.get(word))
    where = f"{len(differ)} tokens differ, such as {differ[0]!r}" if differ else "it splits texts otherwise"
    raise SpecError(
        f"demonstrator.model has another tokenizer than the policy ({len(words)} and {len(known)} tokens; "
        f"{where}): name a model of the policy's family, or leave demonstrator.model out, which is pi_init"
    )


def _refuse_few_prompts(prompts: pd.DataFrame) -> None:
    """Raise DataError where there are too few test prompts to resample."""
    tested = (prompts["split"] == "test") & (prompts["part"] == "policy")
    if tested.sum() < FEWEST:
        raise DataError(
            f"the policy's part has {tested.sum()} test prompts, and intervals over prompts need {FEWEST}: "
            "raise world.test, lower judge_share, or give more data"
        )


def model_demonstrations(out: Path, context: Context, *, samples: Path) -> None:
    """Take a demonstrator's samples for demonstrations, with their token ids: a cut one gets no end mark."""
    table = read_table(samples, "samples")
    context.cost["demonstrations"] = len(table)
    write_table(out, "demonstrations", table[["prompt_id", "draw", "text", "token_ids"]])


def law_logprobs(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    law: str,
    temperature: float,
    policy: Path,
    **texts: Path,
) -> None:
    """Give texts of some sources their log-probabilities (nats) under a law, in float32: table `scores`.

    The scorer is the law's name. Whole responses have their end mark, cut ones have none.
    """
    lm, frames = load_policy(policy).float(), []
    for source, folder in texts.items():
        table = texts_of(folder, source)
        rows = common.examples(table, common.policy_tokenizer, context=context_length(lm))
        examples = list(rows["example"])
        context.spend(tokens=sum(len(e.ids) for e in examples), parameters=n_parameters(lm), passes=1)
        values = map_across_ranks(examples, partial(tempered_logprobs, lm, temperature=temperature))
        frames.append(table[ROW].assign(scorer=law, reward=values))
    write_table(out, "scores", pd.concat(frames, ignore_index=True))


def model_densities(
    out: Path, context: Context, *, seed: int, pool: Path, pool_init: Path, held_out: Path, **laws: Path
) -> None:
    """Gather what three laws say of samples and demonstrations, and score by the exact discriminators.

    Tables: `densities` (logprob is the sample's own policy's, logprob_demo the demonstrator's; also
    logprob_pi_init and logprob_pi_sft; nothing is a stray word or judged), `scores` (EXACT_LOGITS), and
    `discrimination` (how well these tell their two sources apart, with intervals over prompts).
    """
    folders = {"pi_init": pool_init, "pi_sft": pool, "demonstrations": held_out}
    rows = pd.concat([texts_of(folder, source) for source, folder in folders.items()], ignore_index=True)
    rows = rows[[*ROW, "text"]].assign(n_tokens=rows["token_ids"].map(len))
    for law in LAWS:
        values = read_table(laws[law], "scores").rename(columns={"reward": f"logprob_{law}"})
        rows = rows.merge(values.drop(columns="scorer"), on=ROW, validate="one_to_one")
    rows = rows.rename(columns={f"logprob_{DEMONSTRATOR}": "logprob_demo"})
    own = rows["logprob_pi_sft"].where(rows["source"] != "pi_init", rows["logprob_pi_init"])
    write_table(out, "densities", rows.assign(logprob=own, n_stray=0, value=np.nan))
    scores, rng = exact_logits(rows), np.random.default_rng([seed, 10])
    write_table(out, "scores", scores)
    told_apart = [
        discrimination(scores, scorer=name, positive="demonstrations", negative=policy, generator=rng)
        for name, policy in EXACT_LOGITS.items()
    ]
    write_table(out, "discrimination", pd.concat(told_apart, ignore_index=True))
