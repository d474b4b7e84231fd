"""Tables on disk. Apart from the store, so that changing the store does not outdate what the steps made."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from afd_study.records import checked

BATCH = 2_000  # rows that are in memory at once, where a table may be larger than it


def write_table(out: Path, name: str, frame: pd.DataFrame) -> None:
    """Write a table of records.TABLES as Parquet.

    Raises SpecError for a table that is not among them, DataError for one that is not as it should be.
    """
    checked(name, frame).reset_index(drop=True).to_parquet(out / f"{name}.parquet", index=False)


def write_batches(out: Path, name: str, frames: Iterable[pd.DataFrame]) -> None:
    """Write a table piece by piece: at least one piece, all of the same columns. Keys are the caller's care.

    Raises as `write_table`, for each piece by itself.
    """
    tables = iter(frames)
    first = pa.Table.from_pandas(checked(name, next(tables)), preserve_index=False)
    with pq.ParquetWriter(out / f"{name}.parquet", first.schema) as writer:
        writer.write_table(first)
        for frame in tables:
            piece = checked(name, frame)
            writer.write_table(pa.Table.from_pandas(piece, preserve_index=False, schema=first.schema))


def read_table(folder: Path, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table that a step wrote, or some of its columns."""
    return pd.read_parquet(folder / f"{name}.parquet", columns=None if columns is None else list(columns))


def read_batches(folder: Path, name: str) -> Iterator[pd.DataFrame]:
    """Yield a table that a step wrote in pieces of at most BATCH rows, in its order; at least one."""
    with pq.ParquetFile(folder / f"{name}.parquet") as file:
        if not file.metadata.num_rows:
            yield file.read().to_pandas()
        for batch in file.iter_batches(BATCH):
            yield batch.to_pandas()


def of_prompts(pieces: Iterable[pd.DataFrame], ids: pd.Series) -> Iterator[pd.DataFrame]:
    """Yield the rows of each piece whose prompt is among `ids`, which are looked up by one index."""
    index = pd.Index(ids)
    for piece in pieces:
        yield piece[index.get_indexer(piece["prompt_id"]) >= 0]
