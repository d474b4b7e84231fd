"""A policy out of a GGUF file is a further source of weights, and changes no step of other policies."""

import pytest

from afd_study.errors import SpecError
from afd_study.models import fetched_models
from afd_study.models.specs import LoRASpec, ModelSpec
from afd_study.study.policy_spec import PolicySpec
from afd_study.study.spec import load_spec


def test_steps_see_the_plain_model():
    policy = PolicySpec(config={"n_layer": 2}, lora=LoRASpec())
    assert type(policy.model()) is ModelSpec
    assert policy.model() == ModelSpec(config={"n_layer": 2})
    assert policy.converted() is policy


def test_a_gguf_file_takes_the_place_of_config_and_pretraining(tmp_path):
    spec = load_spec("harmless", "smoke", {"policy.gguf": str(tmp_path / "a.gguf")})
    assert spec.policy.gguf == tmp_path / "a.gguf" and spec.policy.config == {} and spec.pretraining is None


def test_two_sources_are_refused(tmp_path):
    both = {"policy.gguf": str(tmp_path / "a.gguf"), "policy.name_or_path": "folder"}
    with pytest.raises(SpecError, match="one of gguf, name_or_path and config"):
        load_spec("harmless", "smoke", both)


def test_the_folder_is_named_by_the_bytes_of_the_file_and_made_once(tmp_path, monkeypatch):
    made = []

    def convert(file, folder):
        made.append(file)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")

    monkeypatch.setenv("AFD_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(fetched_models, "convert", convert)
    first, same, other = (tmp_path / name for name in ("first.gguf", "same.gguf", "other.gguf"))
    first.write_bytes(b"one")
    same.write_bytes(b"one")
    other.write_bytes(b"two")
    folders = [PolicySpec(gguf=file).converted().name_or_path for file in (first, same, other)]
    assert folders[0] == folders[1] != folders[2] and len(made) == 2
    assert folders[0].startswith(str(tmp_path / "models"))
