"""Published models that steps will read: refused before anything is computed, if they can't be used."""

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from afd_study.errors import SpecError
from afd_study.models.specs import ClassifierSpec, ModelSpec
from afd_study.study.workflow.step import Step

BYTES = {"bfloat16": 2, "float16": 2}  # of a weight; 4 in any other type


def refuse_models(steps: Iterable[Step]) -> None:
    """Open what steps name as policy or judge. A judge is loaded whole, since its step is among the last.

    A policy's folder is looked through: its weights are loaded by the tokenizers' step, among the first.

    Raises HubError for a name that cannot be had, DataError for a damaged folder, SpecError for a model that
    does not fit, or whose weights alone are more than the memory that is free.
    """
    values = [value for step in steps for value in step.settings.values()]
    for value in dict.fromkeys(value for value in values if isinstance(value, ClassifierSpec)):
        _open_judge(value)
    policies = [(v.name_or_path, v.allow_download, v.dtype) for v in values if isinstance(v, ModelSpec)]
    for name, download, dtype in dict.fromkeys(policies):
        if name is not None:
            _look_through(name, download, dtype)


@cache
def _open_judge(spec: ClassifierSpec) -> None:
    from afd_study.models.classifier_judge import opened_classifier  # seconds

    opened_classifier(spec)


def _look_through(name: str, download: bool, dtype: str) -> None:
    from afd_study.models.gguf_files import free_memory
    from afd_study.models.model_files import POLICY
    from afd_study.models.pretrained_folders import checked_place

    place, is_folder = checked_place(POLICY, name, download=download)
    if is_folder:
        refuse_little_memory(name, Path(place), dtype, memory=free_memory)


def refuse_little_memory(name: str, folder: Path, dtype: str, *, memory: Callable[[], int | None]) -> None:
    """Raise SpecError where the weights in a folder, in the type that is asked for, are more than is free.

    `memory` returns the bytes of memory that are free, or None where nobody knows. What a step needs besides
    its weights is for `--dry-run` to estimate.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    published = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    needed = stored * (1.0 if dtype == "auto" else BYTES.get(dtype, 4) / BYTES.get(published, 4))
    free = memory()
    if free is not None and free < needed:
        raise SpecError(
            f"the weights of '{name}' alone take {needed / 1e9:.2g} GB of memory, and {free / 1e9:.2g} GB "
            "are free: end other programs, take a smaller model, or set policy.dtype=bfloat16"
        )
