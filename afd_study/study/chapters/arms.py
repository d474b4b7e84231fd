"""What chapter 7 shows: policies beyond picking, from frozen values."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from afd_study.evaluation.statistics import t_interval, t_intervals
from afd_study.methods.arms import (
    ARMS,
    EQUAL_LENGTH_RIVAL,
    OPTIMUM_STRENGTHS,
    PROXY,
    WAYS,
    ExtrapolationArm,
    ImitationArm,
    made_by,
    strength,
)
from afd_study.study.chapters.words import by_task_and_method
from afd_study.study.frozen.files import read_frozen, read_manifest
from afd_study.study.frozen.grids import ARMS_SETTING, SMALL
from afd_study.study.frozen.seed_means import LEVELS, frozen_values

TAUGHT = tuple(name for name, arm in ARMS.items() if not isinstance(arm, ExtrapolationArm))
OPTIMA = tuple(f"dpo_optimum_strength_{beta:g}" for beta in OPTIMUM_STRENGTHS)
IMITATORS = ("pi_init", "pi_sft", *made_by(ImitationArm))
SHOWN = ("coverage", "precision", "coverage_of_good", "good_share", "stray_share", "length")
AT_EQUAL_LENGTH = ("precision_at_equal_length", "good_share_at_equal_length")
COVERING = (
    *("coverage", "coverage_without_stray", "coverage_of_good"),
    *("precision", "precision_without_stray", "good_share", "good_share_without_stray"),
    *("forward_kl", "reverse_kl", "stray_share", "length", *AT_EQUAL_LENGTH),
)
WHOLE = "sequence_extrapolation"  # of whole responses: a method's name goes on with the strength


def manifest() -> dict[str, Any]:
    """Return how the arms were computed: seeds, profile, commit, hardware, seconds."""
    return read_manifest("arms")


def values(setting: str = ARMS_SETTING) -> pd.DataFrame:
    """Return table `values` of the arms in a setting, a row a seed.

    Raises StoreError where it is missing or does not match its manifest.
    """
    table = frozen_values("arms")
    return table[table["setting"] == setting].reset_index(drop=True)


def reached() -> pd.DataFrame:
    """Return the judge's mean of every trained policy, of the levels, and of DPO's optimum.

    Columns task, method, mean, low, high (points), n_seeds.
    """
    judged = _judged()
    return t_intervals(judged[judged["method"].isin([*LEVELS, *OPTIMA, *TAUGHT])], ("task", "method"))


def optima() -> pd.DataFrame:
    """Return the share of demonstrations that carries each optimum of DPO: task, method, ess.

    `ess` is the effective sample size as a share of the demonstrations, averaged over seeds.
    """
    table = values()
    rows = table[table["method"].isin(OPTIMA) & (table["metric"] == "ess")]
    return rows.groupby(["task", "method"])["value"].mean().rename("ess").reset_index()


def beyond_demonstrations() -> pd.DataFrame:
    """Return how far each trained policy's score lies above the demonstrations', paired by seed (points)."""
    ahead = _ahead(_judged(), (*OPTIMA, *TAUGHT), than="demonstrations", keys=["task", "seed"])
    return t_intervals(ahead, ("task", "method"))


def _judged() -> pd.DataFrame:
    """Return the judge's mean of each policy's own samples, a row a seed."""
    table = values()
    return table[(table["metric"] == "judge") & (table["n"] == 1)]


def _ahead(rows: pd.DataFrame, methods: Sequence[str], *, than: str, keys: list[str]) -> pd.DataFrame:
    """Return each method's value less that of `than` for the same keys: keys, method, value."""
    wide = rows.pivot(index=keys, columns="method", values="value")
    ahead = wide[[name for name in methods if name in wide]].sub(wide[than], axis=0)
    return ahead.melt(ignore_index=False, var_name="method").dropna().reset_index()


def covering(settings: Sequence[str] = (ARMS_SETTING, SMALL)) -> pd.DataFrame:
    """Return covering and seeking of what imitates: task, setting, method, metric, mean, low, high, n_seeds.

    Metrics are those of COVERING that the frozen table has; evaluation.coverage.METRICS says what they are.
    """
    return t_intervals(_of_imitators(settings), ("task", "setting", "method", "metric"))


def against_sft(settings: Sequence[str] = (ARMS_SETTING, SMALL)) -> pd.DataFrame:
    """Return the same less pi_SFT's, paired by seed: an interval without 0 tells the two apart.

    What is compared at equal length is there for EQUAL_LENGTH_RIVAL alone: pi_SFT's own is computed at the
    lengths that it shares with that arm, and another arm shares other lengths.
    """
    keys = ["task", "setting", "metric", "seed"]
    ahead = _ahead(_of_imitators(settings), made_by(ImitationArm), than="pi_sft", keys=keys)
    incomparable = ahead["metric"].isin(AT_EQUAL_LENGTH) & (ahead["method"] != EQUAL_LENGTH_RIVAL)
    return t_intervals(ahead[~incomparable], ("task", "setting", "method", "metric"))


def _of_imitators(settings: Sequence[str]) -> pd.DataFrame:
    rows = pd.concat([values(setting) for setting in settings])
    covers = (rows["table"] == "coverage") & rows["metric"].isin(COVERING)
    return rows[covers & rows["method"].isin(IMITATORS)]


def measured() -> pd.DataFrame:
    """Return what every policy that has a law covers, means over seeds: task, method, metrics, n_seeds.

    Metrics are those of SHOWN that the frozen table has.
    """
    table = values()
    rows = table[table["metric"].isin(SHOWN) & (table["table"] == "coverage")]
    means = rows.groupby(["task", "method", "metric"])["value"].mean().unstack("metric")
    means = means.assign(n_seeds=rows.groupby(["task", "method"])["seed"].nunique()).reset_index()
    shown = [name for name in SHOWN if name in means]
    return by_task_and_method(means)[["task", "method", *shown, "n_seeds"]]


def ways() -> pd.DataFrame:
    """Return every way from pi_SFT: task, method, at, kl, proxy, mean, low, high, ess; means over seeds.

    mean, low and high are the judge's (points) with its interval, kl and proxy in nats; `at` is n, or the
    strength; `ess` is the share of the pool that carries weighted responses (1 where none are weighted).
    """
    table, rows = values(), []
    for way, at, name, n in _points(table):
        part = table[(table["method"] == name) & (table["n"] == n)]
        rows += [{"task": task, "method": way, "at": at, **_point(own)} for task, own in part.groupby("task")]
    return pd.DataFrame(rows).sort_values(["task", "method", "kl"], kind="stable").reset_index(drop=True)


def _points(table: pd.DataFrame) -> Iterator[tuple[str, float, str, int]]:
    """Yield way, n or strength, and the method and n under which table `values` has the point."""
    picks = table[(table["method"] == PROXY) & (table["metric"] == "kl")]
    yield from ((PROXY, float(n), PROXY, int(n)) for n in sorted(set(picks["n"])))
    for way, arms in WAYS.items():
        yield (way, 1.0, "pi_sft", 1)
        yield from ((way, strength(ARMS[name]), name, 1) for name in arms)
    weighted = sorted({str(name) for name in table["method"] if str(name).startswith(f"{WHOLE}_")})
    yield from ((WHOLE, float(name.removeprefix(f"{WHOLE}_")), name, 1) for name in weighted)


def _point(part: pd.DataFrame) -> dict[str, float]:
    by_seed = part.pivot(index="seed", columns="metric", values="value")
    judged = t_interval(by_seed["judge"].to_numpy())
    means = {name: float(by_seed[name].mean()) for name in ("kl", "proxy")}
    ess = float(by_seed["ess"].mean()) if "ess" in by_seed else 1.0
    return means | {name: float(value) for name, value in judged._asdict().items()} | {"ess": ess}


def sides() -> pd.DataFrame:
    """Return how direct training went, means over seeds: task, method, step, losses and both sides (nats)."""
    return read_frozen("arms", "histories")


def paths(setting: str = ARMS_SETTING) -> pd.DataFrame:
    """Return how policy gradient went, means over seeds: task, method, step, proxy, kl, length, entropy.

    Adversarial imitation has the columns accuracy, discriminator_loss, mean_abs_logit and clipped too.
    """
    table = read_frozen("arms", "trajectories")
    return table[table["setting"] == setting].drop(columns="setting").reset_index(drop=True)


def direct_paths(setting: str = ARMS_SETTING) -> pd.DataFrame:
    """Return the judge along direct methods' runs, means over seeds: task, method, step, n_seeds, and more.

    Beside judge (points): off_grammar and stray_share (of the samples), validation_loss and both sides'
    log-probabilities (nats). Steps that early stopping kept some seed from are left out.
    """
    table = read_frozen("arms", "path")
    rows = table[table["setting"] == setting].drop(columns=["setting", "judge_1", "judge_2"])
    by = ["task", "method", "step"]
    means = rows.groupby(by, sort=False).mean().drop(columns="seed")
    means["n_seeds"] = rows.groupby(by).size()
    most = means.groupby(["task", "method"])["n_seeds"].transform("max")
    return means[means["n_seeds"] == most].reset_index()


def direct_stops(setting: str = ARMS_SETTING) -> pd.DataFrame:
    """Return direct methods at their own stop and at an oracle's, over seeds.

    Columns task, method, stop (validated, oracle), metric (judge, off_grammar, stray_share, stop_step), mean,
    low, high, n_seeds.
    """
    table = values(setting)
    rows = table[table["table"] == "path"]
    parts = rows["metric"].str.rsplit("_", n=1, expand=True)
    rows = rows.assign(metric=parts[0], stop=parts[1])
    return t_intervals(rows, ("task", "method", "stop", "metric"))


def objectives(setting: str = ARMS_SETTING) -> pd.DataFrame:
    """Return what imitation did to its own objective: a row a task and method.

    Columns task, method, divergence, start, end, start_stray, end_stray (means over seeds, nats a response),
    mean, low, high (of the change, over seeds), n_seeds, and n_lowered: seeds at which the interval over
    prompts lies below 0.
    """
    table = read_frozen("arms", "objectives")
    rows, by = table[table["setting"] == setting], ["task", "method"]
    ends = (
        rows.groupby([*by, "divergence"])[["start", "end", "start_stray", "end_stray"]].mean().reset_index()
    )
    change = t_intervals(rows, by, value="change")
    lowered = rows.groupby(by)["lowered"].sum().rename("n_lowered").reset_index()
    return ends.merge(change, on=by).merge(lowered, on=by)
