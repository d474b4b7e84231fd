"""Pages say whether their frozen tables are of today's code."""

import pandas as pd
import pytest

from afd_study.study.chapters import standing
from afd_study.study.frozen import basis as bases
from afd_study.study.frozen.basis import basis_of
from afd_study.study.frozen.files import freeze
from afd_study.study.steps import step


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    """Two ablations are frozen, whose steps are a world's prompts; a third is not."""
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    steps = [step("prompts", {"world": {"name": "harmless", "variant": None}, "seed": 0})]
    names = ("ablations/loss", "ablations/backbone", "map")
    monkeypatch.setattr(standing, "parts", lambda: dict.fromkeys(names, lambda: steps))
    for name in names[:2]:
        freeze(name, {"values": pd.DataFrame({"value": [1.0]})}, basis=basis_of(steps).model_dump())


def test_tables_of_todays_code_say_so(frozen):
    sentence = standing.words("ablations/", "map")
    assert sentence.count("\n") == 0, "equal ones are told together"
    assert sentence.startswith("ablations/loss, ablations/backbone: commit ") and "are today's" in sentence


def test_tables_of_other_code_say_what_changed(frozen, monkeypatch):
    monkeypatch.setattr(bases, "code_version", lambda function: "f" * 16)
    sentence = standing.words("ablations/loss")
    assert "texts.prompts" in sentence and "Nobody has said why they are kept" in sentence


def test_what_is_not_frozen_is_left_out(frozen):
    assert standing.words("map") == ""
