"""The step that makes a policy by adversarial imitation (methods.adversarial)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afd_study.methods.adversarial import imitate
from afd_study.methods.specs import AdversarialSpec
from afd_study.models.batches import Example
from afd_study.models.policy import context_length, device, load_policy, n_parameters, save_policy
from afd_study.models.reward import on_backbone
from afd_study.study.steps.encoding import CommonInputs, spoken_words
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.controlled import open_world


def adversarial_policy(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    name: str,
    training: AdversarialSpec,
    policy: Path,
    demonstrations: Path,
    world: Mapping[str, Any] | None = None,
) -> None:
    """Train a policy until its samples pass for demonstrations: table `trajectory`.

    With `world` the logit is the exact one, from the demonstrators' law (without marks); else a discriminator
    that starts from the policy's own body learns it from the demonstrations, marks included where they have
    them. All weights of both players are trained.
    """
    lm, reader = load_policy(policy), common.reader_tokenizer
    table = read_table(demonstrations, "demonstrations")
    rows = common.examples(table, reader, context=context_length(lm))
    parts = dict(iter(rows.groupby("split")))
    by_prompt = {str(prompt): tuple(part["example"]) for prompt, part in parts["train"].groupby("prompt_id")}
    ids = common.prompt_ids(common.prompt_table)
    validation_prompts = sorted(parts["validation"]["prompt_id"].unique())
    prompts = {prompt: ids[prompt] for prompt in sorted(by_prompt)}
    log_demo = None if world is None else _law(world, common, ids)
    lm, path = imitate(
        lm,
        prompts,
        by_prompt,
        validation={prompt: ids[prompt] for prompt in validation_prompts},
        validation_demonstrations=list(parts["validation"]["example"]),
        discriminator=on_backbone(load_policy(policy), reader).to(device()) if log_demo is None else None,
        true_log_demo=log_demo,
        spec=training,
        seed=common.derived_seed("arm", name),
        eos_id=common.policy_tokenizer.eos_token_id,
        max_new_tokens=common.sampling.max_new_tokens,
        workspace=context.workspace,
        progress=context.steps(training.policy.steps),
    )
    save_policy(lm, out)
    write_table(out, "trajectory", path)
    length = float(np.mean([len(each) for each in prompts.values()])) + path["length"].mean()
    count_players(context, training, length, n_parameters(lm), learned=log_demo is None)


def _law(
    world: Mapping[str, Any], common: CommonInputs, ids: Mapping[str, tuple[int, ...]]
) -> Callable[[Sequence[Example]], np.ndarray]:
    """Return examples -> log demo of each whole response (examples,), nats; the prompt tells which law."""
    speech, facts = open_world(world), common.prompt_table.set_index("prompt_id")
    prompts = {ids[name]: facts.loc[name].to_dict() for name in facts.index}

    def log_demo(examples: Sequence[Example]) -> np.ndarray:
        values = []
        for example in examples:
            law = speech.law("demonstrators", prompts[example.prompt])
            words = spoken_words(example.ids[example.start :], common.policy_tokenizer)
            values.append(law.logprobs(words).sum())
        return np.array(values)

    return log_demo


def count_players(
    context: Context, spec: AdversarialSpec, length: float, parameters: int, *, learned: bool
) -> None:
    """Count every pass of both players over responses of `length` tokens, prompts included.

    The policy draws its responses and trains on them. An exact logit needs the policy's log-probabilities;
    a `learned` one scores the responses (and the replayed ones of the end) and is trained on pairs.
    """
    tokens = spec.policy.steps * spec.policy.batch_size * spec.policy.draws * length
    context.spend(tokens=tokens, parameters=parameters, passes=1)
    context.spend(tokens=tokens, parameters=parameters, passes=3)
    if not learned:
        context.spend(tokens=tokens, parameters=parameters, passes=1)
        return
    updates = spec.warmup_updates + spec.updates * spec.policy.steps
    context.spend(tokens=tokens + spec.replay * length, parameters=parameters, passes=1)
    context.spend(tokens=2 * updates * spec.batch_size * length, parameters=parameters, passes=3)
