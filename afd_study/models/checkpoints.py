"""A training run: what persists from step to step, written to disk and read back to the same bits.

Where accelerate puts the weights in shards (FSDP), every process has to take part in gathering them; only the
main process writes. A checkpoint is the same whatever the number of processes, and so is a run that goes on
from it.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from afd_study.models import distributed


class Evaluation(NamedTuple):
    """What was known at an evaluation: step, mean training loss since the last one, validation loss."""

    step: int
    training_loss: float
    validation_loss: float


class Persistent(Protocol):
    """What changes beside the module from step to step, and so belongs in a checkpoint."""

    def save(self, folder: Path) -> None:
        """Write all that the next step depends on: every process is asked, the main one has the folder."""

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote; every process."""


class Run:
    """What persists from step to step: the module, its optimiser, the best weights so far.

    `module` is what accelerate made of `plain`, the caller's module. In one process and under DDP they hold
    the same weights; in shards `plain` is another module, whole in every process (`whole`).
    """

    def __init__(
        self, module: nn.Module, plain: nn.Module, optimizer: Any, accelerator: Accelerator, seed: int
    ) -> None:
        self.module, self.plain, self.optimizer = module, plain, optimizer
        self.accelerator, self.seed = accelerator, seed
        self.evaluations: list[Evaluation] = []
        self.best: dict[str, Tensor] = {}
        self.stale = 0

    def trained(self) -> dict[str, Tensor]:
        """The weights that training moves, by name, whole; every process has to ask."""
        found = self.accelerator.unwrap_model(self.module).named_parameters()
        return {name: _whole(value.detach()) for name, value in found if value.requires_grad}

    def whole(self) -> nn.Module:
        """Return the caller's module with the weights of now; every process has to ask."""
        if self.accelerator.unwrap_model(self.module) is not self.plain:
            self.plain.load_state_dict(self.trained(), strict=False)
        return self.plain

    def save(self, folder: Path) -> None:
        """Write the trained weights and the optimiser's moments; every process has to ask."""
        weights, state = self.trained(), self.optimizer.state_dict()["state"]
        moments = {f"{i}.{key}": _whole(value) for i, entry in state.items() for key, value in entry.items()}
        if distributed.is_main():
            _save(weights, folder / "weights.safetensors")
            _save(moments, folder / "moments.safetensors")

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote; every process reads for itself."""
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
        """Write everything that the next step depends on, beside the old checkpoint, then rename."""
        fresh, kept = workspace / "checkpoint.new", workspace / "checkpoint"
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
        record = {"step": step, "stale": self.stale, "evaluations": self.evaluations}
        (fresh / "state.json").write_text(json.dumps(record))
        shutil.rmtree(kept, ignore_errors=True)
        fresh.rename(kept)

    def resume(self, workspace: Path, beside: Mapping[str, Persistent]) -> int:
        """Restore a checkpoint if there is one; return the step to go on from."""
        kept = workspace / "checkpoint"
        if not distributed.from_main((kept / "state.json").exists()):
            return 0
        record = json.loads((kept / "state.json").read_text())
        self.load(kept)
        device = self.accelerator.device
        self.best = {key: value.to(device) for key, value in load_file(kept / "best.safetensors").items()}
        for name, other in beside.items():
            other.load(kept / name)
        self.evaluations = [Evaluation(*entry) for entry in record["evaluations"]]
        self.stale = record["stale"]
        return int(record["step"])


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor, in shards if `like` is."""
    if isinstance(like, DTensor):
        return distribute_tensor(tensor, like.device_mesh, like.placements)
    return tensor


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, path)
