"""A GGUF file as a plain Hugging Face folder: config, safetensors in float32, tokenizer with its template.

transformers reads the file by the package `gguf`, and no code of the file is run. The model that it makes of
a quantised file can't be saved as it is, since its config says that it is quantised. So a model of the same
config without that line takes the weights over.

What is left out: quantised weights stay as rounded as the file has them, and are float32 from then on.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

from afd_study.errors import DataError, SpecError, StoreError
from afd_study.models.sealed_folders import sync_all

MAGIC = b"GGUF"
COPIES = 3  # of the weights in memory at once: as transformers reads them, its model's, and the plain model's


def file_digest(file: Path) -> str:
    """Return the sha256 of a file's bytes, 64 hex digits. Raises DataError where it can't be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, hashlib.sha256).hexdigest()
    except OSError as fault:
        raise DataError(f"{file} cannot be read ({fault.strerror}): name a GGUF file") from fault


def convert(file: Path, folder: Path, *, memory: Callable[[], int | None] | None = None) -> None:
    """Write the model in a GGUF file to `folder`, which appears whole or not at all.

    `memory` returns the bytes of memory that are free, or None where nobody knows; by default this machine's.

    Raises:
        DataError: the file is damaged or cut, or has no tokenizer. SpecError: transformers does not know its
        architecture, or this machine has too little memory for it. StoreError: the disk is too small.
    """
    n_weights = _look_through(file)
    _refuse_little_room(n_weights, file, folder.parent, memory or free_memory)
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        fresh.mkdir(parents=True)
        _write(file, fresh)
        sync_all(fresh)
        if folder.is_dir():  # another process was faster
            return
        fresh.rename(folder)
    except OSError as fault:
        raise StoreError(f"the model can't be written to {folder}: {fault.strerror or fault}") from fault
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write(file: Path, folder: Path) -> None:
    """Read the model and its tokenizer as transformers does, and save both without a word of GGUF."""
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
        read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **where)
        model = _plain(read)
    except Exception as fault:  # such files fail in any way
        raise _damaged(file, fault) from fault
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _plain(read: PreTrainedModel) -> PreTrainedModel:
    """Return the same model without what says that it came from a quantised file."""
    settings = {k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "dtype")}
    config = type(read.config)(**settings)
    config.architectures = [type(read).__name__]
    with torch.random.fork_rng(devices=[]):
        model: PreTrainedModel = type(read)(config)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    return model.float()


def _look_through(file: Path) -> int:
    """Return how many weights a GGUF file has, or raise what is wrong with it; no weight is read for it."""
    try:
        with file.open("rb") as opened:
            start = opened.read(len(MAGIC))
    except OSError as fault:
        raise DataError(f"{file} cannot be read ({fault.strerror}): name a GGUF file") from fault
    if start != MAGIC:
        raise DataError(f"{file} is no GGUF file: it does not begin with {MAGIC.decode()}")
    from gguf import GGUFReader  # a small package, but only these files need it

    try:
        reader = GGUFReader(file)
        architecture = str(reader.fields["general.architecture"].contents())
        fields, tensors = set(reader.fields), list(reader.tensors)
    except Exception as fault:  # a cut or damaged file fails anywhere in numpy or struct
        raise _damaged(file, fault) from fault
    if architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        raise SpecError(
            f"{file} holds the architecture {architecture!r}, which this release of transformers does not "
            f"read from GGUF: name one of {', '.join(sorted(GGUF_SUPPORTED_ARCHITECTURES))}, or a Hugging "
            "Face folder"
        )
    if "tokenizer.ggml.tokens" not in fields:
        raise DataError(
            f"{file} has no tokenizer (tokenizer.ggml.tokens): name a GGUF file that was written with its own"
        )
    return sum(int(tensor.n_elements) for tensor in tensors)


def _refuse_little_room(n: int, file: Path, place: Path, memory: Callable[[], int | None]) -> None:
    """Raise SpecError or StoreError where `n` weights in float32 fit neither into memory nor on the disk."""
    free, needed = memory(), 4 * COPIES * n
    if free is not None and free < needed:
        raise SpecError(
            f"reading {file} takes about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: "
            "end other programs, take a smaller model, or convert it on another machine and name its folder "
            "(policy.name_or_path)"
        )
    there = next(each for each in (place, *place.parents) if each.exists())
    if shutil.disk_usage(there).free < 4 * n:
        raise StoreError(
            f"the model in {file} takes {4 * n / 1e9:.1f} GB on disk, more than is free at {place}: make "
            "room, or set AFD_MODELS to another folder"
        )


def free_memory() -> int | None:
    """Return the bytes of memory that can be had now, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration, IndexError):
        return None


def _damaged(file: Path, fault: Exception) -> DataError:
    reason = [*str(fault).strip().splitlines(), type(fault).__name__][0][:200]
    return DataError(f"{file} is damaged or cut ({reason}): fetch it again")
