"""What is computed from samples: Best-of-N curves, and a divergence of two policies along responses."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from afd_study.models.batches import Example
from afd_study.models.scoring import response_kl
from afd_study.theory.best_of_n import expected_best
from benchmarks import texts
from benchmarks.scoring import BATCH, assert_alike, forwards, in_response
from benchmarks.shapes import SHAPES, build, forward_flops, precision, stock
from benchmarks.timing import Pair

POOLS = {"500 x 64": (500, 64), "500 x 256": (500, 256)}  # prompts, draws a prompt


def best_of_n(model: str, device: torch.device) -> Pair:
    """Return Best-of-n curves for all n, of as many prompts and draws as `model` says.

    The peer is the same estimator (all subsets of n among N draws, Nakano et al. 2021, arXiv 2112.09332,
    appendix) in NumPy as it is defined: weights C(i - 1, n - 1) / C(N, n) of the sorted draws, n by n.
    """
    prompts, draws = POOLS[model]
    rng = np.random.default_rng(6)
    values, scores = rng.normal(size=(2, prompts, draws))
    wanted = list(range(1, draws + 1))

    def ours() -> Tensor:
        return expected_best(values=values, scores=scores, n=wanted)

    def peer() -> np.ndarray:
        ranked = np.take_along_axis(values, scores.argsort(1), 1)
        return np.stack([ranked @ _weights(draws, n) for n in wanted], 1)

    return Pair(
        "numpy, n by n",
        ours,
        peer,
        lambda: np.testing.assert_allclose(ours().numpy(), peer(), rtol=1e-9, atol=1e-9),
        flops=0,
        tokens=0,
    )


def _weights(size: int, n: int) -> np.ndarray:
    """Return the chance that the draw of each rank is the best of n: each from the one above it."""
    weights = np.zeros(size)
    weights[-1] = n / size
    for rank in range(size - 1, n - 1, -1):  # C(rank - 1, n - 1) = C(rank, n - 1) (rank - n + 1) / rank
        weights[rank - 1] = weights[rank] * (rank - n + 1) / rank
    return weights


def divergences(model: str, device: torch.device) -> Pair:
    """Return KL from one policy to another along responses, from whole next-token laws.

    The peer takes logits at every position and PyTorch's `kl_div`, as distillation losses are written.
    """
    lm, other = (build(model, seed=seed, dtype=precision(device), device=device).eval() for seed in (0, 1))
    data = texts.examples(8 * BATCH, SHAPES[model].vocabulary, seed=7)
    usual = [stock(each) for each in (lm, other)]
    lengths, predicted = [len(each.ids) for each in data], sum(len(e.ids) - e.start for e in data)

    def apart(ids: Tensor, seen: Tensor, part: Sequence[Example]) -> Tensor:
        own, reference = (
            each(input_ids=ids, attention_mask=seen, use_cache=False).logits[:, :-1].float().log_softmax(-1)
            for each in usual
        )
        gaps = kl_div(reference, own, reduction="none", log_target=True).sum(-1)
        return (gaps * in_response(seen, part)).sum(1)

    ours, peer = partial(response_kl, lm, other, data), partial(forwards, data, False, device, apart)
    return Pair(
        "kl_div of padded logits",
        ours,
        peer,
        lambda: assert_alike(lm, ours(), peer(), rtol=1e-3),
        flops=2 * forward_flops(lm, read=lengths, predicted=predicted),
        tokens=sum(lengths),
    )
