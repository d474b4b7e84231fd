"""SFT and reward models: our loop beside trainers of TRL and transformers at their best.

TRL's defaults (bf16, gradient checkpointing, no sorting by length) are several times slower on a CPU: the
peer runs in float32 (mixed with bfloat16 on a GPU, as ours does) without checkpointing, with batches of
similar length and fused AdamW, and its data set is prepared before the clock starts. Both sides train the
same weights for as many steps on the same examples, each in its own order.

They sort by length within a quarter of the data, or 50 batches: in a run of 6 steps they sort nothing and pad
46 % (ours 10 %). A run is an epoch of a small study, where they pad 4 % to 8 % (ours 4 %).

TRL has no trainer of discriminators (binary cross-entropy): transformers' own with its sequence classifier is
the peer there.
"""

import copy
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from afd_study.methods.reward_model import fit
from afd_study.methods.sft import fine_tune, response_tokens
from afd_study.models.batches import Example
from afd_study.models.batches import Pair as Responses
from afd_study.models.reward import RewardModel
from afd_study.models.specs import TrainingSpec
from afd_study.models.training import Evaluation
from benchmarks import texts
from benchmarks.shapes import SHAPES, batch_size, build, forward_flops, kept, stock, tokenizer
from benchmarks.timing import Pair

RATE = 1e-4
STEPS, FEWER = 64, {"10M": 32, "124M": 24}  # of a run; fewer on a CPU
CHECKED = 4  # steps whose losses are compared, each on one and the same batch
SLACK = 2e-4  # nats: float32, summed in another order
_BEST = {
    "bf16": False, "gradient_checkpointing": False, "optim": "adamw_torch_fused",
    "train_sampling_strategy": "group_by_length", "save_strategy": "no", "report_to": "none",
    "disable_tqdm": True, "lr_scheduler_type": "cosine", "weight_decay": 0.0, "learning_rate": RATE,
}  # fmt: skip


class Size(NamedTuple):
    """Of a run: steps, and how many examples or pairs each takes."""

    steps: int
    batch: int

    @property
    def data(self) -> int:
        """How many examples or pairs an epoch is."""
        return self.steps * self.batch


def sft(model: str, device: torch.device) -> Pair:
    """Return one epoch of SFT."""
    lm, size = build(model, dtype=kept(model, device)).to(device), _size(model, device)
    data = texts.examples(size.data, SHAPES[model].vocabulary, seed=1)
    trainer = _sft_trainer(stock(lm), data, model, size)
    lengths, predicted = [len(each.ids) for each in data], sum(map(response_tokens, data))

    def check() -> None:
        few, short = data[: size.batch], size._replace(steps=CHECKED)
        found = _losses(fine_tune, copy.deepcopy(lm), few, short, every=1)
        expected = _logged(_sft_trainer(stock(lm), few, model, short))
        np.testing.assert_allclose(found, expected, atol=SLACK if device.type == "cpu" else 2e-2)

    return Pair(
        "TRL SFTTrainer", partial(_losses, fine_tune, lm, data, size), trainer.train, check,
        flops=3 * forward_flops(lm, read=lengths, predicted=predicted), tokens=sum(lengths),
    )  # fmt: skip


def reward_model(model: str, device: torch.device, *, loss: str = "bradley_terry") -> Pair:
    """Return one epoch of reward training on pairs, by Bradley-Terry or as a discriminator (bce)."""
    body, size = build(model, dtype=kept(model, device)).to(device).base_model, _size(model, device)
    if device.type == "cuda":
        size = size._replace(batch=size.batch // 2)  # a pair is two texts
    data = texts.pairs(size.data, SHAPES[model].vocabulary, seed=2)
    name, make = PEERS[loss]
    trainer = make(stock(body), data, model, size)
    own = RewardModel(copy.deepcopy(body)).to(device)
    train = partial(_losses, partial(fit, loss=loss))
    lengths = [len(each.ids) for pair in data for each in pair]

    def check() -> None:
        few, short = data[: size.batch], size._replace(steps=CHECKED)
        found = train(RewardModel(copy.deepcopy(body)), few, short, every=1)
        expected = _logged(make(stock(body), few, model, short))
        np.testing.assert_allclose(found, expected, atol=SLACK if device.type == "cpu" else 2e-2)

    return Pair(
        name, partial(train, own, data, size), trainer.train, check,
        flops=3 * forward_flops(own.backbone, read=lengths, predicted=0), tokens=sum(lengths),
    )  # fmt: skip


def _size(model: str, device: torch.device) -> Size:
    return Size(STEPS if device.type == "cuda" else FEWER.get(model, STEPS), batch_size(model, device))


def _losses(
    fit: Callable[..., tuple[Any, list[Evaluation]]], model: Any, data: Sequence[Any], size: Size,
    every: int | None = None) -> list[float]:  # fmt: skip
    """Train on `data` and return the mean loss of every `every` steps, or of all."""
    spec = TrainingSpec(
        steps=size.steps, batch_size=size.batch, learning_rate=RATE, weight_decay=0.0,
        evaluate_every=every or size.steps, checkpoint_every=size.steps,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        _, found = fit(
            model, data, validation=data[:1], training=spec, seed=0, workspace=Path(folder)
        )  # fmt: skip
    return [each.training_loss for each in found]


def _config(kind: type, lm: Any, size: Size, **more: Any) -> Any:
    """Return the settings of a trainer that takes `rows` a step, as many as `size.batch` if not given."""
    rows = more.pop("rows", size.batch)
    return kind(
        output_dir=str(Path(tempfile.gettempdir()) / "afd-benchmarks"), max_steps=size.steps,
        per_device_train_batch_size=rows, logging_steps=1 if size.steps == CHECKED else size.steps,
        use_cpu=lm.device.type == "cpu", **_BEST | {"bf16": lm.device.type == "cuda"}, **more,
    )  # fmt: skip


def _sft_trainer(lm: Any, data: Sequence[Example], model: str, size: Size) -> Trainer:
    rows = Dataset.from_dict({
        "input_ids": [list(each.ids) for each in data],
        "completion_mask": [[int(i >= each.start) for i in range(len(each.ids))] for each in data],
    })  # fmt: skip
    config = _config(SFTConfig, lm, size, completion_only_loss=True, max_length=None)
    return SFTTrainer(lm, config, train_dataset=rows, processing_class=tokenizer(SHAPES[model]))


def _ranking_trainer(body: Any, data: Sequence[Responses], model: str, size: Size) -> Trainer:
    rows = Dataset.from_dict({
        "chosen_ids": [list(pair.high.ids) for pair in data],
        "rejected_ids": [list(pair.low.ids) for pair in data],
        "length": [max(len(each.ids) for each in pair) for pair in data],
    })  # fmt: skip
    config = _config(RewardConfig, body, size, remove_unused_columns=False, max_length=None)
    judge = _classifier(body, bias=False)
    return RewardTrainer(judge, config, train_dataset=rows, processing_class=tokenizer(SHAPES[model]))


def _classifying_trainer(body: Any, data: Sequence[Responses], model: str, size: Size) -> Trainer:
    """Train on each response by itself, as a classifier takes them: twice as many rows as pairs."""
    ids = [list(each.ids) for pair in data for each in pair]
    rows = Dataset.from_dict(
        {"input_ids": ids, "labels": [[1.0], [0.0]] * len(data), "length": [len(each) for each in ids]}
    )
    config = _config(TrainingArguments, body, size, remove_unused_columns=False, rows=2 * size.batch)
    return Trainer(_classifier(body, bias=True), config, train_dataset=rows, data_collator=_padded)


def _padded(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Pad rows to the longest on the right; a classifier reads where each ends from its padding, 0."""
    ids = pad_sequence([torch.tensor(row["input_ids"]) for row in rows], batch_first=True)
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


def _classifier(body: Any, *, bias: bool) -> Any:
    """Return transformers' classifier with one logit on `body`, which starts at zero as ours does."""
    config = copy.deepcopy(body.config)
    config.num_labels, config.pad_token_id = 1, 0
    config.problem_type = "multi_label_classification"  # whose loss is binary cross-entropy
    judge: Any = AutoModelForSequenceClassification.from_config(config).to(body.device, body.dtype)
    setattr(judge, judge.base_model_prefix, body)
    judge.score = nn.Linear(body.config.hidden_size, 1, bias=bias, device=body.device, dtype=body.dtype)
    for weight in judge.score.parameters():
        nn.init.zeros_(weight)
    return judge


PEERS = {
    "bradley_terry": ("TRL RewardTrainer", _ranking_trainer),
    "bce": ("transformers Trainer", _classifying_trainer),
}


def _logged(trainer: Trainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
