"""The columns of every table that passes between floors: tidy frames, joined on ids, never on position.

A table is a pandas DataFrame. `checked` is the one gate: it refuses a frame that lacks a column, holds
a missing value, or repeats a key.
"""

from dataclasses import dataclass

import pandas as pd

from afd_study.errors import DataError, unknown_name


@dataclass(frozen=True)
class Table:
    """A table's columns in order, and those that together name a row (`key`, unique; empty = no key)."""

    columns: tuple[str, ...]
    key: tuple[str, ...] = ()


TABLES: dict[str, Table] = {
    # what is asked; split is train, validation or test, disjoint by prompt
    "prompts": Table(("prompt_id", "split", "text"), ("prompt_id",)),
    # what a behaviour policy answered; several draws a prompt
    "demonstrations": Table(("prompt_id", "draw", "text"), ("prompt_id", "draw")),
    # two answers to one prompt and which one a person (or the judge) prefers
    "preferences": Table(("prompt_id", "draw", "preferred", "rejected"), ("prompt_id", "draw")),
    # what a policy answered; token_ids without padding, logprob in nats of the whole response with EOS
    "samples": Table(
        ("prompt_id", "source", "draw", "token_ids", "text", "logprob"), ("prompt_id", "source", "draw")
    ),
    # what a scorer (reward model, closed form, length, judge) says of a sample
    "scores": Table(
        ("prompt_id", "source", "draw", "scorer", "reward"), ("prompt_id", "source", "draw", "scorer")
    ),
    # which draw a selection rule keeps out of the first n
    "picks": Table(("prompt_id", "rule", "n", "draw"), ("prompt_id", "rule", "n")),
    # the expected judge's value of a method at n, a prompt
    "outcomes": Table(
        ("task", "seed", "method", "n", "prompt_id", "judge", "value"),
        ("task", "seed", "method", "n", "prompt_id", "judge"),
    ),
    # a policy's path while it is optimised: mean reward, nats from the reference, tokens and nats a response
    "trajectory": Table(("step", "proxy", "kl", "length", "entropy"), ("step",)),
    # the outcomes with prompts averaged out: what the command line prints
    "summary": Table(
        ("task", "method", "n", "judge", "mean", "low", "high", "n_prompts", "seed"),
        ("task", "method", "n", "judge", "seed"),
    ),
}

SPLITS = ("train", "validation", "test")


def checked(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with the columns of table `name`, in order; further columns are kept behind them.

    Raises SpecError for an unknown table, DataError for a missing column or value or a repeated key.
    """
    if name not in TABLES:
        raise unknown_name("table", name, TABLES)
    table = TABLES[name]
    lacking = [column for column in table.columns if column not in frame.columns]
    if lacking:
        raise DataError(f"table '{name}' lacks the columns {lacking}; it has {list(frame.columns)}")
    holes = [column for column in table.columns if frame[column].isna().any()]
    if holes:
        raise DataError(f"table '{name}' has missing values in {holes}")
    if table.key and frame.duplicated(list(table.key)).any():
        row = frame.loc[frame.duplicated(list(table.key)), list(table.key)].iloc[0].to_dict()
        raise DataError(f"table '{name}' repeats the key {row}")
    rest = [column for column in frame.columns if column not in table.columns]
    return frame[[*table.columns, *rest]].reset_index(drop=True)
