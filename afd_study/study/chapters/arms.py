"""What chapter 7 shows of policies beyond picking: from frozen values."""

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
from afd_study.study.frozen.files import read_frozen, read_manifest
from afd_study.study.frozen.grids import ARMS_SETTING, SMALL
from afd_study.study.frozen.seed_means import LEVELS, narrow

TAUGHT = tuple(name for name, arm in ARMS.items() if not isinstance(arm, ExtrapolationArm))
OPTIMA = tuple(f"dpo_optimum_strength_{strength:g}" for strength in OPTIMUM_STRENGTHS)
IMITATORS = ("pi_init", "pi_sft", *made_by(ImitationArm))
SHOWN = ("coverage", "precision", "stray_share", "length")
COVERING = (
    "coverage",
    "precision",
    "forward_kl",
    "reverse_kl",
    "stray_share",
    "length",
    "precision_at_equal_length",
)


def manifest() -> dict[str, Any]:
    """Return how the arms were computed: seeds, profile, commit, hardware, seconds."""
    return read_manifest("arms")


def values(setting: str = ARMS_SETTING) -> pd.DataFrame:
    """Return table `values` of the arms in a setting, a row a seed.

    Raises StoreError where it is missing or does not match its manifest.
    """
    found = narrow(read_frozen("arms", "values"))
    return found[found["setting"] == setting].reset_index(drop=True)


def reached() -> pd.DataFrame:
    """Return the judge's mean of every taught policy, of the levels, and of DPO's optimum.

    Columns task, method, mean, low, high (points), n_seeds.
    """
    found = values()
    chosen = found[(found["metric"] == "judge") & (found["n"] == 1)]
    return t_intervals(chosen[chosen["method"].isin([*LEVELS, *OPTIMA, *TAUGHT])], ("task", "method"))


def optima() -> pd.DataFrame:
    """Return the share of demonstrations that tells DPO's optima, means over seeds: task, method, ess."""
    found = values()
    chosen = found[found["method"].isin(OPTIMA) & (found["metric"] == "ess")]
    return chosen.groupby(["task", "method"])["value"].mean().rename("ess").reset_index()


def beyond_demonstrations() -> pd.DataFrame:
    """Return how far each taught policy's score lies above the demonstrations', paired by seed (points)."""
    found = values()
    judged = found[(found["metric"] == "judge") & (found["n"] == 1)]
    wide = judged.pivot(index=["task", "seed"], columns="method", values="value")
    taught = [name for name in (*OPTIMA, *TAUGHT) if name in wide]
    ahead = wide[taught].sub(wide["demonstrations"], axis=0)
    long = ahead.melt(ignore_index=False, var_name="method").dropna().reset_index()
    return t_intervals(long, ("task", "method"))


def covering(settings: Sequence[str] = (ARMS_SETTING, SMALL)) -> pd.DataFrame:
    """Return covering and seeking of what imitates: task, setting, method, metric, mean, low, high, n_seeds.

    Metrics are those of COVERING; their units stand in evaluation.coverage.METRICS.
    """
    chosen = pd.concat([_of_imitators(setting) for setting in settings])
    return t_intervals(chosen, ("task", "setting", "method", "metric"))


def against_sft(settings: Sequence[str] = (ARMS_SETTING, SMALL)) -> pd.DataFrame:
    """Return the same less pi_SFT's, paired by seed: an interval without 0 tells the two apart.

    precision_at_equal_length is there for EQUAL_LENGTH_RIVAL alone: pi_SFT's own is told at the lengths that
    it shares with that arm, and another arm's at other lengths.
    """
    frames = []
    for setting in settings:
        by = ["task", "setting", "metric", "seed"]
        wide = _of_imitators(setting).pivot(index=by, columns="method", values="value")
        arms = [name for name in made_by(ImitationArm) if name in wide]
        ahead = wide[arms].sub(wide["pi_sft"], axis=0).melt(ignore_index=False, var_name="method")
        frames.append(ahead.dropna().reset_index())
    found = pd.concat(frames)
    other = (found["metric"] == "precision_at_equal_length") & (found["method"] != EQUAL_LENGTH_RIVAL)
    return t_intervals(found[~other], ("task", "setting", "method", "metric"))


def _of_imitators(setting: str) -> pd.DataFrame:
    found = values(setting)
    told = (found["table"] == "coverage") & found["metric"].isin(COVERING)
    return found[told & found["method"].isin(IMITATORS)]


def measured() -> pd.DataFrame:
    """Return what every policy that has a law covers, means over seeds: task, method, SHOWN, n_seeds."""
    found = values()
    chosen = found[found["metric"].isin(SHOWN) & (found["table"] == "coverage")]
    means = chosen.groupby(["task", "method", "metric"])["value"].mean().unstack("metric")
    means = means.assign(n_seeds=chosen.groupby(["task", "method"])["seed"].nunique()).reset_index()
    order = {name: place for place, name in enumerate(("pi_init", "pi_sft", *ARMS))}
    means = means.sort_values("method", key=lambda column: column.map(order), kind="stable")
    shown = means[["task", "method", *SHOWN, "n_seeds"]]
    return shown.sort_values("task", kind="stable").reset_index(drop=True)


def ways() -> pd.DataFrame:
    """Return every way from pi_SFT: task, method, at, kl, proxy, mean, low, high, ess; means over seeds.

    mean, low and high are the judge's (points) with its interval, kl and proxy in nats; `at` is n, or the
    strength; `ess` is the share of the pool that carries weighted responses (1 where none are weighted).
    """
    found = values()
    rows = [
        {"task": task, "method": way, "at": at, **_point(part[part["task"] == task])}
        for way, at, name, n in _points(found)
        for part in [found[(found["method"] == name) & (found["n"] == n)]]
        for task in sorted(set(part["task"]))
    ]
    return pd.DataFrame(rows).sort_values(["task", "method", "kl"], kind="stable").reset_index(drop=True)


def _points(found: pd.DataFrame) -> Iterator[tuple[str, float, str, int]]:
    """Yield way, n or strength, and the method and n under which table `values` has the point."""
    picked = found[(found["method"] == PROXY) & (found["metric"] == "kl")]
    yield from ((PROXY, float(n), PROXY, int(n)) for n in sorted(set(picked["n"])))
    for way, arms in WAYS.items():
        yield (way, 1.0, "pi_sft", 1)
        yield from ((way, strength(ARMS[name]), name, 1) for name in arms)
    prefix = "sequence_extrapolation_"
    weighted = sorted({str(name) for name in found["method"] if str(name).startswith(prefix)})
    yield from ((prefix[:-1], float(name.removeprefix(prefix)), name, 1) for name in weighted)


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

    Of adversarial imitation also accuracy, discriminator_loss, mean_abs_logit and clipped.
    """
    found = read_frozen("arms", "trajectories")
    return found[found["setting"] == setting].drop(columns="setting").reset_index(drop=True)
