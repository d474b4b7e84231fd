"""What the page on a pretrained model shows: aggregates of one study on real texts, computed or frozen.

No text leaves the study: what is frozen are counts, shares and means.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd

from afd_study.study.chapters.chapter import Chapter
from afd_study.study.chapters.experiment import Maker, Studies
from afd_study.study.frozen.files import read_manifest
from afd_study.study.frozen.pretrained import NAME, PROFILE
from afd_study.study.study import Study, open_study

SHOWN_N = (1, 2, 4, 8, 16)


def prompts(study: Study) -> pd.DataFrame:
    """Return how the prompts are dealt out: seed, part, split, prompts."""
    return study.table("prompts").groupby(["seed", "part", "split"]).size().reset_index(name="prompts")


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


PEOPLE = ("pair_agreement", "pair_differences", "judges", "judges_agree", "judges_share")
PLAIN = {
    "apart": "when",
    "told_apart": "discrimination",
    "cut": "cut",
    **dict(zip(PEOPLE, PEOPLE, strict=True)),
}
"""A table of the page -> the study's own, which it shows as it is."""


def _of_the_only(make: Callable[[Study], pd.DataFrame], studies: Studies) -> pd.DataFrame:
    (study,) = studies.values()
    return make(study)


def _as_it_is(own: str, studies: Studies) -> pd.DataFrame:
    return _of_the_only(lambda study: study.table(own), studies)


TABLES: Mapping[str, Maker] = {
    **{make.__name__: partial(_of_the_only, make) for make in (prompts, ends, outcomes, costs)},
    "reward_models": partial(_of_the_only, Study.reward_models),
    **{name: partial(_as_it_is, own) for name, own in PLAIN.items()},
}
"""Tables of the page by name; a row has its seed."""


def open_page(
    task: str,
    profile: str = PROFILE,
    seed: int = 0,
    *,
    overrides: Mapping[str, Any] | None = None,
    frozen: bool = True,
) -> Chapter:
    """Open a page's tables: the frozen ones of a task, or those of a study of one seed.

    Raises StoreError where a task has none, SpecError for a study that there cannot be.
    """
    name = f"{NAME}/{task}"
    if frozen:
        read_manifest(name)
        return Chapter(name, TABLES, None)
    return page_of(open_study(task, profile, seed, 1, overrides=overrides))


def page_of(study: Study) -> Chapter:
    """Return the page's tables of a study."""
    return Chapter(f"{NAME}/{study.task}", TABLES, {"as given": study})
