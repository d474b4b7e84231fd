"""What goes through the models: random prompts of 20 to 60 tokens and responses of 10 to 80."""

import numpy as np

from afd_study.models.batches import Example, Pair

PROMPT, RESPONSE = (20, 60), (10, 80)


def examples(n: int, vocabulary: int, *, seed: int) -> list[Example]:
    """Return `n` prompts with a response each; ids from 3 on, so that none is special."""
    rng = np.random.default_rng(seed)
    return [_example(rng, _ids(rng, PROMPT, vocabulary), vocabulary) for _ in range(n)]


def pairs(n: int, vocabulary: int, *, seed: int) -> list[Pair]:
    """Return `n` prompts with two responses each."""
    rng = np.random.default_rng(seed)
    prompts = [_ids(rng, PROMPT, vocabulary) for _ in range(n)]
    return [Pair(_example(rng, ids, vocabulary), _example(rng, ids, vocabulary)) for ids in prompts]


def prompts(
    n: int, vocabulary: int, *, seed: int, lengths: tuple[int, int] = PROMPT
) -> list[tuple[int, ...]]:
    """Return `n` prompts, of `lengths` tokens at least and at most."""
    rng = np.random.default_rng(seed)
    return [_ids(rng, lengths, vocabulary) for _ in range(n)]


def responses(
    ids: list[tuple[int, ...]], n: int, vocabulary: int, *, seed: int, lengths: tuple[int, int] = RESPONSE
) -> list[Example]:
    """Return `n` responses to each prompt, prompt by prompt."""
    rng = np.random.default_rng(seed)
    return [_example(rng, prompt, vocabulary, lengths) for prompt in ids for _ in range(n)]


def _example(
    rng: np.random.Generator,
    prompt: tuple[int, ...],
    vocabulary: int,
    lengths: tuple[int, int] = RESPONSE,
) -> Example:
    return Example((*prompt, *_ids(rng, lengths, vocabulary)), len(prompt))


def _ids(rng: np.random.Generator, lengths: tuple[int, int], vocabulary: int) -> tuple[int, ...]:
    size = rng.integers(lengths[0], lengths[1] + 1)
    return tuple(rng.integers(3, vocabulary, size).tolist())
