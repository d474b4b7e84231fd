"""Examples that may be more than the memory holds: their ids lie side by side in a file.

A token takes 2 bytes there (4 where ids exceed 65,535). In an `Example` it takes 8, and up to 36 while it is
read.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from afd_study.models.batches import Example


class PackedExamples(Sequence[Example]):
    """Examples in a fixed order, read from `ids` (tokens,) as they are asked for.

    Example i is ids[firsts[i] : firsts[i] + lengths[i]], and its response begins at starts[i]; all three are
    (examples,).
    """

    def __init__(
        self, ids: np.ndarray, *, firsts: np.ndarray, lengths: np.ndarray, starts: np.ndarray
    ) -> None:
        """Take the arrays as they are; `pack` makes them."""
        self.ids, self.firsts, self.lengths, self.starts = ids, firsts, lengths, starts

    def __len__(self) -> int:
        """Count the examples."""
        return len(self.firsts)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> "PackedExamples": ...
    def __getitem__(self, place: int | slice) -> "Example | PackedExamples":
        """Return an example, or some of them, still packed."""
        if isinstance(place, slice):
            return self.rows(np.arange(len(self))[place])
        first = self.firsts[place]
        ids = self.ids[first : first + self.lengths[place]]
        return Example(tuple(ids.tolist()), int(self.starts[place]))

    def rows(self, places: np.ndarray) -> "PackedExamples":
        """Return the examples at `places` (n,), still packed."""
        parts = {name: getattr(self, name)[places] for name in ("firsts", "lengths", "starts")}
        return PackedExamples(self.ids, **parts)


def pack(examples: Iterable[Example], path: Path, *, n_ids: int) -> PackedExamples:
    """Write examples, whose ids are below `n_ids`, to a file and return them as they lie there.

    Raises OSError where the disk takes no more, and whatever `examples` raises.
    """
    kind = np.uint16 if n_ids <= 2**16 else np.int32
    lengths, starts = [], []
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for example in examples:
            file.write(np.array(example.ids, dtype=kind).tobytes())
            lengths.append(len(example.ids))
            starts.append(example.start)
    sizes = np.array(lengths, dtype=np.int64)
    ids = np.memmap(path, dtype=kind, mode="r") if sizes.sum() else np.zeros(0, dtype=kind)
    return PackedExamples(
        ids, firsts=np.cumsum(sizes) - sizes, lengths=sizes, starts=np.array(starts, dtype=np.int64)
    )
