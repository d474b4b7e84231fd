"""A fair comparison of styles: stop SFT where it scores as another policy does.

A style that SFT absorbs may also weaken it, and a reward model learned from a weaker policy is another reward
model. At matched gain only the style differs.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.methods.sft import fine_tune
from afd_study.models.decoding import Request, sample
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import context_length, load_policy, n_parameters, save_policy
from afd_study.models.specs import LoRASpec, SamplingSpec, TrainingSpec
from afd_study.models.tokenizers import decode, load_tokenizer
from afd_study.study.steps.bookkeeping import count_draws, count_training, write_evaluations
from afd_study.study.steps.encoding import encoded_prompts, examples_from, split_examples
from afd_study.study.steps.texts import open_world
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table

SHARES = (1 / 12, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0)  # of the training steps, tried in this order
DRAWS = 8  # responses a validation prompt that a policy is scored by


def pi_sft_matched(
    out: Path, context: Context, *, training: TrainingSpec, sampling: SamplingSpec, lora: LoRASpec | None,
    world: dict[str, Any], seed: int, pi_init: Path, reference: Path, tokenizers: Path, prompts: Path,
    demonstrations: Path,
) -> None:  # fmt: skip
    """Fine-tune for as many steps as bring the judge's score on validation prompts nearest to a reference's.

    Each number of steps is a training of its own, with its own schedule; the first one that passes the
    reference ends the search. Table `matching`: steps, score, target, chosen.
    """
    tokenizer, asked = load_tokenizer(tokenizers / "policy"), read_table(prompts, "prompts")

    def score(lm: Any) -> float:
        return _score(lm, context, tokenizer, asked, world, sampling, derived_seed(seed, "matching"))

    lm = load_policy(pi_init)
    rows = examples_from(
        read_table(demonstrations, "demonstrations"), asked, tokenizer, sampling, context=context_length(lm)
    )
    train, validation = split_examples(rows)
    training = training.over(len(train))
    target, tried, best = score(load_policy(reference)), list[dict[str, Any]](), np.inf
    for place, share in enumerate(SHARES):
        steps = max(1, round(share * training.steps))
        short = training.model_copy(update={
            "steps": steps, "evaluate_every": steps, "checkpoint_every": steps, "patience": None,
            "warmup_steps": min(training.warmup_steps, steps // 2),
        })  # fmt: skip
        candidate, evaluations = fine_tune(
            load_policy(pi_init), train, validation=validation, training=short,
            seed=derived_seed(seed, "sft"), workspace=context.workspace / f"steps-{steps}", lora=lora,
        )  # fmt: skip
        count_training(context, candidate, train, short, evaluations)
        tried.append({"steps": steps, "score": score(candidate), "target": target})
        context.progress((place + 1) / len(SHARES), f"{steps} steps of SFT")
        if abs(tried[-1]["score"] - target) < best:
            best = abs(tried[-1]["score"] - target)
            save_policy(candidate, out)
            write_evaluations(out, evaluations)
        if tried[-1]["score"] >= target:
            break
    found = pd.DataFrame(tried)
    distance = (found["score"] - target).abs()
    write_table(out, "matching", found.assign(chosen=distance == distance.min()))


def _score(
    lm: Any, context: Context, tokenizer: Any, asked: pd.DataFrame, world: dict[str, Any],
    sampling: SamplingSpec, seed: int,
) -> float:  # fmt: skip
    """Return the judge's mean over DRAWS responses to each validation prompt."""
    chosen = asked[asked["split"] == "validation"]
    ids = encoded_prompts(chosen, tokenizer, sampling)
    requests = [Request(name, ids[name], draw) for name in chosen["prompt_id"] for draw in range(DRAWS)]
    drawn = map_across_ranks(requests, partial(
        sample, lm, seed=seed, eos_id=tokenizer.eos_token_id, max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
    ))  # fmt: skip
    count_draws(context, requests, drawn, parameters=n_parameters(lm))
    texts = pd.DataFrame({
        "prompt_id": [request.prompt_id for request in requests],
        "text": [text.strip() for text in decode(tokenizer, [each.ids for each in drawn])],
    })  # fmt: skip
    return float(open_world(world).judge(asked, texts)["value"].mean())
