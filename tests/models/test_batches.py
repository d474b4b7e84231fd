"""What goes through a model at once: ids joined as ids, padding that is known by length, batches by lot."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from afd_study.errors import DataError
from afd_study.models.batches import Example, Pair, collate, fork, in_batches, join, step_indices


def test_prompt_and_response_are_joined_as_ids():
    examples = join([[3, 4], [5]], [[6, 1], [7, 8, 1]], eos_id=None, context=4)
    assert examples == [Example((3, 4, 6, 1), 2), Example((5, 7, 8, 1), 1)]
    assert join([[3]], [[6]], eos_id=1, context=3) == [Example((3, 6, 1), 1)]


def test_what_does_not_fit_is_refused_and_not_cut():
    with pytest.raises(DataError, match="row 1 has 5 tokens and the model's context holds 4"):
        join([[3], [3, 4]], [[6, 1], [6, 7, 1]], eos_id=None, context=4)
    with pytest.raises(DataError, match="row 0 has 4 tokens"):  # the end mark counts
        join([[3]], [[6, 7]], eos_id=1, context=3)
    with pytest.raises(DataError, match="row 0 has an empty prompt"):
        join([[]], [[6, 1]], eos_id=None, context=4)


def test_padding_is_on_the_right_and_known_by_length_alone():
    batch = collate([Example((5, 0, 0), 1), Example((7,), 1)], padding_id=9)
    assert batch.ids.tolist() == [[5, 0, 0], [7, 9, 9]]
    assert batch.starts.tolist() == [1, 1] and batch.lengths.tolist() == [3, 1]


def test_a_forks_tokens_see_their_prompt_and_their_own_branch_alone():
    forks = fork(
        [Pair(Example((5, 6, 1), 1), Example((5, 7, 8, 1), 1)), Pair(Example((4, 1), 1), Example((4, 9), 1))],
        padding_id=2,
    )
    assert forks.ids.tolist() == [[5, 6, 1, 7, 8, 1], [4, 1, 9, 2, 2, 2]]
    assert forks.places.tolist() == [[0, 1, 2, 1, 2, 3], [0, 1, 1, 1, 1, 1]]  # none beyond a text's own
    assert forks.ends.tolist() == [[2, 5], [1, 2]]
    seen = [(~barred).nonzero().tolist() for barred in forks.barred]
    first = {0: [0], 1: [0, 1], 2: [0, 1, 2], 3: [0, 3], 4: [0, 3, 4], 5: [0, 3, 4, 5]}
    assert seen[0] == [[token, each] for token, sees in first.items() for each in sees]
    assert [pair for pair in seen[1] if pair[0] < 3] == [[0, 0], [1, 0], [1, 1], [2, 0], [2, 2]]


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=60)


@given(lengths=SIZES, batch_size=st.integers(1, 9), window=st.integers(1, 4), seed=st.integers(0, 99))
def test_every_epoch_takes_no_example_twice_and_fills_every_batch(lengths, batch_size, window, seed):
    per_epoch = len(lengths) // batch_size
    if not per_epoch:
        with pytest.raises(DataError, match="do not fill a batch"):
            step_indices(lengths, batch_size=batch_size, steps=1, seed=seed, window=window)
        return
    plan = step_indices(lengths, batch_size=batch_size, steps=3 * per_epoch, seed=seed, window=window)
    assert len(plan) == 3 * per_epoch and {len(rows) for rows in plan} == {batch_size}
    for epoch in range(3):
        rows = np.concatenate(plan[epoch * per_epoch : (epoch + 1) * per_epoch])
        assert len(set(rows)) == len(rows)


def test_long_examples_are_left_out_no_more_often_than_short_ones():
    # of 60 examples 12 fill no batch of 16: sorted first, they'd be the 12 longest in every epoch
    lengths = list(range(1, 61))
    plan = step_indices(lengths, batch_size=16, steps=3 * 400, seed=0)
    seen = Counter(int(row) for rows in plan for row in rows)
    counts = np.array([seen[row] for row in range(60)])
    # each is in 400 epochs with probability 48 / 60: 320 +- 8
    assert np.abs(counts - 320).max() < 5 * 8


def test_a_batch_holds_examples_of_similar_length_and_comes_in_no_order_of_length():
    lengths = np.random.default_rng(0).integers(1, 100, size=640)
    plan = step_indices(lengths, batch_size=32, steps=20, seed=1)
    spread = np.mean([np.ptp(lengths[rows]) for rows in plan])
    assert spread < 15  # a random batch spans about 94
    means = [lengths[rows].mean() for rows in plan]
    assert abs(np.corrcoef(means, range(20))[0, 1]) < 0.6


def test_the_plan_depends_on_the_seed_and_grows_by_appending():
    lengths = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3] * 3
    plan = [step_indices(lengths, batch_size=4, steps=s, seed=0) for s in (5, 20)]
    assert all(np.array_equal(a, b) for a, b in zip(plan[0], plan[1][:5], strict=True))
    other = step_indices(lengths, batch_size=4, steps=20, seed=1)
    assert not all(np.array_equal(a, b) for a, b in zip(plan[1], other, strict=True))


def test_numbers_come_back_in_the_examples_order_from_batches_within_the_limit():
    rng = np.random.default_rng(2)
    examples = [Example(tuple(rng.integers(1, 50, size=n)), 1) for n in rng.integers(1, 12, size=40)]
    shapes = []

    def run(batch):
        shapes.append(batch.ids.shape)
        kept = torch.arange(batch.ids.shape[1]) < batch.lengths[:, None]
        return (batch.ids * kept).sum(1)

    result = in_batches(examples, run, max_tokens=30, device="cpu")
    assert result.tolist() == [sum(example.ids) for example in examples]
    assert all(rows * length <= 30 for rows, length in shapes) and len(shapes) > 1
    assert in_batches(examples, run, max_tokens=1, device="cpu").tolist() == result.tolist()
    assert len(in_batches([], run, max_tokens=30, device="cpu")) == 0
