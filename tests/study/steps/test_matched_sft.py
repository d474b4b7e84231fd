"""SFT stopped at another policy's score: the search ends where it should, and is part of the study's key."""

import pandas as pd

from afd_study.study import open_study
from afd_study.study.workflow.store import Store
from afd_study.study.workflow.tables import read_table


def test_the_steps_tried_end_where_the_reference_is_passed_and_the_nearest_is_kept(tmp_path):
    study = open_study(
        "helpful",
        "smoke",
        0,
        1,
        store=Store(tmp_path),
        quiet=True,
        overrides={"matched_style": 0.9, "pretraining.steps": 60},
    )
    found = read_table(study.folder("pi_sft"), "matching")
    assert found["steps"].is_monotonic_increasing and found["steps"].iloc[-1] <= study.spec.sft.steps
    assert found["target"].nunique() == 1 and found["chosen"].sum() >= 1
    distance = (found["score"] - found["target"]).abs()
    assert distance[found["chosen"]].eq(distance.min()).all()
    passed = found["score"] >= found["target"]
    assert not passed.iloc[:-1].any()  # the first that passes is the last that is tried
    samples = study.table("samples")
    assert len(samples) and isinstance(samples, pd.DataFrame)


def test_another_reference_is_another_policy_and_none_is_plain_sft():
    keys = {}
    for style in (None, 0.5, 0.9):
        study = open_study("helpful", "smoke", 0, 1, overrides={"matched_style": style}, quiet=True)
        step = next(iter(study.plans().values())).step("pi_sft")
        keys[style] = step.key
        assert ("reference" in step.inputs) == (style is not None)
    assert len(set(keys.values())) == 3
