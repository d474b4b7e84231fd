"""Examples in a file are the examples that were put there, and training on them is the same training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from minis import built

from afd_study.methods.sft import fine_tune
from afd_study.models.batches import Example
from afd_study.models.packed_examples import pack
from afd_study.models.specs import TrainingSpec

ids = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9)
EXAMPLES = [Example(tuple(range(3, 5 + number % 4)), 1) for number in range(20)]


@pytest.mark.parametrize("n_ids", [2**16, 2**31])
@given(rows=st.lists(ids, max_size=9))
def test_examples_come_back_as_they_were(rows, n_ids, tmp_path_factory):
    rows = [[each % n_ids for each in row] for row in rows]
    examples = [Example(tuple(row), place % len(row) + 1) for place, row in enumerate(rows)]
    packed = pack(iter(examples), tmp_path_factory.mktemp("packed") / "ids", n_ids=n_ids)
    assert list(packed) == examples and len(packed) == len(examples)
    assert list(packed[1:7:2]) == examples[1:7:2]
    assert list(packed.rows(np.arange(len(rows))[::-1])) == examples[::-1]


def test_a_place_behind_the_last_is_refused(tmp_path):
    with pytest.raises(IndexError):
        pack(EXAMPLES, tmp_path / "ids", n_ids=20)[20]


def test_training_on_packed_examples_gives_the_same_bits(tmp_path):
    spec = TrainingSpec(steps=3, batch_size=4, learning_rate=1e-2, evaluate_every=3, checkpoint_every=3)

    def weights(examples, name):
        lm, evaluations = fine_tune(
            built("gpt2"), examples, validation=examples[:8], training=spec, seed=0, workspace=tmp_path / name
        )
        return lm.state_dict(), evaluations

    plain, packed = weights(EXAMPLES, "a"), weights(pack(EXAMPLES, tmp_path / "ids", n_ids=20), "b")
    assert plain[1] == packed[1]
    assert all(torch.equal(value, packed[0][name]) for name, value in plain[0].items())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_no_success():
    with pytest.raises(OSError, match="No space left"):
        pack([Example(tuple(range(10**5)), 1)], Path("/dev/full"), n_ids=10**6)
