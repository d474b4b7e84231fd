"""Entries on their way from a data set's files to its tables: texts on disk, the rest in memory.

A data set may be larger than the memory. What decides where an entry goes (hashes, reasons, flags) takes
about 150 bytes an entry. Its texts are written down as they are read, and read again in batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from afd_study.errors import StoreError
from afd_study.worlds.entries import Entry, hash_of, opening, prompt_id, unit_hash

BATCH = 10_000  # entries: at 1,000 characters each about 10 MB
_TEXTS = pa.schema([(name, pa.string()) for name in ("prompt", "demonstration", "preferred", "rejected")])


class Spool:
    """Entries in their order: `add` them, `drop` some by their `facts`, and read their `texts` again."""

    def __init__(self, folder: Path | None, *, split_seed: int, keep_texts: bool = True) -> None:
        """Open an empty spool in a folder of its own below `folder` (None: where temporary files go).

        Without `keep_texts` nothing is written, and `texts` can't be had: facts say how long they are.
        """
        self._seed, self._facts = split_seed, list[pd.DataFrame]()
        self._writer: pq.ParquetWriter | None = None
        if keep_texts:
            with _writing(folder):
                self._folder = TemporaryDirectory(prefix="corpus-", dir=folder)  # removed with the spool
                self._path = Path(self._folder.name) / "texts.parquet"
                self._writer = pq.ParquetWriter(self._path, _TEXTS)

    def add(self, entries: Iterable[Entry]) -> None:
        """Put entries behind those that are there.

        Raises StoreError where the disk takes no more.
        """
        stream = iter(entries)
        while batch := list(islice(stream, BATCH)):
            if self._writer is not None:
                texts = {name: [getattr(entry, name) for entry in batch] for name in _TEXTS.names}
                with _writing(self._path):
                    self._writer.write_table(pa.table(texts, schema=_TEXTS))
            self._facts.append(_facts(batch, self._seed))

    @property
    def facts(self) -> pd.DataFrame:
        """A row for each entry: all of `Entry` but its texts, and hashes of its prompt.

        `prompt_id` is "" where the entry was dropped; `whole` and `opening` are hashes of prompt and opening;
        `place` and `lot` are uniform in [0, 1) over openings and prompts; `prompt_length` and `answer_length`
        are characters; `demonstrated` and `compared` say whether it has a demonstration and a preference.
        """
        if len(self._facts) != 1:
            self._facts = [pd.concat(self._facts or [_facts([], self._seed)], ignore_index=True)]
        return self._facts[0]

    def drop(self, which: np.ndarray, reason: str) -> None:
        """Leave the entries in a mask with nothing to use, and say why."""
        facts = self.facts
        facts.loc[which, "prompt_id"], facts.loc[which, "reason"] = "", reason
        facts.loc[which, ["demonstrated", "compared"]] = False

    def texts(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield some texts of all entries, a batch at a time; the index counts the entries.

        Nothing can be added afterwards.
        """
        assert self._writer is not None, "this spool keeps no texts"
        with _writing(self._path):
            self._writer.close()
        first = 0
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(BATCH, columns=list(columns)):
                frame = batch.to_pandas()
                yield frame.set_index(pd.RangeIndex(first, first + len(frame)))
                first += len(frame)


@contextmanager
def _writing(place: Path | None) -> Iterator[None]:
    """Say what can be done where the spool can't be written."""
    try:
        yield
    except OSError as fault:
        where = place or "the folder for temporary files (TMPDIR)"
        raise StoreError(
            f"{where} can't be written: {fault.strerror or fault}. The texts of a data set wait there while "
            "it is split: free as much space as its files take, or name another folder"
        ) from fault


def _facts(entries: Sequence[Entry], seed: int) -> pd.DataFrame:
    """Return what `Spool.facts` says of each entry."""
    openings = [opening(entry.prompt) for entry in entries]
    texts = {
        "file": [entry.file for entry in entries],
        "reason": [entry.reason for entry in entries],
        "prompt_id": [prompt_id(entry.prompt) if entry.prompt else "" for entry in entries],
    }
    numbers = {
        "line": np.array([entry.line for entry in entries], dtype=np.int64),
        "whole": np.array([hash_of(entry.prompt) for entry in entries], dtype=np.uint64),
        "opening": np.array([hash_of(text) for text in openings], dtype=np.uint64),
        "place": np.array([unit_hash(text, seed=seed, use="split") for text in openings], dtype=float),
        "lot": np.array([unit_hash(e.prompt, seed=seed, use="max_rows") for e in entries], dtype=float),
        "prompt_length": np.array([len(entry.prompt) for entry in entries], dtype=np.int64),
        "answer_length": np.array([len(entry.demonstration) for entry in entries], dtype=np.int64),
        "from_test": np.array([entry.from_test for entry in entries], dtype=bool),
        "demonstrated": np.array([bool(entry.demonstration) for entry in entries], dtype=bool),
        "compared": np.array([bool(entry.preferred) for entry in entries], dtype=bool),
    }
    return pd.DataFrame({**{name: pd.Series(texts[name], dtype="str") for name in texts}, **numbers})
