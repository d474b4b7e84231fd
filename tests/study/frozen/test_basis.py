"""Frozen tables and today's code: what changed is named, and nothing stale stays without a reason."""

import json

import pytest
import yaml

from afd_study.errors import StoreError
from afd_study.study.frozen import basis as bases
from afd_study.study.frozen.basis import Basis, accept, basis_of, differences, standing
from afd_study.study.frozen.files import MANIFEST, freeze, is_frozen
from afd_study.study.frozen.parts import parts, standings
from afd_study.study.steps import step

WHY = "an error message was reworded; no number moved"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    return tmp_path


def prompts(seed=0):
    return step("prompts", {"world": {"name": "harmless", "variant": None}, "seed": seed})


def older(code):
    """A basis of the same settings, one of whose functions had another version."""
    today = basis_of([prompts()])
    return today.model_copy(update={"code": dict.fromkeys(today.code, code)})


def test_every_frozen_table_rests_on_todays_code_or_says_why_it_is_kept():
    """Write `afd results --what NAME --accept "because ..."`, or compute the tables again."""
    every = {name: made for name, made in parts().items() if is_frozen(name)}
    assert every, "some results are frozen"
    stale = {
        name: each.words
        for name, each in standings(every, every).items()
        if each.changed and not each.because
    }
    assert not stale


def test_steps_of_other_settings_have_another_basis():
    assert basis_of([prompts()]) == basis_of([prompts()])
    assert differences(basis_of([prompts()]), basis_of([prompts(seed=1)])) == ("settings",)


def test_what_steps_need_counts_too():
    inner, other = prompts(), prompts(seed=1)
    first, second = (
        step("short_prompts", {"max_prompt_tokens": 3}, {"corpus": each}) for each in (inner, other)
    )
    assert basis_of([first]).settings != basis_of([second]).settings
    assert set(basis_of([inner]).code) < set(basis_of([first]).code)


def test_changed_functions_are_named():
    assert differences(older("0" * 16), basis_of([prompts()])) == ("texts.prompts", "harmless.World")


def test_a_table_of_todays_code_needs_no_reason(elsewhere, values):
    freeze("some", {"values": values}, basis=basis_of([prompts()]).model_dump())
    assert standing("some", [prompts()]).words == "Their steps' code and settings are today's."


@pytest.fixture
def values():
    import pandas as pd

    return pd.DataFrame({"value": [1.0]})


def test_a_stale_table_says_what_changed_until_somebody_says_why_it_stays(elsewhere, values):
    freeze("some", {"values": values}, basis=older("0" * 16).model_dump())
    bare = standing("some", [prompts()])
    assert "texts.prompts" in bare.changed and not bare.because and "Nobody has said why" in bare.words
    accept("some", [prompts()], WHY)
    kept = standing("some", [prompts()])
    assert kept.because == WHY and WHY in kept.words and "changed." in kept.words


def test_a_further_change_asks_again(elsewhere, values, monkeypatch):
    freeze("some", {"values": values}, basis=older("0" * 16).model_dump())
    accept("some", [prompts()], WHY)
    monkeypatch.setattr(bases, "code_version", lambda function: "f" * 16)
    assert not standing("some", [prompts()]).because


def test_tables_older_than_such_records_need_a_reason_too(elsewhere, values):
    freeze("some", {"values": values})
    assert not standing("some", [prompts()]).because
    accept("some", [prompts()], WHY)
    assert standing("some", [prompts()]).because == WHY
    # once they are computed anew the old reason is gone with the old tables
    freeze("some", {"values": values}, basis=older("0" * 16).model_dump())
    assert not standing("some", [prompts()]).because


@pytest.mark.parametrize("text", ["because: short", "- because", "because: !!python/name:os.system x", "{"])
def test_a_reason_that_cannot_be_read_is_named(elsewhere, values, text):
    freeze("some", {"values": values})
    (elsewhere / "some" / "stale.yaml").write_text(text)
    with pytest.raises((StoreError, Exception), match=r"stale\.yaml") as fault:
        standing("some", [prompts()])
    assert "Traceback" not in str(fault.value)


def test_the_record_is_plain_yaml(elsewhere, values):
    freeze("some", {"values": values}, basis=older("0" * 16).model_dump())
    accept("some", [prompts()], WHY)
    record = yaml.safe_load((elsewhere / "some" / "stale.yaml").read_text())
    assert record["because"] == WHY and Basis.model_validate(record["basis"]) == basis_of([prompts()])
    assert "basis" in json.loads((elsewhere / "some" / MANIFEST).read_text())
