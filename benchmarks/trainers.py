"""SFT and reward models: our loop beside trainers of TRL and transformers at their best.

Their defaults (bf16, gradient checkpointing, no sorting by length) are several times slower on most CPUs:
peers run in float32 (mixed with bfloat16 on a GPU, as ours does) without checkpointing, with fused AdamW, and
their data are ready before the clock starts. Where a CPU has matrix units for bfloat16, that would serve both
sides from 10 M parameters on (book/log.md); neither takes it. Both sides train the same weights for as many
steps on the same examples, each in its own order, sorted by length within WINDOW batches. By themselves peers
sort within a quarter of the data, or 50 batches: that is as good on much data, and next to nothing on a
benchmark's.

TRL has no trainer of discriminators (binary cross-entropy): transformers' own with its sequence classifier is
the peer there.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler
from transformers import AutoModelForSequenceClassification, PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices
from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from afd_study.methods.reward_model import fit
from afd_study.methods.sft import fine_tune, response_tokens
from afd_study.models.batches import WINDOW, Example, Pair as Responses
from afd_study.models.reward import RewardModel
from afd_study.models.scoring import backbone_of
from afd_study.models.specs import TrainingSpec
from afd_study.models.training import Evaluation
from benchmarks import texts
from benchmarks.shapes import SHAPES, batch_size, build, forward_flops, stock, tokenizer, weights_dtype
from benchmarks.timing import Pair

Item = Example | Responses
Arguments = TypeVar("Arguments", bound=TrainingArguments)
Fit = Callable[..., tuple[nn.Module, list[Evaluation]]]  # fine_tune, or fit with its loss

RATE = 1e-4
STEPS = {"cpu": WINDOW, "cuda": 4 * WINDOW}  # of a run
CHECKED = 4  # steps whose losses are compared, each on one and the same batch
SLACK = 2e-4  # nats: float32, summed in another order
_BEST: dict[str, Any] = {
    "gradient_checkpointing": False,
    "optim": "adamw_torch_fused",
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "lr_scheduler_type": "cosine",
    "weight_decay": 0.0,
    "learning_rate": RATE,
}


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
    lm = build(model, dtype=weights_dtype(model, device), device=device)
    size = _size(model, device)
    data = texts.examples(size.data, SHAPES[model].vocabulary, seed=1)
    lengths, predicted = [len(each.ids) for each in data], sum(map(response_tokens, data))
    flops = 3 * forward_flops(lm, read=lengths, predicted=predicted)
    make = partial(_sft_trainer, model=model)
    return _pair("TRL SFTTrainer", make, fine_tune, lm, data, size, flops, sum(lengths))


def reward_model(model: str, device: torch.device, *, loss: str = "bradley_terry") -> Pair:
    """Return one epoch of reward training on pairs, by Bradley-Terry or as a discriminator."""
    lm = build(model, dtype=weights_dtype(model, device), device=device)
    own, size = RewardModel(backbone_of(lm)).to(device), _size(model, device)
    # a head of zeros would lose log 2 on whatever it reads
    nn.init.normal_(own.head.weight, std=0.1, generator=torch.Generator(device).manual_seed(0))
    data = texts.pairs(size.data, SHAPES[model].vocabulary, seed=2)
    lengths = [len(each.ids) for pair in data for each in pair]
    flops = 3 * forward_flops(own.backbone, read=lengths, predicted=0)
    peer, make = PEERS[loss]
    make, train = partial(make, model=model), partial(fit, loss=loss)
    return _pair(peer, make, train, own, data, size, flops, sum(lengths))


def _pair(
    peer: str,
    make: Callable[..., Trainer],
    fit: Fit,
    own: nn.Module,
    data: Sequence[Item],
    size: Size,
    flops: float,
    tokens: int,
) -> Pair:
    """Return training by `fit` beside the trainer that `make` makes, on copies of one model's weights."""
    slack = SLACK if next(own.parameters()).device.type == "cpu" else 2e-2

    def check() -> None:
        few, short = data[: size.batch], size._replace(steps=CHECKED)
        expected = _logged(make(own, few, size=short))
        ours = _losses(fit, copy.deepcopy(own), few, short, every=1)
        np.testing.assert_allclose(ours, expected, atol=slack)

    trained = partial(_losses, fit, own, data, size)
    return Pair(peer, trained, make(own, data, size=size).train, check, flops=flops, tokens=tokens)


def _size(model: str, device: torch.device) -> Size:
    return Size(STEPS[device.type], batch_size(model, device))


def _losses(
    fit: Fit,
    model: nn.Module,
    data: Sequence[Item],
    size: Size,
    every: int | None = None,
) -> list[float]:
    """Train on `data` and return the mean loss of every `every` steps, or of all."""
    spec = TrainingSpec(
        steps=size.steps,
        batch_size=size.batch,
        learning_rate=RATE,
        weight_decay=0.0,
        evaluate_every=every or size.steps,
        checkpoint_every=size.steps,
    )
    with tempfile.TemporaryDirectory() as folder:
        _, evaluations = fit(model, data, validation=data[:1], training=spec, seed=0, workspace=Path(folder))
    return [each.training_loss for each in evaluations]


def _config(kind: type[Arguments], lm: PreTrainedModel, size: Size, **more: Any) -> Arguments:
    return kind(
        output_dir=str(Path(tempfile.gettempdir()) / "afd-benchmarks"),
        max_steps=size.steps,
        per_device_train_batch_size=size.batch,
        logging_steps=1 if size.steps == CHECKED else size.steps,
        use_cpu=lm.device.type == "cpu",
        bf16=lm.device.type == "cuda",
        **_BEST,
        **more,
    )


def _sft_trainer(own: PreTrainedModel, data: Sequence[Example], *, model: str, size: Size) -> Trainer:
    lm, words = stock(own), tokenizer(SHAPES[model])
    rows = Dataset.from_dict(
        {
            "input_ids": [list(each.ids) for each in data],
            "completion_mask": [[int(i >= each.start) for i in range(len(each.ids))] for each in data],
        }
    )
    config = _config(SFTConfig, lm, size, completion_only_loss=True, max_length=None)
    trainer = SFTTrainer(lm, config, train_dataset=rows, processing_class=words)
    return _sorted(trainer, [len(each.ids) for each in data], size)


def _ranking_trainer(own: RewardModel, data: Sequence[Responses], *, model: str, size: Size) -> Trainer:
    rows = Dataset.from_dict(
        {
            "chosen_ids": [list(pair.high.ids) for pair in data],
            "rejected_ids": [list(pair.low.ids) for pair in data],
        }
    )
    judge, words = _classifier(own), tokenizer(SHAPES[model])
    config = _config(RewardConfig, judge, size, remove_unused_columns=False, max_length=None)
    trainer = RewardTrainer(judge, config, train_dataset=rows, processing_class=words)
    return _sorted(trainer, [max(len(each.ids) for each in pair) for pair in data], size)


def _classifying_trainer(own: RewardModel, data: Sequence[Responses], *, model: str, size: Size) -> Trainer:
    """Train on each response by itself, as a classifier takes them: twice as many rows as pairs."""
    ids = [list(each.ids) for pair in data for each in pair]
    rows = Dataset.from_dict({"input_ids": ids, "labels": [[1.0], [0.0]] * len(data)})
    judge, twice = _classifier(own), size._replace(batch=2 * size.batch)
    config = _config(TrainingArguments, judge, twice, remove_unused_columns=False)
    trainer = Trainer(judge, config, train_dataset=rows, data_collator=_padded)
    return _sorted(trainer, list(map(len, ids)), twice)


def _sorted(trainer: Any, lengths: list[int], size: Size) -> Trainer:
    """Have a trainer take its rows in transformers' own order by length, within WINDOW batches."""
    trainer._get_train_sampler = lambda dataset=None: _ByLength(lengths, size.batch)
    return trainer


class _ByLength(Sampler[int]):
    def __init__(self, lengths: list[int], batch: int) -> None:
        self.lengths, self.batch = lengths, batch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(get_length_grouped_indices(self.lengths, self.batch, mega_batch_mult=WINDOW))


def _padded(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Pad rows to the longest on the right with 0, by which a classifier knows where each ends.

    Without a mask, as ours: no token sees what comes later, and attention then takes its faster way.
    """
    ids = pad_sequence([torch.tensor(row["input_ids"]) for row in rows], batch_first=True)
    return {"input_ids": ids, "labels": torch.tensor([row["labels"] for row in rows])}


def _classifier(own: RewardModel) -> PreTrainedModel:
    """Return transformers' classifier with one logit, of a reward model's weights."""
    body = stock(own.backbone)
    body.config.num_labels, body.config.pad_token_id = 1, 0
    body.config.problem_type = "multi_label_classification"  # whose loss is binary cross-entropy
    with torch.device("meta"):  # what is made here is replaced
        judge: Any = AutoModelForSequenceClassification.from_config(body.config)
    # one and the same settings: trainers turn the cache of keys off in the classifier's
    judge.config = body.config
    setattr(judge, judge.base_model_prefix, body)
    judge.score = copy.deepcopy(own.head).to(body.dtype)
    return judge


PEERS = {
    "bradley_terry": ("TRL RewardTrainer", _ranking_trainer),
    "discriminator_bce": ("transformers Trainer", _classifying_trainer),
}


def _logged(trainer: Trainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
