"""A training run: what persists from step to step, written to disk and read back to the same bits.

Where accelerate puts the weights in shards (FSDP), every process has to take part in gathering them, and only
the main process writes. A checkpoint does not depend on the number of processes, nor does a run that goes on
from it.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from afd_study.models import distributed
from afd_study.models.sealed_folders import DamagedFolder, opened, replace, seal


class Evaluation(NamedTuple):
    """An evaluation: its step, the mean training loss since the last one, and the validation loss."""

    step: int
    training_loss: float
    validation_loss: float


class Persistent(Protocol):
    """What changes from step to step besides the module, and so belongs in a checkpoint."""

    def save(self, folder: Path) -> None:
        """Write all that the next step depends on; every process calls it, the main one has the folder."""

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote; every process."""


class Run:
    """What persists from step to step: the module, its optimiser, the best weights so far.

    `module` is what accelerate made of `plain`, the caller's module. In one process and under DDP they hold
    the same weights. Under FSDP `module` is in shards and `plain` is a copy that is whole in every process;
    `whole` brings it up to date.
    """

    def __init__(
        self,
        module: nn.Module,
        plain: nn.Module,
        optimizer: Optimizer,
        accelerator: Accelerator,
        seed: int,
    ) -> None:
        self.module, self.plain, self.optimizer = module, plain, optimizer
        self.accelerator, self.seed = accelerator, seed
        self.evaluations: list[Evaluation] = []
        self.best: dict[str, Tensor] = {}
        self.stale = 0

    def trained(self) -> dict[str, Tensor]:
        """Return the weights that training moves, whole, by name; every process has to call it."""
        weights = self.accelerator.unwrap_model(self.module).named_parameters()
        return {name: _whole(value.detach()) for name, value in weights if value.requires_grad}

    def whole(self) -> nn.Module:
        """Return the caller's module with the current weights; every process has to call it."""
        if self.accelerator.unwrap_model(self.module) is not self.plain:
            self.plain.load_state_dict(self.trained(), strict=False)
        return self.plain

    def save(self, folder: Path) -> None:
        """Write the trained weights and the optimiser's moments; every process has to call it."""
        weights, state = self.trained(), self.optimizer.state_dict()["state"]
        moments = {f"{i}.{key}": _whole(value) for i, entry in state.items() for key, value in entry.items()}
        if distributed.is_main():
            _save(weights, folder / "weights.safetensors")
            _save(moments, folder / "moments.safetensors")

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote; every process reads the files itself."""
        fresh, groups = load_file(folder / "weights.safetensors"), self.optimizer.state_dict()["param_groups"]
        for name, value in self.accelerator.unwrap_model(self.module).named_parameters():
            if name in fresh:
                value.detach().copy_(_laid_out(fresh[name].to(value.device), value))
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in load_file(folder / "moments.safetensors").items():
            number, name = key.split(".", 1)
            like = weights[int(number)]
            moved = value if value.dim() == 0 else _laid_out(value.to(like.device), like)
            state.setdefault(int(number), {})[name] = moved
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def checkpoint(self, workspace: Path, step: int, beside: Mapping[str, Persistent]) -> None:
        """Write all that the next step depends on, next to the old checkpoint, and then replace that."""
        current, fresh, older = _places(workspace)
        if distributed.is_main():
            shutil.rmtree(fresh, ignore_errors=True)
            for name in (".", *beside):
                (fresh / name).mkdir(parents=True)
        self.save(fresh)
        for name, other in beside.items():
            other.save(fresh / name)
        if not distributed.is_main():
            return
        _save(self.best, fresh / "best.safetensors")
        seal(fresh, {"step": step, "stale": self.stale, "evaluations": self.evaluations})
        replace(current, fresh, older)

    def resume(self, workspace: Path, beside: Mapping[str, Persistent]) -> int:
        """Restore the latest whole checkpoint if there is one; return the step to go on from.

        A damaged one is reported on stderr and removed; then the one before it counts, or the start.
        Raises StoreError where a checkpoint cannot be read.
        """
        folder = _places(workspace)[0]
        record = distributed.from_main(_latest_whole(workspace) if distributed.is_main() else None)
        if record is None:
            return 0
        self.load(folder)
        device = self.accelerator.device
        self.best = {key: value.to(device) for key, value in load_file(folder / "best.safetensors").items()}
        for name, other in beside.items():
            other.load(folder / name)
        self.evaluations = [Evaluation(*entry) for entry in record["evaluations"]]
        self.stale = record["stale"]
        return int(record["step"])


def _places(workspace: Path) -> tuple[Path, Path, Path]:
    """Return where the checkpoint lies, where the next is written, and where the one before it may be."""
    return workspace / "checkpoint", workspace / "checkpoint.new", workspace / "checkpoint.old"


def _latest_whole(workspace: Path) -> dict[str, Any] | None:
    """Put the latest whole checkpoint in its place, and return its record; None where there is none."""
    current, _, older = _places(workspace)
    faults = []
    for folder in (current, older):
        try:
            record = opened(folder)
        except DamagedFolder as fault:
            faults.append(str(fault))
            shutil.rmtree(folder, ignore_errors=True)
            continue
        if record is not None:
            if folder != current:  # a kill left it there, or the one after it is damaged
                folder.rename(current)
            shutil.rmtree(older, ignore_errors=True)
            break
    else:
        record = None
    if faults:
        start = f"step {record['step']}, the checkpoint before" if record else "the start"
        print(
            f"the checkpoint in {workspace} is damaged ({faults[0]}); training goes on from {start}",
            file=sys.stderr,
        )
    return record


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor, put in shards if `like` is in shards."""
    if isinstance(like, DTensor):
        return distribute_tensor(tensor, like.device_mesh, like.placements)
    return tensor


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, path)
