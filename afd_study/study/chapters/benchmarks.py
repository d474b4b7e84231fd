"""What chapter 11 shows of speed: frozen benchmarks beside other libraries, and how costs grow."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from afd_study.study.frozen.files import is_frozen, read_frozen, read_manifest
from afd_study.worlds.tasks import CONTROLLED

WORK = {
    "sft": "SFT",
    "reward_model": "reward model",
    "discriminator": "discriminator",
    "sampling": "sampling",
    "one_prompt": "sampling, one prompt",
    "equal_batch": "sampling, one draw a prompt",
    "scoring": "scoring",
    "scoring_to_maximum": "scoring",
    "logprobs": "log-probabilities",
    "logprobs_to_maximum": "log-probabilities",
    "divergences": "KL of two policies",
    "best_of_n": "Best-of-n curves",
    "study": "the whole study",
    "drawing": "drawing a token",
    "pretrained_sampling": "sampling, a pretrained model's shape",
    "features": "states and log-probabilities",
}
"""A benchmark's name -> the work that it times."""


def manifest(name: str = "benchmarks") -> dict[str, Any]:
    """Return what benchmarks were run on: commit, hardware, libraries, threads, the probed peak."""
    return read_manifest(name)


def compared(name: str = "benchmarks") -> pd.DataFrame:
    """Return columns work, model, peer, ms, peer_ms, ratio, range, share_of_peak; a row a pair.

    Raises StoreError where nothing is frozen under that name.
    """
    records = read_frozen(name, "records")
    table = records.assign(
        work=records["name"].map(WORK),
        peer=records["peer_name"].fillna("none"),
        ms=1e3 * records["ours"],
        peer_ms=1e3 * records["peer"],
        range=_range(records["ratio_low"], records["ratio_high"]),
    )
    return table[["work", "model", "peer", "ms", "peer_ms", "ratio", "range", "share_of_peak"]]


def pretrained() -> pd.DataFrame:
    """Return `compared` at the shape of a pretrained model; no rows until that was frozen."""
    name = "pretrained_benchmarks"
    return compared(name) if is_frozen(name) else compared().iloc[:0]


def _range(low: pd.Series, high: pd.Series) -> pd.Series:
    """Return "0.40 to 0.60" for each pair, and nothing where there is none."""
    return (low.map("{:.2f}".format) + " to " + high.map("{:.2f}".format)).where(low.notna(), "")


def variants(name: str = "variants") -> pd.DataFrame:
    """Return columns work, way, and one a model: the engine's time over the way's and its range, or why none.

    Above 1 the way is faster than the engine. Raises StoreError where nothing is frozen under that name.
    """
    records = read_frozen(name, "variants")
    records = records[records["way"] != "engine"]
    ratio = records["ratio"].map("{:.2f}".format) + " (" + _range(records["low"], records["high"]) + ")"
    cells = ratio.where(records["fault"].isna(), records["fault"])
    table = records.assign(work=records["work"].map(WORK), cell=cells)
    return table.set_index(["work", "way", "model"])["cell"].unstack(sort=False).reset_index()


def growth() -> pd.DataFrame:
    """Return columns work, axis, value, seconds, low, high: medians and ranges of repeats."""
    return read_frozen("growth", "growth")


def exponents(name: str = "growth") -> pd.DataFrame:
    """Return columns work, axis, exponent, low, high (95 %), last (of the last step alone)."""
    return read_frozen(name, "exponents")


def picked(name: str) -> pd.DataFrame:
    """Return columns setting, method, n, mean, low, high: what the best of a few and of many scores.

    From a chapter's frozen curves; `n` is 1 and the n at which chapters compare.
    """
    curves, n = read_frozen(name, "curves"), read_frozen(name, "settings")["kept"].iloc[0]
    return curves.loc[curves["n"].isin([1, n]), ["setting", "method", "n", "mean", "low", "high"]]


def on_gpu() -> dict[str, pd.DataFrame]:
    """Return what was measured on a GPU, by a caption with its name and the commit; empty where nothing was.

    Each controlled world whose experiment was frozen under gpu/ has its picks among the tables.
    """
    readers: dict[str, tuple[str, Callable[[str], pd.DataFrame]]] = {
        "Beside other libraries": ("gpu/benchmarks", compared),
        "The same, a pretrained model's shape": ("gpu/pretrained_benchmarks", compared),
        "Other ways": ("gpu/variants", variants),
        "Exponents of cost": ("gpu/growth", exponents),
    }
    for task in CONTROLLED:
        readers[f"Picks from a larger policy, {task}"] = (f"gpu/experiment/{task}", picked)
    tables = {}
    for caption, (name, read) in readers.items():
        if is_frozen(name):
            ran = manifest(name)
            notes = [str(ran["hardware"]["accelerator"]), f"commit {ran['commit']}"]
            notes += [f"failed: {each}" for each in ran.get("failed", [])]
            tables[f"{caption} ({'; '.join(notes)})"] = read(name)
    return tables
