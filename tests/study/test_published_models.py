"""A judge or policy that can't be used stops a study before anything is computed."""

import json
import shutil

import pytest
import standins

from afd_study.errors import AfdError, DataError, HubError, SpecError
from afd_study.models.specs import ClassifierSpec, ModelSpec
from afd_study.study.published_models import refuse_little_memory, refuse_models
from afd_study.study.study import open_study
from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {
        "judge": standins.judge(place / "judge", gemma=False),
        "policy": standins.policy(place / "policy", gemma=False),
    }


def cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])


def strange(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "strange"}))


def without_tokenizer(folder):
    for file in folder.glob("*tok*"):
        file.unlink()
    for file in ("vocab.json", "merges.txt"):
        (folder / file).unlink(missing_ok=True)


FAULTS = {
    "cut": (cut, DataError),
    "strange": (strange, SpecError),
    "no tokenizer": (without_tokenizer, DataError),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("kind", "key"), [("judge", "judge_model"), ("policy", "policy")])
def test_a_bad_folder_stops_a_study_before_its_first_step(kind, key, fault, folders, own_file, tmp_path):
    folder = tmp_path / kind
    shutil.copytree(folders[kind], folder)
    damage, error = FAULTS[fault]
    damage(folder)
    settings = {"world.demonstrations": str(own_file), f"{key}.name_or_path": str(folder)}
    store = Store(tmp_path / "store")
    study = open_study("own_data", "smoke", overrides=settings, store=store, quiet=True)
    with pytest.raises(error, match=kind):
        study.run()
    assert not store.root.exists()
    assert len(study.table("report")) == 60  # needs neither


def test_a_judge_is_read_whole(folders, tmp_path):
    good = ClassifierSpec(name_or_path=str(folders["judge"]))
    refuse_models([Step("published_verdicts", "a:b", {"judge": good})])
    for settings, says in (({"max_tokens": 100_000}, "max_tokens=100000"), ({"label": "best"}, "label")):
        wrong = good.model_copy(update=settings)
        with pytest.raises(AfdError, match=says):
            refuse_models([Step("published_verdicts", "a:b", {"judge": wrong})])


def test_a_name_that_cannot_be_had_stops_too():
    with pytest.raises(HubError, match="nobody/nothing"):
        refuse_models([Step("pi_init", "a:b", {"model": ModelSpec(name_or_path="nobody/nothing")})])
    refuse_models([Step("pi_init", "a:b", {"model": ModelSpec(), "seed": 3})])


@pytest.mark.parametrize(("dtype", "share"), [("auto", 1.0), ("float32", 1.0), ("bfloat16", 0.5)])
def test_weights_that_do_not_fit_into_memory_are_refused(folders, dtype, share):
    folder = folders["policy"]  # in float32
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    for free, fits in ((None, True), (share * stored, True), (share * stored - 1, False)):
        if fits:
            refuse_little_memory("it", folder, dtype, memory=lambda free=free: free)
        else:
            with pytest.raises(SpecError, match="the weights of 'it' alone take .* end other programs"):
                refuse_little_memory("it", folder, dtype, memory=lambda free=free: free)
