"""A step's faults of the file system say what could not be read, or written, whatever the library says."""

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError
from small_steps import drawn, marked

from afd_study.errors import StoreError
from afd_study.study.steps import texts
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.store import Store

INPUT = "demonstrations.parquet"
STEP = marked(drawn())


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    execute([drawn()], store, quiet=True)
    return store


@pytest.fixture
def fail(store, monkeypatch):
    """Let the step end with a fault, made of its output's folder; return what the executor says."""

    def run(make, before=lambda folder: None):
        def write(out, name, frame):
            before(store.folder(drawn()))
            raise make(out)

        monkeypatch.setattr(texts, "write_table", write)
        with pytest.raises(StoreError) as error:
            execute([STEP], store, quiet=True)
        return str(error.value)

    return run


WRITING = {
    "pyarrow, with the path": lambda out: PermissionError(
        errno.EACCES, f"Failed to open local file '{out}/a'"
    ),
    "pyarrow, without": lambda out: OSError(errno.ENOSPC, "Error writing bytes to file"),
    "a limit": lambda out: OSError(errno.EFBIG, "File too large"),
    "safetensors": lambda out: SafetensorError(
        f'I/O error: Permission denied (os error 13) at path "{out}/a"'
    ),
    "without any": lambda out: OSError(errno.EIO, "Input/output error"),
    "a file of its own": lambda out: FileNotFoundError(errno.ENOENT, "No such file", str(out / "a")),
}


@pytest.mark.parametrize("who", WRITING)
def test_what_cannot_be_written_is_said_to_be(who, fail):
    assert fail(WRITING[who]).startswith("cannot write to the store at")


READING = {
    "pyarrow": lambda out: PermissionError(errno.EACCES, "Failed to open local file"),
    "safetensors, which says that it is missing": lambda out: FileNotFoundError(f"No such file: {INPUT}"),
    "the system": lambda out: OSError(errno.EIO, "Input/output error"),
}


@pytest.mark.parametrize("who", READING)
def test_an_input_that_cannot_be_read_is_named_with_the_systems_reason(who, fail, monkeypatch):
    real = Path.open

    def refused(self, *args, **options):
        if self.name == INPUT and self.parent.name == drawn().key:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, *args, **options)

    said = fail(READING[who], before=lambda folder: monkeypatch.setattr(Path, "open", refused))
    assert said.startswith("cannot read the artefact in") and "demonstrations" in said
    assert "Permission denied" in said and "cannot write" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="files in use stay there")
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "was removed while a step read it"),
        (lambda folder: os.unlink(folder / INPUT), f"{INPUT} is missing"),
        (lambda folder: (folder / INPUT).write_bytes(b"x"), f"{INPUT} differs from its checksum"),
    ],
)
def test_an_input_that_goes_while_a_step_reads_it_is_computed_again(harm, words, fail, store, monkeypatch):
    said = fail(lambda out: FileNotFoundError("No such file or directory"), before=harm)
    assert words in said and "run the command again" in said
    monkeypatch.undo()
    assert execute([STEP], store, quiet=True) == 2


def test_a_file_from_elsewhere_is_named(fail, tmp_path):
    said = fail(lambda out: FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "mine.csv")))
    assert said.startswith(f"cannot read or write {tmp_path / 'mine.csv'}: No such file")


@pytest.mark.parametrize(
    "fault", [SafetensorError("InvalidHeader"), FileNotFoundError("what?"), KeyError("a")]
)
def test_other_faults_pass_as_they_are(fault, store, monkeypatch):
    def write(out, name, frame):
        raise fault

    monkeypatch.setattr(texts, "write_table", write)
    with pytest.raises(type(fault)) as error:
        execute([STEP], store, quiet=True)
    assert error.value is fault


def test_too_little_memory_is_no_fault_of_a_file(store, monkeypatch):
    def write(out, name, frame):
        raise OSError(errno.ENOMEM, "Cannot allocate memory", str(out))

    monkeypatch.setattr(texts, "write_table", write)
    with pytest.raises(OSError, match="Cannot allocate memory") as error:
        execute([STEP], store, quiet=True)
    assert not isinstance(error.value, StoreError)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_an_artefact_is_on_the_disk_before_it_has_its_name(store, monkeypatch):
    """Files and folder are synced in the workspace, then renamed, then the name is synced."""
    order, rename, fsync = [], Path.rename, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append(_path(handle)), fsync(handle))[1])
    monkeypatch.setattr(Path, "rename", lambda self, to: (order.append("renamed"), rename(self, to))[1])
    execute([STEP], store, quiet=True)
    place = store.folder(STEP)
    before, after = order[: order.index("renamed")], order[order.index("renamed") + 1 :]
    assert {path.name for path in before} == {"out", *(path.name for path in place.iterdir())}
    assert after == [place.parent]


def _path(handle):
    return Path(os.readlink(f"/proc/self/fd/{handle}"))
