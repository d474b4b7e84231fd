"""Artefacts are whole or absent, checked when opened, and never lost to a fault that comes later."""

import errno
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd
import pytest
from safetensors import SafetensorError
from small_steps import drawn, marked

from afd_study.errors import AfdError, SpecError, StoreError
from afd_study.models.specs import TrainingSpec
from afd_study.study.steps import texts as step_functions
from afd_study.study.workflow import step as steps, store as stores
from afd_study.study.workflow.executor import execute, steps_to_run
from afd_study.study.workflow.step import Step, plain
from afd_study.study.workflow.store import CLAIM, MANIFEST, Store, default_store

STEPS = "afd_study.study.steps.texts"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def run(store, *wanted):
    return execute(wanted, store, quiet=True)


def files(store, step):
    return json.loads((store.folder(step) / MANIFEST).read_text())["files"]


# keys


def test_a_key_changes_with_everything_that_the_result_depends_on():
    first = marked(drawn())
    others = {
        "name": replace(first, name="other"),
        "function": replace(first, function=f"{STEPS}:demonstrations"),
        "a setting": marked(drawn(), heterogeneity=0.6),
        "the seed": marked(drawn(), seed=1),
        "an input's setting": marked(drawn(stray=0.03)),
        "an input's seed": marked(drawn(seed=1)),
        "an input's name": replace(first, inputs={"others": drawn()}),
        "a setting more": replace(first, settings={**first.settings, "more": None}),
    }
    keys = {name: step.key for name, step in others.items()}
    assert len({first.key, *keys.values()}) == len(others) + 1
    assert marked(drawn()).key == first.key


def test_a_key_changes_with_code_and_libraries(monkeypatch):
    before = marked(drawn()).key
    monkeypatch.setattr(steps, "code_version", lambda function: "other")
    code = marked(drawn()).key
    monkeypatch.undo()
    monkeypatch.setattr(steps, "library_versions", lambda: {"torch": "9"})
    assert len({before, code, marked(drawn()).key}) == 3


def test_a_key_does_not_change_with_places_weights_or_the_order_of_names():
    first = drawn()
    settings = dict(reversed(first.settings.items()))
    same = replace(first, settings=settings, weight=99.0, places={"folder": "elsewhere"})
    assert same.key == first.key


def test_settings_are_keyed_by_value():
    spec = TrainingSpec(steps=3)
    assert plain({"a": spec, "b": (1, [spec]), 3: None})["b"][1][0]["steps"] == 3
    step = Step("s", f"{STEPS}:pi_sft", {"training": spec})
    assert step.key == Step("s", f"{STEPS}:pi_sft", {"training": TrainingSpec(steps=3)}).key
    assert step.key != Step("s", f"{STEPS}:pi_sft", {"training": TrainingSpec(steps=4)}).key


# whole or absent


def test_what_is_there_is_not_computed_again(store):
    step = marked(drawn())
    assert run(store, step) == 2 and run(store, step) == 0
    assert set(files(store, step)) == {"demonstrations.parquet"}
    assert not any((store.root / "unfinished").iterdir())


def test_the_manifest_says_how_an_artefact_came_about(store):
    step = marked(drawn())
    run(store, step)
    found = store.manifest(step)
    assert found["settings"]["world"]["heterogeneity"] == 0.5
    assert found["inputs"] == {"demonstrations": drawn().key}
    assert found["key"] == step.key and found["seconds"] >= 0 and found["libraries"]["torch"]
    assert store.seconds("marked_demonstrations") == found["seconds"] and store.seconds("never") is None


def test_only_what_is_missing_is_computed(store):
    first = drawn()
    run(store, marked(first))
    assert [step.name for step in steps_to_run([marked(first, seed=1)], store).values()] == [
        "marked_demonstrations"
    ]
    assert [step.name for step in steps_to_run([marked(drawn(seed=2))], store).values()] == [
        "demonstrations",
        "marked_demonstrations",
    ]
    # the input of a step that is there may be gone
    import shutil

    shutil.rmtree(store.folder(first))
    assert not steps_to_run([marked(first)], store)
    assert [step.name for step in steps_to_run([marked(first, seed=1)], store).values()] == [
        "demonstrations",
        "marked_demonstrations",
    ]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGE = {
    "a flipped bit": lambda folder: flip(folder / "demonstrations.parquet"),
    "a cut file": lambda folder: (folder / "demonstrations.parquet").write_bytes(b"PAR1"),
    "an empty manifest": lambda folder: (folder / MANIFEST).write_text(""),
    "half a manifest": lambda folder: (folder / MANIFEST).write_text('{"files": {"demonstr'),
    "a manifest of another kind": lambda folder: (folder / MANIFEST).write_text("[1, 2]"),
    "a manifest without files": lambda folder: (folder / MANIFEST).write_text('{"seconds": 1}'),
    "bytes for a manifest": lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_artefact_is_noticed_and_computed_again(store, capsys, damage):
    step = drawn()
    run(store, step)
    whole = files(store, step)
    DAMAGE[damage](store.folder(step))
    capsys.readouterr()
    assert run(store, step) == 1
    said = capsys.readouterr()
    assert said.out == "" and "is damaged" in said.err and str(store.folder(step)) in said.err
    assert files(store, step) == whole and run(store, step) == 0


def test_a_file_that_is_gone_is_made_again(store):
    step = drawn()
    run(store, step)
    whole = files(store, step)
    (store.folder(step) / "demonstrations.parquet").unlink()
    assert run(store, step) == 1 and files(store, step) == whole
    (store.folder(step) / MANIFEST).unlink()
    assert run(store, step) == 1 and files(store, step) == whole


def test_damage_below_leaves_what_is_whole(store):
    first = drawn()
    run(store, marked(first))
    flip(store.folder(first) / "demonstrations.parquet")
    assert run(store, marked(first)) == 0
    assert run(store, marked(first, seed=1)) == 2  # noticed where it is needed


def test_a_step_that_fails_leaves_nothing_and_what_was_finished_stays(store, monkeypatch):
    step = marked(drawn())

    def broken(out, name, frame):
        (out / "half.parquet").write_text("half")
        raise RuntimeError("broken")

    run(store, drawn())
    monkeypatch.setattr(step_functions, "write_table", broken)
    with pytest.raises(RuntimeError, match="broken"):
        run(store, step)
    monkeypatch.undo()
    assert not store.folder(step).exists() and store.manifest(drawn()) is not None
    assert run(store, step) == 1
    assert set(files(store, step)) == {"demonstrations.parquet"}  # nothing of the failed attempt


def test_runs_that_want_the_same_step_wait_for_one_another(store, monkeypatch):
    """Two command lines at once, or notebooks side by side: the work is done once and nobody is disturbed."""
    real, entered = step_functions.write_table, []

    def slow(out, name, frame):
        entered.append(out)
        time.sleep(0.3)
        real(out, name, frame)

    monkeypatch.setattr(step_functions, "write_table", slow)
    with ThreadPoolExecutor(3) as pool:  # a claim is of an open file, so that threads serve as processes
        counts = [future.result(60) for future in [pool.submit(run, store, drawn()) for _ in range(3)]]
    assert counts == [1, 1, 1] and len(entered) == 1
    assert store.manifest(drawn()) is not None and not any((store.root / "unfinished").iterdir())


def test_whoever_waited_for_a_run_that_failed_does_its_work(store, monkeypatch):
    real, entered = step_functions.write_table, []

    def first_fails(out, name, frame):
        entered.append(out)
        time.sleep(0.3)
        if len(entered) == 1:
            raise RuntimeError("broken")
        real(out, name, frame)

    monkeypatch.setattr(step_functions, "write_table", first_fails)
    with ThreadPoolExecutor(2) as pool:
        faults = [future.exception(60) for future in [pool.submit(run, store, drawn()) for _ in range(2)]]
    assert sorted(map(str, faults)) == ["None", "broken"] and len(entered) == 2
    assert store.manifest(drawn()) is not None


def test_a_claim_is_exclusive_and_ends_with_its_process(store):
    step = drawn()
    order = []

    def wait():
        with store.claimed(step):
            order.append("second")

    with store.claimed(step):
        other = threading.Thread(target=wait)
        other.start()
        time.sleep(0.2)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
    claim = str(store.workspace(step) / CLAIM)
    held = f"import fcntl, os; fcntl.flock(os.open({claim!r}, os.O_RDWR), 2); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", held], check=False).returncode == 9
    with store.claimed(step):
        assert store.workspace(step).is_dir()


# full disks and folders that cannot be written


FULL = {
    "pyarrow or transformers": OSError(errno.ENOSPC, "No space left on device"),
    "safetensors": SafetensorError(
        "Error while serializing: I/O error: No space left on device (os error 28)"
    ),
    "no right": PermissionError(errno.EACCES, "Permission denied"),
}


@pytest.mark.parametrize("who", FULL)
def test_a_full_disk_is_named_and_finished_work_is_kept(store, monkeypatch, who):
    step = marked(drawn())
    run(store, drawn())

    def full(out, name, frame):
        raise FULL[who]

    monkeypatch.setattr(step_functions, "write_table", full)
    with pytest.raises(StoreError, match="cannot write to the store at") as fault:
        run(store, step)
    assert isinstance(fault.value, AfdError) and str(store.root) in str(fault.value)
    for words in ("Free some space", "AFD_STORE", "is kept"):
        assert words in str(fault.value)
    monkeypatch.undo()
    assert store.manifest(drawn()) is not None and run(store, step) == 1


def test_a_disk_that_fills_up_with_the_manifest_is_named_too(store, monkeypatch):
    step = drawn()
    real = type(store.root).write_text

    def full(self, *args, **kwargs):
        if self.name == MANIFEST:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(store.root), "write_text", full)
    with pytest.raises(StoreError, match="No space left on device"):
        run(store, step)
    monkeypatch.undo()
    assert store.manifest(step) is None and run(store, step) == 1


def test_safetensors_that_cannot_be_read_are_no_full_disk(store, monkeypatch):
    def unreadable(out, name, frame):
        raise SafetensorError("Error while deserializing header: InvalidHeaderDeserialization")

    monkeypatch.setattr(step_functions, "write_table", unreadable)
    with pytest.raises(SafetensorError):
        run(store, drawn())


def test_a_store_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match="cannot write to the store at .*file/store"):
        run(Store(tmp_path / "file" / "store"), drawn())


def test_faults_of_the_user_pass_as_they_are(store):
    with pytest.raises(SpecError, match="must leave training prompts"):
        run(store, drawn(n_test=2000))


# where


def test_the_store_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "mine"))
    assert default_store().root == tmp_path / "mine"
    monkeypatch.delenv("AFD_STORE")
    assert default_store().root == stores.ROOT.parent / ".afd"  # beside this checkout
    monkeypatch.setattr(stores, "ROOT", tmp_path / "installed" / "afd_study")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_store().root == tmp_path / "cache" / "afd_study"


def test_two_stores_hold_the_same_bits(tmp_path):
    step = marked(drawn())
    found = []
    for name in ("a", "b"):
        store = Store(tmp_path / name)
        run(store, step)
        found.append(files(store, step))
        assert len(pd.read_parquet(store.folder(step) / "demonstrations.parquet")) == 30
    assert found[0] == found[1]
