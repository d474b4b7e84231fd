"""A small study with two replicates of a kind and a half-way SFT, computed once."""

import pytest

from afd_study.study import open_study
from afd_study.study.workflow.store import Store

OVERRIDES = {
    "reward.kinds": ["init_sft", "init_demo"],
    "reward.recipes": {"init_sft": {"replicates": 2}},
    "late_reference": True,
    "pretraining.steps": 200,  # so that some samples of pi_init end, and some do not
}


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("twice"))
    return open_study("harmless", "smoke", 0, 1, overrides=OVERRIDES, store=store, quiet=True)
