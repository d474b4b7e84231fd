"""`afd store`: what lies there, what is damaged, outdated or left over, and what gc removes."""

import shutil
import sys

import pytest
from small_steps import drawn

from afd_study.study.__main__ import main
from afd_study.study.workflow import inspection
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.inspection import remove, survey
from afd_study.study.workflow.manifests import MANIFEST
from afd_study.study.workflow.store import Store

FUNCTIONS = {"demonstrations": drawn(0).function}


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Three artefacts, the last with a flipped bit, what a killed run left, and a stranger's folder."""
    store = Store(tmp_path / "store")
    execute([drawn(seed) for seed in range(3)], store, quiet=True)
    path = store.folder(drawn(2)) / "demonstrations.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with store.claimed(drawn(3)):
        (store.workspace(drawn(3)) / "checkpoint").mkdir()
    (store.root / "photographs" / "2024").mkdir(parents=True)
    monkeypatch.setenv("AFD_STORE", str(store.root))
    return store


def states(store, thorough=True, functions=FUNCTIONS):
    return {entry.key: entry.state for entry in survey(store, functions, thorough=thorough)}


def test_every_entry_has_its_state(store):
    found = states(store)
    assert found == {
        drawn(0).key: "whole",
        drawn(1).key: "whole",
        drawn(2).key: "damaged",
        drawn(3).key: "unfinished",
    }
    assert states(store, thorough=False)[drawn(2).key] == "whole"  # its bytes were not read
    with store.claimed(drawn(3)):
        assert states(store)[drawn(3).key] == "in use"
    (store.folder(drawn(0)) / MANIFEST).unlink()
    assert states(store)[drawn(0).key] == "damaged"


def test_other_code_and_other_libraries_are_outdated(store, monkeypatch):
    assert states(store, functions={})[drawn(0).key] == "outdated"
    with monkeypatch.context() as patch:
        patch.setattr(inspection, "code_version", lambda function: "other")
        assert states(store)[drawn(0).key] == "outdated"
    monkeypatch.setattr(inspection, "library_versions", lambda: {"torch": "9"})
    entry = survey(store, FUNCTIONS)[0]
    assert entry.state == "outdated" and "other versions of" in entry.reason and "torch" in entry.reason


def test_what_a_run_has_taken_up_is_not_removed(store):
    entries = [entry for entry in survey(store, FUNCTIONS) if entry.state == "unfinished"]
    with store.claimed(drawn(3)):
        assert remove(store, entries) == [] and store.workspace(drawn(3)).is_dir()
    assert remove(store, entries) == entries and not store.workspace(drawn(3)).exists()


def afd(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["afd", "store", *words])
    status = 0
    try:
        main()
    except SystemExit as done:
        status = done.code
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_store_is_shown_by_step(store, monkeypatch, capsys):
    status, out, _ = afd(monkeypatch, capsys, "show")
    assert status == 0 and "demonstrations" in out and "4 in all" in out and "photographs" not in out
    assert "3 whole, 1 unfinished" in out
    assert afd(monkeypatch, capsys, "show", "demonstrations")[1].count("\n") == 4
    manifest = afd(monkeypatch, capsys, "show", "demonstrations", drawn(0).key)[1]
    assert '"n_good_answers": 4' in manifest
    status, _, said = afd(monkeypatch, capsys, "show", "demonstration")
    assert status == 2 and "did you mean 'demonstrations'" in said


def test_a_check_names_what_is_damaged(store, monkeypatch, capsys):
    status, out, said = afd(monkeypatch, capsys, "check")
    assert status == 1 and said.startswith("afd: 1 of 4") and said.count("\n") == 1
    assert drawn(2).key in out and "demonstrations.parquet differs" in out
    shutil.rmtree(store.folder(drawn(2)))
    assert afd(monkeypatch, capsys, "check")[0] == 0


def test_gc_asks_first_and_removes_what_is_of_no_use(store, monkeypatch, capsys):
    before = states(store)
    status, out, _ = afd(monkeypatch, capsys, "gc", "--dry-run")
    assert status == 0 and "nothing was removed" in out and states(store) == before
    assert drawn(2).key in out and drawn(3).key in out and drawn(0).key not in out
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # nobody answers
    status, _, said = afd(monkeypatch, capsys, "gc")
    assert status == 1 and "nothing was done" in said and states(store) == before
    status, out, _ = afd(monkeypatch, capsys, "gc", "--yes")
    assert status == 0 and "removed 2" in out
    assert states(store) == {drawn(0).key: "whole", drawn(1).key: "whole"}
    assert (store.root / "photographs" / "2024").is_dir()
    assert "nothing to remove" in afd(monkeypatch, capsys, "gc", "--yes")[1]
