"""How fast this machine does a policy's work on its CPU: timed on a few layers of the policy's own config.

A product of matrices alone does not tell. Where the processor has units for bfloat16, norms and activations
take longer than products, and how much longer differs from machine to machine. So the engine's own passes are
timed: LAYERS blocks of the policy's shape, and apart from them what stands behind the last block. Weights are
constants: a pass takes as long with any others.

Rates go to the terminal alone. No number of a study depends on them.
"""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from afd_study.models.copied_prefix import CopiedPrefix
from afd_study.models.kernels import shared_prefix
from afd_study.models.kernels.install import install_kernels
from afd_study.models.policy import with_lora
from afd_study.models.scoring import backbone_of, hidden_states, output_logits
from afd_study.models.specs import LoRASpec
from afd_study.models.token_sampling import draw
from afd_study.study.forecast.model_shapes import Shape

LAYERS = 2  # of the policy, which are timed
FLOPS = 2e10  # of a pass that is timed, about: a tenth of a second of a core
FEWEST, MOST = 32, 1024  # tokens, or rows, of such a pass
PROMPTS = 4  # that rows are behind
ENOUGH = 0.3  # seconds that a pass is repeated for
REPEATS = (2, 5)  # at least, at most
CONSTANT = 1e-2  # each weight
Clock = Callable[[], float]


class Rates(NamedTuple):
    """FLOP/s of the whole policy, as the forecast counts FLOPs, for each kind of work of a step."""

    drawing: float
    scoring: float
    logprobs: float
    training: float

    def of(self, work: str) -> float:
        """Return the rate of a step's `work`; a published judge reads as the policy does."""
        return float(getattr(self, "scoring" if work == "judging" else work))


class _Pass(NamedTuple):
    """What is timed, and how many tokens it takes through the model."""

    run: Callable[[], object]
    tokens: int


def measure(
    config: PreTrainedConfig,
    shape: Shape,
    *,
    tokens: int,
    lora: LoRASpec | None = None,
    clock: Clock = time.process_time,
) -> Rates:
    """Time passes over texts of `tokens` tokens on one thread: seconds for a model of 135 million parameters.

    Each rate follows from the seconds of a token: those of a layer times the layers, and those of the head.
    """
    with _one_thread(), torch.no_grad():
        lm = few_layers(config, shape)
        body = sum(each.numel() for block in _blocks(lm) for each in block.parameters())
        n, few = _fitting(body), _fitting(3 * body)
        n_behind = _fitting(3 * shape.width * shape.vocabulary)
        drawn = _seconds(_drawing(lm, n, tokens), clock) / LAYERS
        read = _seconds(_reading(lm, n, tokens), clock) / LAYERS
        picked = _seconds(_picking(lm, n_behind), clock)
        looked_up = _seconds(_looking_up(lm, n_behind), clock)
        learned = _seconds(_looking_up(lm, n_behind, backwards=True), clock)
        with_lora(lm, lora, seed=0)
        trained = _seconds(_training(lm, few, tokens), clock) / LAYERS
    flops, deep = 2.0 * shape.parameters, shape.layers
    return Rates(
        drawing=flops / (deep * drawn + picked),
        scoring=flops / (deep * read),
        logprobs=flops / (deep * read + looked_up),
        training=3 * flops / (deep * trained + learned),
    )


def _fitting(parameters: int) -> int:
    """Return how many tokens, or rows, a pass through so many parameters takes for FLOPS."""
    return max(FEWEST, min(MOST, int(FLOPS / (2 * parameters))))


def few_layers(config: PreTrainedConfig, shape: Shape) -> PreTrainedModel:
    """Return a model of LAYERS blocks of a config, in the type that the policy computes in."""
    few = copy.deepcopy(config)
    text = few.get_text_config()
    text.num_hidden_layers = LAYERS
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:LAYERS]
    with torch.device("meta"):
        lm = AutoModelForCausalLM.from_config(few, dtype=getattr(torch, shape.weights))
    lm.to_empty(device="cpu")
    lm.tie_weights()
    with torch.no_grad():
        for each in (*lm.parameters(), *lm.buffers()):
            each.fill_(CONSTANT if each.is_floating_point() else 0)
    return install_kernels(lm.eval())


def _blocks(lm: PreTrainedModel) -> torch.nn.ModuleList:
    lists = (each for each in backbone_of(lm).modules() if isinstance(each, torch.nn.ModuleList))
    return next(each for each in lists if len(each) == LAYERS)


def _drawing(lm: PreTrainedModel, rows: int, tokens: int) -> _Pass:
    """Append a token to each row, behind prompts of `tokens` tokens."""
    made = shared_prefix.SharedPrefix if shared_prefix.supports(lm) else CopiedPrefix
    draws = rows // PROMPTS
    prefix = made(lm, [[1] * tokens] * PROMPTS, draws=draws, room=REPEATS[1] + 1)
    ids = torch.ones((PROMPTS * draws, 1), dtype=torch.int64)
    return _Pass(lambda: prefix.read(lm, ids), ids.numel())


def _reading(lm: PreTrainedModel, n: int, tokens: int) -> _Pass:
    """Read texts of `tokens` tokens, behind prompts of as many where the engine can."""
    draws = max(1, n // (PROMPTS * tokens))
    ids = torch.ones((PROMPTS * draws, tokens), dtype=torch.int64)
    if not shared_prefix.supports(lm):
        return _Pass(lambda: hidden_states(backbone_of(lm), ids), ids.numel())
    prefix = shared_prefix.SharedPrefix(lm, [[1] * tokens] * PROMPTS)

    def run() -> None:
        prefix.begin(draws, tokens)
        prefix.read(lm, ids)

    return _Pass(run, ids.numel())


def _picking(lm: PreTrainedModel, rows: int) -> _Pass:
    """Do what follows the last block for a new token of each row: its law, and a draw from it."""
    states, noise = _states(lm, rows), torch.full((rows,), 0.5, dtype=torch.float64)
    return _Pass(lambda: draw(output_logits(lm, states), noise, 1.0), rows)


def _looking_up(lm: PreTrainedModel, rows: int, *, backwards: bool = False) -> _Pass:
    """Do what follows the last block for tokens whose log-probabilities are wanted, or are learned."""
    states, ids = _states(lm, rows).requires_grad_(backwards), torch.ones(rows, dtype=torch.int64)

    def run() -> None:
        with torch.set_grad_enabled(backwards):
            value = cross_entropy(output_logits(lm, states), ids, reduction="sum")
            if backwards:
                value.backward()

    return _Pass(run, rows)


def _training(lm: PreTrainedModel, n: int, tokens: int) -> _Pass:
    """Take texts through the blocks and back."""
    ids = torch.ones((max(1, round(n / tokens)), tokens), dtype=torch.int64)

    def run() -> None:
        with torch.enable_grad():
            hidden_states(backbone_of(lm), ids).float().sum().backward()

    return _Pass(run, ids.numel())


def _states(lm: PreTrainedModel, rows: int) -> Tensor:
    return torch.full((rows, lm.config.get_text_config().hidden_size), CONSTANT, dtype=lm.dtype)


def _seconds(timed: _Pass, clock: Clock) -> float:
    """Return the seconds of a token: the median of repeats, behind a first run."""
    times: list[float] = []
    timed.run()
    while len(times) < REPEATS[0] or (len(times) < REPEATS[1] and sum(times) < ENOUGH):
        started = clock()
        timed.run()
        times.append(clock() - started)
    return median(times) / timed.tokens


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread for a while: several would wait for each other where the machine is busy."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
