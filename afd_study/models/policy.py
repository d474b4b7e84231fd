"""Policies: a causal language model from scratch, from the hub or from a folder, with LoRA where asked."""

from pathlib import Path
from typing import Protocol, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from afd_study.errors import AfdError, DataError, SpecError, unknown_name
from afd_study.models import distributed
from afd_study.models.batches import Batch
from afd_study.models.kernels.install import install_kernels
from afd_study.models.library_variables import refuse_variables
from afd_study.models.model_files import POLICY, refuse_folder
from afd_study.models.pretrained_folders import load_published, load_weights, with_rows
from afd_study.models.scoring import TokenLogprobs, input_embedding, refuse_unfit, response_logprobs
from afd_study.models.specs import LoRASpec, ModelSpec

LONGEST = 300  # characters of a config or of another library's words that an error quotes


class Policy(nn.Module):
    """The module that is trained: response log-probabilities of a batch under `lm`."""

    def __init__(self, lm: PreTrainedModel) -> None:
        """Wrap a causal model, so that every training pass goes through one forward."""
        super().__init__()
        self.lm = lm

    def forward(self, batch: Batch) -> TokenLogprobs:
        """Return the log-probabilities (nats) of all response tokens."""
        return response_logprobs(self.lm, batch)


def from_scratch(spec: ModelSpec, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """Build a randomly initialised model for the tokenizer's vocabulary; `seed` fixes every weight.

    Raises SpecError for an architecture that is unknown or no causal language model's, and for a config
    setting that is unknown or does not fit; also for an environment variable that would change results.
    """
    refuse_variables()
    if spec.architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise unknown_name("architecture", spec.architecture, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    default = AutoConfig.for_model(spec.architecture)
    names = set(default.to_dict()) | set(default.attribute_map)
    for name in spec.config:
        if name not in names:
            raise unknown_name(f"{spec.architecture} config setting", name, names)
    # no pad id: padding is masked by length alone, and transformers would warn of every padded batch
    ids = {"pad_token_id": None, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    settings = {**spec.config, "vocab_size": len(tokenizer), **ids}
    try:
        config = AutoConfig.for_model(spec.architecture, **settings)
        if config.get_text_config().num_hidden_layers < 1:
            raise ValueError("it has no layers")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            lm = install_kernels(AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval())
        refuse_unfit(lm)
    except AfdError:
        raise
    except Exception as fault:  # sizes that do not fit together fail anywhere in transformers or torch
        reason = [*str(fault).strip().splitlines(), type(fault).__name__][0]
        raise SpecError(
            f"no {spec.architecture} can be built from config {str(spec.config)[:LONGEST]}: "
            f"{type(fault).__name__} {reason[:LONGEST]}"
        ) from fault
    return suppress_specials(lm, tokenizer)


def suppress_specials(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Give padding and the unknown word no probability: no response may hold them. Returns the model."""
    banned = {tokenizer.pad_token_id, tokenizer.unk_token_id} - {None, tokenizer.eos_token_id}
    lm.generation_config.suppress_tokens = sorted(banned) or None
    return lm


def pretrained(spec: ModelSpec) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load model and tokenizer from a local folder, or from the hub where `allow_download` is set.

    Only a whole folder is read (`pretrained_folders`). A tokenizer without padding gets `<pad>`, whose row of
    the embedding is zero: padding is never read and has no probability.

    Raises HubError for a name that cannot be had, DataError for a folder that is damaged or lacks something,
    and SpecError for a model that is not causal or whose tokenizer has no end mark.
    """
    where = str(spec.name_or_path)
    lm, tokenizer = load_published(POLICY, where, download=spec.allow_download, dtype=spec.dtype)
    if tokenizer.eos_token_id is None:
        raise SpecError(
            f"the tokenizer in {where} has no end mark, so that no response would ever end: set eos_token in "
            "its tokenizer_config.json to the token that ends a text"
        )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
        with_rows(lm, len(tokenizer))
    elif tokenizer.pad_token_id >= len(input_embedding(lm).weight):
        with_rows(lm, tokenizer.pad_token_id + 1)
    lm.config.pad_token_id = None  # padding is masked by length alone
    try:
        refuse_unfit(install_kernels(lm))
    except RuntimeError as fault:
        raise DataError(
            f"the model in {where} cannot be run ({str(fault)[:LONGEST]}): fetch it again"
        ) from fault
    return suppress_specials(lm, tokenizer), tokenizer


class Adapters(Protocol):
    """What peft returns of a model with adapters."""

    def merge_and_unload(self) -> PreTrainedModel:
        """Merge the adapters into the model's weights, and return the model."""


def with_lora(model: PreTrainedModel, spec: LoRASpec | None, *, seed: int) -> Adapters | None:
    """Put fresh adapters, drawn by `seed`, into the model's own layers, and freeze all of its other weights.

    Where `spec` is None the model stays as it is, and None is returned.

    Raises SpecError where peft cannot tell which layers to adapt.
    """
    if spec is None:
        return None
    from peft import LoraConfig, get_peft_model

    targets = list(spec.target_modules) if spec.target_modules else None
    config = LoraConfig(
        r=spec.r, lora_alpha=spec.alpha, lora_dropout=spec.dropout, target_modules=targets, bias="none"
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cast(Adapters, get_peft_model(model, config))
    except (ValueError, TypeError, RuntimeError, OverflowError) as fault:
        reason = str(fault)[:LONGEST]
        raise SpecError(f"LoRA cannot be put on this model: {reason}; name lora.target_modules") from fault


def context_length(lm: PreTrainedModel) -> int:
    """Return the most tokens that the model's positions allow; a count of -1 or None stands for no bound."""
    positions = getattr(lm.config.get_text_config(), "max_position_embeddings", None)
    return int(positions) if positions is not None and positions > 0 else 2**31 - 1


def save_policy(lm: PreTrainedModel, folder: Path) -> None:
    """Write weights (safetensors), config and generation config; the main process alone does."""
    if distributed.is_main():
        lm.save_pretrained(folder, safe_serialization=True)


def load_policy(folder: Path) -> PreTrainedModel:
    """Read what `save_policy` wrote, in evaluation mode, on the fastest device at hand.

    Raises DataError or SpecError where the folder is damaged, as `pretrained` does.
    """
    refuse_folder(POLICY, folder)
    lm = load_weights(POLICY, folder)
    return install_kernels(lm.eval()).to(device())


def device() -> torch.device:
    """Return the GPU where there is one (under a launch this process's), else the CPU."""
    return torch.device("cuda" if distributed.on_gpu() else "cpu")


def n_parameters(module: nn.Module) -> int:
    """Count a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
