"""Tables of before the measures were renamed are read in today's words, and no other table is touched."""

import pandas as pd

from afd_study.evaluation.claim_effects import VALUE_COLUMNS
from afd_study.evaluation.coverage import METRICS
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.present_names import FIRST_NAMES, with_present_names
from afd_study.study.frozen.seed_means import frozen_values, wide

OLD = [*FIRST_NAMES, "reverse_kl", "judge"]


def values(metrics):
    rows = [
        ("harmless", "h = 1", 0, "coverage", name, "pi_sft", 0, 0.1 * i) for i, name in enumerate(metrics)
    ]
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS))


def test_an_old_table_has_todays_names_and_its_own_numbers():
    renamed = with_present_names(values(OLD))
    assert list(renamed["metric"]) == [*FIRST_NAMES.values(), "reverse_kl", "judge"]
    assert renamed["value"].equals(values(OLD)["value"])
    assert set(FIRST_NAMES.values()) < set(METRICS), "each of them is still measured"


def test_a_table_of_today_and_one_without_metrics_are_left_alone():
    new = values([*FIRST_NAMES, *FIRST_NAMES.values()])
    assert with_present_names(new) is new
    without = new.drop(columns="metric")
    assert with_present_names(without) is without
    elsewhere = values(["coverage", "judge"])  # nothing says that it is old
    assert with_present_names(elsewhere) is elsewhere


def test_frozen_values_are_renamed_as_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    freeze("ledger", {"values": wide(values(OLD))}, seeds=[0])
    assert set(frozen_values("ledger")["metric"]) == {*FIRST_NAMES.values(), "reverse_kl", "judge"}
