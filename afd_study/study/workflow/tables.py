"""Tables on disk. Apart from the store, so that changing the store does not outdate what the steps made."""

from pathlib import Path

import pandas as pd

from afd_study.records import checked


def write_table(out: Path, name: str, frame: pd.DataFrame) -> None:
    """Write a table of records.TABLES as Parquet.

    Raises SpecError for a table that is not among them, DataError for one that is not as it should be.
    """
    checked(name, frame).reset_index(drop=True).to_parquet(out / f"{name}.parquet", index=False)


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read a table that a step wrote."""
    return pd.read_parquet(folder / f"{name}.parquet")
