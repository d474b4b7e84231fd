"""What the processor at hand has units for: whether products in bfloat16 are faster than in float32.

It only advises. No number that a study computes depends on it.
"""

import platform
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")  # Linux alone has it
X86_UNITS = {"avx512_bf16", "amx_bf16"}
ARM_UNITS = {"bf16", "svebf16"}


def has_bfloat16_units(cpuinfo: Path = CPUINFO) -> bool | None:
    """Tell whether the processor multiplies in bfloat16; None where neither torch nor the system says.

    Without such units a product in bfloat16 takes several times as long as one in float32.
    """
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # of torch, private, x86 alone
    if any(_says_yes(name) for name in names):
        return True
    flags = _flags(cpuinfo)
    if flags is not None:
        return bool(flags & (X86_UNITS | ARM_UNITS))
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return False if is_x86 and all(hasattr(torch.cpu, name) for name in names) else None


def _says_yes(name: str) -> bool:
    """Ask a private function of torch, which another release may lack."""
    try:
        return bool(getattr(torch.cpu, name)())
    except Exception:  # missing, or it fails where the system does not let it look
        return False


def _flags(cpuinfo: Path) -> set[str] | None:
    """Return the flags of the first processor, or None where the file is missing or says none."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86, ARM
            return set(value.split())
    return None
