"""Environment variables of libraries that could change a number: made neutral, or refused by name.

The key of a result knows the study's settings and code, and nothing of the environment. So no variable of a
library may decide a number:

- What accelerate reads is hidden from it outside of a launch (`hidden_from_accelerate`). Under a launch the
  launcher speaks through the same variables; the study passes every value that it decides itself, and what it
  cannot decide is refused (`REFUSED_IN_A_LAUNCH`).
- What a library reads when it is loaded cannot be undone. It is refused (`REFUSED`).

Three kinds of variables stay as they are. `ACCELERATE_USE_CPU` is a setting of the study: which device
computes. `CUDA_VISIBLE_DEVICES` and variables of memory and logs change no arithmetic. How many threads sum
up a number (`OMP_NUM_THREADS`, `MKL_NUM_THREADS`, `OPENBLAS_NUM_THREADS`, `MKL_DYNAMIC`) may change its last
bits, as another processor does: PyTorch's count is set by the study (`threads`, one by default) whatever
`OMP_NUM_THREADS` says, and numpy's decides the bits of large products only.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from afd_study.errors import SpecError
from afd_study.models import distributed


class Refused(NamedTuple):
    """Why a variable is refused, and the values (lower case) that change nothing."""

    reason: str
    harmless: tuple[str, ...] = ()


OFF = ("", "0", "false", "no", "off", "n", "f")
_ARITHMETIC = "it chooses the processor's instructions, and with them how sums are rounded"
_PRECISION = "it lets float32 be multiplied with fewer digits"
_LIBRARY = "it chooses another library for products on a GPU"

REFUSED = {
    "ATEN_CPU_CAPABILITY": Refused(_ARITHMETIC),
    "MKL_CBWR": Refused(_ARITHMETIC),
    "MKL_DEBUG_CPU_TYPE": Refused(_ARITHMETIC),
    "MKL_ENABLE_INSTRUCTIONS": Refused(_ARITHMETIC),
    "OPENBLAS_CORETYPE": Refused(_ARITHMETIC),  # moves the probes' regressions and rank correlations
    "ONEDNN_MAX_CPU_ISA": Refused(_ARITHMETIC, ("all", "default")),
    "DNNL_MAX_CPU_ISA": Refused(_ARITHMETIC, ("all", "default")),
    "NPY_DISABLE_CPU_FEATURES": Refused(_ARITHMETIC),
    "NPY_ENABLE_CPU_FEATURES": Refused(_ARITHMETIC),
    "ONEDNN_DEFAULT_FPMATH_MODE": Refused(_PRECISION, ("strict",)),
    "DNNL_DEFAULT_FPMATH_MODE": Refused(_PRECISION, ("strict",)),
    "NVIDIA_TF32_OVERRIDE": Refused(_PRECISION, OFF),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": Refused(_PRECISION, OFF),
    "TORCH_BLAS_PREFER_CUBLASLT": Refused(_LIBRARY, OFF),
    "TORCH_BLAS_PREFER_HIPBLASLT": Refused(_LIBRARY, OFF),
    "TRANSFORMERS_SDPA_FORCE_GQA": Refused("it chooses another way to compute attention", OFF),
}
REFUSED_IN_A_LAUNCH = {
    "ACCELERATE_USE_DEEPSPEED": Refused("DeepSpeed would replace the study's optimiser", OFF),
    "ACCELERATE_USE_MEGATRON_LM": Refused("Megatron-LM would replace the study's training loop", OFF),
    "ACCELERATE_USE_PARALLELISM_CONFIG": Refused("the study shares batches and weights alone", OFF),
    "ACCELERATE_USE_SAGEMAKER": Refused("its process groups are not the study's", OFF),
    "ACCELERATE_FP8_BACKEND": Refused("the study trains in float32 or bfloat16", OFF),
    "ACCELERATE_TORCH_DEVICE": Refused("the launch decides each process's device"),
    "FSDP_CPU_RAM_EFFICIENT_LOADING": Refused("all processes but the first would start without weights", OFF),
}
# What accelerate reads beside these prefixes: the process variables of torchrun and of MPI.
FAMILIES = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_", "DEEPSPEED_")
PROCESS_VARIABLES = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "PMI_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "FORK_LAUNCHED",
)
SETTINGS = ("ACCELERATE_USE_CPU",)


def refuse_variables(environment: Mapping[str, str] = os.environ) -> None:
    """Raise SpecError for a variable that would change numbers and cannot be undone."""
    refused = {**REFUSED, **REFUSED_IN_A_LAUNCH} if distributed.launched() else REFUSED
    for name, (reason, harmless) in refused.items():
        value = environment.get(name, "").strip()
        if value and value.lower() not in harmless:
            raise SpecError(
                f"the environment variable {name} is set, and would change results: {reason}. Unset it "
                f"(unset {name}) and run the command again"
            )


@contextmanager
def hidden_from_accelerate() -> Iterator[None]:
    """Take accelerate's variables out of the environment for a while, unless a launcher has set them."""
    if distributed.launched():
        yield
        return
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name not in SETTINGS and (name.startswith(FAMILIES) or name in PROCESS_VARIABLES)
    }
    try:
        yield
    finally:
        os.environ.update(hidden)
