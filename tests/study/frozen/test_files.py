"""Frozen tables: whole or refused, and honest about how they were made."""

import json

import pandas as pd
import pytest

from afd_study.errors import SpecError, StoreError
from afd_study.study.frozen.files import freeze, read_frozen, read_manifest, results_folder

TABLE = pd.DataFrame({"task": ["harmless", "helpful"], "value": [1 / 3, 2e-9], "note": ["a, b", 'say "c"']})


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    return freeze("map/small", {"values": TABLE}, seeds=[0, 1], threads=1, profile="smoke")


def test_what_was_frozen_comes_back(frozen):
    found = read_frozen("map/small", "values")
    assert found["value"].tolist() == pytest.approx(TABLE["value"].tolist(), rel=1e-8)
    assert found[["task", "note"]].equals(TABLE[["task", "note"]])


def test_the_manifest_says_how(frozen):
    manifest = read_manifest("map/small")
    assert manifest["seeds"] == [0, 1] and manifest["threads"] == 1 and manifest["profile"] == "smoke"
    assert (
        set(manifest["hardware"]) >= {"processor", "cores", "accelerator"}
        and "torch" in manifest["libraries"]
    )
    assert manifest["files"]["values.csv"]["rows"] == 2 and "commit" in manifest and manifest["python"]
    assert str(frozen) not in json.dumps(manifest)  # no path of this machine


DAMAGE = {
    "a changed number": lambda path: path.write_text(path.read_text().replace("0.333", "0.444")),
    "a lost row": lambda path: path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1])),
    "no file": lambda path: path.unlink(),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_table_that_does_not_match_its_manifest_is_refused(case, frozen):
    DAMAGE[case](frozen / "values.csv")
    with pytest.raises(
        StoreError, match="map/small/values.csv (does not match its manifest|is missing).*make results"
    ):
        read_frozen("map/small", "values")


def test_line_ends_of_another_system_are_no_damage(frozen):
    path = frozen / "values.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_frozen("map/small", "values")) == 2


def test_unknown_names_are_told(frozen):
    with pytest.raises(SpecError, match="'valeus': did you mean 'values'"):
        read_frozen("map/small", "valeus")
    with pytest.raises(StoreError, match=r"no frozen results 'ledger' \(known: map/small\).*make results"):
        read_manifest("ledger")
    (frozen / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        read_manifest("map/small")


def test_freezing_again_replaces_the_whole(frozen):
    freeze("map/small", {"cells": TABLE.head(1)}, seeds=[0])
    assert sorted(path.name for path in frozen.iterdir()) == ["cells.csv", "manifest.json"]
    assert not list(frozen.parent.glob(".*"))


def test_results_lie_beside_the_book_unless_told_otherwise(monkeypatch, root):
    monkeypatch.delenv("AFD_RESULTS", raising=False)
    assert results_folder() == root / "book" / "results"
