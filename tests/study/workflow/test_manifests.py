"""A manifest is bound to its step and key, and no byte of it changes unseen; what cannot be read is kept."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from small_steps import drawn

from afd_study.errors import SpecError, StoreError
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.manifests import MANIFEST, Damage, manifest_text, read_manifest
from afd_study.study.workflow.store import Store, default_store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    execute([drawn(), drawn(1)], store, quiet=True)
    return store


@pytest.fixture
def folder(store):
    return store.folder(drawn())


def test_every_flipped_bit_of_a_manifest_is_noticed(folder):
    path = folder / MANIFEST
    text = path.read_bytes()
    for place in range(len(text)):
        for bit in (0, 1, 5, 7) if place % 8 else range(8):
            path.write_bytes(text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :])
            with pytest.raises(Damage):
                read_manifest(folder, name="demonstrations", key=drawn().key)
    path.write_bytes(text)
    assert read_manifest(folder, name="demonstrations", key=drawn().key)["seconds"] >= 0


EDITS = {
    "seconds": lambda manifest: manifest.update(seconds=9.0),
    "cost": lambda manifest: manifest.update(cost={"tokens": 5}),
    "no files": lambda manifest: manifest.update(files={}),
    "a file less": lambda manifest: manifest["files"].popitem(),
    "no checksum": lambda manifest: manifest.pop("checksum"),
    "a field more": lambda manifest: manifest.update(more=1),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_has_its_step_computed_again(edit, store, folder, capsys):
    manifest = json.loads((folder / MANIFEST).read_text())
    EDITS[edit](manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    capsys.readouterr()
    assert execute([drawn()], store, quiet=True) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "is damaged (manifest.json" in said
    assert execute([drawn()], store, quiet=True) == 0


def test_an_artefact_in_the_place_of_another_is_noticed(store, folder, capsys):
    shutil.rmtree(folder)
    shutil.copytree(store.folder(drawn(1)), folder)
    assert execute([drawn()], store, quiet=True) == 1 and "of another key" in capsys.readouterr().err
    other = store.root / "prompts" / drawn().key
    shutil.copytree(folder, other)
    with pytest.raises(Damage, match="of another step"):
        read_manifest(other, name="prompts", key=drawn().key)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("name", [MANIFEST, "demonstrations.parquet"])
def test_what_cannot_be_read_is_named_and_kept(name, number, store, folder, monkeypatch):
    real = Path.open

    def refused(self, *args, **options):
        if self.name == name:
            raise OSError(number, "it is so")
        return real(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        with pytest.raises(StoreError, match="cannot read the artefact in .*demonstrations.*it is so"):
            execute([drawn()], store, quiet=True)
    assert execute([drawn()], store, quiet=True) == 0


def test_a_store_that_is_a_file_is_one_message(tmp_path, capsys):
    (tmp_path / "file").write_text("no store")
    with pytest.raises(StoreError, match="cannot write to the store"):
        execute([drawn(), drawn(1)], Store(tmp_path / "file"), quiet=True)
    assert capsys.readouterr().err == ""


def test_a_user_whom_nobody_knows_is_a_fault_of_the_user(monkeypatch):
    monkeypatch.setenv("AFD_STORE", "~nosuchuser/store")
    with pytest.raises(SpecError, match="AFD_STORE=~nosuchuser/store is no usable path"):
        default_store()


def test_a_text_with_its_own_checksum_is_whole(tmp_path):
    record = {"name": "n", "key": "k", "files": {}, "cost": {"flops": 1e300, "tokens": 0.1}, "é": "ü"}
    (tmp_path / MANIFEST).write_text(manifest_text(record))
    assert read_manifest(tmp_path, name="n", key="k") == record
