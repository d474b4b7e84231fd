"""Where the book shows a claim's figure and table, besides the ledger's own."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

TASK_PAGES = {"harmless": "04_harmless.html", "helpful": "05_helpful.html"}
SHOWN_SETTINGS = ("h = 0", "h = 1")  # of the chapters on tasks and probes; the map shows those with a style
SECTIONS = {"outcomes": "best of n", "win_rates": "best of n", "coverage": "does SFT cover"}
"""Table of a claim -> the section of a task's page that shows it."""
ARMS_PAGE = "07_optimising_the_policy.html"
MAP_PAGE = "08_when_it_works.html"


class Place(NamedTuple):
    """The name of a place in the book, and its address; without an address it is no link."""

    name: str
    address: str = ""


NOWHERE = Place("–")
LEDGER = Place("this chapter", "10_claims.html")


def evidence(row: Mapping[Any, Any]) -> Place:
    """Return where a row of the ledger (evaluation.claims.judge_claims) has its figure and table.

    A task without a page of its own has them in the ledger's chapter.
    """
    task, setting, table = str(row["task"]), str(row["setting"]), str(row["table"])
    if row["kind"] == "identity":
        return Place("theory", "01_alignment_from_demonstrations.html")
    if pd.isna(row["effect"]):
        return NOWHERE
    if row["form"] == "predicts":
        return Place("map: can one tell beforehand", f"{MAP_PAGE}#can-one-tell-beforehand")
    if row.get("run") == "arms":
        return _of_arms(table, {str(row["method"]), str(row["than"])})
    if setting in SHOWN_SETTINGS and table == "probes":
        return Place("what reward models learn", "06_what_reward_models_learn.html")
    if setting in SHOWN_SETTINGS and table in SECTIONS and task in TASK_PAGES:
        section = SECTIONS[table]
        anchor = section.lower().replace(" ", "-")
        return Place(f"{task}: {section}", f"{TASK_PAGES[task]}#{anchor}")
    if table == "outcomes" and "matched" in setting:
        return Place("map: matched gain", f"{MAP_PAGE}#what-does-sft-itself-gain")
    if table == "outcomes" and "a = 0.9" in setting:
        return Place("map: who wins where", f"{MAP_PAGE}#who-wins-where")
    return LEDGER


def _of_arms(table: str, methods: set[str]) -> Place:
    """Return the same for claims on policies beyond picking."""
    if table == "cost":
        return Place("cost", "11_cost.html")
    if table == "coverage":
        return Place("imitating: covering or seeking", f"{ARMS_PAGE}#imitating-covering-or-seeking")
    if methods & {"rl_init_sft", "extrapolation"}:
        return Place("judge against nats", f"{ARMS_PAGE}#judge-against-nats")
    return Place("what training reaches", f"{ARMS_PAGE}#what-training-reaches")
