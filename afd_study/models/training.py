"""The only optimiser loop: AdamW over fixed steps, early stopping, checkpoints that resume to the same bits.

A step's loss is a *sum* over its examples divided by a constant that the caller has fixed, so gradients do
not depend on how a step is cut into micro-batches or shared between processes. Devices, mixed precision and
several processes are accelerate's business.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from afd_study.errors import AfdError, SpecError
from afd_study.models.batches import step_indices
from afd_study.models.specs import TrainingSpec


class Evaluation(NamedTuple):
    """What was known at an evaluation: step, mean training loss since the last one, validation loss."""

    step: int
    training_loss: float
    validation_loss: float


class TrainingError(AfdError, RuntimeError):
    """Training went wrong in a way that more steps cannot mend (a loss that is not a number)."""


class Persistent(Protocol):
    """What changes beside the module from step to step, and so belongs in a checkpoint."""

    def save(self, folder: Path) -> None:
        """Write everything that the next step depends on into the folder, which exists."""

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""


Loss = Callable[[nn.Module, Sequence[Any]], Tensor]


def train(
    module: nn.Module,
    items: Sequence[Any],
    *,
    loss: Loss,
    length: Callable[[Any], int],
    spec: TrainingSpec,
    seed: int,
    evaluate: Callable[[nn.Module], float],
    workspace: Path,
    progress: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[nn.Module, list[Evaluation]]:
    """Minimise `loss` and return the module with the weights of the best evaluation, and all evaluations.

    Args:
        module: trained in place, wherever accelerate puts it.
        items: examples or pairs; a step takes `batch_size` of them, similar in `length`.
        loss: (module, items) -> sum of the items' losses over the caller's constant, in the graph.
        length: tokens of an item, for batches of similar length.
        spec: steps, rates and stopping rule.
        seed: fixes the order of the items and dropout.
        evaluate: module -> validation loss; the lowest wins.
        workspace: folder for checkpoints; a run that finds one there goes on from it. Removed by the caller.
        progress: called with the step and a note after each step.

    Raises:
        DataError: fewer items than a batch. SpecError: a batch that the processes cannot share evenly.
        TrainingError: a loss or gradient is not finite; the step's items are kept in the workspace.
    """
    plan = step_indices(
        [length(item) for item in items], batch_size=spec.batch_size, steps=spec.steps, seed=seed
    )
    return descend(
        module, lambda step, share: [items[i] for i in plan[step][share]], loss=loss, spec=spec, seed=seed,
        evaluate=lambda module, step: evaluate(module), workspace=workspace, progress=progress,
    )  # fmt: skip


def descend(
    module: nn.Module,
    batch: Callable[[int, slice], Sequence[Any]],
    *,
    loss: Loss,
    spec: TrainingSpec,
    seed: int,
    evaluate: Callable[[nn.Module, int], float],
    workspace: Path,
    keep: Literal["best", "last"] = "best",
    beside: Mapping[str, Persistent] | None = None,
    progress: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[nn.Module, list[Evaluation]]:
    """Minimise `loss` on batches that may be made as training goes; the loop beneath `train`, see there.

    Args:
        module: trained in place.
        batch: (step from 0, this process's share of the step's items) -> those items, fit for JSON.
        loss: (module, items) -> sum of the items' losses over the caller's constant, in the graph.
        spec: steps, rates and stopping rule.
        seed: fixes dropout.
        evaluate: (module, steps taken) -> validation loss, nats or whatever `loss` is in.
        workspace: folder for checkpoints.
        keep: return the weights of the lowest validation loss, or the last.
        beside: what else a checkpoint has to hold, by the name of its folder there.
        progress: called with the step and a note after each step.

    Raises:
        SpecError, TrainingError: as `train`.
    """
    run = prepared(module, spec, seed)
    beside = beside or {}
    first = _resume(run, workspace, beside)
    share = slice(run.accelerator.process_index, None, run.accelerator.num_processes)
    losses: list[float] = []
    for step in range(first, spec.steps):
        mine = batch(step, share)
        run.module.train()
        losses.append(take_step(run, mine, loss, spec, step, workspace))
        last = step + 1 == spec.steps
        if (step + 1) % spec.evaluate_every == 0 or last:
            _note_evaluation(run, evaluate, step + 1, sum(losses) / len(losses))
            losses = []
            if spec.patience is not None and run.stale >= spec.patience:
                break
        progress(step + 1, f"loss {run.evaluations[-1].validation_loss:.3f}" if run.evaluations else "")
        if (step + 1) % spec.checkpoint_every == 0 and not last:  # an evaluation too: the spec sees to that
            _checkpoint(run, workspace, step + 1, beside)
    plain = run.accelerator.unwrap_model(run.module)
    if keep == "best":
        plain.load_state_dict(run.best, strict=False)
    return plain.eval(), run.evaluations


def rate(step: int, spec: TrainingSpec) -> float:
    """Return the share of the peak learning rate at `step` (from 0): warm-up, then the schedule."""
    if step < spec.warmup_steps:
        return (step + 1) / spec.warmup_steps
    done = (step - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    return {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[
        spec.schedule
    ]


class Run:
    """What persists from step to step: the module, its optimiser, the best weights so far."""

    def __init__(
        self, module: nn.Module, optimizer: Any, accelerator: Accelerator,
        evaluations: list[Evaluation], best: dict[str, Tensor], stale: int,
    ) -> None:  # fmt: skip
        self.module, self.optimizer, self.accelerator = module, optimizer, accelerator
        self.evaluations, self.best, self.stale = evaluations, best, stale

    def trained(self) -> dict[str, Tensor]:
        """The weights that training moves, by name."""
        plain = self.accelerator.unwrap_model(self.module)
        return {name: value.detach() for name, value in plain.named_parameters() if value.requires_grad}

    def save(self, folder: Path) -> None:
        """Write the trained weights and the optimiser's moments."""
        state = self.optimizer.state_dict()["state"]
        moments = {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}
        _save(self.trained(), folder / "weights.safetensors")
        _save(moments, folder / "moments.safetensors")

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        plain = self.accelerator.unwrap_model(self.module)
        plain.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in load_file(folder / "moments.safetensors").items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def prepared(
    module: nn.Module, spec: TrainingSpec, seed: int, *, betas: tuple[float, float] = (0.9, 0.999)
) -> Run:
    """Hand module and optimiser to accelerate: device, precision, processes. `seed` fixes dropout.

    Raises SpecError for a batch that the processes cannot share evenly.
    """
    accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")
    if spec.batch_size % accelerator.num_processes:
        raise SpecError(
            f"batch_size={spec.batch_size} must be a multiple of {accelerator.num_processes} processes"
        )
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=spec.learning_rate, betas=betas, weight_decay=spec.weight_decay, fused=True
    )
    torch.manual_seed(seed)  # dropout draws from the global generator; nothing else does
    module, optimizer = accelerator.prepare(module, optimizer)
    return Run(module, optimizer, accelerator, [], {}, 0)


def take_step(
    run: Run, mine: Sequence[Any], loss: Loss, spec: TrainingSpec, step: int, workspace: Path
) -> float:
    """Take optimiser step `step` (from 0) on this process's items and return their loss.

    Raises TrainingError, with the items kept in the workspace, before what is not finite reaches the weights.
    """
    for group in run.optimizer.param_groups:
        group["lr"] = spec.learning_rate * rate(step, spec)
    size = spec.micro_batch_size or len(mine)
    parts = [mine[i : i + size] for i in range(0, len(mine), size)]
    total = 0.0
    for number, part in enumerate(parts):
        # gradients meet once a step; DDP averages over processes what is meant to be a sum
        with run.accelerator.no_sync(run.module) if number < len(parts) - 1 else run.accelerator.autocast():
            value = loss(run.module, part)
            run.accelerator.backward(value * run.accelerator.num_processes)
        total += value.item()
    refuse_infinite("loss", total, mine, step, workspace)
    norm = run.accelerator.clip_grad_norm_(run.module.parameters(), spec.max_grad_norm)
    refuse_infinite("gradient's norm", float(norm), mine, step, workspace)  # before it reaches the weights
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return total


def refuse_infinite(what: str, value: float, mine: Sequence[Any], step: int, workspace: Path) -> None:
    """Raise TrainingError for a value that is no finite number, with the step's items kept."""
    if not math.isfinite(value):
        workspace.mkdir(parents=True, exist_ok=True)
        kept = workspace / f"batch-{step}.json"
        kept.write_text(json.dumps(mine))
        raise TrainingError(
            f"the {what} is {value} at step {step}: lower learning_rate or look at the batch kept in {kept}"
        )


def _note_evaluation(
    run: Run, evaluate: Callable[[nn.Module, int], float], step: int, training: float
) -> None:
    plain = run.accelerator.unwrap_model(run.module)
    plain.eval()
    found = Evaluation(step, training, evaluate(plain, step))
    if not math.isfinite(found.validation_loss):
        raise TrainingError(
            f"the validation loss is {found.validation_loss} after step {step}: lower learning_rate, or look "
            "for a response that the model gives no probability"
        )
    better = all(found.validation_loss < old.validation_loss for old in run.evaluations)
    run.evaluations.append(found)
    run.stale = 0 if better else run.stale + 1
    if better:
        run.best = {name: value.clone() for name, value in run.trained().items()}


def _checkpoint(run: Run, workspace: Path, step: int, beside: Mapping[str, Persistent]) -> None:
    """Write everything that the next step depends on, beside the old checkpoint, then rename."""
    if not run.accelerator.is_main_process:
        return
    fresh, kept = workspace / "checkpoint.new", workspace / "checkpoint"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    run.save(fresh)
    _save(run.best, fresh / "best.safetensors")
    save_file({"cpu": torch.get_rng_state()}, fresh / "random.safetensors")
    for name, other in beside.items():
        (fresh / name).mkdir()
        other.save(fresh / name)
    record = {"step": step, "stale": run.stale, "evaluations": run.evaluations}
    (fresh / "state.json").write_text(json.dumps(record))
    shutil.rmtree(kept, ignore_errors=True)
    fresh.rename(kept)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, path)


def _resume(run: Run, workspace: Path, beside: Mapping[str, Persistent]) -> int:
    """Restore a checkpoint if there is one; return the step to go on from."""
    kept = workspace / "checkpoint"
    if not (kept / "state.json").exists():
        return 0
    record = json.loads((kept / "state.json").read_text())
    run.load(kept)
    device = run.accelerator.device
    run.best = {key: value.to(device) for key, value in load_file(kept / "best.safetensors").items()}
    for name, other in beside.items():
        other.load(kept / name)
    torch.set_rng_state(load_file(kept / "random.safetensors")["cpu"])
    run.evaluations = [Evaluation(*entry) for entry in record["evaluations"]]
    run.stale = record["stale"]
    return int(record["step"])
