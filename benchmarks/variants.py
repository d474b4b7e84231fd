"""Ways of doing the same work, timed in turns beside the engine's own: which is the fastest on this device?

A GPU may prefer what a CPU does not: compiled passes, texts packed end to end, one graph replayed for each
token. What has not been measured is not in the engine: it is here, checked against the engine's results.
A way that fails on a device is reported with its fault, and the others go on.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import PreTrainedModel

from afd_study.methods.reward_model import forks
from afd_study.models.batches import WINDOW, collate, fork, step_indices
from afd_study.models.decoding import Request, sample
from afd_study.models.reward import RewardModel
from afd_study.models.scoring import (
    backbone_of,
    hidden_states,
    input_embedding,
    output_logits,
    response_logprobs,
)
from afd_study.models.token_sampling import draw, uniforms
from benchmarks import texts
from benchmarks.packed import KERNELS, pack, states
from benchmarks.sampling import EOS, LENGTH
from benchmarks.shapes import SHAPES, batch_size, build, ending, precision, stock, weights_dtype
from benchmarks.static import Table, captured
from benchmarks.timing import in_turns, ratios

Item = TypeVar("Item")
Way = Callable[[], tuple[Tensor, ...]]  # what has to be the engine's: numbers, or tokens
NEEDS_GPU = ("packed, flex", "packed, varlen", "packed, varlen, compiled", "static, CUDA graph")
OTHER_DRAWS = ("multinomial", "Gumbel")  # of the same law, by other random numbers
ROWS = 50  # draws of one prompt, and laws that a next token is drawn from
COLUMNS = ["work", "model", "way", "seconds", "ratio", "low", "high", "fault"]


def measure(
    models: Sequence[str], device: torch.device, repeats: int, *, without: Sequence[str] = ()
) -> pd.DataFrame:
    """Return columns COLUMNS, a row a way: seconds are medians, `ratio` the engine's time over the way's.

    `low` and `high` are the range of that ratio over `repeats`. A way that needs another device, or fails,
    has no numbers and its `fault`. `without` leaves out ways whose name holds one of these words.
    """
    rows = []
    for model in models:
        for work, make in WORKS.items():
            try:
                every = make(model, device)
            except Exception as fault:  # such as no memory for this model: the others go on
                rows.append((work, model, "engine", *[np.nan] * 4, _fault_in_words(fault)))
                continue
            ways = {name: run for name, run in every.items() if not any(word in name for word in without)}
            rows += [(work, model, *row) for row in ways_in_turns(ways, device, repeats, f"{work}, {model}")]
            del every, ways  # a GPU may have no room for them and for what is next
    return pd.DataFrame(rows, columns=COLUMNS)


def ways_in_turns(
    ways: Mapping[str, Way], device: torch.device, repeats: int, what: str
) -> Iterator[tuple[Any, ...]]:
    """Yield each way's name, seconds, ratio and its range, and fault; the first is the engine's."""
    engine = next(iter(ways))
    faults = {name: _fault(ways, name, engine, device) for name in ways}
    fit = [] if faults[engine] else [name for name in ways if not faults[name]]

    def guarded(name: str) -> None:
        try:
            ways[name]()
        except Exception as fault:  # such as no memory beside what others keep
            faults[name] = _fault_in_words(fault)

    turns = tqdm(range(repeats), desc=what, unit="turn")
    times = dict(zip(fit, in_turns([partial(guarded, name) for name in fit], turns, device), strict=True))
    for name in ways:
        if faults[name] or faults[engine]:
            yield name, np.nan, np.nan, np.nan, np.nan, faults[name] or "the engine failed"
            continue
        yield name, float(np.median(times[name])), *ratios(times[name], times[engine]), ""


def _fault(ways: Mapping[str, Way], name: str, engine: str, device: torch.device) -> str:
    """Return why a way cannot be timed: it does not run here, or not to the engine's result."""
    if name in NEEDS_GPU and device.type != "cuda":
        return "needs a GPU"
    try:
        results = ways[name]()
        if name not in (engine, *OTHER_DRAWS):
            for one, other in zip(results, ways[engine](), strict=True):
                assert_alike(one, other, 1e-3 if precision(device) == torch.float32 else 0.1)
    except Exception as fault:  # kernels and compilers fail in many ways, and each is a finding
        return _fault_in_words(fault)
    return ""


def _fault_in_words(fault: Exception) -> str:
    return f"{type(fault).__name__}: {' '.join(str(fault).split())[:160]}"


def assert_alike(result: Tensor, expected: Tensor, slack: float) -> None:
    """Raise AssertionError unless tokens are the same, or numbers within `slack` of how they spread."""
    if not expected.is_floating_point():
        assert torch.equal(result, expected), "other tokens than the engine's"
        return
    error, spread = (result - expected).norm(), (expected - expected.mean()).norm()
    assert error <= slack * spread, (
        f"off by {float(error / spread):.2g} of how far the engine's numbers spread"
    )


def sft(model: str, device: torch.device) -> dict[str, Way]:
    """Return ways to the log-probabilities of a batch's response tokens, and the gradient of their sum."""
    lm = build(model, dtype=weights_dtype(model, device), device=device)
    size = batch_size(model, device)
    usual = stock(lm)
    data = texts.examples(WINDOW * size, SHAPES[model].vocabulary, seed=1)
    examples = _batch(data, [len(each.ids) for each in data], size)
    batch, packed = collate(examples).to(device), pack(examples, device)
    starts, lengths = batch.starts[packed.text], batch.lengths[packed.text]
    predicts = (packed.places >= starts - 1) & (packed.places < lengths - 1)
    targets = packed.ids.roll(-1)[predicts]
    column = torch.arange(batch.ids.shape[1], device=device)
    real = column < batch.lengths[:, None]

    def logged(hidden: Tensor) -> Tensor:
        return -cross_entropy(output_logits(usual, hidden[predicts]), targets, reduction="none")

    return {
        "engine": _trained(lm, backbone_of(lm), device, lambda: response_logprobs(lm, batch).values),
        **_passes(
            usual,
            backbone_of(usual),
            device,
            lambda body: logged(hidden_states(body, batch.ids)[real]),
            lambda body, kernel: logged(states(body, packed, kernel)),
        ),
    }


def reward_model(model: str, device: torch.device) -> dict[str, Way]:
    """Return ways to the rewards of a batch of pairs, and the gradient of their sum."""
    own = RewardModel(backbone_of(build(model, dtype=weights_dtype(model, device)))).to(device)
    nn.init.normal_(own.head.weight, generator=torch.Generator(device).manual_seed(0))
    usual = copy.deepcopy(own)
    usual.backbone = stock(own.backbone)
    size = batch_size(model, device)
    data = texts.pairs(WINDOW * size, SHAPES[model].vocabulary, seed=2)
    pairs = _batch(data, [pair.forked for pair in data], size)
    examples = [each for pair in pairs for each in pair]
    batch, packed = collate(examples).to(device), pack(examples, device)
    inputs = fork(pairs).to(device) if forks(own, pairs) else batch
    rows, last = torch.arange(len(examples), device=device), packed.bounds[1:].long() - 1
    return {
        "engine": _trained(own, own.backbone, device, lambda: own(inputs)),
        **_passes(
            usual,
            usual.backbone,
            device,
            lambda body: usual.reward(hidden_states(body, batch.ids)[rows, batch.lengths - 1]),
            lambda body, kernel: usual.reward(states(body, packed, kernel)[last]),
        ),
    }


def _passes(
    module: nn.Module,
    body: PreTrainedModel,
    device: torch.device,
    padded: Callable[[PreTrainedModel], Tensor],
    packed: Callable[[PreTrainedModel, str], Tensor],
) -> dict[str, Way]:
    """Return training passes of a stock model: padded and packed, as they are and compiled."""
    compiled = cast(PreTrainedModel, torch.compile(body, dynamic=True))  # lengths change from step to step
    runs: dict[str, Callable[[], Tensor]] = {
        "padded": lambda: padded(body),
        "padded, compiled": lambda: padded(compiled),
        **{f"packed, {kernel}": partial(packed, body, kernel) for kernel in KERNELS},
        "packed, varlen, compiled": lambda: packed(compiled, "varlen"),
    }
    return {name: _trained(module, body, device, run) for name, run in runs.items()}


def _mixed(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 on a GPU, as accelerate has training do."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _trained(
    module: nn.Module, body: PreTrainedModel, device: torch.device, run: Callable[[], Tensor]
) -> Way:
    """Return a way that takes the gradient of the sum of what `run` returns, in mixed precision on a GPU."""

    def way() -> tuple[Tensor, ...]:
        module.zero_grad(set_to_none=True)
        with _mixed(device):
            values = run()
        values.sum().backward()
        return values.detach().float(), _gradient(body)

    return way


def _gradient(body: PreTrainedModel) -> Tensor:
    gradient = input_embedding(body).weight.grad
    assert gradient is not None
    return gradient.float()


def sampling(model: str, device: torch.device) -> dict[str, Way]:
    """Return ways to draw ROWS responses to one prompt; they return the tokens.

    In half precision only the first of each: there rounding makes other responses of the same numbers.
    """
    lm = ending(build(model, dtype=precision(device), device=device), EOS, mean_length=45).eval()
    prompts = texts.prompts(1, SHAPES[model].vocabulary, seed=3)
    requests = [Request("0", prompts[0], number) for number in range(ROWS)]
    length = LENGTH if precision(device) == torch.float32 else 1
    replayed: list[tuple[Table, Callable[[], None]]] = []  # captured at the warm-up, which is not timed

    def numbers() -> Tensor:
        """Return the responses' own random numbers, which the engine makes each time."""
        noise = [uniforms(0, "0", number, LENGTH) for number in range(ROWS)]
        return torch.from_numpy(np.stack(noise)).to(device)

    def engine() -> tuple[Tensor, ...]:
        drawn = sample(lm, requests, seed=0, eos_id=EOS, max_new_tokens=LENGTH)
        return (torch.tensor([[*each.ids, *[0] * (LENGTH - len(each.ids))] for each in drawn])[:, :length],)

    @torch.no_grad()
    def static() -> tuple[Tensor, ...]:
        table = Table(lm, prompts, numbers(), EOS)
        table.run(table.step)
        return (table.tokens.cpu()[:, :length],)

    @torch.no_grad()
    def graph() -> tuple[Tensor, ...]:
        if not replayed:
            table = Table(lm, prompts, numbers(), EOS)
            table.run(table.step)
            expected, replay = table.tokens.clone(), captured(table)
            table.run(replay)
            assert_alike(table.tokens, expected, 0.0)  # whole responses: the same kernels, replayed
            replayed.append((table, replay))
        table, replay = replayed[0]
        table.read(prompts, numbers())
        table.run(replay)
        return (table.tokens.cpu()[:, :length],)

    return {"engine": engine, "static": static, "static, CUDA graph": graph}


def drawing(model: str, device: torch.device) -> dict[str, Way]:
    """Return ways to draw a next token from ROWS laws, LENGTH times; they return the last tokens."""
    generator = torch.Generator(device).manual_seed(0)
    logits = 3 * torch.randn(ROWS, SHAPES[model].vocabulary, generator=generator, device=device)
    noise = torch.rand(ROWS, generator=generator, device=device, dtype=torch.float64)

    def inverted() -> Tensor:
        sums = logits.double().softmax(-1).cumsum(-1)
        return torch.searchsorted(sums, noise[:, None] * sums[:, -1:], right=True)

    def multinomial() -> Tensor:
        return torch.multinomial(logits.softmax(-1), 1, generator=generator)

    def gumbel() -> Tensor:
        waits = torch.empty_like(logits).exponential_(generator=generator)
        return (logits.softmax(-1) / waits).argmax(-1, keepdim=True)

    def often(pick: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        """Pick tokens, and look up their log-probabilities, which are recorded too."""
        for _ in range(LENGTH):
            token = pick()
            logits.log_softmax(-1).gather(-1, token)
        return (token[:, 0],)

    def engine() -> tuple[Tensor, ...]:
        return ([draw(logits, noise, 1.0)[0] for _ in range(LENGTH)][-1],)

    others = {"cumulative sum": inverted, "multinomial": multinomial, "Gumbel": gumbel}
    return {"engine": engine, **{name: partial(often, pick) for name, pick in others.items()}}


WORKS: dict[str, Callable[[str, torch.device], dict[str, Way]]] = {
    "sft": sft,
    "reward_model": reward_model,
    "sampling": sampling,
    "drawing": drawing,
}


def _batch(data: Sequence[Item], lengths: Sequence[int], size: int) -> list[Item]:
    """Return a step's items as training takes them: of similar length."""
    return [data[i] for i in step_indices(lengths, batch_size=size, steps=1, seed=0)[0]]
