"""How large models are, without loading them: counted on shapes alone, from a config or a published name."""

import warnings
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from afd_study.errors import SpecError
from afd_study.models.fetched_models import PACKAGES, fetched
from afd_study.models.model_files import POLICY, Kind, refuse_folder
from afd_study.models.policy import with_lora
from afd_study.models.specs import LoRASpec

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Shape(NamedTuple):
    """What a model's costs follow from. `weights` is the type that it computes in outside of training."""

    parameters: int
    layers: int
    width: int
    inner: float  # width of the MLP over the model's, twice where it is gated
    cached: int  # keys and values of a token, over all layers
    vocabulary: int
    weights: str
    published: str  # the type of the weights in its files

    def bytes(self) -> float:
        """Return the bytes that its weights take in memory."""
        return float(self.parameters * BYTES[self.weights])


@cache
def constants() -> Mapping[str, Any]:
    """Return what the dry run reckons with (forecast.yaml), where each value says its source."""
    text = files("afd_study.study.forecast").joinpath("forecast.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def shape_of(config: PreTrainedConfig, *, weights: str, published: str) -> Shape:
    """Return the shape of a causal model of a config."""
    lm = _on_paper(config)
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    gated = any(name.endswith("gate_proj") for name, _ in lm.named_modules())
    middle = getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None)
    return Shape(
        parameters=sum(each.numel() for each in lm.parameters()),
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        inner=(middle or 4 * text.hidden_size) / text.hidden_size * (1 + gated),
        cached=2 * text.num_hidden_layers * heads * head,
        vocabulary=text.vocab_size,
        weights=weights,
        published=published,
    )


def adapters(config: PreTrainedConfig, lora: LoRASpec) -> int:
    """Return how many parameters adapters have on a model of a config."""
    lm = _on_paper(config)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's, about layers that it knows what to do with
        with_lora(lm, lora, seed=0)
    return sum(each.numel() for each in lm.parameters() if each.requires_grad)


def published_config(name_or_path: str, kind: Kind = POLICY) -> tuple[PreTrainedConfig, str]:
    """Return the config of a local folder, or of a name that forecast.yaml knows, and its weights' type.

    The network is not asked.

    Raises SpecError for a name whose shape is not known, and as `refuse_folder` does for a folder.
    """
    if name_or_path in PACKAGES and not Path(name_or_path).exists():
        name_or_path = fetched(name_or_path)
    if Path(name_or_path).is_dir():
        refuse_folder(kind, Path(name_or_path))
        config = AutoConfig.from_pretrained(name_or_path, local_files_only=True, trust_remote_code=False)
        return config, str(config.dtype or torch.float32).removeprefix("torch.")
    published = constants()["models"].get(name_or_path)
    if published is None:
        raise SpecError(
            f"how large '{name_or_path}' is cannot be told without asking the hub: give a local folder, or "
            "add the model's shape to afd_study/study/forecast/forecast.yaml"
        )
    return AutoConfig.for_model(published["architecture"], **published["config"]), str(published["weights"])


def _on_paper(config: PreTrainedConfig) -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)
