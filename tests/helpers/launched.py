"""The work that tests give to several processes: `python launched.py FOLDER` runs once in each process.

A part is a function (folder) -> (numbers, weights) that is called in one process by the tests, and in all
processes of a launch by this script, which writes what each process holds in the end.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sharded import Sharded

from afd_study.errors import AfdError, DataError
from afd_study.methods import adversarial, direct, policy_gradient, reward_model
from afd_study.methods.sft import fine_tune
from afd_study.methods.specs import AdversarialSpec, PolicyGradientSpec
from afd_study.models import distributed
from afd_study.models.batches import Example, Pair
from afd_study.models.decoding import Request, sample
from afd_study.models.policy import from_scratch
from afd_study.models.reward import on_backbone, rewards
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import LoRASpec, ModelSpec, TrainingSpec
from afd_study.models.tokenizers import word_tokenizer

CONFIG = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "initializer_range": 0.1,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
TOKENIZER = word_tokenizer([f"w{number}" for number in range(24)], marks=["¶"])
EOS = TOKENIZER.eos_token_id
STEPS = {"steps": 12, "batch_size": 8, "learning_rate": 5e-3, "evaluate_every": 3, "checkpoint_every": 6}


class GentleAdamW(torch.optim.AdamW):
    """AdamW whose steps are a smooth function of the gradient, so that runs can be compared by their weights.

    With the usual epsilon of 1e-8 a gradient that is nothing but rounding moves its weight by a whole
    learning rate. Here a difference of d in a gradient changes a step by at most d * learning rate / 1e-3.
    """

    def __init__(self, parameters, **settings):
        super().__init__(parameters, **{**settings, "eps": 1e-3})


class Killed(Exception):
    """Stands for an interruption."""


def killed(step, note, at=8):
    if step == at:
        raise Killed


def model(seed=0, **config):
    return from_scratch(ModelSpec(config={**CONFIG, **config}), TOKENIZER, seed)


def texts(n, seed):
    """Prompts of different lengths, some of them twice, with responses of different lengths."""
    rng = np.random.default_rng(seed)
    prompts = [tuple(rng.integers(4, 24, rng.integers(2, 7)).tolist()) for _ in range(-(-n // 2))]
    responses = [(*rng.integers(4, 24, rng.integers(1, 9)).tolist(), EOS) for _ in range(n)]
    return [Example(prompts[i // 2] + responses[i], len(prompts[i // 2])) for i in range(n)]


def pairs(n, seed):
    return [Pair(high, low) for high, low in zip(texts(n, seed), texts(n, seed + 1), strict=True)]


def state(module):
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def sft(folder, progress=lambda step, note: None, lora=None, config=None, **changed):
    lm, evaluations = fine_tune(
        model(**(config or {})),
        texts(40, 0),
        validation=texts(11, 1),
        seed=0,
        workspace=folder,
        lora=lora,
        training=TrainingSpec(**{**STEPS, **changed}),
        progress=progress,
    )
    return evaluations, state(lm)


def interrupted(folder, **settings):
    """Stop a run at its eighth step, and go on from its checkpoint."""
    try:
        sft(folder, progress=killed, **settings)
    except Killed:
        return sft(folder, **settings)


def gone_on(folder):
    """Go on from a checkpoint in `folder`, whose run may have had another number of processes."""
    return sft(folder)


def rewarded(folder, loss):
    fitted, evaluations = reward_model.fit(
        on_backbone(model(), TOKENIZER),
        pairs(40, 0),
        validation=pairs(11, 2),
        loss=loss,
        seed=0,
        training=TrainingSpec(**STEPS, micro_batch_size=2),
        workspace=folder,
    )
    return evaluations, state(fitted)


def preferred(folder):
    lm, history = direct.fit(
        model(),
        pairs(40, 0),
        validation=pairs(11, 2),
        beta=0.5,
        seed=0,
        training=TrainingSpec(**STEPS),
        workspace=folder,
    )
    return history.to_numpy().tolist(), state(lm)


ASKED = {f"p{number}": example.prompt for number, example in enumerate(texts(24, 5)[::2])}
HELD_OUT = {f"v{number}": example.prompt for number, example in enumerate(texts(10, 6)[::2])}
ASCENT = {
    "steps": 6,
    "batch_size": 4,
    "draws": 4,
    "learning_rate": 2e-2,
    "evaluate_every": 3,
    "checkpoint_every": 3,
}


def ascended(folder, **changed):
    lm, path = policy_gradient.optimise(
        model(),
        ASKED,
        reference=model(),
        score=lambda examples: np.array([np.sum(e.ids) / 50 for e in examples]),
        validation=HELD_OUT,
        spec=PolicyGradientSpec(**{**ASCENT, **changed}),
        seed=0,
        eos_id=EOS,
        max_new_tokens=6,
        workspace=folder,
    )
    return path.to_numpy().tolist(), state(lm)


def imitated(folder, progress=lambda step, note: None):
    answers = texts(24, 5)
    lm, path = adversarial.imitate(
        model(),
        ASKED,
        {name: answers[2 * i : 2 * i + 2] for i, name in enumerate(ASKED)},
        validation=HELD_OUT,
        validation_demonstrations=texts(10, 6),
        discriminator=on_backbone(model(1), TOKENIZER),
        seed=0,
        eos_id=EOS,
        max_new_tokens=6,
        spec=AdversarialSpec(
            policy=PolicyGradientSpec(**ASCENT, kl_coefficient=0), batch_size=8, warmup_updates=3, replay=32
        ),
        workspace=folder,
        progress=progress,
    )
    return path.to_numpy().tolist(), state(lm)


def imitated_anew(folder):
    """Stop both players after a checkpoint, and go on from it."""
    try:
        imitated(folder, progress=partial(killed, at=4))
    except Killed:
        return imitated(folder)


def drawn(folder):
    requests = [Request(name, ids, draw) for name, ids in ASKED.items() for draw in range(5)]
    samples = distributed.map_across_ranks(
        requests, partial(sample, model(), seed=3, eos_id=EOS, max_new_tokens=12)
    )
    return [each.ids for each in samples], {"logprobs": torch.tensor([each.logprob for each in samples])}


def scored(folder):
    scorer = on_backbone(model(), TOKENIZER)
    torch.nn.init.normal_(scorer.head.weight, generator=torch.Generator().manual_seed(0))
    examples = texts(31, 7)
    scores = {
        "rewards": distributed.map_across_ranks(examples, partial(rewards, scorer)),
        "logprobs": distributed.map_across_ranks(examples, partial(sequence_logprobs, model())),
    }
    # the other process has nothing to do
    one = distributed.map_across_ranks(examples[:1], partial(sequence_logprobs, model()))
    return len(one), {name: torch.from_numpy(values) for name, values in scores.items()}


def broken(folder):
    """Train on a loss that is infinite for one item, and so in one process."""
    items = [[float(number)] for number in range(24)]

    def loss(net, mine):
        return net(torch.tensor(mine)).square().sum() * (torch.inf if [13.0] in mine else 1)

    try:
        policy_gradient.descend(
            torch.nn.Linear(1, 1),
            lambda step, share: items[8 * step : 8 * step + 8][share],
            loss=loss,
            spec=TrainingSpec(**{**STEPS, "steps": 3}),
            seed=0,
            evaluate=lambda net, step: 0.0,
            workspace=folder,
        )
    except AfdError as fault:
        return [str(fault).replace(str(folder), ""), json.loads((folder / "batch-1.json").read_text())], {}


def faulty(folder):
    """Fail at one of the prompts, and so in one process."""
    examples = texts(8, 8)

    def refuse(mine):
        if examples[4] in mine:
            raise DataError("this one cannot be read")
        return np.zeros(len(mine))

    try:
        distributed.map_across_ranks(examples, refuse)
    except DataError as fault:
        return str(fault), {}


def uneven(folder):
    """Train on batches that one process can take and two cannot share."""
    try:
        return len(sft(folder, batch_size=7, steps=1)[0]), {}
    except AfdError as fault:
        return str(fault), {}


ALIKE = {  # parts that must end alike in two processes and in one
    "sft": partial(sft, micro_batch_size=2),
    "lora": partial(sft, lora=LoRASpec(r=2, alpha=4)),
    "interrupted": interrupted,
    "gone_on": gone_on,
    "bce": partial(rewarded, loss="discriminator_bce"),
    "bradley_terry": partial(rewarded, loss="bradley_terry"),
    "dpo": preferred,
    "rloo": ascended,
    "ppo": partial(ascended, algorithm="ppo_clip", epochs=2),
    "adversarial": imitated,
    "imitated_anew": imitated_anew,
    "drawn": drawn,
    "scored": scored,
    "broken": broken,
    "faulty": faulty,
}
DROPOUT = {"config": {"resid_pdrop": 0.3}}
OTHERWISE = {
    "stopped": partial(sft, patience=1, learning_rate=5.0),
    "uneven": uneven,
    "dropout": partial(sft, **DROPOUT),
    "dropout_interrupted": partial(interrupted, **DROPOUT),
}
IN_SHARDS = ("sft", "lora", "interrupted", "gone_on", "bce", "rloo", "ppo", "adversarial", "imitated_anew")
SHARDED = {f"{name}_sharded": Sharded(ALIKE[name]) for name in IN_SHARDS}


def main(folder):
    torch.set_num_threads(1)
    torch.optim.AdamW = GentleAdamW  # as `models.training` finds it
    for name, part in (ALIKE | OTHERWISE | SHARDED).items():
        numbers, weights = part(folder / name)
        out = folder / f"{name}-{distributed.index()}"
        save_file({key: value.contiguous() for key, value in weights.items()}, f"{out}.safetensors")
        Path(f"{out}.json").write_text(json.dumps(numbers))
    distributed.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
