"""What a benchmark found: one record a line, as JSON and as a table."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from afd_study.study.frozen.files import provenance
from benchmarks.timing import ratios


class Record(BaseModel):
    """One comparison. Times are medians over interleaved repeats, in seconds; ratios are peer over ours.

    `ratio` is the median of the repeats' ratios, `ratio_low` and `ratio_high` their range. `share_of_peak` is
    useful FLOPs over ours, as a share of the matrix-product peak probed in the same run.
    What has no peer has no ratio.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    model: str
    peer_name: str
    ours: float
    peer: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    share_of_peak: float | None
    pairs: int
    tokens: int


def record(
    *,
    name: str,
    model: str,
    peer_name: str,
    ours: Sequence[float],
    peer: Sequence[float],
    flops: float,
    tokens: int,
    peak: float,
) -> Record:
    """Return the record of interleaved times (seconds), of `flops` useful FLOPs and `tokens` tokens.

    `peak` is in FLOP/s.
    """
    compared: dict[str, float | None] = dict.fromkeys(("peer", "ratio", "ratio_low", "ratio_high"))
    if peer:
        compared = dict(zip(compared, (float(np.median(peer)), *ratios(ours, peer)), strict=True))
    return Record(
        name=name,
        model=model,
        peer_name=peer_name,
        ours=float(np.median(ours)),
        pairs=len(peer),
        share_of_peak=flops / float(np.median(ours)) / peak if flops else None,
        tokens=tokens,
        **compared,
    )


def write(
    records: Sequence[Record], path: Path, *, peak: float, threads: int, load_before: float | None = None
) -> None:
    """Write records with hardware, versions, commit, and the load that the machine had beforehand."""
    about = {**provenance(), "threads": threads, "peak_gflops": round(peak / 1e9, 1)}
    about["load_before"] = load_before
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {**about, "records": [each.model_dump() for each in records]}
    path.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")


def table(records: Sequence[Record]) -> str:
    """Return the records as a table to print."""
    rows = [
        {
            "benchmark": each.name,
            "model": each.model,
            "peer": each.peer_name,
            "ours (s)": f"{each.ours:.3g}",
            "peer (s)": "" if each.peer is None else f"{each.peer:.3g}",
            "ratio": (
                ""
                if each.ratio is None
                else f"{each.ratio:.2f} [{each.ratio_low:.2f}, {each.ratio_high:.2f}]"
            ),
            "of peak": "" if each.share_of_peak is None else f"{each.share_of_peak:.0%}",
        }
        for each in records
    ]
    return pd.DataFrame(rows).to_string(index=False)
