"""The only optimiser loop: AdamW over fixed steps, early stopping, checkpoints that resume to the same bits.

A step's loss is a *sum* over its examples, divided by a constant that the caller has fixed. So gradients do
not depend on how a step is cut into micro-batches or shared between processes. accelerate takes care of
devices, mixed precision, DDP and FSDP. Whatever decides how training goes on (a loss, a gradient's norm, an
evaluation) is the same number in all processes, so that they go on, stop or fail together.

`train` draws batches from a data set; `descend`, beneath it, takes whatever batches its caller makes.
"""

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, GradientAccumulationPlugin
from torch import Tensor, nn

from afd_study.errors import AfdError, SpecError
from afd_study.models import distributed
from afd_study.models.batches import step_indices
from afd_study.models.checkpoints import Evaluation, Persistent, Run
from afd_study.models.gradient_checkpointing import set_gradient_checkpointing
from afd_study.models.library_variables import hidden_from_accelerate, refuse_variables
from afd_study.models.specs import TrainingSpec


class TrainingError(AfdError, RuntimeError):
    """Training went wrong in a way that more steps cannot mend (a loss that is not a number)."""


Item = TypeVar("Item")  # what a loss is of: an example, a pair, or what a caller makes as training goes
Loss = Callable[[nn.Module, Sequence[Item]], Tensor]


def train(
    module: nn.Module,
    items: Sequence[Item],
    *,
    loss: Loss[Item],
    length: Callable[[Item], int],
    spec: TrainingSpec,
    seed: int,
    evaluate: Callable[[nn.Module], float],
    workspace: Path,
    stop: int | None = None,
    beside: Mapping[str, Persistent] | None = None,
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
        workspace: folder for checkpoints; a run that finds one there goes on from it. The caller removes it.
        stop: as in `descend`.
        beside: as in `descend`.
        progress: called with the step and a note after each step.

    Raises:
        DataError: fewer items than a batch. SpecError: a batch that the processes cannot share evenly.
        TrainingError: a loss or gradient is not finite; the step's items are kept in the workspace.
    """
    lengths = [length(item) for item in items]
    indices = step_indices(lengths, batch_size=spec.batch_size, steps=spec.steps, seed=seed)
    return descend(
        module,
        lambda step, share: [items[i] for i in indices[step][share]],
        loss=loss,
        spec=spec,
        seed=seed,
        evaluate=lambda module, step: evaluate(module),
        workspace=workspace,
        stop=stop,
        beside=beside,
        progress=progress,
    )


def descend(
    module: nn.Module,
    batch: Callable[[int, slice], Sequence[Item]],
    *,
    loss: Loss[Item],
    spec: TrainingSpec,
    seed: int,
    evaluate: Callable[[nn.Module, int], float],
    workspace: Path,
    keep: Literal["best", "last"] = "best",
    stop: int | None = None,
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
        stop: take so many of the steps, with the rates and batches that they have among all; None: all.
        draws: `batch` draws from the module, so before each batch the module gets the current weights.
        beside: what else a checkpoint has to hold, by the name of its folder in the checkpoint.
        progress: as in `train`.

    Raises:
        SpecError, TrainingError: as `train`.
    """
    run = prepared(module, spec, seed)
    beside = beside or {}
    first = run.resume(workspace, beside)
    losses: list[float] = []
    steps = spec.steps if stop is None else min(stop, spec.steps)
    for step in range(first, steps):
        if draws:
            run.whole()
        mine = batch(step, distributed.rank_slice())
        run.module.train()
        losses.append(take_step(run, mine, loss, spec, step, workspace))
        last = step + 1 == steps
        if (step + 1) % spec.evaluate_every == 0 or last:
            _note_evaluation(run, evaluate, step + 1, sum(losses) / len(losses))
            losses = []
            if spec.patience is not None and run.stale >= spec.patience:
                break
        progress(step + 1, f"loss {run.evaluations[-1].validation_loss:.3f}" if run.evaluations else "")
        if (step + 1) % spec.checkpoint_every == 0 and not last:  # the spec has an evaluation here too
            run.checkpoint(workspace, step + 1, beside)
    plain = run.whole()
    if keep == "best":
        plain.load_state_dict(run.best, strict=False)
    return plain.eval(), run.evaluations


def rate(step: int, spec: TrainingSpec) -> float:
    """Return the learning rate at `step` (from 0) as a share of its peak: warm-up, then the schedule."""
    if step < spec.warmup_steps:
        return (step + 1) / spec.warmup_steps
    done = (step - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    shapes = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return shapes[spec.schedule]


def prepared(
    module: nn.Module, spec: TrainingSpec, seed: int, *, betas: tuple[float, float] = (0.9, 0.999)
) -> Run:
    """Let accelerate put module and optimiser on the device, in its precision, in all processes.

    `seed` fixes dropout. Raises SpecError for a batch that the processes cannot share evenly, for FSDP in its
    first version, and for an environment variable that would change results.
    """
    refuse_variables()
    with hidden_from_accelerate():
        accelerator = Accelerator(
            mixed_precision="bf16" if distributed.on_gpu() else "no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # else from the environment
            dynamo_backend="no",
        )
    if spec.batch_size % distributed.count():
        raise SpecError(f"batch_size={spec.batch_size} must be a multiple of {distributed.count()} processes")
    plain = module
    if accelerator.distributed_type == DistributedType.FSDP:
        if not accelerator.is_fsdp2:
            raise SpecError(
                "FSDP is used in its second version: set fsdp_version: 2 (study/accelerate/fsdp.yaml)"
            )
        plain = plain.to(accelerator.device)
        module = copy.deepcopy(plain)  # this one stays in shards, and the caller's must end up whole
    set_gradient_checkpointing(module, spec.gradient_checkpointing)
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=spec.learning_rate, betas=betas, weight_decay=spec.weight_decay, fused=True
    )
    with hidden_from_accelerate():
        module, wrapped = accelerator.prepare(module, optimizer)
    # the bare optimiser: the wrapper looks up scaled losses and LOMO at each step, and neither is used here
    return Run(module, plain, wrapped.optimizer, accelerator, seed)


def _reseed(seed: int) -> None:
    """Seed the generators of the devices at hand.

    torch.manual_seed would also write down a stack trace for each kind of device that is absent, which costs
    a millisecond.
    """
    torch.default_generator.manual_seed(seed)
    if distributed.on_gpu():
        torch.cuda.manual_seed(seed)


def take_step(
    run: Run, mine: Sequence[Item], loss: Loss[Item], spec: TrainingSpec, step: int, workspace: Path
) -> float:
    """Take optimiser step `step` (from 0) on this process's items; return the loss over all processes' items.

    Raises TrainingError in every process where the loss or the gradient's norm is not finite. The weights are
    then as they were before, and the step's items are kept in the workspace.
    """
    for group in run.optimizer.param_groups:
        group["lr"] = spec.learning_rate * rate(step, spec)
    # only dropout draws from the global generator, seeded anew here: so a resumed run needs only the step
    _reseed(int(np.random.SeedSequence([run.seed, step, distributed.index()]).generate_state(1)[0]))
    size = spec.micro_batch_size or len(mine)
    parts = [mine[i : i + size] for i in range(0, len(mine), size)]
    total = 0.0
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        # processes exchange gradients once a step, at its last part
        with nullcontext() if last else run.accelerator.no_sync(run.module):
            value = loss(run.module, part)
            # DDP averages gradients over processes, where the step's loss is a sum
            run.accelerator.backward(value * distributed.count())
        total += value.item()
    total = distributed.summed(total)
    _refuse_step("loss", total, mine, step, workspace)
    norm = run.accelerator.clip_grad_norm_(run.module.parameters(), spec.max_grad_norm)
    _refuse_step("gradient's norm", float(norm), mine, step, workspace)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return total


def _refuse_step(what: str, value: float, mine: Sequence[Item], step: int, workspace: Path) -> None:
    """Refuse a value, the same in every process, with the items of all processes."""
    if not math.isfinite(value):
        refuse_infinite(what, value, distributed.together(mine), step, workspace)


def refuse_infinite(what: str, value: float, items: Sequence[Any], step: int, workspace: Path) -> None:
    """Raise TrainingError unless `value` is finite; the step's items are then kept in the workspace.

    `value` and `items` (fit for JSON) are those of all processes.
    """
    if not math.isfinite(value):
        path = workspace / f"batch-{step}.json"
        if distributed.is_main():
            workspace.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(items))
        distributed.wait()  # the first process to fail may end the others
        raise TrainingError(
            f"the {what} is {value} at step {step}: lower learning_rate or look at the batch kept in {path}"
        )


def _note_evaluation(
    run: Run, evaluate: Callable[[nn.Module, int], float], step: int, training: float
) -> None:
    """Evaluate after `step` steps, whose mean loss was `training`; remember the best weights."""
    plain = run.whole().eval()
    now = Evaluation(step, training, distributed.from_main(evaluate(plain, step)))
    if not math.isfinite(now.validation_loss):
        raise TrainingError(
            f"the validation loss is {now.validation_loss} after step {step}: lower learning_rate, or look "
            "for a response that the model gives no probability"
        )
    better = all(now.validation_loss < earlier.validation_loss for earlier in run.evaluations)
    run.evaluations.append(now)
    run.stale = 0 if better else run.stale + 1
    if better:
        run.best = {name: value.clone() for name, value in run.trained().items()}
