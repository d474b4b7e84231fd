"""What this machine's processor is good at, where that decides which of two equal ways is the faster one."""

from functools import cache

import torch


@cache
def has_avx512() -> bool:
    """Tell whether PyTorch computes with AVX-512.

    There its kernels for GELU's tanh form and for attention in training are the faster ones; on processors
    without it they were the slower ones (book/log.md, 2026-11-25 and 2026-11-27).
    """
    return bool(torch.backends.cpu.get_cpu_capability() == "AVX512")
