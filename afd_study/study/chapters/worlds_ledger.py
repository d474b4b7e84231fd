"""What the ledger's page and the command line show: claims judged over worlds, when they are read."""

import hashlib
from importlib.resources import files

import numpy as np
import pandas as pd

from afd_study.evaluation.identities import errors
from afd_study.evaluation.ledger import spread
from afd_study.evaluation.ledger.judging import KEY, UNTESTED, judge_claims, over_sizes
from afd_study.evaluation.ledger.records import check_methods, load_ledger
from afd_study.evaluation.verdicts import NOT_APPLICABLE, OPEN
from afd_study.methods.arms import ARMS, WAYS
from afd_study.methods.best_of_n import SCORERS, WITHOUT_LENGTH
from afd_study.methods.ensembles import ensemble_name
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.frozen.judging import (
    AGAIN,
    FRESH,
    FRESH_FAMILY,
    FRESH_REPLICATES,
    PESSIMISM,
    frozen_runs,
    frozen_values,
    worlds_of,
)

SUFFIXES = (WITHOUT_LENGTH, PESSIMISM)
_BARE = (*REWARD_DATA, *SCORERS, *map(ensemble_name, REWARD_DATA))
METHODS = (
    *_BARE,
    *(f"{name}{suffix}" for name in _BARE for suffix in SUFFIXES),
    *(*ARMS, *WAYS, "pi_init", "pi_sft", "demonstrations"),
)
"""Every method that a claim may name."""
SEED = 2026_11_29  # of what stability expects


def claims_digest() -> str:
    """Return the BLAKE2b digest of claims.yaml, as it was committed before any judging world was run."""
    text = files("afd_study.evaluation.ledger").joinpath("claims.yaml").read_bytes()
    return hashlib.blake2b(text.replace(b"\r\n", b"\n"), digest_size=16).hexdigest()


def verdicts() -> pd.DataFrame:
    """Return every claim with its verdict, judged anew from the frozen values (ledger.judging.COLUMNS).

    Raises StoreError where a part is damaged, SpecError for a claim that names an unknown method.
    """
    check_methods(load_ledger(), METHODS)
    return judge_claims(load_ledger(), frozen_runs(), errors())


def sizes() -> pd.DataFrame:
    """Return claims on picks over n and margins (ledger.judging.over_sizes)."""
    return over_sizes(load_ledger(), frozen_runs())


def counts() -> pd.DataFrame:
    """Return how many rows have each verdict: columns rows, verdict, n.

    `rows` are all, the primary ones, and of these the ones that the first ledger asked too.
    """
    table = verdicts()
    table = table[(table["verdict"] != UNTESTED) & (table["kind"] != "identity")]
    primary = table[table["primary"]]
    groups = {"all": table, "primary": primary, "of the first ledger": primary[primary["first"] != ""]}
    rows = [
        (name, verdict, int(n))
        for name, part in groups.items()
        for verdict, n in part["verdict"].value_counts().items()
    ]
    return pd.DataFrame(rows, columns=["rows", "verdict", "n"])


def open_share(first: bool = True) -> float:
    """Return the share of open verdicts among applicable primary rows, by default of the first ledger's."""
    table = counts()
    part = table[table["rows"] == ("of the first ledger" if first else "primary")].set_index("verdict")["n"]
    applicable = part.drop(NOT_APPLICABLE, errors="ignore").sum()
    return float(part.get(OPEN, 0) / applicable) if applicable else float("nan")


def stability() -> spread.Stability:
    """Return how many verdicts flip between replicates {1, 2} and {3, 4} of the runs that have four."""
    ledger = load_ledger()
    tables = {run: frozen_values(run) for run in ledger.judging_runs}
    frames = {
        run: table for run, table in tables.items() if table is not None and table["replicate"].max() >= 3
    }
    worlds = {run: {family: worlds_of(ledger, run, family) for family in ledger.families} for run in frames}
    return spread.stability(ledger, frames, worlds, errors(), generator=np.random.default_rng(SEED))


def fresh_stability() -> spread.Stability | None:
    """Return how many verdicts flip in one whole setting with as many fresh reward models; None without them.

    The setting is judging.FRESH_SETTING of FRESH_FAMILY; claims elsewhere are not asked.
    """
    table = frozen_values(FRESH)
    if table is None:
        return None
    worlds = {AGAIN: {FRESH_FAMILY: worlds_of(load_ledger(), AGAIN, FRESH_FAMILY)}}
    first, further = range(FRESH_REPLICATES // 2), range(FRESH_REPLICATES // 2, FRESH_REPLICATES)
    rng = np.random.default_rng(SEED)
    return spread.stability(
        load_ledger(), {AGAIN: table}, worlds, errors(), halves=(first, further), generator=rng
    )


def widths(ids: tuple[str, ...]) -> pd.DataFrame:
    """Return how the half-widths of some claims split into worlds and replicates (ledger.spread.widths)."""
    return spread.widths(load_ledger(), frozen_runs(), ids)


def components() -> pd.DataFrame:
    """Return the variance components of contrasts, as the exploration run shows them."""
    return spread.components(load_ledger(), frozen_runs(["components"]), run="components", setting="h = 0")


def five_numbers(ids: tuple[str, ...]) -> pd.DataFrame:
    """Return what stands beside a sentence: effect, interval, prediction interval, k of W worlds, q."""
    table = verdicts().set_index("id").loc[list(ids)].reset_index()
    names = ["effect", "low", "high", "prediction_low", "prediction_high", "n_positive", "n_worlds", "q"]
    return table[[*KEY, *names, "verdict"]]
