"""What the page on a pretrained model shows: aggregates of one study on real texts, computed or frozen.

No text leaves the study: what is frozen are counts, shares and means.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from afd_study.errors import unknown_name
from afd_study.study.frozen.files import read_frozen, read_manifest
from afd_study.study.study import Study, open_study

PROFILE = FOLDER = "pretrained"  # whose settings, and where results are frozen
SHOWN_N = (1, 2, 4, 8, 16)
Maker = Callable[[Study], pd.DataFrame]


def prompts(study: Study) -> pd.DataFrame:
    """Return how the prompts are dealt out: seed, part, split, prompts."""
    return study.table("prompts").groupby(["seed", "part", "split"]).size().reset_index(name="prompts")


def cut(study: Study) -> pd.DataFrame:
    """Return what was cut of demonstrations: seed, side (prompt or response), n, n_cut, bound (tokens)."""
    return study.table("cut")


def ends(study: Study) -> pd.DataFrame:
    """Return how long samples are and whether they end by themselves: seed, source, draws, tokens, ended.

    `tokens` is the mean, `ended` the share that is shorter than the horizon.
    """
    frames = [study.table(name).assign(source=name) for name in ("samples", "init_samples")]
    table = pd.concat(frames)
    sizes = table["token_ids"].map(len)
    horizon = study.spec.sampling.max_new_tokens
    rows = table.assign(tokens=sizes, ended=sizes < horizon).groupby(["seed", "source"])
    return rows.agg(draws=("ended", "size"), tokens=("tokens", "mean"), ended=("ended", "mean")).reset_index()


def outcomes(study: Study) -> pd.DataFrame:
    """Return the judges' mean of every rule's pick at the n of SHOWN_N, with intervals over prompts."""
    table = study.table("summary_by_judge" if study.has("summary_by_judge") else "summary")
    return table[table["n"].isin(SHOWN_N)].reset_index(drop=True)


def costs(study: Study) -> pd.DataFrame:
    """Return what each kind of step took: seed, step, seconds, tokens."""
    table = study.cost()
    return table.groupby(["seed", "step"])[["seconds", "tokens"]].sum().reset_index()


TABLES: Mapping[str, Maker] = {
    "prompts": prompts,
    "cut": cut,
    "ends": ends,
    "outcomes": outcomes,
    "costs": costs,
    "apart": lambda study: study.table("when"),
    "told_apart": lambda study: study.table("discrimination"),
    "reward_models": lambda study: study.reward_models(),
    "pair_agreement": lambda study: study.table("pair_agreement"),
    "pair_differences": lambda study: study.table("pair_differences"),
    "judges": lambda study: study.table("judges"),
    "judges_agree": lambda study: study.table("judges_agree"),
    "judges_share": lambda study: study.table("judges_share"),
}
"""Tables of the page by name; a row has its seed."""


@dataclass(frozen=True)
class Page:
    """The tables of one task: frozen ones, or those of a study."""

    task: str
    study: Study | None

    def table(self, name: str) -> pd.DataFrame:
        """Return a table, computed if need be.

        Raises SpecError for a name that there is no table of, StoreError for a frozen table that is missing
        or does not match its manifest.
        """
        if name not in TABLES:
            raise unknown_name("table of a pretrained model", name, TABLES)
        if self.study is None:
            return read_frozen(f"{FOLDER}/{self.task}", name)
        return TABLES[name](self.study)


def open_page(
    task: str,
    profile: str = PROFILE,
    seed: int = 0,
    *,
    overrides: Mapping[str, Any] | None = None,
    frozen: bool = True,
) -> Page:
    """Open a page's tables: the frozen ones of a task, or those of a study of one seed.

    Raises StoreError where a task has none, SpecError for a study that there cannot be.
    """
    if frozen:
        read_manifest(f"{FOLDER}/{task}")
        return Page(task, None)
    return Page(task, open_study(task, profile, seed, 1, overrides=overrides))
