"""Tables on disk. Apart from the store, so that changing the store does not outdate what the steps made."""

from pathlib import Path

import pandas as pd

from afd_study.records import TABLES, checked


def write_table(out: Path, name: str, frame: pd.DataFrame) -> None:
    """Write a table as Parquet; one of records.TABLES is checked first."""
    whole = checked(name, frame) if name in TABLES else frame
    whole.reset_index(drop=True).to_parquet(out / f"{name}.parquet", index=False)


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read a table that a step wrote."""
    return pd.read_parquet(folder / f"{name}.parquet")
