"""What training reads of a data set that may be larger than the memory: packed prompts and examples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.models.packed_examples import PackedExamples


class Asked(NamedTuple):
    """The prompts of some responses, row by row: ids, whether they lost their beginning, and split."""

    ids: Sequence[tuple[int, ...]]
    cut: np.ndarray
    split: np.ndarray


class PackedPrompts(NamedTuple):
    """All prompts, more than the memory may hold: their names, and by place their ids, split and cut."""

    names: pd.Index
    ids: PackedExamples
    split: np.ndarray
    cut: np.ndarray

    def to(self, asked: pd.Series) -> Asked:
        """Return the prompts of some names. Raises DataError for a name that there is none of."""
        places = self.names.get_indexer(pd.Index(asked))
        if (places < 0).any():
            raise DataError(f"there is no prompt '{asked.iloc[int(places.argmin())]}' that a text answers")
        return Asked([self.ids[int(place)].ids for place in places], self.cut[places], self.split[places])


class TrainingExamples(NamedTuple):
    """What a policy is trained on and stopped by, and table `cut`: how many texts were cut, and where."""

    train: PackedExamples
    validation: PackedExamples
    cut: pd.DataFrame
