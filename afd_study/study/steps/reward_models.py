"""Steps that make reward models, scores and outcomes. Each reads its inputs' folders and writes its own."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from afd_study.methods.reward_data import RewardData
from afd_study.methods.reward_model import accuracy, both_sides, fit
from afd_study.methods.reward_pairs import pairs
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import context_length, device, from_scratch, load_policy, n_parameters
from afd_study.models.reward import load_reward_model, on_backbone, rewards, save_reward_model
from afd_study.models.specs import LoRASpec, ModelSpec, SamplingSpec, TrainingSpec
from afd_study.models.tokenizers import load_tokenizer
from afd_study.study.steps.bookkeeping import _count_pairs, refuse_infinite, write_evaluations
from afd_study.study.steps.encoding import examples_from, paired_examples, responses_of, texts_of
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table


def reward_model(
    out: Path, context: Context, *, kind: str, data: RewardData, backbone: str, model: ModelSpec,
    lora: LoRASpec | None, training: TrainingSpec, sampling: SamplingSpec, seed: int, tokenizers: Path,
    prompts: Path, demonstrations: Path, policy: Path | None = None, **sources: Path,
) -> None:  # fmt: skip
    """Train a reward model on pairs; table `reward_model` says how well it tells them apart."""
    reader = load_tokenizer(tokenizers / "reader")
    if backbone == "scratch":
        lm = from_scratch(model, load_tokenizer(tokenizers / "policy"), derived_seed(seed, "scratch"))
    else:
        assert policy is not None  # the pipeline passes the policy that `backbone` names
        lm = load_policy(policy)
    asked = read_table(prompts, "prompts")
    counted = read_table(demonstrations, "demonstrations")
    rows = pairs(data, responses_of(sources), counted)
    both, split = paired_examples(rows, ("high", "low"), asked, reader, sampling, context=context_length(lm))
    train, validation = ([both[i] for i in np.flatnonzero(split == name)] for name in ("train", "validation"))
    training = training.over(len(train))
    fitted, evaluations = fit(
        on_backbone(lm, reader), train, validation=validation, loss=data.loss, training=training,
        seed=derived_seed(seed, "reward", kind), workspace=context.workspace, lora=lora,
        progress=context.steps(training.steps),
    )  # fmt: skip
    high, low = both_sides(fitted, validation)
    save_reward_model(fitted, out)
    write_evaluations(out, evaluations)
    found = {
        "scorer": kind, "loss": data.loss, "n_pairs": len(train), "n_validation": len(validation),
        "accuracy": accuracy(data.loss, high=high, low=low),
        "validation_loss": min(each.validation_loss for each in evaluations),
    }  # fmt: skip
    write_table(out, "reward_model", pd.DataFrame([found]))
    _count_pairs(context, fitted, train, training, evaluations)


def scores(
    out: Path, context: Context, *, scorer: str, sampling: SamplingSpec, reward_model: Path, tokenizers: Path,
    prompts: Path, **texts: Path,
) -> None:  # fmt: skip
    """Score samples and demonstrations by a reward model: table `scores`."""
    model = load_reward_model(reward_model, device())
    reader, asked, found = load_tokenizer(tokenizers / "reader"), read_table(prompts, "prompts"), []
    for source, folder in texts.items():
        table = texts_of(folder, source)
        rows = examples_from(table, asked, reader, sampling, context=10**9)
        values = map_across_ranks(list(rows["example"]), partial(rewards, model))
        refuse_infinite(values, table, scorer, context)
        context.spend(
            tokens=sum(len(e.ids) for e in rows["example"]), parameters=n_parameters(model), passes=1
        )
        found.append(table[["prompt_id", "source", "draw"]].assign(scorer=scorer, reward=values))
    context.cost["responses"] = sum(map(len, found))
    write_table(out, "scores", pd.concat(found, ignore_index=True))
