"""Models that somebody else published: one loader and one rule, for policies and judges alike.

A folder is read whole or not at all. Only safetensors are read, and no code of the folder is run. Where a
folder lacks weights, transformers fills them with random numbers. Here such a folder is refused before
anything is trained, and so is one whose weights are cut, of other sizes, or not finite. Each error names the
folder and what to do about it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.utils import logging as hub_logging
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from afd_study.errors import AfdError, DataError, HubError, network_hint
from afd_study.models.fetched_models import PACKAGES, fetched
from afd_study.models.library_variables import refuse_variables
from afd_study.models.model_files import (
    Kind,
    adapters_alone,
    again,
    refuse_folder,
    refuse_tokenizer_files,
    some,
)
from afd_study.models.scoring import input_embedding

# Older releases of transformers saved these tables beside the weights; each model makes them anew.
_TABLE = re.compile(r"(^|\.)(masked_bias|inv_freq|position_ids|token_type_ids|attn\.bias|attention\.bias)$")


def load_published(
    kind: Kind, name: str, *, download: bool, dtype: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load model and tokenizer from a folder, the hub's cache, or the hub itself where `download` is set.

    Raises:
        HubError: `name` is no folder and cannot be had; without `download` the hub is not asked.
        DataError: the folder lacks a file, or holds a damaged one. SpecError: it is no such model at all.
    """
    where, local = checked_place(kind, name, download=download)
    with _faults(kind, where, local=local):
        options = {"local_files_only": local, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
    model = load_weights(kind, where, local=local, dtype=dtype)
    rows, padding = len(input_embedding(model).weight), tokenizer.pad_token_id
    rowless = sorted(word for word, i in tokenizer.get_vocab().items() if i >= rows and i != padding)
    if rowless:
        raise DataError(
            f"the tokenizer in {where} has {len(rowless)} tokens that the weights have no row for (such as "
            f"{rowless[0]!r}): {again('the tokenizer that the model was trained with')}"
        )
    return model, tokenizer


def checked_place(kind: Kind, name: str, *, download: bool) -> tuple[str, bool]:
    """Return `located`, having read what can be known of a folder without loading its weights.

    Raises HubError, DataError or SpecError, as `load_published` would.
    """
    where, local = located(kind, name, download=download)
    if local:
        refuse_folder(kind, Path(where))
        refuse_tokenizer_files(kind, Path(where))
    return where, local


def located(kind: Kind, name: str, *, download: bool) -> tuple[str, bool]:
    """Return where to read `name` from, and whether that is a folder of this machine (in the cache, perhaps).

    A model that `afd fetch` brings goes by its name there. No socket is opened for it.

    Raises HubError for a name that is no folder, where `download` is not set, and for a model not fetched.
    """
    if name in PACKAGES and not Path(name).exists():
        return fetched(name), True
    try:
        if name.strip() and Path(name).is_dir():
            return name, True
        reason = "it is a file, and no folder" if Path(name).exists() else "there is no such folder"
        cached = try_to_load_from_cache(name, "config.json")
    except (OSError, ValueError):  # no file system or no hub could have such a name
        cached, reason = None, "there is no such folder"
    if isinstance(cached, str) and not download:
        return str(Path(cached).parent), True
    if download and reason == "there is no such folder":
        return name, False
    raise HubError(f"the {kind.noun} '{name}' could not be loaded ({reason}). {_remedy()}")


def load_weights(kind: Kind, where: str | Path, *, local: bool = True, **options: Any) -> PreTrainedModel:
    """Load a model all of whose weights are in the files at `where`, finite and of the right sizes.

    Raises DataError that names the weights which are not; HubError where a download fails; SpecError for an
    environment variable that would change results.
    """
    refuse_variables()
    with _faults(kind, where, local=local):
        model, report = kind.model_class.from_pretrained(
            where,
            local_files_only=local,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are listed in the report, and refused below
            output_loading_info=True,
            **options,
        )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise adapters_alone(kind, where)
    others = {
        str(row[0]): f"{tuple(row[1])} in place of {tuple(row[2])}" for row in report["mismatched_keys"]
    }
    if others:
        first = min(others)
        raise DataError(
            f"the weights in {where} do not fit its config.json: {first} is {others[first]} "
            f"({len(others)} of them): {again('weights and config.json of one model')}"
        )
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise DataError(
            f"'{where}' is no {kind.wanted}: its weights lack {some(lacking)}; name a model that was "
            f"trained and saved as one ({kind.model_class.__name__}), or fetch the files again"
        )
    spare = re.compile(kind.spare)
    unfit = [name for name in report["unexpected_keys"] if not _TABLE.search(name) and not spare.match(name)]
    if unfit:
        raise DataError(
            f"'{where}' is no {kind.wanted}: config.json has no place for its weights "
            f"{some(sorted(unfit))}; name a model that was trained and saved as one"
        )
    refuse_infinite_weights(model, where)
    return model


def refuse_infinite_weights(model: torch.nn.Module, where: str | Path) -> None:
    """Raise DataError that names the weights which hold NaN or an infinity."""
    wrong = [name for name, weight in model.state_dict().items() if not _finite(weight)]
    if wrong:
        raise DataError(
            f"the weights in {where} hold NaN or infinite numbers, in {some(wrong)}: the training that made "
            "them failed; use an earlier checkpoint"
        )


@torch.no_grad()
def with_rows(model: PreTrainedModel, n: int) -> PreTrainedModel:
    """Give the embedding `n` rows, for padding that it lacks; new rows are zero, since nothing reads them."""
    old = len(input_embedding(model).weight)
    with torch.random.fork_rng(devices=[]):
        model.resize_token_embeddings(n, mean_resizing=False)
    heads = [model.get_output_embeddings()] if hasattr(model, "lm_head") else []
    for layer in (input_embedding(model), *heads):
        layer.weight[old:] = 0
        if getattr(layer, "bias", None) is not None:
            layer.bias[old:] = 0
    return model


@contextmanager
def _faults(kind: Kind, where: str | Path, *, local: bool) -> Iterator[None]:
    """Turn whatever a library raises at files from elsewhere into one error, and silence its reports."""
    loud = [(each, each.get_verbosity()) for each in (logging, hub_logging)]
    for each, _ in loud:
        each.set_verbosity_error()
    try:
        yield
    except AfdError:
        raise
    except Exception as fault:  # such files fail in any way; the Rust side raises bare Exception
        reason = [*str(fault).strip().splitlines(), type(fault).__name__][0][:200]
        message = f"the {kind.noun} '{where}' could not be loaded ({reason}). {_remedy()}"
        if local:
            raise DataError(message) from fault
        raise HubError(message + "." + network_hint()) from fault
    finally:
        for each, verbosity in loud:
            each.set_verbosity(verbosity)


def _finite(weight: torch.Tensor) -> bool:
    if not weight.is_floating_point():
        return True
    return bool(torch.isfinite(weight if weight.element_size() > 1 else weight.float()).all())


def _remedy() -> str:
    return (
        "Point name_or_path at a local folder with config.json, model.safetensors and the tokenizer, or set "
        "allow_download=true with a network"
    )
