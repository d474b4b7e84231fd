"""Training with weights in shards on a CPU, where accelerate's configuration would allow it on GPUs only."""

from collections.abc import Callable
from dataclasses import dataclass

from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.tensor import DTensor

from afd_study.models.checkpoints import Run


@dataclass
class Sharded:
    """A part of `launched` with every module and optimiser in shards."""

    part: Callable

    def __call__(self, folder):
        held, launch = (
            Accelerator().state,
            PartialState(),
        )  # each Accelerator takes its kind from it
        whole, sharded = Run.whole, []

        def watched(run):
            sharded.extend(isinstance(weight, DTensor) for weight in run.module.parameters())
            return whole(run)

        before = [dict(each._shared_state) for each in (held, launch)]
        held.distributed_type = launch.distributed_type = DistributedType.FSDP
        held.fsdp_plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=False
        )
        Run.whole = watched
        try:
            result = self.part(folder)
            assert sharded and all(sharded), "the weights were not in shards"
            return result
        finally:
            Run.whole = whole
            for each, was in zip((held, launch), before, strict=True):
                each._shared_state.clear()
                each._shared_state.update(was)
