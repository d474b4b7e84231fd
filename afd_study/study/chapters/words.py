"""How chapters' tables write means with intervals, and in which order they put tasks and methods."""

import pandas as pd

from afd_study.methods.arms import ARMS
from afd_study.methods.reward_data import REWARD_DATA

METHOD_ORDER = ("pi_init", "pi_sft", *REWARD_DATA, *ARMS)


def intervals_in_words(rows: pd.DataFrame, value: str = "mean", *, sign: str = "") -> list[str]:
    """Return "1.44 [1.20, 1.68]" for each row, of the columns `value`, low and high.

    `sign` is "+" where positive numbers have one too.
    """
    shown = f"{{:{sign}.2f}} [{{:{sign}.2f}}, {{:{sign}.2f}}]".format
    return [shown(*row) for row in rows[[value, "low", "high"]].itertuples(index=False)]


def by_task_and_method(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table sorted by task, and within a task by METHOD_ORDER; other methods come last."""
    order = {name: place for place, name in enumerate(METHOD_ORDER)}
    table = table.sort_values("method", key=lambda column: column.map(order), kind="stable")
    return table.sort_values("task", kind="stable").reset_index(drop=True)
