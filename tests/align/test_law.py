"""The law is asked where all that it needs was measured, and else says why it is not."""

import numpy as np
import pytest
from pydantic import ValidationError

from afd_study.align import law
from afd_study.evaluation.when import DIAGNOSTICS, Law


def tiny(**more):
    fields = {
        "diagnostics": ["auc_init_sft", "share_that_stops"],
        "centre": [0.7, 0.9],
        "scale": [0.1, 0.1],
        "intercepts": {"init_demo": 0.1, "random": 0.3},
        "coefficients": {"init_demo": [0.2, 0.0], "random": [0.1, 0.0]},
        "penalty": 1.0,
        "errors": {"init_demo": 0.1, "random": 0.1},
        "ranges": {"auc_init_sft": {"low": 0.5, "high": 0.9}, "share_that_stops": {"low": 0.5, "high": 1.0}},
        "precision": [[1.0, 0.0], [0.0, 1.0]],
        "radius": 4.0,
        "slack": 0.0,
        "n_worlds": 9,
        "n_cells": 18,
    }
    return Law.model_validate(fields | more)


def test_without_a_law_it_says_so_and_names_what_is_lacking():
    said = law.predict({"share_that_stops": 0.9}, None)
    assert "no fitted law ships" in said.reasons[0] and said.choice == "" and not said.leads
    assert set(said.lacking) == set(DIAGNOSTICS) - {"share_that_stops"}


def test_a_law_without_its_diagnostics_says_nothing():
    for measured in ({"share_that_stops": 0.9}, {"share_that_stops": 0.9, "auc_init_sft": np.nan}):
        said = law.predict(measured, tiny())
        assert said.lacking == ("auc_init_sft",) and "1 of the law's 2" in said.reasons[0] and not said.leads


def test_a_law_is_asked_inside_of_its_range_alone():
    said = law.predict({"share_that_stops": 0.9, "auc_init_sft": 0.8}, tiny())
    assert said.leads == pytest.approx({"init_demo": 0.3, "random": 0.4}) and said.choice == "init_sft"
    outside = law.predict({"share_that_stops": 0.9, "auc_init_sft": 0.99}, tiny())
    assert "auc_init_sft = 0.99 is outside of 0.5 to 0.9" in outside.reasons[0] and not outside.leads


def test_a_law_that_lies_in_the_package_is_found_and_none_does(tmp_path, monkeypatch):
    assert law.shipped_law() is None
    monkeypatch.setattr(law, "files", lambda package: tmp_path)
    (tmp_path / law.FILE).write_text(tiny().model_dump_json())
    assert law.shipped_law() == tiny()
    with pytest.raises(ValidationError):
        tiny(radius=np.nan)
