"""Checkpoints: a damaged one is recognised, reported, and left for the one before it or for the start."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from afd_study.errors import StoreError
from afd_study.models import sealed_folders
from afd_study.models.sealed_folders import DamagedFolder, opened, seal
from afd_study.models.specs import TrainingSpec
from afd_study.models.training import descend

FILES = ("weights.safetensors", "moments.safetensors", "best.safetensors", "tally/tally.json", "state.json")
SPEC = TrainingSpec(steps=12, batch_size=4, learning_rate=0.05, evaluate_every=2, checkpoint_every=4)


class Killed(Exception):
    pass


class Tally:
    total = 0

    def save(self, folder):
        (folder / "tally.json").write_text(json.dumps(self.total))

    def load(self, folder):
        self.total = json.loads((folder / "tally.json").read_text())


def fit(workspace, last=None, seed=0):
    """Train a small net, to be killed after step `last`; return its weights, evaluations and first step."""
    torch.manual_seed(seed)
    net, tally, steps = nn.Linear(3, 1), Tally(), []
    data = torch.randn(64, 4, 3, generator=torch.Generator().manual_seed(1))

    def batch(step, share):
        steps.append(step)
        tally.total += 1
        return list((data[step] + 0.01 * tally.total)[share])

    def progress(step, note):
        if step == last:
            raise Killed

    fitted, evaluations = descend(
        net,
        batch,
        loss=lambda net, rows: (net(torch.stack(list(rows))) - 1).square().sum() / 4,
        spec=SPEC,
        seed=0,
        evaluate=lambda net, step: float((net(data[-1]).detach() - 1).square().mean()),
        workspace=workspace,
        beside={"tally": tally},
        progress=progress,
    )
    return [value.tolist() for value in fitted.state_dict().values()], evaluations, steps[0]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole"))[:2]


@pytest.fixture
def killed(tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path, last=9)
    return tmp_path


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    path.write_bytes(data)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b" "),
    "missing": Path.unlink,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    **{f"flipped at {place}": lambda path, place=place: flip(path, place) for place in (0, 0.3, 0.7, 1)},
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_left_for_the_start(name, damage, killed, expected, capfd):
    DAMAGE[damage](killed / "checkpoint" / name)
    *result, first = fit(killed, seed=9)
    assert first == 0
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1 and "is damaged" in said[0] and Path(name).name in said[0]
    assert "goes on from the start" in said[0]
    assert result != expected  # other initial weights: nothing of the damaged checkpoint came back
    shutil.rmtree(killed)
    assert fit(killed)[:2] == expected


@pytest.mark.parametrize(
    ("old", "new"), [('"step": 8', '"step": 6'), ('"stale": 0', '"stale": 1'), ('"files": {', '"files": {')]
)
def test_an_edited_record_is_noticed(old, new, killed, capfd):
    path = killed / "checkpoint" / "state.json"
    record = path.read_text()
    assert old in record
    path.write_text(record.replace(old, new) if old != new else record.replace("weights.saf", "weighty.saf"))
    assert fit(killed)[2] == 0 and "state.json differs from its checksum" in capfd.readouterr().err


def test_the_one_before_serves_where_the_latest_is_damaged(killed, expected, capfd):
    shutil.copytree(killed / "checkpoint", killed / "checkpoint.old")  # a kill before it was removed
    flip(killed / "checkpoint" / "weights.safetensors", 0.9)
    *result, first = fit(killed, seed=9)
    assert first == 8 and "goes on from step 8, the checkpoint before" in capfd.readouterr().err
    assert tuple(result) == expected


class Stopped(BaseException):
    """A kill: nothing after it runs."""


OPERATIONS = [(os, "rename"), (os, "fsync"), (shutil, "rmtree"), (os, "rmdir"), (os, "unlink")]


@pytest.mark.parametrize("number", range(1, 26))
def test_a_kill_at_any_file_operation_loses_no_bit(number, tmp_path, expected, monkeypatch, capfd):
    count = 0

    def counted(operation):
        def call(*args, **options):
            nonlocal count
            count += 1
            if count == number:
                raise Stopped
            return operation(*args, **options)

        return call

    with monkeypatch.context() as patch:
        for module, name in OPERATIONS:
            patch.setattr(module, name, counted(getattr(module, name)))
        with pytest.raises((Stopped, Killed)):
            fit(tmp_path, last=11)
    *result, first = fit(tmp_path)
    assert tuple(result) == expected and first in (0, 4, 8)
    assert "damaged" not in capfd.readouterr().err
    assert not (tmp_path / "checkpoint.old").exists()


def test_what_cannot_be_read_is_named_and_kept(killed, monkeypatch):
    real = Path.open

    def refused(self, *args, **options):
        if self.name == "moments.safetensors":
            raise OSError(errno.EIO, "Input/output error")
        return real(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        with pytest.raises(StoreError, match="cannot read the checkpoint file .*moments.*Input/output error"):
            fit(killed)
    assert fit(killed)[2] == 8


def test_every_flipped_bit_of_a_record_is_noticed(tmp_path):
    (tmp_path / "weights").write_bytes(b"some")
    seal(tmp_path, {"step": 3, "evaluations": [[1, 0.5, 0.25]]})
    path = tmp_path / sealed_folders.RECORD
    text = path.read_bytes()
    assert opened(tmp_path) == {"step": 3, "evaluations": [[1, 0.5, 0.25]]}
    for place in range(len(text)):
        for bit in range(8):
            path.write_bytes(text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :])
            with pytest.raises(DamagedFolder):
                opened(tmp_path)
