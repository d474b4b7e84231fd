"""What can be known of a model's folder before its weights are loaded: is everything there, and whole?

Each error names the file and what to do about it.
"""

import json
from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from afd_study.errors import DataError, SpecError

WEIGHTS, INDEX, ADAPTER = "model.safetensors", "model.safetensors.index.json", "adapter_config.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
POINTER = b"version https://git-lfs"  # what Git leaves in place of a large file that was not fetched


class Kind(NamedTuple):
    """What is loaded: its `noun`, its transformers class, and the `architectures` that have such a class.

    `spare` matches the names of further weights that change nothing of what is asked of such a model.
    """

    noun: str
    model_class: Any
    architectures: Container[str]
    wanted: str
    spare: str


POLICY = Kind(
    "model", AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "causal language model", r"(?!)"
)
JUDGE = Kind(
    "judge",
    AutoModelForSequenceClassification,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "trained classifier",
    r"lm_head\.",  # the language model's that it was trained from
)


def refuse_folder(kind: Kind, folder: Path) -> None:
    """Read what can be known without loading weights: config, adapters, and whether the weights are there.

    Raises DataError or SpecError that names the file.
    """
    if (folder / ADAPTER).exists():
        raise adapters_alone(kind, folder)
    config = _json_object(folder / "config.json")
    architecture = config.get("model_type")
    known = isinstance(architecture, str) and architecture in CONFIG_MAPPING_NAMES
    if not known and config.get("auto_map"):
        raise SpecError(
            f"the {kind.noun} in {folder} asks for code of its own (auto_map), which is never run: name one "
            "whose architecture transformers knows"
        )
    if not known:
        raise SpecError(
            f"{folder / 'config.json'} names the architecture {architecture!r} (model_type), which this "
            "release of transformers does not know: name another model, or install a release that does"
        )
    if architecture not in kind.architectures:
        raise SpecError(f"the {architecture} in {folder} is no {kind.wanted}: name one that is")
    if (folder / "generation_config.json").exists():
        _json_object(folder / "generation_config.json")
    for file in _weight_files(kind, folder):
        _refuse_pointer(file)
        try:
            with safe_open(file, "pt"):  # reads the header, and compares it with the file's length
                pass
        except (SafetensorError, OSError) as fault:
            raise DataError(f"{file} is damaged or cut ({fault}): {again('it')}") from fault


def refuse_tokenizer_files(kind: Kind, folder: Path) -> None:
    """Raise DataError where the folder holds no vocabulary, or a tokenizer's file that is no JSON."""
    files = sorted(file for pattern in VOCABULARIES for file in folder.glob(pattern))
    if not files:
        raise DataError(
            f"the {kind.noun} in {folder} has no tokenizer ({', '.join(VOCABULARIES)}): save the one that it "
            "was trained with into the same folder (tokenizer.save_pretrained)"
        )
    for file in files:
        _refuse_pointer(file)
    if (folder / "tokenizer_config.json").exists():
        _json_object(folder / "tokenizer_config.json")


def _weight_files(kind: Kind, folder: Path) -> list[Path]:
    """Return the files of safetensors that hold the weights: one, or the shards that an index names."""
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if (folder / INDEX).exists():
        places = _json_object(folder / INDEX).get("weight_map")
        names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
        strange = [name for name in names if Path(name).name != name]
        if not names or strange:
            raise DataError(f"{folder / INDEX} names no files beside it (weight_map): {again('it')}")
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise DataError(f"the weights in {folder} lack the file {some(absent)}: {again('it')}")
        return [folder / name for name in names]
    if any(file for pattern in PICKLED for file in folder.glob(pattern)):
        raise DataError(
            f"the {kind.noun} in {folder} could not be loaded: its weights are pickled, and unpickling runs "
            "code. Save it as safetensors where you trust it (model.save_pretrained)"
        )
    raise DataError(f"the {kind.noun} in {folder} has no weights: {WEIGHTS} (or {INDEX}) is missing")


def _json_object(file: Path) -> dict[str, Any]:
    _refuse_pointer(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as fault:
        raise DataError(f"{file} cannot be read as JSON ({fault}): {again('it')}") from fault
    if not isinstance(content, dict):
        raise DataError(f"{file} holds no JSON object: {again('it')}")
    return content


def _refuse_pointer(file: Path) -> None:
    """Raise DataError for a file that is missing, empty, or a Git LFS pointer."""
    try:
        with file.open("rb") as opened:
            start = opened.read(len(POINTER))
    except OSError as fault:
        raise DataError(f"{file} cannot be read ({fault.strerror}): {again('it')}") from fault
    if start == POINTER:
        raise DataError(f"{file} is a Git LFS pointer, and no file of its own: run git lfs pull there")
    if not start:
        raise DataError(f"{file} is empty: {again('it')}")


def adapters_alone(kind: Kind, where: str | Path) -> SpecError:
    """Return the error for a folder that holds LoRA weights without their base model."""
    return SpecError(
        f"the {kind.noun} in {where} is an adapter ({ADAPTER}), and no whole model: merge it into its base "
        "model first (merge_and_unload), and save that"
    )


def some(names: list[str], most: int = 4) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def again(what: str) -> str:
    """Return the remedy for files that are damaged or do not belong together."""
    return f"fetch or save {what} again"
