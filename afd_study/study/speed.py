"""What chapter 11 shows of speed: frozen benchmarks beside other libraries, and how costs grow."""

from typing import Any

import pandas as pd

from afd_study.study.frozen import is_frozen, read_frozen, read_manifest

WORK = {
    "sft": "SFT", "reward_model": "reward model", "sampling": "sampling",
    "one_prompt": "sampling, one prompt", "equal_batch": "sampling, one draw a prompt", "scoring": "scoring",
    "scoring_to_maximum": "scoring", "logprobs": "log-probabilities",
    "logprobs_to_maximum": "log-probabilities", "divergences": "KL of two policies",
    "best_of_n": "Best-of-n curves", "study": "the whole study", "drawing": "drawing a token",
}  # fmt: skip


def manifest(name: str = "benchmarks") -> dict[str, Any]:
    """Return what benchmarks were run on: commit, hardware, libraries, threads, the probed peak."""
    return read_manifest(name)


def compared(name: str = "benchmarks") -> pd.DataFrame:
    """Return columns work, model, peer, ms, peer_ms, ratio, range, share_of_peak; a row a pair.

    Raises StoreError where nothing is frozen under that name.
    """
    found = read_frozen(name, "records")
    spread = _spread(found["ratio_low"], found["ratio_high"])
    return pd.DataFrame({
        "work": found["name"].map(WORK), "model": found["model"], "peer": found["peer_name"].fillna("none"),
        "ms": 1e3 * found["ours"], "peer_ms": 1e3 * found["peer"], "ratio": found["ratio"], "range": spread,
        "share_of_peak": found["share_of_peak"],
    })  # fmt: skip


def _spread(low: pd.Series, high: pd.Series) -> list[str]:
    """Write ranges of ratios; nothing where there is none."""
    return [
        "" if pd.isna(least) else f"{least:.2f} to {most:.2f}" for least, most in zip(low, high, strict=True)
    ]


def variants(name: str = "variants") -> pd.DataFrame:
    """Return columns work, model, way, ms, ratio, range, fault: other ways of doing what the engine does.

    `ratio` is the engine's time over the way's, above 1 where the way is faster; `fault` says why there is
    none. Raises StoreError where nothing is frozen under that name.
    """
    found = read_frozen(name, "variants")
    return pd.DataFrame({
        "work": found["work"].map(WORK), "model": found["model"], "way": found["way"],
        "ms": 1e3 * found["seconds"], "ratio": found["ratio"], "range": _spread(found["low"], found["high"]),
        "fault": found["fault"].fillna(""),
    })  # fmt: skip


def growth() -> pd.DataFrame:
    """Return columns work, axis, value, seconds, low, high: medians and ranges of repeats."""
    return read_frozen("growth", "growth")


def exponents() -> pd.DataFrame:
    """Return columns work, axis, exponent, low, high (95 %), last (of the last step alone)."""
    return read_frozen("growth", "exponents")


def on_gpu() -> pd.DataFrame:
    """Return what was measured on a GPU, as `compared`; no row where nothing has been."""
    if is_frozen("gpu/benchmarks"):
        return compared("gpu/benchmarks")
    return pd.DataFrame(columns=list(compared().columns))
