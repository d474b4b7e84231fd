"""SFT and reward models: our loop beside TRL's trainers at their best.

TRL's defaults (bf16, gradient checkpointing, no sorting by length) are several times slower on a CPU: the
peer runs in float32 (mixed with bfloat16 on a GPU, as ours does) without checkpointing, with batches of
similar length and fused AdamW, and its data set is prepared before the clock starts. Both sides train the
same weights for as many steps on the same examples, each in its own order.

TRL sorts by length within a quarter of the data, or 50 batches: in a run of 6 steps it sorts nothing and pads
46 % (ours 10 %). A run is an epoch of a small study, where it pads 4 % to 8 % (ours 4 %).
"""

import copy
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from afd_study.methods.reward_model import fit
from afd_study.methods.sft import fine_tune, response_tokens
from afd_study.models.batches import Example
from afd_study.models.batches import Pair as Responses
from afd_study.models.reward import RewardModel
from afd_study.models.specs import TrainingSpec
from afd_study.models.training import Evaluation
from benchmarks import texts
from benchmarks.shapes import SHAPES, build, forward_flops, kept, stock, tokenizer
from benchmarks.timing import Pair

BATCH, RATE = 32, 1e-4
STEPS, FEWER = 64, {"10M": 32}  # of a run
CHECKED = 4  # steps whose losses are compared, each on one and the same batch of BATCH
SLACK = 2e-4  # nats: float32, summed in another order
_BEST = {
    "bf16": False, "gradient_checkpointing": False, "optim": "adamw_torch_fused", "max_length": None,
    "train_sampling_strategy": "group_by_length", "save_strategy": "no", "report_to": "none",
    "disable_tqdm": True, "lr_scheduler_type": "cosine", "weight_decay": 0.0, "learning_rate": RATE,
}  # fmt: skip


def sft(model: str, device: torch.device) -> Pair:
    """Return SFT on some batches of BATCH examples."""
    lm, steps = build(model, dtype=kept(model, device)).to(device), FEWER.get(model, STEPS)
    data = texts.examples(steps * BATCH, SHAPES[model].vocabulary, seed=1)
    trainer = _sft_trainer(stock(lm), data, model, steps)
    lengths, predicted = [len(each.ids) for each in data], sum(map(response_tokens, data))

    def check() -> None:
        few = data[:BATCH]
        found = _losses(fine_tune, copy.deepcopy(lm), few, CHECKED, every=1)
        expected = _logged(_sft_trainer(stock(lm), few, model, CHECKED))
        np.testing.assert_allclose(found, expected, atol=SLACK if device.type == "cpu" else 2e-2)

    return Pair(
        "TRL SFTTrainer", partial(_losses, fine_tune, lm, data, steps), trainer.train, check,
        flops=3 * forward_flops(lm, read=lengths, predicted=predicted), tokens=sum(lengths),
    )  # fmt: skip


def reward_model(model: str, device: torch.device) -> Pair:
    """Return Bradley-Terry reward training on some batches of BATCH pairs."""
    body, steps = build(model, dtype=kept(model, device)).to(device).base_model, FEWER.get(model, STEPS)
    data = texts.pairs(steps * BATCH, SHAPES[model].vocabulary, seed=2)
    trainer = _reward_trainer(stock(body), data, model, steps)
    own = RewardModel(copy.deepcopy(body)).to(device)
    train = partial(_losses, partial(fit, loss="bradley_terry"))
    lengths = [len(each.ids) for pair in data for each in pair]

    def check() -> None:
        few = data[:BATCH]
        found = train(RewardModel(copy.deepcopy(body)), few, CHECKED, every=1)
        expected = _logged(_reward_trainer(stock(body), few, model, CHECKED))
        np.testing.assert_allclose(found, expected, atol=SLACK if device.type == "cpu" else 2e-2)

    return Pair(
        "TRL RewardTrainer", partial(train, own, data, steps), trainer.train, check,
        flops=3 * forward_flops(own.backbone, read=lengths, predicted=0), tokens=sum(lengths),
    )  # fmt: skip


def _spec(steps: int, every: int) -> TrainingSpec:
    return TrainingSpec(
        steps=steps, batch_size=BATCH, learning_rate=RATE, weight_decay=0.0, evaluate_every=every,
        checkpoint_every=steps,
    )  # fmt: skip


def _losses(
    fit: Callable[..., tuple[Any, list[Evaluation]]], model: Any, data: Sequence[Any], steps: int,
    every: int | None = None) -> list[float]:  # fmt: skip
    """Train on `data` and return the mean loss of every `every` steps, or of all."""
    with tempfile.TemporaryDirectory() as folder:
        _, found = fit(
            model, data, validation=data[:1], training=_spec(steps, every or steps), seed=0,
            workspace=Path(folder),
        )  # fmt: skip
    return [each.training_loss for each in found]


def _config(kind: type, lm: Any, steps: int, **more: Any) -> Any:
    return kind(
        output_dir=str(Path(tempfile.gettempdir()) / "afd-benchmarks"), max_steps=steps,
        per_device_train_batch_size=BATCH, logging_steps=1 if steps == CHECKED else steps,
        use_cpu=lm.device.type == "cpu", **_BEST | {"bf16": lm.device.type == "cuda"}, **more,
    )  # fmt: skip


def _sft_trainer(lm: Any, data: Sequence[Example], model: str, steps: int) -> SFTTrainer:
    rows = Dataset.from_dict({
        "input_ids": [list(each.ids) for each in data],
        "completion_mask": [[int(i >= each.start) for i in range(len(each.ids))] for each in data],
    })  # fmt: skip
    config = _config(SFTConfig, lm, steps, completion_only_loss=True)
    return SFTTrainer(lm, config, train_dataset=rows, processing_class=tokenizer(SHAPES[model]))


def _reward_trainer(body: Any, data: Sequence[Responses], model: str, steps: int) -> RewardTrainer:
    rows = Dataset.from_dict({
        "chosen_ids": [list(pair.high.ids) for pair in data],
        "rejected_ids": [list(pair.low.ids) for pair in data],
        "length": [max(len(each.ids) for each in pair) for pair in data],
    })  # fmt: skip
    config = copy.deepcopy(body.config)
    config.num_labels, config.pad_token_id = 1, 0
    judge: Any = AutoModelForSequenceClassification.from_config(config).to(body.device, body.dtype)
    setattr(judge, judge.base_model_prefix, body)
    torch.nn.init.zeros_(judge.score.weight)  # as ours starts
    settings = _config(RewardConfig, body, steps, remove_unused_columns=False)
    return RewardTrainer(judge, settings, train_dataset=rows, processing_class=tokenizer(SHAPES[model]))


def _logged(trainer: Any) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
