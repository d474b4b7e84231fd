"""Steps that put judges beside each other, and rules beside people: tables over several judges, and pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.evaluation.judges_agree import agreeing_share, judged_contrasts
from afd_study.evaluation.pair_agreement import TriedPairs, agreement, differences, tried_pairs
from afd_study.evaluation.systems.judges import LONGER, SHORTER
from afd_study.methods.best_of_n import JUDGE, scores_of
from afd_study.methods.ensembles import with_ensembles
from afd_study.study.steps.encoding import ROW, CommonInputs
from afd_study.study.steps.pairs import PAIRS, differences_in_length, gaps, openings, read_texts
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table

BY_JUDGE = ("outcomes", "summary", "win_rates", "diagnostics")
Contrasts = Sequence[tuple[str, str]]


def by_judge(out: Path, context: Context, **judged: Path) -> None:
    """Gather the outcomes under several judges: BY_JUDGE with the judge's name, and all judges' scores.

    Each input is a step `outcomes`, and its name is the judge's.
    """
    for table in BY_JUDGE:
        frames = [read_table(folder, table).assign(judge=name) for name, folder in judged.items()]
        write_table(out, table, pd.concat(frames, ignore_index=True))
    scores = {name: read_table(folder, "scores") for name, folder in judged.items()}
    verdicts = [each[each["scorer"] == JUDGE].assign(scorer=name) for name, each in scores.items()]
    write_table(out, "scores", pd.concat(verdicts, ignore_index=True))


def judges(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    n: int,
    contrasts: Contrasts,
    outcomes: Path,
    pairs: Path,
    **scored: Path,
) -> None:
    """Say how far judges can be believed: tables `judges`, `judges_agree` and `judges_share`.

    `pairs` are people's pairs that no judge was fitted to, and each further input holds a judge's scores of
    them, and perhaps of others. Answers are as long as judges read them.
    """
    texts = read_table(pairs, "demonstrations")
    texts = texts.assign(text=read_texts(texts["text"].tolist(), common))
    tables = [read_table(folder, "scores").assign(scorer=name) for name, folder in scored.items()]
    judged = _with_lengths(texts, pd.concat(tables, ignore_index=True), common)
    drawn = np.random.default_rng(derived_seed(common.seed, "judges"))
    write_table(out, "judges", agreement(judged, generator=drawn))
    table, diagnostics = read_table(outcomes, "outcomes"), read_table(outcomes, "diagnostics")
    spread = diagnostics[diagnostics["method"] == "oracle"].set_index("judge")["spread_within"]
    ids = pd.Index(table["prompt_id"].unique())
    groups = dict(zip(ids, openings(common.prompt_table, ids), strict=True))
    how: dict[str, Any] = {"n": n, "groups": groups, "spread": spread.to_dict(), "generator": drawn}
    agreed = judged_contrasts(table, contrasts, **how)
    write_table(out, "judges_agree", agreed)
    write_table(out, "judges_share", agreeing_share(agreed))


def pair_agreement(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    ensembles: Mapping[str, Sequence[str]],
    contrasts: Contrasts,
    pairs: Path,
    init_logprobs: Path,
    half_logprobs: Path | None = None,
    **scored: Path,
) -> None:
    """Say how often rules agree with people on pairs that nobody learned from: no judge has a part in it.

    Tables `pair_agreement` and `pair_differences`. `pairs` and the log-probabilities are of the answers by
    pi_SFT, pi_init and pi_half. Each further input holds a reward model's scores, of these answers or of
    pi_SFT's pool, which say how widely it spreads: ensembles are those that pick there.
    """
    texts = read_table(pairs, "samples")
    own = texts.merge(read_table(init_logprobs, "logprobs"), on=ROW, validate="one_to_one")
    if half_logprobs is not None:
        half = read_table(half_logprobs, "logprobs").rename(columns={"logprob_init": "logprob_half"})
        own = own.merge(half, on=ROW, validate="one_to_one")
    rules = scores_of(own)
    rules = rules[rules["scorer"] != "random"]  # right on half of everything
    learned = pd.concat([read_table(folder, "scores") for folder in scored.values()], ignore_index=True)
    every = pd.concat([rules, with_ensembles(learned, ensembles)], ignore_index=True)
    tried = _tried(gaps(every), differences_in_length(texts), common)
    drawn = np.random.default_rng(derived_seed(common.seed, "pair agreement"))
    write_table(out, "pair_agreement", agreement(tried, generator=drawn))
    write_table(out, "pair_differences", differences(tried, contrasts, generator=drawn))


def _with_lengths(texts: pd.DataFrame, scores: pd.DataFrame, common: CommonInputs) -> TriedPairs:
    """Return where judges are right on the pairs of `texts`, and the rules longer and shorter beside them."""
    known = texts[["prompt_id", "draw"]].assign(source=PAIRS)
    wide, difference = gaps(scores.merge(known, on=ROW)), differences_in_length(texts)
    return _tried(wide.assign(**{LONGER: difference, SHORTER: -difference}), difference, common)


def _tried(wide: pd.DataFrame, difference: "pd.Series[float]", common: CommonInputs) -> TriedPairs:
    """Return where rules are right, of their gaps; both arguments are indexed by pair."""
    groups = openings(common.prompt_table, wide.index.get_level_values("prompt_id"))
    lengths = np.asarray(difference.loc[wide.index], dtype=np.float64)
    return tried_pairs(wide.reset_index(drop=True), groups=groups, difference=lengths)
