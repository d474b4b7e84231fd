"""The chapter's tables of benchmarks: ratios with their ranges, and what was measured on a GPU."""

import pandas as pd
import pytest

from afd_study.study.chapters import benchmarks
from afd_study.study.frozen.files import freeze


@pytest.fixture(autouse=True)
def frozen(tmp_path, monkeypatch, benchmark_records):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    freeze("benchmarks", {"records": benchmark_records}, threads=2)


def test_compared_tells_ratio_range_and_share():
    row = benchmarks.compared().iloc[0]
    assert row["work"] == "SFT" and row["range"] == "1.50 to 2.50" and row["share_of_peak"] == 0.25


def test_on_gpu_is_empty_until_something_was_measured(benchmark_records):
    assert benchmarks.on_gpu() == {}
    freeze("gpu/benchmarks", {"records": benchmark_records}, threads=2)
    ((caption, table),) = benchmarks.on_gpu().items()
    assert len(table) == len(benchmark_records) and caption.startswith("Beside other libraries (")
    assert f"commit {benchmarks.manifest('gpu/benchmarks')['commit']}" in caption


def test_variants_tell_a_ratio_and_its_range_or_why_there_is_none():
    rows = [
        ("sft", "1M", "engine", 1.0, 1.0, 1.0, 1.0, ""),
        ("sft", "1M", "padded", 2.0, 0.5, 0.4, 0.6, ""),
        ("sft", "10M", "engine", 3.0, 1.0, 1.0, 1.0, ""),
        ("sft", "10M", "padded", None, None, None, None, "needs a GPU"),
    ]
    columns = ["work", "model", "way", "seconds", "ratio", "low", "high", "fault"]
    freeze("gpu/variants", {"variants": pd.DataFrame(rows, columns=columns)})
    table = benchmarks.variants("gpu/variants")
    assert table.to_numpy().tolist() == [["SFT", "padded", "0.50 (0.40 to 0.60)", "needs a GPU"]]
    assert list(table.columns) == ["work", "way", "1M", "10M"]
    assert [caption.split(" (")[0] for caption in benchmarks.on_gpu()] == ["Other ways"]
