"""The step that makes a policy by adversarial imitation (methods.adversarial)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.methods.adversarial import imitate
from afd_study.methods.specs import AdversarialSpec
from afd_study.models.batches import Example
from afd_study.models.policy import context_length, device, load_policy, n_parameters, save_policy
from afd_study.models.reward import on_backbone
from afd_study.models.specs import SamplingSpec
from afd_study.models.tokenizers import load_tokenizer
from afd_study.study.steps.encoding import encoded_prompts, examples_from, spoken_words
from afd_study.study.steps.texts import open_world
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table


def imitated(
    out: Path, context: Context, *, name: str, spec: AdversarialSpec, world: dict[str, Any] | None,
    sampling: SamplingSpec, seed: int, policy: Path, tokenizers: Path, prompts: Path, demonstrations: Path,
) -> None:  # fmt: skip
    """Train a policy until its samples pass for demonstrations: table `trajectory`.

    With `world` the logit is the exact one, from the demonstrators' law (without marks); else a discriminator
    that starts from the policy's own body learns it from the demonstrations, marks included where they have
    them.
    """
    tokenizer, reader = (load_tokenizer(tokenizers / each) for each in ("policy", "reader"))
    lm, asked = load_policy(policy), read_table(prompts, "prompts")
    shown = examples_from(
        read_table(demonstrations, "demonstrations"), asked, reader, sampling, context=context_length(lm)
    )
    ids = encoded_prompts(asked, tokenizer, sampling)
    parts = dict(iter(shown.groupby("split")))
    by_prompt = {str(prompt): tuple(rows["example"]) for prompt, rows in parts["train"].groupby("prompt_id")}
    names = {"train": sorted(by_prompt), "validation": sorted(parts["validation"]["prompt_id"].unique())}
    trained, validation = ({each: ids[each] for each in names[part]} for part in names)
    known = None if world is None else _law(world, asked, ids, tokenizer)
    lm, path = imitate(
        lm, trained, by_prompt, validation=validation,
        validation_demonstrations=list(parts["validation"]["example"]),
        discriminator=on_backbone(load_policy(policy), reader).to(device()) if known is None else None,
        true_log_demo=known, spec=spec, seed=derived_seed(seed, "arm", name),
        eos_id=tokenizer.eos_token_id, max_new_tokens=sampling.max_new_tokens, workspace=context.workspace,
        progress=context.steps(spec.policy.steps),
    )  # fmt: skip
    save_policy(lm, out)
    write_table(out, "trajectory", path)
    prompt = float(np.mean([len(each) for each in trained.values()]))
    _spend(context, spec, prompt + path["length"].mean(), n_parameters(lm), learned=known is None)


def _law(
    world: Mapping[str, Any], asked: pd.DataFrame, ids: Mapping[str, tuple[int, ...]], tokenizer: Any
) -> Callable[[Sequence[Example]], np.ndarray]:
    """Return examples -> log demo of each whole response (examples,), nats; the prompt tells which law."""
    known, facts = open_world(world), asked.set_index("prompt_id")
    prompts = {ids[name]: facts.loc[name].to_dict() for name in asked["prompt_id"]}

    def log_demo(examples: Sequence[Example]) -> np.ndarray:
        found = []
        for example in examples:
            law = known.law("demonstrators", prompts[example.prompt])
            found.append(law.logprobs(spoken_words(example.ids[example.start :], tokenizer)).sum())
        return np.array(found)

    return log_demo


def _spend(context: Context, spec: AdversarialSpec, length: float, parameters: int, *, learned: bool) -> None:
    """Count both players: a pass to draw and three to train; for a learned logit its training and scores."""
    drawn = spec.policy.steps * spec.policy.batch_size * spec.policy.draws * length
    context.spend(tokens=drawn, parameters=parameters, passes=4)
    if not learned:
        context.spend(tokens=drawn, parameters=parameters, passes=1)  # the policy's own log-probabilities
        return
    updates = spec.warmup_updates + spec.updates * spec.policy.steps
    context.spend(tokens=drawn + spec.replay * length, parameters=parameters, passes=1)
    context.spend(tokens=2 * updates * spec.batch_size * length, parameters=parameters, passes=3)
