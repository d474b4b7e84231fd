"""A home that a path begins with is put in once, for every setting that holds a path."""

import pwd
from pathlib import Path

import pytest

from afd_study.errors import SpecError
from afd_study.models.specs import ClassifierSpec, ModelSpec
from afd_study.settings import at_home
from afd_study.study.frozen.files import results_folder
from afd_study.study.workflow.store import default_store
from afd_study.worlds.hh_rlhf import HHRLHFSpec
from afd_study.worlds.own_data import OwnDataSpec

PLACES = {
    "policy": lambda path: ModelSpec(name_or_path=path).name_or_path,
    "judge": lambda path: ClassifierSpec(name_or_path=path).name_or_path,
    "dialogues": lambda path: HHRLHFSpec(folder=path).folder,
    "demonstrations": lambda path: OwnDataSpec(demonstrations=path).demonstrations,
    "prompts": lambda path: OwnDataSpec(demonstrations="a", prompts=path).prompts,
    "preferences": lambda path: OwnDataSpec(demonstrations="a", preferences=path).preferences,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_home_is_put_in(place, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    read = PLACES[place]
    assert str(read("~/a b/c")) == f"{tmp_path}/a b/c"
    assert str(read("~root/a")) == f"{pwd.getpwnam('root').pw_dir}/a"
    assert str(read("a/~b")) == "a/~b" and str(read("someone/model")) == "someone/model"
    with pytest.raises(ValueError, match="nobody here is called nosuchuser: give the path in full"):
        read("~nosuchuser/a")


@pytest.mark.parametrize(
    ("name", "read"), [("AFD_STORE", lambda: default_store().root), ("AFD_RESULTS", results_folder)]
)
def test_the_environments_folders_too(name, read, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, "~/a")
    assert read() == tmp_path / "a"
    monkeypatch.setenv(name, "~nosuchuser/a")
    with pytest.raises(SpecError, match="nobody here is called nosuchuser"):
        read()


def test_a_user_without_a_home_is_told(monkeypatch):
    def unknown(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    with pytest.raises(SpecError, match=r"no home folder is known \(HOME\): give the path in full"):
        at_home(Path("~/a"))
