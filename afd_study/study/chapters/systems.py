"""What the page on real systems shows, all of it from frozen aggregates."""

from functools import cache

import pandas as pd

from afd_study.errors import unknown_name
from afd_study.evaluation.systems.agreement import NONE, RESIDUAL
from afd_study.evaluation.systems.picks import ALWAYS, BEST_SYSTEM, RANDOM
from afd_study.evaluation.systems.triples import WORDS, load_triples
from afd_study.evaluation.systems.verdicts import PRIMARY, TRIPLE, verdicts
from afd_study.study.frozen.files import read_frozen
from afd_study.study.frozen.systems import NAME

FRONT = ("reader", "prompts", *TRIPLE, "explored", "of_reference")
METHODS = ("init_sft", "init_demo", "sft_demo", "longest")


@cache
def _frozen(table: str) -> pd.DataFrame:
    return read_frozen(NAME, table)


def prompts() -> pd.DataFrame:
    """Return sources of prompts: dataset, prompts, wins, easy (where nine in ten beat the reference)."""
    return _frozen("prompts")


def reference() -> str:
    """Return the system that GPT-4 compared every answer with."""
    return load_triples().reference


def verdict_rows() -> pd.DataFrame:
    """Return each contrast's verdict over lineages (evaluation.systems.verdicts.COLUMNS)."""
    return verdicts(_frozen("agreement"), load_triples())


def readers() -> list[str]:
    """Return who has read the answers: words, and a pretrained model's states where they are frozen."""
    return list(dict.fromkeys(_frozen("agreement")["reader"]))


def correlations(prompts: str = PRIMARY, reader: str = WORDS) -> pd.DataFrame:
    """Return each score's rank correlation with the verdicts: FRONT, method, value, low, high, triple.

    Prompts' and systems' means are out of both sides. A row is a triple and a method; `triple` says the three
    systems.
    """
    table = _of(reader, "agreement")
    plain = table["less_method"].isna() & (table["means"] == RESIDUAL) & (table["adjustment"] == NONE)
    rows = table[plain & (table["prompts"] == prompts) & table["method"].isin(METHODS)]
    return _named(rows)[[*FRONT, "triple", "method", "value", "low", "high"]]


def apart(prompts: str = PRIMARY, reader: str = WORDS) -> pd.DataFrame:
    """Return how well the systems of each triple are told apart: triple, explored, and two AUCs a pair.

    Column `init_sft` is a discriminator's AUC, `init_sft_by_length` that of length alone; and so on.
    """
    table = _named(_of(reader, "told_apart").query("prompts == @prompts"))
    wide = table.pivot(index="triple", columns="discriminator", values=["auc", "auc_by_length"])
    suffix = {"auc": "", "auc_by_length": "_by_length"}
    wide.columns = pd.Index([f"{column[1]}{suffix[column[0]]}" for column in wide.columns])
    return _in_order(table).merge(wide.reset_index(), on="triple")


def picks(prompts: str = PRIMARY, reader: str = WORDS) -> pd.DataFrame:
    """Return GPT-4's mean preference for the pick among 16 systems' answers, a column a rule.

    A row is a triple: triple, explored. Rules that know the system alone stand behind the scores: always the
    system with the longest answers (`longest system`), and the one with the best verdicts on other prompts.
    """
    table = _named(_of(reader, "picks").query("prompts == @prompts and less_method.isna()"))
    constant = {f"{ALWAYS}longest": "longest system", BEST_SYSTEM: "best system"}
    wide = table.pivot(index="triple", columns="method", values="value").rename(columns=constant)
    rules = [RANDOM, *METHODS, *constant.values()]
    return _in_order(table).merge(wide[rules].reset_index(), on="triple")


def _of(reader: str, table: str) -> pd.DataFrame:
    """Return the rows of one reader. Raises SpecError, with the nearest name, for another one."""
    if reader not in readers():
        raise unknown_name("reader of systems' answers", reader, readers())
    rows = _frozen(table)
    return rows[rows["reader"] == reader].reset_index(drop=True)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of triples with `triple`, what a page calls one."""
    names = [f"{row.base} > {row.tuned} / {row.demonstrator}" for row in table.itertuples()]
    return table.assign(triple=names)


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    return table[["triple", "explored"]].drop_duplicates()


def within_policy(reader: str = WORDS) -> pd.DataFrame:
    """Return what PairRM's published picks gain within one policy, and how scores agree with them.

    Columns measure, method, value, low, high (of the mean over judged triples: their lowest and highest), n.
    """
    table = _of(reader, "within_policy").query(
        f"prompts == '{PRIMARY}' and not explored and adjustment == '{NONE}'"
    )
    gain = table[table["method"] == "pairrm"].drop_duplicates("method")
    scores = table[table["method"] != "pairrm"].groupby(["measure", "method"], sort=False)["value"]
    spread = scores.agg(["mean", "min", "max", "size"]).reset_index()
    spread.columns = ["measure", "method", "value", "low", "high", "n"]
    return pd.concat([gain.assign(n=1)[spread.columns], spread], ignore_index=True)


def judge() -> pd.DataFrame:
    """Return how often a judge fitted to verdicts is right: a row a trial, stratum of length and rule."""
    return _frozen("judge")[["reader", "tried", "stratum", "rule", "accuracy", "low", "high", "n_pairs"]]
