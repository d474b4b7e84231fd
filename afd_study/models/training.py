"""The only optimiser loop: AdamW over fixed steps, early stopping, checkpoints that resume to the same bits.

A step's loss is a *sum* over its examples divided by a constant that the caller has fixed, so gradients do
not depend on how a step is cut into micro-batches or shared between processes. Devices, mixed precision, DDP
and FSDP are accelerate's business. Whatever decides how training goes on (a loss, a gradient's norm, an
evaluation) is one number in all processes, so that they go on, stop or fail together.
"""

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn

from afd_study.errors import AfdError, SpecError
from afd_study.models import distributed
from afd_study.models.batches import step_indices
from afd_study.models.checkpoints import Evaluation, Persistent, Run
from afd_study.models.gradient_checkpointing import set_gradient_checkpointing
from afd_study.models.specs import TrainingSpec


class TrainingError(AfdError, RuntimeError):
    """Training went wrong in a way that more steps cannot mend (a loss that is not a number)."""


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
    draws: bool = False,
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
        draws: `batch` reads the module (it draws from the policy), whose weights of now it has to find there.
        beside: what else a checkpoint has to hold, by the name of its folder there.
        progress: as in `train`.

    Raises:
        SpecError, TrainingError: as `train`.
    """
    run = prepared(module, spec, seed)
    beside = beside or {}
    first = run.resume(workspace, beside)
    losses: list[float] = []
    for step in range(first, spec.steps):
        if draws:
            run.whole()
        mine = batch(step, distributed.rank_slice())
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
            run.checkpoint(workspace, step + 1, beside)
    plain = run.whole()
    if keep == "best":
        plain.load_state_dict(run.best, strict=False)
    return plain.eval(), run.evaluations


def rate(step: int, spec: TrainingSpec) -> float:
    """Return the share of the peak learning rate at `step` (from 0): warm-up, then the schedule."""
    if step < spec.warmup_steps:
        return (step + 1) / spec.warmup_steps
    done = (step - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    shapes = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return shapes[spec.schedule]


def prepared(
    module: nn.Module, spec: TrainingSpec, seed: int, *, betas: tuple[float, float] = (0.9, 0.999)
) -> Run:
    """Hand module and optimiser to accelerate: device, precision, processes. `seed` fixes dropout.

    Raises SpecError for a batch that the processes cannot share evenly, and for a first version's FSDP.
    """
    accelerator = Accelerator(mixed_precision="bf16" if distributed.on_gpu() else "no")
    if spec.batch_size % distributed.count():
        raise SpecError(f"batch_size={spec.batch_size} must be a multiple of {distributed.count()} processes")
    plain = module
    if accelerator.distributed_type == DistributedType.FSDP:
        if not accelerator.is_fsdp2:
            raise SpecError(
                "FSDP is used in its second version: set fsdp_version: 2 (study/accelerate/fsdp.yaml)"
            )
        plain = plain.to(accelerator.device)
        module = copy.deepcopy(plain)  # is put in shards for good, and the caller's must be whole in the end
    set_gradient_checkpointing(module, spec.gradient_checkpointing)
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=spec.learning_rate, betas=betas, weight_decay=spec.weight_decay, fused=True
    )
    module, wrapped = accelerator.prepare(module, optimizer)
    # what the wrapper adds (scaled losses, LOMO) is not used, and is looked up at each step
    return Run(module, plain, wrapped.optimizer, accelerator, seed)


def _reseed(seed: int) -> None:
    """Seed the generators that are there; torch.manual_seed notes a stack trace for each that is not."""
    torch.default_generator.manual_seed(seed)
    if distributed.on_gpu():
        torch.cuda.manual_seed(seed)


def take_step(
    run: Run, mine: Sequence[Any], loss: Loss, spec: TrainingSpec, step: int, workspace: Path
) -> float:
    """Take optimiser step `step` (from 0) on this process's items; return the loss of all processes'.

    Raises TrainingError in every process, with the step's items kept in the workspace, before what is not
    finite reaches the weights.
    """
    for group in run.optimizer.param_groups:
        group["lr"] = spec.learning_rate * rate(step, spec)
    # dropout alone draws from the global generator, and afresh: a resumed run needs no more than the step
    _reseed(int(np.random.SeedSequence([run.seed, step, distributed.index()]).generate_state(1)[0]))
    size = spec.micro_batch_size or len(mine)
    parts = [mine[i : i + size] for i in range(0, len(mine), size)]
    total = 0.0
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        with nullcontext() if last else run.accelerator.no_sync(run.module):  # gradients meet once a step
            value = loss(run.module, part)
            run.accelerator.backward(value * distributed.count())  # they are averaged, and meant to be a sum
        total += value.item()
    total = distributed.summed(total)
    _refuse_step("loss", total, mine, step, workspace)
    norm = run.accelerator.clip_grad_norm_(run.module.parameters(), spec.max_grad_norm)
    _refuse_step("gradient's norm", float(norm), mine, step, workspace)  # before it reaches the weights
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return total


def _refuse_step(what: str, value: float, mine: Sequence[Any], step: int, workspace: Path) -> None:
    """Refuse a value that is the same in every process, with the items of all of them."""
    if not math.isfinite(value):
        refuse_infinite(what, value, distributed.together(mine), step, workspace)


def refuse_infinite(what: str, value: float, items: Sequence[Any], step: int, workspace: Path) -> None:
    """Raise TrainingError for a value that is no finite number, with the step's items kept.

    `value` and `items` are those of all processes.
    """
    if not math.isfinite(value):
        kept = workspace / f"batch-{step}.json"
        if distributed.is_main():
            workspace.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(items))
        distributed.wait()  # the first to fail may end them all
        raise TrainingError(
            f"the {what} is {value} at step {step}: lower learning_rate or look at the batch kept in {kept}"
        )


def _note_evaluation(
    run: Run, evaluate: Callable[[nn.Module, int], float], step: int, training: float
) -> None:
    plain = run.whole().eval()
    found = Evaluation(step, training, distributed.from_main(evaluate(plain, step)))
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
