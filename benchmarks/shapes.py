"""The models that are timed: shapes only, with random weights, which take as long as trained ones."""

import copy
import math
from typing import Any, NamedTuple, TypeVar

import torch
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from afd_study.errors import unknown_name
from afd_study.models.policy import from_scratch
from afd_study.models.processor import has_bfloat16_units
from afd_study.models.specs import ModelSpec
from afd_study.models.tokenizers import word_tokenizer

CPU = torch.device("cpu")
FAST = {"activation_function": "gelu_pytorch_tanh", "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


Model = TypeVar("Model", bound=PreTrainedModel)


class Shape(NamedTuple):
    """An architecture of transformers with its sizes; both sides of a pair get the same one."""

    architecture: str
    vocabulary: int
    config: dict[str, Any]


SHAPES: dict[str, Shape] = {
    "1M": Shape("gpt2", 2048, {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 256, **FAST}),
    "10M": Shape("gpt2", 2048, {"n_embd": 320, "n_layer": 8, "n_head": 5, "n_positions": 256, **FAST}),
    "124M": Shape("gpt2", 50257, {"n_positions": 1024, **FAST}),
    "135M": Shape(  # SmolLM2-135M's, whose weights are not needed
        "llama",
        49_152,
        {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
        },
    ),
    "gemma-2b": Shape(
        "gemma",
        256_000,
        {
            "hidden_size": 2048,
            "intermediate_size": 16_384,
            "num_hidden_layers": 18,
            "head_dim": 256,
            "num_attention_heads": 8,
            "num_key_value_heads": 1,
            "max_position_embeddings": 8192,
        },
    ),
}
PRETRAINED = ("135M",)  # shapes of models that studies take as published


def tokenizer(shape: Shape) -> PreTrainedTokenizerFast:
    """Return a tokenizer of the shape's vocabulary; its words mean nothing."""
    return word_tokenizer([f"w{i}" for i in range(shape.vocabulary - 3)])


def build(
    name: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device = CPU,
) -> PreTrainedModel:
    """Return a model of the shape `name`, with random weights; SpecError for an unknown one."""
    if name not in SHAPES:
        raise unknown_name("benchmark model", name, SHAPES)
    lm = from_shape(SHAPES[name], seed)
    torch.nn.Module.to(lm, device, dtype)
    return lm


def from_shape(shape: Shape, seed: int = 0) -> PreTrainedModel:
    """Return a model of a shape, with random weights."""
    lm = from_scratch(ModelSpec(architecture=shape.architecture, config=shape.config), tokenizer(shape), seed)
    assert lm.generation_config is not None
    lm.generation_config.suppress_tokens = None  # the peers do not suppress any
    return lm


def stock(model: Model) -> Model:
    """Return a copy of a model as transformers makes it, without what the engine puts into its own."""
    config = copy.deepcopy(model.config)
    config._attn_implementation = "sdpa"
    fresh = type(model)(config)
    torch.nn.Module.to(fresh, model.device, model.dtype)
    fresh.load_state_dict(model.state_dict())
    if hasattr(model, "generation_config"):  # a body alone has none
        fresh.generation_config = copy.deepcopy(model.generation_config)
    return fresh.train(model.training)


def whole(model: Model) -> Model:
    """Return a copy of a model in float32, in which two sides differ by rounding alone."""
    return torch.nn.Module.to(copy.deepcopy(model), torch.float32)


def precision(device: torch.device, model: str = "") -> torch.dtype:
    """Return the type that models compute in, and that the peak is probed in: bfloat16 on a GPU.

    A pretrained model's shape computes in it wherever the processor has units for it.
    """
    half = model in PRETRAINED and has_bfloat16_units() is True
    return torch.bfloat16 if device.type == "cuda" or half else torch.float32


def weights_dtype(model: str, device: torch.device) -> torch.dtype:
    """Return the type that weights in training are kept in: float32, where moments leave a GPU room."""
    large = SHAPES[model].architecture != "gpt2"
    return precision(device) if large else torch.float32


def batch_size(model: str, device: torch.device) -> int:
    """Return how many texts of about 85 tokens, or pairs of them, a step of training takes.

    On a GPU texts of 32 k tokens: fewer where activations and logits would leave no room. On a CPU as many
    as in the study; fewer of a model whose steps take seconds.
    """
    if device.type == "cuda":
        return 384 if weights_dtype(model, device) == torch.float32 else 32
    return {"124M": 8}.get(model, 32)


def matrix_parameters(lm: PreTrainedModel) -> int:
    """Count the weights of matrix products in the body: without embeddings, norms and biases."""
    apart = [module.weight for module in lm.modules() if isinstance(module, torch.nn.Embedding)]
    head = lm.get_output_embeddings()  # a reward model's body has none
    inner = {id(weight) for weight in [*apart, *([] if head is None else [head.weight])]}
    return sum(p.numel() for p in lm.parameters() if p.dim() == 2 and id(p) not in inner)


def forward_flops(lm: PreTrainedModel, *, read: list[int], predicted: int) -> float:
    """Return the FLOPs of a forward pass: 2 a weight and token, attention over what precedes, and the head.

    `read` holds the lengths of the sequences, `predicted` is how many positions need next-token logits.
    Training takes three times as much (Kaplan et al. 2020, arXiv 2001.08361, appendix B).
    """
    config = lm.config.get_text_config()
    width = config.num_attention_heads * getattr(
        config, "head_dim", config.hidden_size // config.num_attention_heads
    )
    attention = sum(2.0 * length * (length + 1) * width for length in read) * config.num_hidden_layers
    head = 2.0 * predicted * config.hidden_size * config.vocab_size
    return 2.0 * matrix_parameters(lm) * sum(read) + attention + head


@torch.no_grad()
def ending(lm: PreTrainedModel, eos_id: int, *, mean_length: float) -> PreTrainedModel:
    """Make the end mark about as likely at each token as in responses of `mean_length` tokens.

    With random weights it would hardly ever come. A direction is added to what reaches the head at every
    position, and its multiple to the mark's embedding: that raises its logit by nearly the same everywhere.
    A GPT-2 gets the direction by its last norm's bias, a Llama in the embedding, and no block changes it
    there. Other architectures are left as they are.
    """
    boost = math.log(lm.config.get_text_config().vocab_size / mean_length)
    if isinstance(lm, LlamaForCausalLM):
        return _ending_llama(lm, eos_id, boost)
    norm = getattr(lm.base_model, "ln_f", None)
    if norm is None:
        return lm
    size = 10.0  # large beside what a state has along any direction, so that the logit hardly varies
    along = torch.zeros_like(norm.bias).index_fill(0, torch.tensor([0]), size)
    norm.bias += along
    lm.get_output_embeddings().weight[eos_id] += along / size**2 * boost
    return lm


def _ending_llama(lm: LlamaForCausalLM, eos_id: int, boost: float) -> LlamaForCausalLM:
    """Keep the first entry of every state at one value, and raise the mark's logit by it."""
    for block in lm.model.layers:
        block.self_attn.o_proj.weight[0] = 0.0
        block.mlp.down_proj.weight[0] = 0.0
    config = lm.config
    lm.model.embed_tokens.weight[:, 0] = 4 * config.hidden_size**0.5 * config.initializer_range
    ids = torch.arange(64, device=lm.device)[None] % config.vocab_size
    seen = lm.model(input_ids=ids, use_cache=False).last_hidden_state[..., 0].mean()  # behind the last norm
    lm.lm_head.weight[eos_id, 0] += boost / seen
    return lm
