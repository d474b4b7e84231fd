"""A fair comparison of styles: stop SFT where it scores as another policy does.

A style that SFT absorbs may also weaken it, and a reward model learned from a weaker policy is another reward
model. At matched gain only the style differs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from afd_study.methods.sft import fine_tune
from afd_study.models.policy import context_length, load_policy, save_policy
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.models.tokenizers import decode
from afd_study.study.steps.bookkeeping import count_training, write_evaluations
from afd_study.study.steps.drawing import draw_responses, requests_for
from afd_study.study.steps.encoding import CommonInputs
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import write_table
from afd_study.worlds.controlled import ControlledWorld, open_world

SHARES = (1 / 12, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0)  # of the training steps, tried in this order
DRAWS = 8  # responses a validation prompt that a policy is scored by


def matched_sft(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    training: TrainingSpec,
    lora: LoRASpec | None,
    world: Mapping[str, Any],
    pi_init: Path,
    reference: Path,
    demonstrations: Path,
) -> None:
    """Fine-tune for as many steps as bring the judge's score on validation prompts nearest to a reference's.

    Each number of steps is a training of its own, with its own schedule; the first one that passes the
    reference ends the search. Table `matching`: steps, score, target, chosen.
    """
    judge, lm = open_world(world), load_policy(pi_init)
    seed = common.derived_seed("sft")
    texts = common.training_examples(demonstrations, context.workspace, context=context_length(lm))
    train, validation = texts.train, texts.validation
    target = _score(load_policy(reference), judge, common, context)
    trials, best = list[dict[str, Any]](), np.inf
    for share in SHARES:
        short = _shortened(training.over(len(train)), share)
        candidate, evaluations = fine_tune(
            load_policy(pi_init),
            train,
            validation=validation,
            training=short,
            seed=seed,
            workspace=context.workspace / f"steps-{short.steps}",
            lora=lora,
        )
        count_training(context, candidate, train, short, evaluations[-1].step)
        score = _score(candidate, judge, common, context)
        trials.append({"steps": short.steps, "score": score, "target": target})
        if abs(score - target) < best:
            best = abs(score - target)
            save_policy(candidate, out)
            write_evaluations(out, evaluations)
        if score >= target:
            break
    distance = pd.Series([abs(trial["score"] - target) for trial in trials])
    write_table(out, "matching", pd.DataFrame(trials).assign(chosen=distance == distance.min()))


def _shortened(training: TrainingSpec, share: float) -> TrainingSpec:
    """Return a training of a share of the steps that is evaluated once, at its end."""
    steps = max(1, round(share * training.steps))
    counts = dict.fromkeys(("steps", "evaluate_every", "checkpoint_every"), steps)
    warmup = min(training.warmup_steps, steps // 2)
    return training.model_copy(update={**counts, "patience": None, "warmup_steps": warmup})


def _score(lm: PreTrainedModel, judge: ControlledWorld, common: CommonInputs, context: Context) -> float:
    """Return the judge's mean over DRAWS responses to each validation prompt."""
    prompts = common.prompt_table.query("split == 'validation'")
    requests = requests_for(common.prompt_ids(prompts), dict.fromkeys(prompts["prompt_id"], DRAWS))
    seed = common.derived_seed("matching")
    responses = draw_responses(lm, requests, common, context, seed=seed)
    texts = decode(common.policy_tokenizer, [each.ids for each in responses])
    ids = [request.prompt_id for request in requests]
    table = pd.DataFrame({"prompt_id": ids, "text": [text.strip() for text in texts]})
    return float(judge.judge(common.prompt_table, table)["value"].mean())
