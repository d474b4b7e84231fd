"""Steps that train reward models, and score texts by them."""

from pathlib import Path
from typing import Any

import pandas as pd

from afd_study.methods.ensembles import parts_of
from afd_study.methods.reward_model import accuracy, both_sides, fit
from afd_study.methods.reward_pairs import PAIR, RewardData, Trained, paired_responses
from afd_study.models.batches import Pair
from afd_study.models.policy import context_length, device, from_scratch, load_policy
from afd_study.models.reward import RewardModel, load_reward_model, on_backbone, save_reward_model
from afd_study.models.specs import LoRASpec, ModelSpec, TrainingSpec
from afd_study.models.training import Evaluation
from afd_study.study.steps.bookkeeping import count_training, write_evaluations
from afd_study.study.steps.encoding import ROW, CommonInputs, responses_of, split_pairs, texts_of
from afd_study.study.steps.scoring import score_texts
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table


def reward_model(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    kind: str,
    data: RewardData,
    backbone: str,
    model: ModelSpec,
    lora: LoRASpec | None,
    training: TrainingSpec,
    demonstrations: Path,
    trained: Trained = "all",
    policy: Path | None = None,
    **sources: Path,
) -> None:
    """Train a reward model on pairs; table `reward_model` says how well it tells them apart.

    `demonstrations` says how many pairs a prompt gets; the responses are those of the `sources`.
    """
    if backbone == "scratch":
        _, replicate, _ = parts_of(kind)
        start = common.derived_seed("scratch", *[replicate] * bool(replicate))
        lm = from_scratch(model, common.policy_tokenizer, start)
    else:
        assert policy is not None  # the pipeline passes the policy that `backbone` names
        lm = load_policy(policy)
    reader = common.reader_tokenizer
    rows = paired_responses(data, responses_of(sources), read_table(demonstrations, "demonstrations", PAIR))
    train, validation = split_pairs(*common.pairs(rows, ("high", "low"), reader, context=context_length(lm)))
    seed = common.derived_seed("reward", kind)
    how: dict[str, Any] = {"loss": data.loss, "training": training, "seed": seed, "lora": lora}
    how["trained"] = trained
    fitted, evaluations = fitted_on_pairs(out, context, on_backbone(lm, reader), train, validation, **how)
    high, low = both_sides(fitted, validation)
    row = {
        "scorer": kind,
        "loss": data.loss,
        "n_pairs": len(train),
        "n_validation": len(validation),
        "accuracy": accuracy(data.loss, high=high, low=low),
        "validation_loss": min(each.validation_loss for each in evaluations),
    }
    write_table(out, "reward_model", pd.DataFrame([row]))


def fitted_on_pairs(
    out: Path,
    context: Context,
    model: RewardModel,
    train: list[Pair],
    validation: list[Pair],
    *,
    loss: str,
    training: TrainingSpec,
    seed: int,
    lora: LoRASpec | None = None,
    trained: Trained = "all",
) -> tuple[RewardModel, list[Evaluation]]:
    """Train a reward model on pairs, write it and how its training went, and count what that cost."""
    training = training.over(len(train))
    fitted, evaluations = fit(
        model,
        train,
        validation=validation,
        loss=loss,
        training=training,
        seed=seed,
        workspace=context.workspace,
        lora=lora,
        trained=trained,
        progress=context.steps(training.steps),
    )
    save_reward_model(fitted, out)
    write_evaluations(out, evaluations)
    passes = 1 if trained == "head" else 3  # of which two go backwards, and a head is nothing beside its body
    count_training(context, fitted, train, training, evaluations[-1].step, passes=passes)
    return fitted, evaluations


def scores(
    out: Path, context: Context, *, common: CommonInputs, scorer: str, reward_model: Path, **texts: Path
) -> None:
    """Score samples and demonstrations by a reward model: table `scores`."""
    model, frames = load_reward_model(reward_model, device()), []
    for source, folder in texts.items():
        table = texts_of(folder, source)
        values = score_texts(model, table, common, context, scorer=scorer)
        frames.append(table[ROW].assign(scorer=scorer, reward=values))
    context.cost["responses"] = sum(map(len, frames))
    write_table(out, "scores", pd.concat(frames, ignore_index=True))
